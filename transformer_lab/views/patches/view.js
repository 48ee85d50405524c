// The module of PatchView: a picture, what a patch of it looks at, and whether that matters.

import { mounted } from "../shared/mounted.js";
import { PatchViewer } from "./viewer.js";

export default mounted(PatchViewer, "patches");
