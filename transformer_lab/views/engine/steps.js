// One token's way through one block, number by number; circuits/block_walk.py finds the block's
// parts.

import { analysis } from "./analyses.js";
import { partOf, valuesOf } from "./attention.js";
import { logitLens } from "./predictions.js";
import { rowScores } from "./scores.js";
import { likeliest } from "./tensors.js";

const SHOWN_KEYS = 14;
const ALIKE = 1e-4; // tolerance for treating two vectors as equal, relative to their length

/**
 * @typedef {{kind: string, layer: number, head: number, position: number} & ReturnType<typeof walked>} Steps
 *   like `BlockSteps` of circuits/block_walk.py, with their `walk_facts`
 * @typedef {{id: number, probability: number}} Likely
 * @typedef {{lens: Likely[], final: Likely[], without: number | null, why: string}} Answers predictions
 *   from the stream after the block, those of the model, and the probability of its first answer
 *   with the head ablated
 */

/**
 * @param {import("./desk.js").Reading} reading
 * @param {{kind: string, layer: number, head: number, position: number, k?: number}} given k: how
 *   many answers to return
 * @returns {Generator<null, {steps: Steps, answers: Answers}>}
 */
export function* blockSteps(reading, { kind, layer, head, position, k = 8 }) {
  if (kind === "cross")
    throw new Error(
      'kind="cross" has no block of its own; walk through kind="decoder", whose block contains the cross-attention',
    );
  const pass = yield* reading.pass([]);
  const call = pass.callOf(kind, layer, head);
  const n = call.query.rows;
  if (!(Number.isInteger(position) && position >= 0 && position < n))
    throw new Error(`position=${position} is outside the ${n} tokens (0 … ${n - 1})`);
  const parts = yield* pass.parts(kind, layer);
  const found = walked(
    attended(pass, call, head, position),
    summed(pass, parts, kind, layer, position),
    head,
  );
  yield null;
  return {
    steps: { kind, layer, head, position, ...found },
    answers: yield* answersOf(reading, pass, { kind, layer, head, position, k }),
  };
}

/** Combine both: the numbers by name, null where the block has none, and facts about them. */
function walked({ scale, softcap, nothing, ...row }, { norm, mlp_norm, after, ...sums }, head) {
  const z = row.z[head];
  const hidden = sums.hidden ?? new Float32Array(1);
  const values = {
    shape: [row.values.length, z.length],
    data: Float32Array.from(row.values.flatMap((value) => Array.from(value))),
  };
  const { dots, scaled, weights, scores, bias } = row;
  const { parts, shares, ...facts } = analysis("walk_facts", {
    dots,
    scaled,
    weights,
    scores,
    bias,
    values,
    z,
    stream: sums.stream,
    out: sums.out,
    hidden,
  });
  const each = weights.length
    ? Array.from(weights, (_, i) => parts.data.subarray(i * z.length, (i + 1) * z.length))
    : [];
  /** @type {Record<string, any>} */
  const numbers = { ...row, ...sums, shares: shares.data, parts: each };
  const scalars = Object.entries(facts).map(([name, one]) => [name, one.data[0]]);
  return {
    scale,
    softcap,
    nothing,
    norm,
    mlp_norm,
    after,
    numbers,
    facts: /** @type {Record<string, number>} */ (Object.fromEntries(scalars)),
  };
}

/** From the query to the output z of every head, and what this head writes. */
function attended(pass, call, head, position) {
  const { kind, layer, dValue: d } = call;
  const { q: query, ...compared } = rowScores(pass, call, head, position);
  const read = partOf(valuesOf(call), head).data;
  const values = Array.from({ length: call.value.rows }, (_, j) =>
    read.subarray(j * d, (j + 1) * d),
  );
  const weights = pass
    .pattern(kind, layer, head)
    .subarray(position * call.key.rows, (position + 1) * call.key.rows);
  const row = rowOf(pass.heads(kind, layer), position);
  const z = Array.from({ length: call.heads }, (_, i) => row.subarray(i * d, (i + 1) * d));
  const output = pass.model.outputOf(kind, layer, call.heads, head);
  if (!output)
    throw new Error(
      "no matrix alone follows the heads of this layer, so its block cannot be walked through",
    );
  const { written } = pass.model.analysis("written", {
    z: { shape: [1, d], data: z[head] },
    w_o: output,
  });
  const nothing = call.sink ? 1 - weights.reduce((sum, x) => sum + x, 0) : 0;
  return { query, ...compared, nothing, values, weights, z, written: written.data };
}

/** What is added to the stream, in order, and what the feed-forward part reads from it. */
function summed(pass, parts, kind, layer, position) {
  const row = (x) => (x ? rowOf(x, position) : null);
  const { reads, attention, cross, mlp_reads, hidden, mlp } = Object.fromEntries(
    ["reads", "attention", "cross", "mlp_reads", "hidden", "mlp"].map((name) => [
      name,
      row(parts[name]),
    ]),
  );
  const [stream, mid, out] = ["resid_pre", "resid_mid", "resid_post"].map((name) =>
    row(pass.streamAt(name, kind, layer)),
  );
  if (!stream || !out)
    throw new Error(
      "this page does not show the stream before and after a block, so none can be walked through",
    );
  const both = (x, y, what) =>
    analysis("sums", {
      x: { shape: [1, x.length], data: x },
      y: { shape: [1, x.length], data: y },
    })[what].data;
  const middle = row(parts.middle) ?? both(stream, attention, "sum");
  const there = cross ? (mid ?? both(middle, cross, "sum")) : middle;
  const norm = alike(stream, reads) ? "" : parts.norm;
  const found = {
    stream,
    reads,
    norm,
    attention,
    middle,
    cross,
    mlp_reads: null,
    mlp_norm: "",
    hidden: null,
    mlp: null,
    after: parts.after,
    out,
  };
  if (!mlp_reads) return found;
  return {
    ...found,
    mlp_reads,
    mlp_norm: alike(there, mlp_reads) ? "" : parts.mlp_norm,
    hidden,
    mlp: mlp ?? both(out, there, "difference"),
  };
}

/** Predictions from the stream after the block, and those of the model. */
function* answersOf(reading, pass, { kind, layer, head, position, k }) {
  const { model } = pass;
  const none = (why) => ({ lens: [], final: [], without: null, why });
  if (kind !== model.defaultKind)
    return none("the encoder of an encoder-decoder predicts no tokens");
  if (!model.weights.head) return none(`${reading.text.name} has no head that predicts tokens`);
  let lens;
  try {
    lens = logitLens(pass, [position], k).map(([{ cells }]) => cells);
  } catch (error) {
    // a model whose logits depend on more than the stream
    return none(error.message);
  }
  const final = lens[lens.length - 1];
  const off = yield* reading.fresh([{ edit: "ablate", layer, head, kind }]);
  const { answer } = analysis("likely", {
    logits: off.logits([position]),
    answers: Int32Array.of(final[0].id),
  });
  return { lens: lens[layer + 1], final, without: answer.data[0], why: "" };
}

/** @param {import("./tensors.js").Matrix} x @param {number} row */
const rowOf = (x, row) => x.data.subarray(row * x.columns, (row + 1) * x.columns);

/** Whether two vectors are equal up to rounding. @param {Float32Array} a @param {Float32Array} b */
function alike(a, b) {
  return Boolean(analysis("alike", { x: a, y: b, room: ALIKE }).alike.data[0]);
}

/** A walk as data.py packs it. @param {Steps} steps @param {Record<string, any>} predictions */
export function packed({ numbers, facts, ...steps }, predictions) {
  const { values: _, ...every } = numbers;
  const shown = likeliest(every.weights, SHOWN_KEYS).sort((a, b) => a - b);
  for (const name of ["keys", "parts"]) every[name] = shown.map((key) => every[name][key]);
  const names = Object.keys(every).filter((name) => every[name]);
  const kept = names.sort().map((name) => [name, every[name]]);
  const rows = kept.map(([, x]) => (typeof x[0] === "number" ? [x] : x));
  const sizes = kept.map(([name, x], i) => [
    name,
    rows[i][0] === x ? [x.length] : [x.length, x[0].length],
  ]);
  return {
    info: { ...steps, ...facts, ...predictions, shown, sizes: Object.fromEntries(sizes) },
    numbers: rows.flat(),
  };
}
