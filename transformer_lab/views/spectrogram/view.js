// The module of SpectrogramView: a sound, when each word looks at it, and whether that matters.

import { mounted } from "../shared/mounted.js";
import { SpectrogramViewer } from "./viewer.js";

export default mounted(SpectrogramViewer, "spectrogram");
