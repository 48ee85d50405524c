// The module of RunView and of TrainingView.

import { scened } from "../shared/scene_viewer.js";
import { BestPanel, HeadsPanel, Player, StatusPanel, StepsPanel } from "./panels.js";
import { view } from "./scene.js";

const panels = { curves: StepsPanel, best: BestPanel, status: StatusPanel, heads: HeadsPanel };

export default scened({ ...view, panels, makes: { play: (viewer) => new Player(viewer) } });
