// Runs passes of an exported model in node: for each line on the standard input one, whose CPU seconds it writes.

import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

import { GraphModel } from "../transformer_lab/views/engine/graph_model.js";
import { crc32, readSafetensors } from "../transformer_lab/views/engine/safetensors.js";

const { config, graph, tokens } = JSON.parse(fs.readFileSync(path.join(process.argv[2], "model.json"), "utf-8"));
const bytes = new Uint8Array(fs.readFileSync(path.join(process.argv[2], "model.safetensors")));
const model = new GraphModel(config, graph, readSafetensors(bytes, crc32(bytes)));

for await (const _ of readline.createInterface({ input: process.stdin })) {
  const before = process.cpuUsage();
  const logits = model.run({ tokens }).logits([tokens.length - 1]).data;
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ seconds: (user + system) / 1e6, largest: logits.reduce((most, x) => Math.max(most, x)) }));
}
