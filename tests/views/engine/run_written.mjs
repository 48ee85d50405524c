// Splits scores by who wrote them and follows flows to logits, in models that Python exported as graphs.

import fs from "node:fs";
import path from "node:path";

import { Reading } from "../../../transformer_lab/views/engine/desk.js";
import { GraphModel } from "../../../transformer_lab/views/engine/graph_model.js";
import { crc32, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";
import { score } from "../../../transformer_lab/views/engine/scores.js";
import { tokenFlow } from "../../../transformer_lab/views/engine/written.js";
import { last } from "./last.mjs";

const folder = process.argv[2];
const models = JSON.parse(fs.readFileSync(path.join(folder, "models.json"), "utf-8"));

const results = models.map(({ name, config, graph, analyses, inputs, cells, flows }) => {
  const bytes = new Uint8Array(fs.readFileSync(path.join(folder, `${name}.safetensors`)));
  const model = new GraphModel(config, graph, readSafetensors(bytes, crc32(bytes)), analyses);
  const reading = new Reading(/** @type {any} */ ({ model, name }), inputs, () => null);
  const rows = (x) => x.map((row) => [...row]);
  const found = flows.map((flow) => last(tokenFlow(reading, flow)));
  const scores = cells.map((cell) => last(score(reading, cell)));
  return {
    flows: found.map((one) => (one.error ? one : { ...one, stream: rows(one.stream), stays: rows(one.stays), mlps: rows(one.mlps) })),
    scores: scores.map(({ info, numbers, ...rest }) => ({ info, numbers: [...(numbers ?? [])], ...rest })),
  };
});
fs.writeFileSync(path.join(folder, "results.json"), JSON.stringify(results));
