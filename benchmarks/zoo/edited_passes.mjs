// Answers of an exported model in the page's engine, for texts and lists of edits that Python wrote.

import fs from "node:fs";
import path from "node:path";

import { GraphModel } from "../../transformer_lab/views/engine/graph_model.js";
import { crc32, readSafetensors } from "../../transformer_lab/views/engine/safetensors.js";

const folder = process.argv[2];
const { config, graph, cases } = JSON.parse(fs.readFileSync(path.join(folder, "model.json"), "utf-8"));
const bytes = new Uint8Array(fs.readFileSync(path.join(folder, "model.safetensors")));
const model = new GraphModel(config, graph, readSafetensors(bytes, crc32(bytes)));
const answers = cases.map(({ inputs, edits }) => {
  const { data } = model.run(inputs, edits, { read: (source) => model.run(source) }).answer;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
});
fs.writeFileSync(path.join(folder, "answers.json"), JSON.stringify(answers));
