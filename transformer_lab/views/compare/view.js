// The module of CompareView.

import { aliveTextPage } from "../pages/text_page.js";
import { MapsPanel } from "../shared/maps_panel.js";
import { MatrixPanel } from "../shared/matrix_panel.js";
import { scened } from "../shared/scene_viewer.js";
import { view } from "./scene.js";

export default scened({
  ...view,
  panels: { matrix: MatrixPanel, maps: MapsPanel },
  alive: aliveTextPage,
});
