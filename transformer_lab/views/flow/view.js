// The module of FlowView.

import { mounted } from "../shared/mounted.js";
import { FlowViewer } from "./viewer.js";

export default mounted(FlowViewer, "flow");
