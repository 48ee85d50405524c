// The module of BlockView.

import { mounted } from "../shared/mounted.js";
import { BlockViewer } from "./viewer.js";

export default mounted(BlockViewer, "block");
