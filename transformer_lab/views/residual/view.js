// The module of ResidualView.

import { mounted } from "../shared/mounted.js";
import { ResidualViewer } from "./viewer.js";

export default mounted(ResidualViewer, "residual");
