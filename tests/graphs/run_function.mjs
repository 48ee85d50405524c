// Runs graphs of functions without weights, and analyses by name: reads a table of cases, writes results.

import fs from "node:fs";

import { analysis } from "../../transformer_lab/views/engine/analyses.js";
import { Graph } from "../../transformer_lab/views/engine/graph.js";
import { Weights } from "../../transformer_lab/views/engine/workspace.js";

const floats = (bits) => new Float32Array(new Uint8Array(Buffer.from(bits, "hex")).buffer);
const plain = ([name, { shape, data }]) => [name, { shape, bits: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex") }];

const cases = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const told = cases.map(({ name, graph, given }) => {
  const inputs = Object.fromEntries(Object.entries(given).map(([input, { shape, bits }]) => [input, { shape, data: floats(bits) }]));
  const results = name ? Object.entries(analysis(name, inputs)) : [...new Graph(graph, new Weights(new Map())).run(inputs).results];
  return Object.fromEntries(results.map(plain));
});
console.log(JSON.stringify(told));
