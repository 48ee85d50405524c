// One token's way through one block, number by number. As in circuits/block_walk.py.

import { analysis } from "./analyses.js";
import { partOf, patternOf, valuesOf } from "./attention.js";
import { hiddenOf } from "./block.js";
import { logitLens } from "./predictions.js";
import { rowScores } from "./scores.js";
import { rowsOf } from "./tensors.js";

const ALIKE = 1e-4; // how far a vector may be from what it is taken for, beside its length
const NORMS = { layer: "LayerNorm", rms: "RMSNorm" };

/**
 * @typedef {object} Steps as `BlockSteps` of circuits/block_walk.py
 * @property {string} kind
 * @property {number} layer
 * @property {number} head
 * @property {number} position
 * @property {Float32Array} stream
 * @property {Float32Array} reads
 * @property {string} norm
 * @property {Float32Array} query
 * @property {Float32Array[]} keys
 * @property {Float32Array[]} values
 * @property {Float32Array} dots
 * @property {number} scale
 * @property {Float32Array} scaled
 * @property {Float32Array} bias
 * @property {Float32Array} scores
 * @property {Float32Array} weights
 * @property {Float32Array[]} z
 * @property {Float32Array} written
 * @property {Float32Array} attention
 * @property {Float32Array} middle
 * @property {Float32Array | null} cross
 * @property {Float32Array | null} mlpReads
 * @property {string} mlpNorm
 * @property {Float32Array | null} hidden
 * @property {Float32Array | null} mlp
 * @property {boolean} after
 * @property {Float32Array} out
 *
 * @typedef {{id: number, probability: number}} Likely
 * @typedef {{lens: Likely[], final: Likely[], without: number, why: string}} Answers what the stream after the block
 *   would predict, what the model does, and the probability of its first answer with the head off
 */

/**
 * @param {import("./desk.js").Reading} reading
 * @param {{kind: string, layer: number, head: number, position: number, k?: number}} given k: answers that are told
 * @returns {Generator<null, {steps: Steps, answers: Answers}>}
 */
export function* blockSteps(reading, { kind, layer, head, position, k = 8 }) {
  if (kind === "cross") throw new Error('kind="cross" has no block of its own; walk through kind="decoder", whose block contains the cross-attention');
  const pass = yield* reading.pass([]);
  const call = pass.callOf(kind, layer, head);
  const n = call.query.rows;
  if (!(Number.isInteger(position) && position >= 0 && position < n)) throw new Error(`position=${position} is outside the ${n} tokens (0 … ${n - 1})`);
  const found = { kind, layer, head, position, ...attended(pass, call, head, position), ...summed(pass, kind, layer, position) };
  yield null;
  return { steps: found, answers: yield* answersOf(reading, pass, { kind, layer, head, position, k }) };
}

/** From the query to what every head takes with it, and what this one writes. */
function attended(pass, call, head, position) {
  const { kind, layer, dHead, dValue: d = dHead } = call;
  const { q: query, ...compared } = rowScores(call, head, position);
  const read = partOf(valuesOf(call), head).data;
  const values = Array.from({ length: call.value.rows }, (_, j) => read.subarray(j * d, (j + 1) * d));
  const weights = patternOf(call, head, position, position + 1);
  const row = rowOf(pass.heads(kind, layer), position);
  const z = Array.from({ length: call.heads }, (_, i) => row.subarray(i * d, (i + 1) * d));
  const { written } = analysis("written", { z: { shape: [1, d], data: z[head] }, w_o: partOf(pass.model.outputOf(kind, layer, call.heads), head) });
  return { query, ...compared, values, weights, z, written: written.data };
}

/** What is added to the stream, one after the other, and what the feed-forward reads of it. */
function summed(pass, kind, layer, position) {
  const { model } = pass;
  const { config } = model;
  const block = model.stackOf(kind).blocks[layer];
  const at = (name) => {
    const x = pass.streamAt(name, kind, layer);
    return x ? rowsOf(x, position, position + 1) : null;
  };
  const read = (x, norm) => {
    const made = config.norm_first ? model.norm(x, norm).data : x.data;
    return { made, name: config.norm_first && !alike(x.data, made) ? NORMS[config.norm] : "" };
  };
  const stream = at("resid_pre");
  const { made: reads, name: norm } = read(stream, block.norm1);
  const [attention, cross, mlp, out] = ["attn_out", "cross_out", "mlp_out", "resid_post"].map((name) => at(name)?.data ?? null);
  const sum = { ...stream, data: stream.data.map((x, i) => x + attention[i]) };
  const middle = config.norm_first ? sum.data : model.norm(sum, block.norm1).data;
  const found = { stream: stream.data, reads, norm, attention, middle, cross, mlpReads: null, mlpNorm: "", hidden: null, mlp, after: !config.norm_first, out };
  if (!mlp) return found;
  const { made: mlpReads, name: mlpNorm } = read(at("resid_mid"), block.norm3);
  const hidden = hiddenOf(block.feedForward, config, { rows: 1, columns: config.d_model, data: mlpReads }).data;
  return { ...found, mlpReads, mlpNorm, hidden };
}

/** What the stream would predict after the block, and what the model predicts. */
function* answersOf(reading, pass, { kind, layer, head, position, k }) {
  const { model } = pass;
  const none = (why) => ({ lens: [], final: [], without: 0, why });
  if (kind !== model.defaultKind) return none("the encoder of an encoder-decoder predicts no tokens");
  if (!model.weights.head) return none(`${reading.text.name} has no head that predicts tokens`);
  const lens = logitLens(pass, [position], k).map(([{ cells }]) => cells);
  const final = lens[lens.length - 1];
  const off = yield* reading.fresh([{ edit: "ablate", layer, head, kind }], position);
  const { answer } = analysis("likely", { logits: off.logits([position]), answers: Int32Array.of(final[0].id) });
  return { lens: lens[layer + 1], final, without: answer.data[0], why: "" };
}

/** @param {import("./tensors.js").Matrix} x @param {number} row */
const rowOf = (x, row) => x.data.subarray(row * x.columns, (row + 1) * x.columns);

/** Whether a vector is another but for rounding. @param {Float32Array} a @param {Float32Array} b */
function alike(a, b) {
  return Boolean(analysis("alike", { x: a, y: b, room: ALIKE }).alike.data[0]);
}
