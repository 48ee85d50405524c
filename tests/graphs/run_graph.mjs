// Runs exported graphs: cases in one table, weights in files. Gives back answers, with and without edits,
// which Python compares with PyTorch's.

import fs from "node:fs";
import path from "node:path";

import { Graph } from "../../transformer_lab/views/engine/graph.js";
import { matrix } from "../../transformer_lab/views/engine/tensors.js";
import { Workspace } from "../../transformer_lab/views/engine/workspace.js";

const folder = process.argv[2];
const cases = JSON.parse(fs.readFileSync(path.join(folder, "cases.json"), "utf-8"));
const base64 = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
const largest = (a, b) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);

/** Weights one after the other in 32 bits. */
function weightsOf(name, { weights }) {
  const bytes = fs.readFileSync(path.join(folder, `${name}.bin`));
  let at = bytes.byteOffset;
  const found = new Map();
  for (const [weight, { shape }] of Object.entries(weights)) {
    const n = shape.reduce((a, b) => a * b, 1);
    found.set(weight, { data: new Float32Array(bytes.buffer.slice(at, at + 4 * n)) });
    at += 4 * n;
  }
  return (weight) => found.get(weight);
}

/** What one edit does at attention and in the stream. */
function hooksOf({ what, kind, layer, head, name }) {
  const here = (call) => call.kind === kind && call.layer === layer;
  if (what === "ablate") {
    return {
      heads(call, z) {
        if (!here(call)) return z;
        const y = matrix(z.rows, z.columns, z.data.slice());
        for (let row = 0; row < y.rows; row++) y.data.fill(0, row * y.columns + head * call.dValue, row * y.columns + (head + 1) * call.dValue);
        return y;
      },
    };
  }
  if (what === "knock_out") return { call: (call) => (here(call) ? { ...call, changes: [{ head, query: call.query.rows - 1, key: 0 }] } : call) };
  return { stream: (point, where, at, x) => (point === name && where === kind && at === layer ? matrix(x.rows, x.columns) : x) };
}

const results = cases.map(({ name, description, inputs, edits, wasm }) => {
  try {
    const graph = new Graph(description, weightsOf(name, description), { on: new Workspace(wasm) });
    const texts = inputs.map((given) => {
      const plain = graph.run(given);
      const edited = edits.map((edit) => {
        const pass = graph.run(given, hooksOf(edit));
        const block = `${edit.kind === "cross" ? "decoder" : edit.kind}/${edit.layer}`;
        const short = plain.kept.has(block) ? graph.run(given, hooksOf(edit), { pass: plain, block }) : pass;
        const apart = largest(pass.answer.data, short.answer.data);
        pass.release();
        short.release();
        return { answer: base64(pass.answer.data), apart };
      });
      plain.release();
      return { answer: base64(plain.answer.data), edited, points: [...plain.streams.keys()].length };
    });
    const again = inputs.map((given) => graph.run(given));
    const held = graph.on.heap.end;
    for (const pass of again) pass.release();
    for (const given of inputs) graph.run(given).release();
    return { name, texts, compiled: graph.on.heap.compiled, grew: graph.on.heap.end - held };
  } catch (error) {
    return { name, error: error.stack };
  }
});
fs.writeFileSync(path.join(folder, "results.json"), JSON.stringify(results));
