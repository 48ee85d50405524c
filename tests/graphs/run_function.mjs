// Runs graphs of functions that read no weights: a table of cases, and what each gives.

import fs from "node:fs";

import { Graph } from "../../transformer_lab/views/engine/graph.js";

const cases = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const told = cases.map(({ description, given }) => {
  const { results } = new Graph(description, () => ({ data: new Float32Array(0) })).run(given);
  return Object.fromEntries([...results].map(([name, { shape, data }]) => [name, { shape, data: Array.from(data) }]));
});
console.log(JSON.stringify(told));
