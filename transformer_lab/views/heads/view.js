// The module of HeadView.

import { mounted } from "../shared/mounted.js";
import { HeadViewer } from "./viewer.js";

export default mounted(HeadViewer, "heads");
