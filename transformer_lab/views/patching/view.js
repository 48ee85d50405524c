// The module of PatchingView.

import { scened } from "../shared/scene_viewer.js";
import { aliveDesk } from "./measuring.js";
import { GridPanel, PromptsPanel, SitesPanel } from "./panels.js";
import { view } from "./scene.js";

export default scened({
  ...view,
  alive: aliveDesk,
  panels: { matrix: GridPanel, sites: SitesPanel, prompts: PromptsPanel },
  copies: view.say("copy_the_python_that"),
});
