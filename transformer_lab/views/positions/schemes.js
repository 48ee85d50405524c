// What a PositionView computes for each position scheme; schemes.json has the words. A scheme that is not here is shown by measurements on the model that has it.

import { alibiSlopes, noise, rates, relativeBucket, sinusoids, sumOfCosines } from "./math.js";
import schemeWords from "./schemes.json" with { type: "json" };
import { messages } from "../shared/messages.js";
import { nested } from "../shared/numbers.js";
import positionMessages from "./messages.json" with { type: "json" };

export const say = messages(positionMessages);

const SAMPLED_FROM = 64;
const RANDOM_BUCKETS = 32;
const RANDOM_MOST = 128;
const RANDOM_TABLE = 0.5; // standard deviation

/**
 * @typedef {object} Facts the part of the state that concerns a scheme
 * @property {string} scheme
 * @property {number} width numbers of a position's vector, or of a head's query and key
 * @property {number} heads
 * @property {number} head the one on view
 * @property {number} base
 * @property {boolean} halves
 * @property {boolean} causal
 * @property {Float32Array | null} trained the model's own table
 * @property {any} given the model
 *
 * @typedef {object} Parts what a scheme does
 * @property {(p: number, i: number) => number} [added] to a dimension of the vector at a position
 * @property {Float64Array} [speed] rates at which pairs rotate, or sinusoids oscillate
 * @property {(head: number, distance: number) => number} [bias]
 *
 * @typedef {object} Encoding a map of rows and columns
 * @property {number} rows
 * @property {number} columns
 * @property {(row: number, column: number) => number} value
 * @property {(row: number, column: number) => number} [angle] whose cosine the value is
 * @property {number} largest
 * @property {boolean} [clipped]
 * @property {"value" | "cosine" | "bias"} what
 *
 * @typedef {{name: string, head: number, y: number[], band?: {low: number[], high: number[]}}} Series
 *
 * @typedef {object} Words of schemes.json
 * @property {string} name
 * @property {string} source where its formula is from
 * @property {string[]} sizes the sliders that it depends on, besides the length
 * @property {boolean} [vector] its vectors have d_model numbers
 * @property {boolean} [per_head] heads differ
 * @property {boolean} [heads_divide] pairs must divide among the heads
 * @property {string} added
 * @property {string} [nothing] text if there is no encoding
 * @property {string} [scale] what the encoding's colours mean
 * @property {string} [unit] a column of the encoding
 * @property {string} [curves]
 * @property {[number, number]} [curves_range]
 * @property {string} distance
 * @property {string} [hint]
 * @property {[number, number]} [distance_range]
 * @property {string} by_distance
 */

/** The words of a scheme. @param {string} key @returns {Words} */
export const known = (key) => ({ name: key, ...(schemeWords[key] ?? schemeWords.other) });

/** The vectors of a learned table, or of a random one. @param {Facts} facts */
function learnedTable({ trained, width }) {
  if (trained) return (p, i) => trained[p * width + i];
  const rows = new Map();
  return (p, i) => {
    if (!rows.has(p))
      rows.set(
        p,
        Float64Array.from({ length: width }, (_, c) => RANDOM_TABLE * noise(p, c, 3)),
      );
    return rows.get(p)[i];
  };
}

/** @type {Record<string, (facts: Facts, length: number) => Parts>} */
export const SCHEMES = {
  sinusoidal({ width, base, halves }, length) {
    const table = sinusoids(length, width, base, halves);
    return { added: (p, i) => table[p * width + i], speed: rates(width, base) };
  },
  learned: (facts) => ({ added: learnedTable(facts) }),
  rotary: ({ width, base }) => ({ speed: rates(width, base) }),
  alibi({ heads }) {
    const slopes = alibiSlopes(heads);
    return { bias: (head, distance) => -slopes[head] * Math.abs(distance) };
  },
  relative({ trained, heads, causal, given }) {
    const [buckets, most] = trained
      ? [given.buckets, given.max_distance]
      : [RANDOM_BUCKETS, RANDOM_MOST];
    const value = trained
      ? (bucket, head) => trained[bucket * heads + head]
      : (bucket, head) => noise(bucket, head, 3);
    return {
      bias: (head, distance) => value(relativeBucket(distance, causal, buckets, most), head),
    };
  },
  none: () => ({}),
};

export const schemeNames = () => Object.keys(SCHEMES);

/** @param {Facts} facts @param {number} length @returns {Parts} */
const partsOf = (facts, length) => (SCHEMES[facts.scheme] ?? SCHEMES.none)(facts, length);

/** The encoding as a map. @param {Facts} facts @param {number} length @returns {Encoding | null} */
export function schemeMap(facts, length) {
  const { width, head, causal } = facts;
  const { added, speed, bias } = partsOf(facts, length);
  if (bias) {
    const line = Array.from({ length: 2 * length - 1 }, (_, i) => bias(head, i - length + 1));
    const value = (q, k) => (causal && k > q ? NaN : line[k - q + length - 1]);
    return {
      rows: length,
      columns: length,
      value,
      largest: line.reduce((most, x) => Math.max(most, Math.abs(x)), 0),
      what: "bias",
    };
  }
  if (!added) {
    const angle = (p, i) => p * speed[i];
    return speed
      ? {
          rows: length,
          columns: width / 2,
          value: (p, i) => Math.cos(angle(p, i)),
          angle,
          largest: 1,
          what: "cosine",
        }
      : null;
  }
  if (speed) return { rows: length, columns: width, value: added, largest: 1, what: "value" };
  // A few dimensions of a trained table are far larger than the rest; they would hide it.
  const sizes = Float64Array.from({ length: length * width }, (_, at) =>
    Math.abs(added(Math.floor(at / width), at % width)),
  ).sort();
  const largest = sizes[Math.floor(0.995 * (sizes.length - 1))];
  return {
    rows: length,
    columns: width,
    value: added,
    largest,
    clipped: sizes[sizes.length - 1] > largest,
    what: "value",
  };
}

/**
 * The encoding for Python: vectors or angles [position, …], biases [head, query, key], or null.
 * @param {Facts} facts @param {number} length
 */
export function schemeNumbers(facts, length) {
  const { width, heads, trained } = facts;
  const { added, speed, bias } = partsOf(facts, length);
  const type = added && trained ? Float32Array : Float64Array;
  const table = (shape, value) => ({ shape, values: type.from(nested(shape, value).flat(2)) });
  if (bias) {
    const lines = nested([heads, 2 * length - 1], (head, i) => bias(head, i - length + 1));
    return table([heads, length, length], (head, q, k) => lines[head][k - q + length - 1]);
  }
  if (added) return table([length, width], added);
  return speed ? table([length, width / 2], (p, i) => p * speed[i]) : null;
}

/** The scheme's value for each distance key − query. @param {Facts} facts @param {number[]} x @param {number} length @returns {{series: Series[], sampled: boolean}} */
export function schemeCurves(facts, x, length) {
  const { width, heads, scheme } = facts;
  const { added, speed, bias } = partsOf(facts, length);
  if (bias)
    return {
      series: Array.from({ length: heads }, (_, head) => ({
        name: say("head_2", { head }),
        head,
        y: x.map((d) => bias(head, d)),
      })),
      sampled: false,
    };
  const one = (y, band) => [{ name: "", head: 0, y, band }];
  if (speed)
    return {
      series: one(x.map((d) => sumOfCosines(d, speed) / (added ? 1 : speed.length))),
      sampled: false,
    };
  if (!added) return { series: scheme in SCHEMES ? one(x.map(() => 0)) : [], sampled: false };
  const { mean, low, high, sampled } = products(added, width, length, x);
  return { series: one(mean, { low, high }), sampled };
}

/** The scheme's effect on the head on view, for `attention`. @param {Facts} facts @param {number} count positions */
export function schemeInHead(facts, count) {
  const { head, trained } = facts;
  const { added, speed, bias } = partsOf(facts, count);
  if (!added)
    return { turned: speed, ...(bias ? { bias: (distance) => bias(head, distance) } : {}) };
  // scaled to suit queries of standard deviation 1, whatever the model's own have
  const factor = trained
    ? RANDOM_TABLE / Math.sqrt(trained.reduce((sum, v) => sum + v * v, 0) / trained.length)
    : 1;
  return { added: (p, i) => added(p, i) * factor };
}

/** Mean, minimum and maximum of PE[p] · PE[p + distance], over up to 64 positions p. */
function products(value, width, length, distances) {
  const stride = Math.ceil(length / SAMPLED_FROM);
  const rows = Array.from({ length }, (_, p) =>
    Float64Array.from({ length: width }, (_, i) => value(p, i)),
  );
  const found = distances.map((distance) => {
    const dots = [];
    for (let p = 0; p < length; p += stride) {
      const other = rows[p + distance];
      if (other) dots.push(rows[p].reduce((sum, x, i) => sum + x * other[i], 0));
    }
    return dots.length
      ? [dots.reduce((a, b) => a + b, 0) / dots.length, Math.min(...dots), Math.max(...dots)]
      : [NaN, NaN, NaN];
  });
  const [mean, low, high] = [0, 1, 2].map((at) => found.map((one) => one[at]));
  return { mean, low, high, sampled: stride > 1 };
}
