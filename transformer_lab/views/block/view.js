// One block, step by step, as a view of its own.

import { mounted } from "../shared/mounted.js";
import { BlockViewer } from "./viewer.js";

export default mounted(BlockViewer, "block");
