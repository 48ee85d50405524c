// The sentences of this view.

import { messages } from "../shared/messages.js";
import patchMessages from "./messages.json" with { type: "json" };

export const sayPatch = messages(patchMessages);
