// The module of BlockView.

import { aliveTextPage } from "../pages/text_page.js";
import { scened } from "../shared/scene_viewer.js";
import { walks } from "./panel.js";

export default scened({ ...walks, alive: aliveTextPage });
