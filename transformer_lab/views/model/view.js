// The module of ModelView.

import { aliveTextPage } from "../pages/text_page.js";
import { scened } from "../shared/scene_viewer.js";
import { AnswersPanel, CardPanel, MapPanel, ModelPanel, StepsPanel } from "./panels.js";
import { view } from "./scene.js";

const panels = {
  model: ModelPanel,
  answers: AnswersPanel,
  card: CardPanel,
  matrix: MapPanel,
  steps: StepsPanel,
};

export default scened({ ...view, alive: aliveTextPage, panels });
