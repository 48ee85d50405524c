// Splits scores by source and computes flows to logits, in models that Python exported as graphs.

import { Reading } from "../../../transformer_lab/views/engine/desk.js";
import { score } from "../../../transformer_lab/views/engine/scores.js";
import { tokenFlow } from "../../../transformer_lab/views/engine/attribution.js";
import { given, last, modelOf, write } from "./shared.mjs";

const { inputs, cells, flows, ...about } = given;
const reading = new Reading(/** @type {any} */ ({ model: modelOf(about), name: about.name }), inputs, () => null);
write({ flows: flows.map((flow) => last(() => tokenFlow(reading, flow))), scores: cells.map((cell) => last(() => score(reading, cell))) });
