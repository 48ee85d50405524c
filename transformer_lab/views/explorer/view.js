// The module of Explorer.

import { mounted } from "../shared/mounted.js";
import { ExplorerViewer } from "./viewer.js";

export default mounted(ExplorerViewer, "explorer");
