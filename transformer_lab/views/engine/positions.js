// How a model is told the order of its tokens, in up to three places, as in transformer_lab/positions.py.

import { alibiSlopes, relativeBucket, sinusoids } from "../positions/math.js";
import { matrix } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 *
 * @typedef {object} Bias what is added to scores
 * @property {Float32Array[]} lines of each head, by key − query + `middle`
 * @property {number} middle
 * @property {boolean} fromLast whether it is that of the last query in every row, as Python keeps it: a softmax sees no difference
 *
 * @typedef {object} Positions one stack's
 * @property {(x: Matrix, start: number) => void} embed adds to embeddings; the first stands at `start`
 * @property {(x: Matrix, dHead: number, start: number) => Matrix} rotate queries or keys
 * @property {(length: number) => Bias | null} bias for a text of so many tokens
 */

const nothing = { embed: () => {}, rotate: (x) => x, bias: () => null };

/**
 * @param {Record<string, any>} config
 * @param {Record<string, Matrix>} tables what of the scheme is trained
 * @param {boolean} causal whether it is of the decoder
 * @returns {Positions}
 */
export function positionsOf(config, tables, causal) {
  const { name, ...options } = config.positions;
  if (name === "sinusoidal") {
    const { base, halves } = options;
    let table = /** @type {Float32Array} */ (new Float32Array(0));
    const atLeast = (n) => (n * config.d_model > table.length ? (table = sinusoids(2 * n, config.d_model, base, halves)) : table);
    return { ...nothing, embed: adding(atLeast, config.d_model) };
  }
  if (name === "learned") return { ...nothing, embed: adding(() => tables.table.data, config.d_model) };
  if (name === "rotary") return { ...nothing, rotate: (x, dHead, start) => rotated(x, dHead, start, options.base) };
  if (name === "alibi") {
    const slopes = alibiSlopes(config.n_heads);
    return { ...nothing, bias: byDistance(config.n_heads, (head, distance) => -slopes[head] * Math.abs(distance), causal) };
  }
  if (name === "relative") {
    const table = tables[causal ? "decoder" : "encoder"];
    const bucket = (distance) => relativeBucket(distance, causal, options.buckets, options.max_distance);
    return { ...nothing, bias: byDistance(config.n_heads, (head, distance) => table.data[bucket(distance) * table.columns + head]) };
  }
  return nothing;
}

/** Row p of a table is added to the token at position p. */
const adding = (tableOf, width) => (x, start) => {
  const table = tableOf(start + x.rows).subarray(start * width);
  for (let i = 0; i < x.data.length; i++) x.data[i] += table[i];
};

/** Pair (i, i + d/2) of every head is turned by p / base^(2i/d), in fp32 as Python does. Source: Su et al. 2021. */
function rotated(x, dHead, start, base) {
  const [y, half, f] = [matrix(x.rows, x.columns), dHead / 2, Math.fround];
  const rates = Float32Array.from({ length: half }, (_, i) => 1 / f(base ** f((2 * i) / dHead)));
  for (let row = 0; row < x.rows; row++) {
    for (let i = 0; i < half; i++) {
      const angle = f((start + row) * rates[i]);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let at = row * x.columns + i; at < (row + 1) * x.columns; at += dHead) {
        const [a, b] = [x.data[at], x.data[at + half]];
        y.data[at] = a * cos - b * sin;
        y.data[at + half] = b * cos + a * sin;
      }
    }
  }
  return y;
}

/** A number for every head and distance key − query, made once a length. */
function byDistance(heads, value, fromLast = false) {
  let known = /** @type {Bias | null} */ (null);
  return (length) => {
    if (known && known.middle >= length - 1) return known;
    const middle = 2 * length; // room for a text that grows
    const line = (head) => Float32Array.from({ length: 2 * middle + 1 }, (_, at) => value(head, at - middle));
    known = { middle, fromLast, lines: Array.from({ length: heads }, (_, head) => line(head)) };
    return known;
  };
}
