// Attention: softmax(q·kᵀ/√d + bias)·v. Source: Vaswani et al. 2017, equation 1.

import { stridesAs } from "./strided.js";
import { matrix, softmax } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {import("./workspace.js").Workspace} Workspace
 *
 * @typedef {object} Call the inputs of one attention layer
 * @property {"encoder" | "decoder" | "cross"} kind
 * @property {number} layer
 * @property {number} part index of the part of z that it computes: a layer may call more than once
 *   with the same queries and keys
 * @property {number} heads
 * @property {number} dHead
 * @property {Matrix} query [query, head · dHead]
 * @property {Matrix} key [key, kv head · dHead]
 * @property {Matrix} value [key, kv head · dValue]
 * @property {number} dValue width of a value
 * @property {number} groups how many key and value heads there are; each serves heads / groups
 *   query heads
 * @property {number} scale
 * @property {number | null} softcap scores become softcap · tanh(score / softcap)
 * @property {Mask | null} mask
 * @property {((head: number, query: number) => number) | null} sink the score of an additional
 *   column without a value
 * @property {boolean} causal
 * @property {number} start position of the first query in the text
 * @property {import("./edits.js").MapChange[]} changes of its attention patterns, in order
 */

/** Added to scores or, if `bool`, which of them count: [head or 1, query or 1, key or 1]. @typedef {{heads: number, rows: number, columns: number, data: Float32Array, bool: boolean}} Mask */

const GROUP = 64; // rows of a pattern in memory at once

/**
 * Visit the attention patterns of some heads, [query, key], a few rows at a time. The row of a
 * query that may attend to nothing is zeros.
 * @param {Workspace} on
 * @param {Call} call
 * @param {number[]} heads
 * @param {(place: number, head: number, from: number, rows: number) => void} visit called with rows
 *   of a pattern, at an offset in the heap
 * @param {(call: Call, head: number, row: number, products: Float32Array) => void} [finish] turns
 *   the products of a query with all keys into its row, in place
 * @param {[number, number]} [queries] first and end (exclusive), among those of the call
 */
function eachMap(on, call, heads, visit, finish = weigh, [first, end] = [0, call.query.rows]) {
  const { query, key, dHead } = call;
  const n = key.rows;
  const [q, k, map] = [
    on.of([query.rows, query.columns], query.data),
    on.of([n, key.columns], key.data),
    on.tensor([Math.min(GROUP, end - first), n]),
  ];
  for (const head of heads)
    for (let from = first; from < end; from += GROUP) {
      const rows = Math.min(GROUP, end - from);
      on.heap.products.linear(
        q.at + from * query.columns + head * dHead,
        query.columns,
        k.at + keyHead(call, head) * dHead,
        key.columns,
        0,
        map.at,
        n,
        rows,
        dHead,
        n,
      );
      for (let row = 0; row < rows; row++)
        finish(
          call,
          head,
          from + row,
          on.heap.f.subarray(map.at + row * n, map.at + (row + 1) * n),
        );
      visit(map.at, head, from, rows);
    }
}

/** Attention patterns of some heads, [head, query, key]. @param {Workspace} on @param {Call} call @param {number[]} heads @param {[number, number]} [queries] @param {typeof weigh} [finish] */
export function patternsOf(on, call, heads, queries = [0, call.query.rows], finish = weigh) {
  const [n, rows] = [call.key.rows, queries[1] - queries[0]];
  const maps = new Float32Array(heads.length * rows * n);
  const before = on.made;
  on.made = [];
  eachMap(
    on,
    call,
    heads,
    (place, head, from, count) =>
      maps.set(
        on.heap.f.subarray(place, place + count * n),
        (heads.indexOf(head) * rows + from - queries[0]) * n,
      ),
    finish,
    queries,
  );
  on.settle([]);
  on.made = before;
  return maps;
}

/** Turn a query's products with all keys into its row of the pattern, in place. @param {Call} call @param {number} head @param {number} row @param {Float32Array} weights */
function weigh(call, head, row, weights) {
  if (call.causal) weights.fill(0, call.start + row + 1);
  softmax(scored(call, head, row, weights), call.sink?.(head, row));
  putIn(weights, changesOf(call, head, row), head);
}

/** Scores that the softmax of a row reads: −∞ where the query may not attend. @param {Workspace} on @param {Call} call @param {number} head @param {number} row */
export const scoresOf = (on, call, head, row) =>
  patternsOf(on, call, [head], [row, row + 1], (_call, _head, _row, products) => {
    scored(call, head, row, products);
    if (call.causal) products.fill(-Infinity, call.start + row + 1);
  });

const changesOf = ({ changes, start }, head, row) =>
  changes.filter(
    (change) => (change.head ?? head) === head && (change.query ?? start + row) === start + row,
  );

/** Turn products into scores, in place, and return them; in causal attention only those of keys up to the query. @param {Call} call @param {number} head @param {number} row @param {Float32Array} products */
function scored(call, head, row, products) {
  const { causal, scale, softcap, mask } = call;
  const seen = causal ? products.subarray(0, call.start + row + 1) : products;
  for (let j = 0; j < seen.length; j++) seen[j] *= scale;
  if (softcap !== null)
    for (let j = 0; j < seen.length; j++) seen[j] = softcap * Math.tanh(seen[j] / softcap);
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

/**
 * Replace a row of weights, and cut edges of the new row: the edges that are left take over the
 * weight.
 */
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

/** The key and value head that a head reads; neighbouring heads share one. @param {Call} call @param {number} head */
export const keyHead = ({ heads, groups }, head) => Math.floor(head / (heads / groups));

/**
 * Output of each head: for every query the mean of the values, weighted by its attention pattern.
 * @param {Workspace} on
 * @param {Call} call
 * @returns {Matrix} [query, head · dValue]
 */
export function attendOn(on, call) {
  const { query, key, value, heads, dValue } = call;
  const columns = heads * dValue;
  const [z, v] = [on.tensor([query.rows, columns]), on.of([value.rows, value.columns], value.data)];
  const all = Array.from({ length: heads }, (_, head) => head);
  eachMap(on, call, all, (place, head, from, rows) => {
    on.heap.products.product(
      place,
      key.rows,
      1,
      v.at + keyHead(call, head) * dValue,
      value.columns,
      0,
      z.at + from * columns + head * dValue,
      columns,
      rows,
      key.rows,
      dValue,
    );
  });
  return matrix(query.rows, columns, on.numbers(z));
}

/** The values that each head reads: [head, key, dValue]. @param {Call} call */
export function valuesOf(call) {
  const { value, heads, dValue: d } = call;
  const data = new Float32Array(heads * value.rows * d);
  for (let head = 0, to = 0; head < heads; head++) {
    const first = keyHead(call, head) * d;
    for (let j = 0; j < value.rows; j++, to += d)
      data.set(value.data.subarray(j * value.columns + first, j * value.columns + first + d), to);
  }
  return { shape: [heads, value.rows, d], data };
}

/** Index i of the first axis, as a view that keeps the axis with size 1. @param {{shape: number[], data: Float32Array}} x @param {number} i */
export function partOf({ shape, data }, i) {
  const size = data.length / shape[0];
  return { shape: [1, ...shape.slice(1)], data: data.subarray(i * size, (i + 1) * size) };
}

/** The mask of a graph's attention bias. @param {Workspace} on @param {import("./strided.js").Tensor | null} bias @returns {Mask | null} */
export function maskOf(on, bias) {
  if (!bias) return null;
  const shape = [...Array(4 - bias.shape.length).fill(1), ...bias.shape].slice(1);
  const strides = stridesAs(bias, shape);
  const [heads, rows, columns] = shape.map((n, i) => (strides[i] === 0 ? 1 : n)); // a broadcast axis is read once
  const y = on.tensor([heads, rows, columns]);
  on.copy({ ...bias, shape: y.shape, strides }, y);
  return {
    heads,
    rows,
    columns,
    data: on.heap.f.slice(y.at, y.at + heads * rows * columns),
    bool: bias.type === "bool",
  };
}

/** @param {Workspace} on @param {import("./strided.js").Tensor | null} sinks [head], or [batch, head, query or 1, 1] @returns {Call["sink"]} */
export function sinkOf(on, sinks) {
  if (!sinks) return null;
  const [rows, data] = [sinks.shape[2] ?? 1, on.numbers(on.whole(sinks))];
  return (head, query) => data[head * rows + (rows > 1 ? query : 0)];
}
