// The module of WhyView.

import { mounted } from "../shared/mounted.js";
import { WhyViewer } from "./viewer.js";

export default mounted(WhyViewer, "why");
