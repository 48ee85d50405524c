// The module of WhyView.

import { aliveTextPage } from "../pages/text_page.js";
import { scened } from "../shared/scene_viewer.js";
import { view } from "./scene.js";
import { RowPanel, SourcesPanel } from "./sources.js";
import { WaterfallPanel } from "./waterfall.js";

const panels = { row: RowPanel, waterfall: WaterfallPanel, table: SourcesPanel };

export default scened({ ...view, alive: aliveTextPage, panels });
