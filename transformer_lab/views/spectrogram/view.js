// A sound, when a word of the answer attends to it in every head, and what changes without a head.

import { scened } from "../shared/scene_viewer.js";
import { EveryHeadPanel } from "../shared/overlay.js";
import { view } from "./scene.js";
import { SoundPanel } from "./sound.js";
import { wordStrip } from "./strip.js";

export default scened({
  ...view,
  makes: { words: wordStrip },
  panels: { sound: SoundPanel, heads: EveryHeadPanel },
});
