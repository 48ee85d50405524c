// Runs exported graphs: cases in one table, weights in files. Returns answers, with and without edits, for
// Python to compare with PyTorch's.

import fs from "node:fs";
import path from "node:path";

import { Graph, GraphPass } from "../../transformer_lab/views/engine/graph.js";
import { matrix } from "../../transformer_lab/views/engine/tensors.js";
import { Weights, Workspace } from "../../transformer_lab/views/engine/workspace.js";

const folder = process.argv[2];
const cases = JSON.parse(fs.readFileSync(path.join(folder, "cases.json"), "utf-8"));
const base64 = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
const largest = (a, b) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);

/** How many numbers of a heap are in use. */
const used = ({ end, free }) => [...free].reduce((left, [size, places]) => left - size * places.length, end);

/** Weights from a file of consecutive fp32 numbers. */
function weightsOf(name, { weights }) {
  const bytes = fs.readFileSync(path.join(folder, `${name}.bin`));
  let at = bytes.byteOffset;
  const found = new Map();
  for (const [weight, { shape }] of Object.entries(weights)) {
    const n = shape.reduce((a, b) => a * b, 1);
    found.set(weight, { shape, data: new Float32Array(bytes.buffer.slice(at, at + 4 * n)) });
    at += 4 * n;
  }
  return found;
}

/** Hooks at attention and in the stream for one edit. */
function hooksOf({ what, kind, layer, head, name, expert = null }) {
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
  const zeroed = (x) => (expert === null ? matrix(x.rows, x.columns) : matrix(x.rows, x.columns, x.data.map((v, i) => (i % x.columns === expert ? 0 : v))));
  return { stream: (point, where, at, x) => (point === name && where === kind && at === layer ? zeroed(x) : x) };
}

/** Largest difference between answers for appended tokens (two, then one) and those of the whole text. */
function grownApart(graph, given, hooks, whole) {
  const { growth } = graph.description;
  const n = growth ? given[growth.input].length : 0;
  if (n < 4) return null;
  let before = null;
  return Math.max(...[n - 3, n - 1, n].map((end) => {
    const text = { ...given, [growth.input]: given[growth.input].slice(0, end) };
    const pass = graph.run(text, hooks, before && { pass: before, block: null });
    const places = Array.from({ length: end - (before ? pass.start : 0) }, (_, i) => end - 1 - i);
    before = pass;
    pass.release();
    return largest(pass.answersAt(places).data, whole.answersAt(places).data);
  }));
}

/** Largest difference between answers read from reordered rows of the stream and those of the pass. */
function readApart(graph, pass) {
  if (!graph.description.tail) return null;
  const { shape, data } = pass.result;
  const [n, d] = shape.slice(-2);
  const rows = matrix(n, d);
  const places = Array.from({ length: n }, (_, i) => (i + 2) % n);
  places.forEach((place, i) => rows.data.set(data.subarray(place * d, (place + 1) * d), i * d));
  return largest(graph.read(rows).data, pass.answersAt(places).data);
}

const results = cases.map(({ name, description, inputs, edits, wasm }) => {
  try {
    const graph = new Graph(description, new Weights(weightsOf(name, description), new Workspace(wasm)));
    const texts = inputs.map((given) => {
      const plain = graph.run(given);
      const edited = edits.map((edit) => {
        const pass = graph.run(given, hooksOf(edit));
        const block = `${edit.kind === "cross" ? "decoder" : edit.kind}/${edit.layer}`;
        const short = plain.kept.has(block) ? graph.run(given, hooksOf(edit), { pass: plain, block }) : pass;
        const apart = largest(pass.answer.data, short.answer.data);
        pass.release();
        short.release();
        return { answer: base64(pass.answer.data), apart, grown: grownApart(graph, given, hooksOf(edit), pass) };
      });
      plain.release();
      return { answer: base64(plain.answer.data), edited, grown: grownApart(graph, given, {}, plain), read: readApart(graph, plain) };
    });
    const held = used(graph.on.heap);
    for (const given of inputs) {
      graph.run(given).release();
      const left = new GraphPass(graph, given).steps(); // abandoned for another question
      for (let i = 0; i < 4; i++) left.next();
      left.return();
    }
    return { name, texts, compiled: graph.on.heap.compiled, grew: used(graph.on.heap) - held };
  } catch (error) {
    return { name, error: error.stack };
  }
});
fs.writeFileSync(path.join(folder, "results.json"), JSON.stringify(results));
