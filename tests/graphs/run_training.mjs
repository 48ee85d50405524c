// Trains on graphs of updates that Python wrote: weights in files, batches in one table. Returns the
// results of each update, and the final weights.

import fs from "node:fs";
import path from "node:path";

import { Graph } from "../../transformer_lab/views/engine/graph.js";
import { crc32, readSafetensors } from "../../transformer_lab/views/engine/safetensors.js";
import { Weights, Workspace } from "../../transformer_lab/views/engine/workspace.js";

const folder = process.argv[2];
const cases = JSON.parse(fs.readFileSync(path.join(folder, "cases.json"), "utf-8"));
const numbers = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");

const told = cases.map(({ name, description, batches, wasm }) => {
  const bytes = new Uint8Array(fs.readFileSync(path.join(folder, `${name}.safetensors`)));
  const weights = readSafetensors(bytes, crc32(bytes));
  const on = new Workspace(wasm);
  const graph = new Graph(description, new Weights(weights, on));
  const ends = [];
  const results = batches.map((batch) => {
    const { results } = graph.run(batch);
    ends.push([...on.heap.free].reduce((left, [size, places]) => left - size * places.length, on.heap.end));
    return Object.fromEntries([...results].map(([result, { data }]) => [result, data[0]]));
  });
  const after = Object.keys(description.updates).map((weight) => [weight, numbers(on.numbers(graph.loaded.at(weight)))]);
  return { results, weights: Object.fromEntries(after), grew: ends.at(-1) - ends[Math.min(1, ends.length - 1)], compiled: on.heap.compiled };
});
fs.writeFileSync(path.join(folder, "results.json"), JSON.stringify(told));
