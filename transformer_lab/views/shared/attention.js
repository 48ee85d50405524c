// The attention weights of one head, row by row, and selections of them.

import { halvesToFloats, typed, weightOf } from "./codecs.js";

/**
 * Patterns of up to this many weights are kept whole once computed; of larger ones, KEEP_ROWS rows.
 */
const KEEP_WHOLE = 1 << 20;
const KEEP_ROWS = 64;

/**
 * @typedef {object} HeadInfo
 * @property {"weights" | "scores16" | "scores32"} encoding
 * @property {number} error how far a weight may be from Python's
 * @property {number} [d] d_head, if queries and keys were sent
 *
 * @typedef {object} Shape
 * @property {number} queries
 * @property {number} keys
 * @property {boolean} causal
 * @property {number[]} [sinks] layers where a part of each row goes to no key: patterns have one
 *   more column
 */

/**
 * One head's attention weights. `row(q)` holds the weight of each key for query q; it is computed
 * on access.
 */
export class HeadWeights {
  /** @param {HeadInfo} info @param {Uint8Array[]} buffers the weights, or queries then keys; then the value norms @param {Shape} shape */
  constructor(info, buffers, shape) {
    this.info = info;
    this.shape = shape;
    this.error = info.error;
    /** Norm of what each key would add, or null. @type {Float32Array | null} */
    this.norms = buffers[1]?.byteLength ? typed(Float32Array, buffers[1]) : null;
    /** @type {Map<number, Float32Array>} */
    this.rows = new Map();
    if (info.encoding === "weights") {
      this.bits = typed(Uint16Array, buffers[0]);
    } else {
      const numbers =
        info.encoding === "scores16"
          ? halvesToFloats(typed(Uint16Array, buffers[0]))
          : typed(Float32Array, buffers[0]);
      const d = /** @type {number} */ (info.d);
      this.q = numbers.subarray(0, shape.queries * d);
      this.k = numbers.subarray(shape.queries * d);
      this.d = d;
    }
    this.keptRows = shape.queries * shape.keys > KEEP_WHOLE ? KEEP_ROWS : shape.queries;
  }

  /** The most memory that it will use, computed rows included. */
  get bytes() {
    const sent = this.bits?.byteLength ?? this.q.byteLength + this.k.byteLength;
    return sent + (this.norms?.byteLength ?? 0) + 4 * this.keptRows * this.shape.keys;
  }

  /**
   * The weights of one query. For a pattern too large to be kept whole, the array is reused for
   * another row after KEEP_ROWS further rows: read it at once.
   * @param {number} query
   * @returns {Float32Array}
   */
  row(query) {
    const known = this.rows.get(query);
    if (known) return known;
    const { queries, keys, causal, sinks } = this.shape;
    const row = this.#room(keys);
    if (this.bits) {
      const start = query * (sinks ? keys + 1 : keys);
      for (let key = 0; key < keys; key++) row[key] = weightOf(this.bits[start + key]);
    } else {
      const seen = causal ? Math.max(0, Math.min(keys, query + 1 + keys - queries)) : keys;
      softmaxRow(this.q, this.k, this.d, query, seen, row);
      row.fill(0, seen);
    }
    this.rows.set(query, row);
    return row;
  }

  /** The part of a query's row that goes to no key. @param {number} query */
  nothing(query) {
    const { keys, sinks } = this.shape;
    return this.bits && sinks ? weightOf(this.bits[query * (keys + 1) + keys]) : 0;
  }

  /** A new array, or that of the oldest row if no more are kept. */
  #room(keys) {
    if (this.rows.size < this.keptRows) return new Float32Array(keys);
    const [query, row] = this.rows.entries().next().value;
    this.rows.delete(query);
    return row;
  }
}

/**
 * Softmax of q·k over the first `seen` keys, with the scale already in q; other entries of `out`
 * are left as they are.
 * @param {Float32Array} q [query, d]
 * @param {Float32Array} k [key, d]
 * @param {number} d
 * @param {number} query
 * @param {number} seen
 * @param {Float32Array} out
 */
export function softmaxRow(q, k, d, query, seen, out) {
  const from = query * d;
  let largest = -Infinity;
  for (let key = 0; key < seen; key++) {
    const at = key * d;
    let sum = 0;
    for (let i = 0; i < d; i++) sum += q[from + i] * k[at + i];
    out[key] = sum;
    if (sum > largest) largest = sum;
  }
  let total = 0;
  for (let key = 0; key < seen; key++) {
    out[key] = Math.exp(out[key] - largest);
    total += out[key];
  }
  for (let key = 0; key < seen; key++) out[key] /= total;
  return out;
}

/**
 * A row as shown: without the hidden keys (the rest rescaled to the same sum), and times the value
 * norms if requested.
 * @param {Float32Array} row
 * @param {Uint8Array | null} hidden 1 for each key to leave out
 * @param {Float32Array | null} norms
 * @returns {Float32Array}
 */
export function shownRow(row, hidden, norms) {
  if (!hidden && !norms) return row;
  let whole = 0;
  let kept = 0;
  for (let key = 0; key < row.length; key++) {
    whole += row[key];
    if (!hidden?.[key]) kept += row[key];
  }
  const factor = hidden ? (kept > 1e-6 ? whole / kept : 0) : 1;
  const shown = new Float32Array(row.length);
  for (let key = 0; key < row.length; key++) {
    if (!hidden?.[key]) shown[key] = row[key] * factor * (norms ? norms[key] : 1);
  }
  return shown;
}

/**
 * The largest entries of a row above `least`, largest first; ties keep their order.
 * @param {ArrayLike<number>} row
 * @param {number} count
 * @param {number} [least]
 * @returns {{index: number, weight: number}[]}
 */
export function largest(row, count, least = 0) {
  const found = [];
  for (let index = 0; index < row.length; index++) {
    const weight = row[index];
    if (!(weight > least)) continue;
    if (found.length === count && weight <= found[count - 1].weight) continue;
    let place = found.length;
    while (place > 0 && found[place - 1].weight < weight) place--;
    found.splice(place, 0, { index, weight });
    if (found.length > count) found.pop();
  }
  return found;
}

/**
 * Each row's strongest edge, then the strongest of all others until the edges carry the fraction
 * `share` of the weight or number `limit`.
 * @param {{row: Float32Array, query: number, head: number, nothing?: number}[]} rows nothing: the
 *   part of its weight that goes to no key
 * @param {number} share
 * @param {number} limit
 * @returns {{edges: {query: number, key: number | null, head: number, weight: number}[], covered: number}}
 *   key: null for weight that goes to no key; covered: the fraction that the edges carry, 0 … 1
 */
export function strongestEdges(rows, share, limit) {
  const [edges, others] = [[], []];
  let total = 0;
  for (const { row, query, head, nothing = 0 } of rows) {
    let first = { query, key: null, head, weight: nothing };
    total += nothing;
    for (let key = 0; key < row.length; key++) {
      total += row[key];
      if (!(row[key] > 0.001)) continue;
      let edge = { query, key, head, weight: row[key] };
      if (edge.weight > first.weight) [first, edge] = [edge, first];
      if (edge.weight > 0.001) others.push(edge);
    }
    if (first.weight > 0.001) edges.push(first);
  }
  others.sort((a, b) => b.weight - a.weight);
  let sum = edges.reduce((weight, edge) => weight + edge.weight, 0);
  const enough = share * total * (1 - 1e-6);
  for (const edge of others) {
    if (edges.length >= limit || sum >= enough) break;
    edges.push(edge);
    sum += edge.weight;
  }
  return { edges, covered: total > 0 ? sum / total : 0 };
}
