// The module of FlowView.

import { aliveTextPage } from "../pages/text_page.js";
import { scened } from "../shared/scene_viewer.js";
import { FlowPanel, SidePanel } from "./panels.js";
import { view } from "./scene.js";

export default scened({
  ...view,
  alive: aliveTextPage,
  panels: { flow: FlowPanel, side: SidePanel },
});
