// The module of ResidualView.

import { aliveTextPage } from "../pages/text_page.js";
import { MatrixPanel } from "../shared/matrix_panel.js";
import { scened } from "../shared/scene_viewer.js";
import { BlocksPanel, LensPanel } from "./lens.js";
import { view } from "./scene.js";

export default scened({
  ...view,
  alive: aliveTextPage,
  panels: { matrix: MatrixPanel, blocks: BlocksPanel, lens: LensPanel },
});
