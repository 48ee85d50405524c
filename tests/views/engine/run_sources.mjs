// Splits scores by who wrote them, for models that Python wrote down.

import fs from "node:fs";
import path from "node:path";

import { Reading } from "../../../transformer_lab/views/engine/desk.js";
import { Transformer } from "../../../transformer_lab/views/engine/model.js";
import { crc32, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";
import { score } from "../../../transformer_lab/views/engine/scores.js";

const folder = process.argv[2];
const models = JSON.parse(fs.readFileSync(path.join(folder, "models.json"), "utf-8"));

function last(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const results = models.map(({ name, config, inputs, cells }) => {
  const bytes = new Uint8Array(fs.readFileSync(path.join(folder, `${name}.safetensors`)));
  const model = new Transformer(config, readSafetensors(bytes, crc32(bytes)));
  const reading = new Reading(/** @type {any} */ ({ model }), inputs, () => null);
  return cells.map((cell) => {
    const { info, numbers } = last(score(reading, cell));
    return { info, numbers: Array.from(numbers) };
  });
});
fs.writeFileSync(path.join(folder, "results.json"), JSON.stringify(results));
