// The module of EmbeddingView.

import { scened } from "../shared/scene_viewer.js";
import { SpacePanel } from "./panel.js";
import { view } from "./scene.js";

export default scened({ ...view, panels: { space: SpacePanel } });
