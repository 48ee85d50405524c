// Walks through blocks of models that Python wrote down.

import fs from "node:fs";
import path from "node:path";

import { packedWalk } from "../../../transformer_lab/views/block/stages.js";
import { Reading } from "../../../transformer_lab/views/engine/desk.js";
import { GraphModel } from "../../../transformer_lab/views/engine/graph_model.js";
import { crc32, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";
import { blockSteps } from "../../../transformer_lab/views/engine/steps.js";
import { last } from "./last.mjs";

const folder = process.argv[2];
const models = JSON.parse(fs.readFileSync(path.join(folder, "models.json"), "utf-8"));

const results = models.map(({ name, config, graph, inputs, asked }) => {
  const bytes = new Uint8Array(fs.readFileSync(path.join(folder, `${name}.safetensors`)));
  const model = new GraphModel(config, graph, readSafetensors(bytes, crc32(bytes)));
  const reading = new Reading(/** @type {any} */ ({ model, name }), inputs, () => null);
  return asked.map(({ walk, around }) => {
    const found = last(blockSteps(reading, walk));
    if (found.error) return found;
    const named = (likely) => likely.map(({ id, probability }) => [String(id), probability]);
    const { answers } = found;
    const { info, numbers } = packedWalk(found.steps, { ...answers, ...around, lens: named(answers.lens), final: named(answers.final) });
    return { info, numbers: Array.from(numbers) };
  });
});
fs.writeFileSync(path.join(folder, "results.json"), JSON.stringify(results));
