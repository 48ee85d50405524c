// The module of PositionView.

import { mounted } from "../shared/mounted.js";
import { PositionViewer } from "./viewer.js";

export default mounted(PositionViewer, "positions");
