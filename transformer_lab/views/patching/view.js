// The module of PatchingView.

import { mounted } from "../shared/mounted.js";
import { PatchingViewer } from "./viewer.js";

export default mounted(PatchingViewer, "patching");
