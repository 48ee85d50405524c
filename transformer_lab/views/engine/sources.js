// Who wrote what a query and a key carry: the embeddings, every head below, every MLP. Every norm on the
// way is held at the scale that it had, which makes it linear, so that the parts add up. As in
// circuits/head_reader.py and circuits/sources.py. Source: Elhage et al. 2021.

import { keyHead } from "./attention.js";

const EPSILON = 2 ** -23;
import { dot, matrix } from "./tensors.js";

const KEPT_WRITERS = 8; // of each side in the table; the rest together
const MOST_FOR_MEAN = 2e9; // multiplications up to which a row's mean key is split by source
const [SUM_ROOM, SUM_ROUNDING] = [1e-3, 1e-5]; // how far a sum may be off: of a score, and of the largest that such vectors can have

/**
 * @typedef {import("./pass.js").Pass} Pass
 * @typedef {{part: string, layer?: number, head?: number, stack?: string}} Writer
 * @typedef {{writer: Writer, data: Float64Array}} Part what one wrote, [row, d_model]
 */

/** What stands in a stream at some rows, part by part; biases are all that is there whatever the text. */
class Written {
  /** @param {number} rows @param {number} d @param {boolean} centred whether norms take the mean away @param {number} eps */
  constructor(rows, d, centred, eps) {
    this.rows = rows;
    this.d = d;
    this.centred = centred;
    this.eps = eps;
    /** @type {Part[]} */
    this.parts = [];
    this.biases = new Float64Array(rows * d);
  }

  /** @param {Writer} writer @param {(row: number, data: Float64Array, at: number) => void} write */
  add(writer, write) {
    const data = new Float64Array(this.rows * this.d);
    for (let row = 0; row < this.rows; row++) write(row, data, row * this.d);
    this.parts.push({ writer, data });
  }

  /** @param {ArrayLike<number> | null} vector */
  addBias(vector) {
    if (vector) for (let i = 0; i < this.biases.length; i++) this.biases[i] += vector[i % this.d];
  }

  /** Every part as a norm with its scale held leaves it. @param {{weight: Float32Array | null, bias: Float32Array | null}} norm */
  pass({ weight, bias }) {
    const { d, centred } = this;
    const all = [...this.parts.map(({ data }) => data), this.biases];
    for (let at = 0; at < this.rows * d; at += d) {
      for (const data of centred ? all : []) {
        let mean = 0;
        for (let k = 0; k < d; k++) mean += data[at + k] / d;
        for (let k = 0; k < d; k++) data[at + k] -= mean;
      }
      let square = 0;
      for (let k = 0; k < d; k++) square += all.reduce((sum, data) => sum + data[at + k], 0) ** 2 / d;
      const scale = 1 / Math.sqrt(square + this.eps);
      for (const data of all) for (let k = 0; k < d; k++) data[at + k] *= scale * (weight ? weight[k] : 1);
    }
    this.addBias(bias);
  }
}

/** What was written into a stack's stream before a block, or after its self-attention. */
function* writtenBefore(/** @type {Pass} */ pass, stack, layer, rows, afterAttention = false) {
  const { model } = pass;
  const { config } = model;
  const found = embeddedBy(pass, stack, rows);
  const close = (norm) => !config.norm_first && found.pass(norm);
  for (let below = 0; below < layer + (afterAttention ? 1 : 0); below++) {
    const weights = model.stackOf(stack).blocks[below];
    addHeads(found, pass, stack, below, rows, weights.attention.out, "head");
    close(weights.norm1);
    yield null;
    if (below === layer) break;
    if (weights.cross) {
      addHeads(found, pass, "cross", below, rows, weights.cross.out, "cross head");
      close(weights.norm2);
    }
    if (!weights.feedForward) continue;
    const { data } = pass.streamAt("mlp_out", stack, below);
    found.add({ part: "mlp", layer: below }, (row, to, at) => to.set(data.subarray(rows[row] * found.d, (rows[row] + 1) * found.d), at));
    close(weights.norm3);
    yield null;
  }
  return found;
}

function embeddedBy({ model, inputs }, stack, rows) {
  const { config, weights } = model;
  const { d_model: d } = config;
  const found = new Written(rows.length, d, config.norm === "layer", config.norm_eps);
  const target = model.both && stack === "decoder";
  const ids = target ? inputs.target : inputs.tokens;
  const table = (target ? weights.target : weights.embedding).data;
  const scale = config.scale_embedding ? Math.sqrt(d) : 1;
  const rowOf = (x, place, times = 1) => (row, to, at) => {
    for (let k = 0; k < d; k++) to[at + k] = x[place(row) * d + k] * times;
  };
  found.add({ part: "token" }, rowOf(table, (row) => ids[rows[row]], scale));
  if (weights.tokenTypes) found.add({ part: "segment" }, rowOf(weights.tokenTypes.data, () => 0));
  const adds = ["learned", "sinusoidal"].includes(config.positions.name);
  const last = config.norm_first ? "position" : "rest"; // where norms come last Python measures, and sees what is no table as one
  if (adds) {
    const places = matrix(ids.length, d);
    model.positions[stack].embed(places, 0);
    found.add({ part: last }, rowOf(places.data, (row) => rows[row]));
  }
  if (weights.embeddingNorm) found.pass(weights.embeddingNorm);
  if (!config.norm_first && found.biases.some(Boolean)) {
    if (!adds) found.add({ part: last }, () => {});
    const { data } = /** @type {Part} */ (found.parts.at(-1));
    for (let i = 0; i < data.length; i++) data[i] += found.biases[i];
    found.biases.fill(0);
  }
  return found;
}

/** What each head gives through its part of W_O. */
function addHeads(found, pass, kind, layer, rows, out, part) {
  const { n_heads: heads, d_head: dHead } = pass.model.config;
  const z = pass.heads(kind, layer);
  const { columns, data: weight } = out.weight;
  for (let head = 0; head < heads; head++) {
    found.add({ part, layer, head }, (row, to, at) => {
      for (let k = 0; k < found.d; k++) to[at + k] = dot(z.data, rows[row] * z.columns + head * dHead, weight, k * columns + head * dHead, dHead);
    });
  }
  found.addBias(out.bias);
}

/**
 * What each writer gives to the query or the keys of a head: vectors that sum to what is compared.
 * @param {Pass} pass
 * @param {{kind: string, layer: number, head: number}} place
 * @param {"query" | "key"} side
 * @param {number[]} rows
 * @returns {Generator<null, {writers: Writer[], vectors: Float64Array[][]}>} vectors[writer][row]
 */
function* sideOf(pass, { kind, layer, head }, side, rows) {
  const { model } = pass;
  const { config } = model;
  const cross = kind === "cross";
  const encoded = cross && side === "key";
  const stack = encoded ? "encoder" : cross ? "decoder" : kind;
  const call = pass.callOf(kind, layer, head);
  const block = model.stackOf(kind).blocks[layer];
  const found = yield* writtenBefore(pass, stack, encoded ? model.layersOf("encoder") : layer, rows, cross && !encoded);
  if (config.norm_first) found.pass(encoded ? model.stackOf("encoder").norm : cross ? block.norm2 : block.norm1);

  const own = side === "query" ? head : keyHead(call, head);
  const { d_head: dHead } = config;
  const { weight, bias } = (cross ? block.cross : block.attention)[side];
  const through = (data) => rows.map((_, row) => Float64Array.from({ length: dHead }, (__, o) => dot(data, row * found.d, weight.data, (own * dHead + o) * weight.columns, found.d)));
  const parts = [...found.parts, { writer: { part: "biases" }, data: found.biases }];
  const vectors = [];
  for (const { data } of parts) {
    vectors.push(through(data));
    yield null;
  }
  if (bias) for (const vector of /** @type {Float64Array[]} */ (vectors.at(-1))) for (let o = 0; o < dHead; o++) vector[o] += bias[own * dHead + o];
  rows.forEach((place, row) => placedAs(vectors.map((of) => of[row]), model, cross ? null : stack, place));
  const writers = parts.map(({ writer }) => (encoded ? { ...writer, stack: "encoder" } : writer));
  return { writers, vectors };
}

/** QK-norm at its actual scale, then rotary positions, in place. @param {Float64Array[]} vectors of one row */
function placedAs(vectors, { config, positions }, stack, place) {
  const { d_head: dHead } = config;
  if (config.qk_norm) {
    let square = 0;
    for (let k = 0; k < dHead; k++) square += vectors.reduce((sum, vector) => sum + vector[k], 0) ** 2 / dHead;
    const scale = 1 / Math.sqrt(square + EPSILON);
    for (const vector of vectors) for (let k = 0; k < dHead; k++) vector[k] *= scale;
  }
  if (!stack || config.positions.name !== "rotary") return;
  const beside = matrix(1, vectors.length * dHead, Float32Array.from(vectors.flatMap((vector) => Array.from(vector))));
  const turned = positions[stack].rotate(beside, dHead, place);
  vectors.forEach((vector, i) => vector.set(turned.data.subarray(i * dHead, (i + 1) * dHead)));
}

/**
 * The score of a cell by who wrote the query's and the key's stream, and what lies above the row's mean.
 * @param {Pass} pass
 * @param {{kind: string, layer: number, head: number, query: number, key: number, scaled: number, longest: number}} cell
 *   longest: ‖q‖·‖k‖·scale, the largest score that vectors so long can have
 * @param {number[]} reachable keys that the query may look at
 * @param {boolean} above whether a mean can be taken of them
 * @returns {Generator<null, {told: Record<string, any>, numbers: Float32Array[]}>} as `_sources` of views/why/data.py
 */
export function* scoreBySource(pass, cell, reachable, above) {
  const call = pass.callOf(cell.kind, cell.layer, cell.head);
  const [scale, n] = [1 / Math.sqrt(call.dHead), call.key.rows];
  let whyNotAbove = "";
  if (above && (cell.layer + 1) * call.heads * reachable.length * call.dHead * (n + call.dHead * call.heads) >= MOST_FOR_MEAN) {
    [above, whyNotAbove] = [false, "the text is too long to split its mean key by source"];
  }
  const query = yield* sideOf(pass, cell, "query", [cell.query]);
  const key = yield* sideOf(pass, cell, "key", above ? [cell.key, ...reachable] : [cell.key]);
  const lifted = key.vectors.map(([own, ...others]) => own.map((x, k) => x - others.reduce((sum, one) => sum + one[k], 0) / others.length));
  const table = (keys) => query.vectors.map(([q]) => Float32Array.from(keys, (k) => dot(q, 0, k, 0, call.dHead) * scale));
  const splits = { score: table(key.vectors.map(([own]) => own)), ...(above ? { above: table(lifted) } : {}) };
  const total = sumOf(splits.score.map(sumOf));
  if (!(Math.abs(total - cell.scaled) <= Math.max(SUM_ROOM * Math.abs(cell.scaled), SUM_ROUNDING * cell.longest))) {
    return { told: { why_no_sources: "the parts do not add up to the score", splits: {} }, numbers: [] };
  }
  const numbers = [];
  const sides = { query, key };
  const sources = Object.fromEntries(Object.entries(sides).map(([side, { writers }]) => [side, { names: writers.map(nameOf), short: writers.map(shortOf) }]));
  return { told: { why_no_sources: "", why_no_above: whyNotAbove, sources, splits: eachNamed(splits, (one) => tableOf(one, numbers)) }, numbers };
}

const eachNamed = (table, f) => Object.fromEntries(Object.entries(table).map(([name, value]) => [name, f(value)]));
const sumOf = (values) => values.reduce((a, b) => a + b, 0);

/** Sums of both sides and a small table are put to the numbers; what is told says which parts it keeps. */
function tableOf(parts, numbers) {
  const byQuery = parts.map(sumOf);
  const byKey = Array.from(parts[0], (_, k) => sumOf(parts.map((row) => row[k])));
  const [rows, columns] = [byQuery, byKey].map(keptOf);
  const small = keptAndRest(parts, rows).map((row) => keptAndRest(Array.from(row, (x) => [x]), columns).map(([x]) => x));
  numbers.push(...[byQuery, byKey, small.flat()].map((x) => Float32Array.from(x)));
  return { rows, columns, shape: [small.length, small[0].length], total: sumOf(byQuery) };
}

/** The indices of the largest parts by size, the largest first; all of them if they are few. */
function keptOf(values) {
  const n = values.length <= KEPT_WRITERS + 1 ? values.length : KEPT_WRITERS;
  return Array.from(values.keys()).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, n);
}

/** The kept rows, and where there are others a last row for them together. */
function keptAndRest(rows, kept) {
  const found = kept.map((i) => Array.from(rows[i]));
  if (kept.length === rows.length) return found;
  const rest = rows.filter((_, i) => !kept.includes(i));
  return [...found, found[0].map((_, k) => sumOf(rest.map((row) => row[k])))];
}

const EMBEDDINGS = { token: "token embedding", position: "position embedding", segment: "segment embedding", rest: "rest of the embedding" };

/** @param {Writer} writer */
function nameOf({ part, layer, head, stack }) {
  const start = stack ? `${stack} ` : "";
  if (layer === undefined) return start + (EMBEDDINGS[part] ?? part);
  return `${start}layer ${layer}, ${head === undefined ? "MLP" : `${part} ${head}`}`;
}

/** The name where room is scarce: "L1 H2". @param {Writer} writer */
function shortOf({ part, layer, head, stack }) {
  const start = stack ? `${stack.slice(0, 3)} ` : "";
  if (layer === undefined) return start + part;
  return `${start}L${layer} ${head === undefined ? "MLP" : `${part === "cross head" ? "X" : "H"}${head}`}`;
}
