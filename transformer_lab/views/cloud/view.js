// The module of CloudView.

import { PointsPanel } from "../shared/points_panel.js";
import { scened } from "../shared/scene_viewer.js";
import { view } from "./scene.js";

export default scened({ ...view, panels: { points: PointsPanel } });
