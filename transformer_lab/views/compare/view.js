// The module of CompareView.

import { mounted } from "../shared/mounted.js";
import { CompareViewer } from "./viewer.js";

export default mounted(CompareViewer, "compare");
