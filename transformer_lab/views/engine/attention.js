// Attention: softmax(q·kᵀ/√d + bias)·v. Source: Vaswani et al. 2017, equation 1.

import { stridesAs } from "./strided.js";
import { dot, matrix, softmax } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 *
 * @typedef {object} Call what one attention layer was given
 * @property {"encoder" | "decoder" | "cross"} kind
 * @property {number} layer
 * @property {number} heads
 * @property {number} dHead
 * @property {Matrix} query [query, head · dHead]
 * @property {Matrix} key [key, kv head · dHead]
 * @property {Matrix} value [key, kv head · dValue]
 * @property {number} dValue how wide values are
 * @property {number} groups of heads, which share keys and values
 * @property {number} scale
 * @property {number | null} softcap scores become softcap · tanh(score / softcap)
 * @property {Mask | null} mask
 * @property {((head: number, query: number) => number) | null} sink the score of one more column, which has no value
 * @property {boolean} causal
 * @property {number} start where in the text the first query stands
 * @property {import("./edits.js").MapChange[]} changes of its maps, in order
 */

/** What is added to scores, or (of bools) which of them count: [head or 1, query or 1, key]. @typedef {{heads: number, rows: number, columns: number, data: Float32Array, bool: boolean}} Mask */

const GROUP = 64; // rows of a map that are held at once

/**
 * One head's map: how much each query looks at each key, [query, key]. A query that may look at
 * nothing has a row of zeros.
 * @param {Call} call
 * @param {number} head
 * @param {number} [from] the first query, of those in the call
 * @param {number} [to]
 */
export function patternOf(call, head, from = 0, to = call.query.rows) {
  const { query, key, dHead, causal } = call;
  const n = key.rows;
  const [q, k] = [head * dHead, keyHead(call, head) * dHead];
  const map = new Float32Array((to - from) * n);
  for (let row = from; row < to; row++) {
    const weights = map.subarray((row - from) * n, (row - from + 1) * n);
    const seen = causal ? call.start + row + 1 : n;
    for (let j = 0; j < seen; j++) weights[j] = dot(query.data, row * query.columns + q, key.data, j * key.columns + k, dHead);
    weigh(call, head, row, weights);
  }
  return map;
}

/** A query's products with all keys to its row of the map, in place. @param {Call} call @param {number} head @param {number} row @param {Float32Array} weights */
function weigh(call, head, row, weights) {
  if (call.causal) weights.fill(0, call.start + row + 1);
  softmax(scored(call, head, row, weights), call.sink?.(head, row));
  putIn(weights, changesOf(call, head, row), head);
}

/** What the softmax of a row reads: −∞ where the query may not look. @param {Call} call @param {number} head @param {number} row */
export function scoresOf(call, head, row) {
  const { query, key, dHead } = call;
  const [q, k] = [row * query.columns + head * dHead, keyHead(call, head) * dHead];
  const scores = Float32Array.from({ length: key.rows }, (_, j) => dot(query.data, q, key.data, j * key.columns + k, dHead));
  scored(call, head, row, scores);
  return call.causal ? scores.fill(-Infinity, call.start + row + 1) : scores;
}

const changesOf = ({ changes, start }, head, row) => changes.filter((change) => (change.head ?? head) === head && (change.query ?? start + row) === start + row);

/** Products to scores, in place: of the keys up to the query in causal attention, which are given back. @param {Call} call @param {number} head @param {number} row @param {Float32Array} products */
function scored(call, head, row, products) {
  const { causal, scale, softcap, mask } = call;
  const seen = causal ? products.subarray(0, call.start + row + 1) : products;
  for (let j = 0; j < seen.length; j++) seen[j] *= scale;
  if (softcap !== null) for (let j = 0; j < seen.length; j++) seen[j] = softcap * Math.tanh(seen[j] / softcap);
  if (mask) addMask(seen, mask, head, row);
  for (const { key: cut, put } of changesOf(call, head, row)) {
    if (put) continue;
    if (cut === null) seen.fill(-Infinity);
    else if (cut < seen.length) seen[cut] = -Infinity;
  }
  return seen;
}

/** @param {Float32Array} scores @param {Mask} mask @param {number} head @param {number} row */
function addMask(scores, { heads, rows, columns, data, bool }, head, row) {
  const at = ((heads > 1 ? head : 0) * rows + (rows > 1 ? row : 0)) * columns;
  for (let j = 0; j < scores.length; j++) {
    const value = data[at + (columns > 1 ? j : 0)];
    if (!bool) scores[j] += value;
    else if (!value) scores[j] = -Infinity;
  }
}

/** Weights that are put in the place of a row, and of these the edges that are cut afterwards: the rest takes their weight. */
function putIn(row, changes, head) {
  let there = false;
  for (const { key, put } of changes) {
    if (put) {
      row.set(put(head));
      there = true;
    } else if (there) {
      const whole = row.reduce((a, b) => a + b, 0);
      if (key === null) row.fill(0);
      else row[key] = 0;
      const left = row.reduce((a, b) => a + b, 0) || 1;
      for (let j = 0; j < row.length; j++) row[j] *= whole / left;
    }
  }
}

/** The key and value head that a head reads: neighbours share one. @param {Call} call @param {number} head */
export const keyHead = ({ heads, groups }, head) => Math.floor(head / (heads / groups));

/**
 * What each head gives: for every query the mean of the values, weighted by its map.
 * @param {import("./workspace.js").Workspace} on
 * @param {Call} call
 * @returns {Matrix} [query, head · dValue]
 */
export function attendOn(on, call) {
  const { query, key, value, heads, dHead, dValue } = call;
  const n = key.rows;
  const z = matrix(query.rows, heads * dValue);
  const group = Math.min(GROUP, z.rows);
  const [q, k, v, map, y] = [[group, dHead], [n, dHead], [dValue, n], [group, n], [group, dValue]].map((shape) => on.tensor(shape).at);
  const { f, products } = on.heap;
  const put = (x, column, width, from, to, at) => {
    for (let i = from; i < to; i++) for (let c = 0, first = i * x.columns + column; c < width; c++) f[at++] = x.data[first + c];
  };
  for (let head = 0, last = -1; head < heads; head++) {
    const own = keyHead(call, head);
    if (own !== last) {
      put(key, own * dHead, dHead, 0, n, k);
      for (let j = 0; j < n; j++) for (let c = 0; c < dValue; c++) f[v + c * n + j] = value.data[j * value.columns + own * dValue + c];
      last = own;
    }
    for (let from = 0; from < z.rows; from += group) {
      const rows = Math.min(group, z.rows - from);
      put(query, head * dHead, dHead, from, from + rows, q);
      products.linear(q, k, 0, map, rows, dHead, n);
      for (let row = 0; row < rows; row++) weigh(call, head, from + row, f.subarray(map + row * n, map + (row + 1) * n));
      products.linear(map, v, 0, y, rows, n, dValue);
      for (let row = 0; row < rows; row++) for (let c = 0, to = (from + row) * z.columns + head * dValue; c < dValue; c++) z.data[to + c] = f[y + row * dValue + c];
    }
  }
  return z;
}

/** The values that each head reads: [head, key, dValue]. @param {Call} call */
export function valuesOf(call) {
  const { value, heads, dValue: d } = call;
  const data = new Float32Array(heads * value.rows * d);
  for (let head = 0, to = 0; head < heads; head++) {
    const first = keyHead(call, head) * d;
    for (let j = 0; j < value.rows; j++, to += d) data.set(value.data.subarray(j * value.columns + first, j * value.columns + first + d), to);
  }
  return { shape: [heads, value.rows, d], data };
}

/** One of several along the first axis, as a view with an axis of 1. @param {{shape: number[], data: Float32Array}} x @param {number} i */
export function partOf({ shape, data }, i) {
  const size = data.length / shape[0];
  return { shape: [1, ...shape.slice(1)], data: data.subarray(i * size, (i + 1) * size) };
}

/** What is added to scores, as a graph has it. @param {import("./workspace.js").Workspace} on @param {import("./strided.js").Tensor | null} bias @returns {Mask | null} */
export function maskOf(on, bias) {
  if (!bias) return null;
  const shape = [...Array(4 - bias.shape.length).fill(1), ...bias.shape].slice(1);
  const strides = stridesAs(bias, shape);
  const [heads, rows, columns] = shape.map((n, i) => (strides[i] === 0 ? 1 : n)); // what is broadcast is read once
  const y = on.tensor([heads, rows, columns]);
  on.copy({ ...bias, shape: y.shape, strides }, y);
  return { heads, rows, columns, data: on.heap.f.slice(y.at, y.at + heads * rows * columns), bool: bias.type === "bool" };
}

/** @param {import("./workspace.js").Workspace} on @param {import("./strided.js").Tensor | null} sinks [head], or [batch, head, query or 1, 1] */
export function sinkOf(on, sinks) {
  if (!sinks) return null;
  const [h, q] = sinks.shape.length === 1 ? [sinks.strides[0], 0] : [sinks.strides[1], sinks.shape[2] > 1 ? sinks.strides[2] : 0];
  return (head, query) => on.heap.f[sinks.at + head * h + query * q];
}
