// A picture, what one of its patches attends to in every head, and what changes without a head.

import { scened } from "../shared/scene_viewer.js";
import { EveryHeadPanel } from "../shared/overlay.js";
import { alivePatches } from "./another_image.js";
import { PicturePanel } from "./picture.js";
import { view } from "./scene.js";

export default scened({
  ...view,
  alive: alivePatches,
  panels: { picture: PicturePanel, heads: EveryHeadPanel },
});
