// The module of MixView: drag the scores of one word; weights and mixture follow.

import { scened } from "../shared/scene_viewer.js";
import { MixPanel } from "./panel.js";
import { view } from "./scene.js";

export default scened({ ...view, panels: { mix: MixPanel } });
