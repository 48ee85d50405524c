// What a PositionView computes from its state: the encoding, the curve by distance, the weights
// before and after a test. Nothing here touches the page.

import {
  alibiSlopes, attention, largestDifference, noise, permutation, putBack, rates, relativeBucket, sinusoids, sumOfCosines,
} from "./position_math.js";
import { nearestStop } from "./slider.js";

const SAMPLED_FROM = 64;
const RANDOM_BUCKETS = 32;
const RANDOM_MOST = 128;
const RANDOM_TABLE = 0.5; // standard deviation

export const SCHEME_NAMES = {
  sinusoidal: "sinusoidal", learned: "learned", rotary: "rotary", alibi: "ALiBi", relative: "T5 relative", none: "none",
};

/** Where the formula of a scheme is from. */
export const SOURCES = {
  sinusoidal: "PE[p, 2i] = sin(p / base^(2i/d)), PE[p, 2i+1] = cos(the same). Vaswani et al. 2017, 3.5.",
  learned: "One trained vector a position. Gehring et al. 2017; GPT-2, BERT.",
  rotary: "Pair i of q and of k is turned by p / base^(2i/d). Su et al. 2021, equation 15.",
  alibi: "score − slope · |distance|, slopes 2^(−8h/H). Press et al. 2022.",
  relative: "score + b[head, bucket(distance)]: small distances one by one, large ones on a log scale. Raffel et al. 2020, 2.1.",
  none: "Attention alone treats its keys as a set. Vaswani et al. 2017, 3.5.",
};

/**
 * @typedef {object} PositionState
 * @property {string} scheme
 * @property {number} d_model
 * @property {number} n_heads
 * @property {number} base
 * @property {number} length
 * @property {number} shift
 * @property {boolean} causal
 * @property {string} test
 * @property {number} shuffle
 * @property {number} layer
 * @property {number} head
 * @property {any} given
 * @property {{names: string[], ids: number[]}} words
 * @property {Float32Array} table
 * @property {Float32Array} maps
 */

/** @param {PositionState} state */
export function schemeFacts(state) {
  const { scheme, given } = state;
  const own = given.scheme === scheme;
  const added = scheme === "sinusoidal" || scheme === "learned";
  const perHead = Math.max(2, 2 * Math.floor(state.d_model / state.n_heads / 2));
  const width = own ? (added ? given.d_model : given.d_head) : added ? state.d_model : perHead;
  const heads = own ? given.n_heads : state.n_heads;
  const measured = !given.words ? null : own ? "own" : scheme === "none" ? "none" : null;
  return {
    scheme, own, width, heads, measured,
    base: own ? given.base : state.base,
    halves: own && given.halves,
    head: Math.min(state.head, heads - 1),
    causal: own || measured ? given.causal : state.causal,
    slopes: alibiSlopes(heads),
    trained: own && state.table.length > 0 ? state.table : null,
  };
}

/**
 * The vectors of a learned table, or of a random one: (position, dimension) -> number.
 * @param {ReturnType<typeof schemeFacts>} facts
 */
function learnedTable({ trained, width }) {
  if (trained) return (p, i) => trained[p * width + i];
  const known = new Map();
  return (p, i) => {
    if (!known.has(p)) known.set(p, Float64Array.from({ length: width }, (_, c) => RANDOM_TABLE * noise(p, c, 3)));
    return known.get(p)[i];
  };
}

/** (head, distance) -> what ALiBi or T5 adds. */
export function biasOf(state, facts) {
  if (facts.scheme === "alibi") return (head, distance) => -facts.slopes[head] * Math.abs(distance);
  const { trained, heads, causal } = facts;
  const buckets = trained ? state.given.buckets : RANDOM_BUCKETS;
  const most = trained ? state.given.max_distance : RANDOM_MOST;
  const value = trained ? (bucket, head) => trained[bucket * heads + head] : (bucket, head) => noise(bucket, head, 3);
  return (head, distance) => value(relativeBucket(distance, causal, buckets, most), head);
}

/**
 * The encoding as a map of rows and columns.
 * @param {PositionState} state
 */
export function encodingOf(state) {
  const facts = schemeFacts(state);
  const { scheme, width, base } = facts;
  const { length } = state;
  if (scheme === "sinusoidal") {
    const table = sinusoids(length, width, base, facts.halves);
    return { rows: length, columns: width, value: (p, i) => table[p * width + i], largest: 1, what: "value" };
  }
  if (scheme === "learned") {
    const value = learnedTable(facts);
    // A few dimensions of a trained table are far larger than the rest; they would hide it.
    const sizes = new Float64Array(length * width);
    for (let p = 0; p < length; p++) for (let i = 0; i < width; i++) sizes[p * width + i] = Math.abs(value(p, i));
    sizes.sort();
    const largest = sizes[Math.floor(0.995 * (sizes.length - 1))];
    return { rows: length, columns: width, value, largest, clipped: sizes[sizes.length - 1] > largest, what: "value" };
  }
  if (scheme === "rotary") {
    const speed = rates(width, base);
    const angle = (p, i) => p * speed[i];
    return { rows: length, columns: width / 2, value: (p, i) => Math.cos(angle(p, i)), angle, largest: 1, what: "cosine" };
  }
  if (scheme === "none") return null;
  const bias = biasOf(state, facts);
  let largest = 0;
  const line = [];
  for (let d = -(length - 1); d < length; d++) {
    line.push(bias(facts.head, d));
    largest = Math.max(largest, Math.abs(line[line.length - 1]));
  }
  const value = (q, k) => (facts.causal && k > q ? NaN : line[k - q + length - 1]);
  return { rows: length, columns: length, value, largest, what: "bias" };
}

/**
 * Distances key − query, and what the scheme has for each.
 * @param {PositionState} state
 * @returns {{x: number[], series: {name: string, head: number, y: number[], band?: {low: number[], high: number[]}}[], what: string, sampled: boolean}}
 */
export function byDistance(state) {
  const facts = schemeFacts(state);
  const { length } = state;
  const x = [];
  for (let d = -(length - 1); d <= (facts.causal ? 0 : length - 1); d++) x.push(d);
  const one = (name, y, band) => [{ name, head: 0, y, band }];
  if (facts.scheme === "sinusoidal") {
    const speed = rates(facts.width, facts.base);
    return { x, series: one("", x.map((d) => sumOfCosines(d, speed))), what: "dot product of two positions", sampled: false };
  }
  if (facts.scheme === "rotary") {
    const speed = rates(facts.width, facts.base);
    return { x, series: one("", x.map((d) => sumOfCosines(d, speed) / speed.length)), what: "mean cosine over the pairs", sampled: false };
  }
  if (facts.scheme === "none") return { x, series: one("", x.map(() => 0)), what: "added", sampled: false };
  if (facts.scheme === "learned") {
    const { mean, low, high, sampled } = products(learnedTable(facts), facts.width, length, x);
    return { x, series: one("", mean, { low, high }), what: "dot product of two positions", sampled };
  }
  const bias = biasOf(state, facts);
  const series = facts.slopes.map((_, head) => ({ name: `head ${head}`, head, y: x.map((d) => bias(head, d)) }));
  return { x, series, what: "bias", sampled: false };
}

/** Mean, least and most of PE[p] · PE[p + distance], over up to 64 positions p. */
function products(value, width, length, distances) {
  const stride = Math.ceil(length / SAMPLED_FROM);
  const rows = Array.from({ length }, (_, p) => Float64Array.from({ length: width }, (_, i) => value(p, i)));
  const sums = new Float64Array(distances.length);
  const counts = new Float64Array(distances.length);
  const low = distances.map(() => Infinity);
  const high = distances.map(() => -Infinity);
  for (let p = 0; p < length; p += stride) {
    for (let at = 0; at < distances.length; at++) {
      const other = rows[p + distances[at]];
      if (!other) continue;
      let dot = 0;
      for (let i = 0; i < width; i++) dot += rows[p][i] * other[i];
      sums[at] += dot;
      counts[at] += 1;
      low[at] = Math.min(low[at], dot);
      high[at] = Math.max(high[at], dot);
    }
  }
  const known = (values) => Array.from(values, (v, i) => (counts[i] ? v : NaN));
  return { mean: Array.from(sums, (s, i) => (counts[i] ? s / counts[i] : NaN)), low: known(low), high: known(high), sampled: stride > 1 };
}

/**
 * Weights before and after the test.
 * @param {PositionState} state
 */
export function changeOf(state) {
  const facts = schemeFacts(state);
  const found = facts.measured ? measuredChange(state, facts) : randomChange(state, facts);
  const difference = Float64Array.from(found.before, (w, i) => found.after[i] - w);
  return { ...found, difference, n: found.names.length, causal: facts.causal };
}

function measuredChange(state, facts) {
  const { given, maps, test } = state;
  const variant = /** @type {string} */ (facts.measured);
  const [, layers, heads] = [0, state.given.layers, given.n_heads];
  const n = given.words.length;
  const one = layers * heads * n * n;
  const layer = Math.min(state.layer, layers - 1);
  const place = (layer * heads + facts.head) * n * n;
  const cut = (index) => maps.subarray(index * one + place, index * one + place + n * n);
  // In the order of the bytes: each variant's map before, then its moves, then its shuffles.
  const count = (name) => given.changes[name].move.length + given.changes[name].shuffle.length;
  const from = variant === "own" ? 0 : 1 + count("own");
  const before = cut(from);
  const shift = nearestStop(given.shifts, state.shift);
  if (test === "move" && variant === "none") {
    return { names: given.words, before, after: before, largest: 0, everywhere: 0, output: 0, order: null, shift: state.shift };
  }
  const which = test === "move" ? shift : state.shuffle % given.orders.length;
  const tell = given.changes[variant][test][which];
  const after = cut(from + 1 + (test === "move" ? 0 : given.changes[variant].move.length) + which);
  return {
    names: given.words, before, after,
    largest: tell.largest[layer][facts.head],
    everywhere: Math.max(...tell.largest.flat()),
    output: tell.output,
    order: test === "shuffle" ? given.orders[which] : null,
    shift: test === "move" ? given.shifts[which] : state.shift,
  };
}

function randomChange(state, facts) {
  const { words, shift, test, shuffle } = state;
  const { width } = facts;
  const scheme = /** @type {any} */ ({ width });
  if (facts.scheme === "sinusoidal") {
    const table = sinusoids(shift + words.ids.length, width, facts.base, facts.halves);
    scheme.added = (p, i) => table[p * width + i];
  } else if (facts.scheme === "learned") {
    const value = learnedTable(facts);
    const unit = facts.trained ? Math.sqrt(facts.trained.reduce((sum, v) => sum + v * v, 0) / facts.trained.length) : RANDOM_TABLE;
    scheme.added = (p, i) => (value(p, i) * RANDOM_TABLE) / unit;
  } else if (facts.scheme === "rotary") {
    scheme.turned = rates(width, facts.base);
  } else if (facts.scheme !== "none") {
    const bias = biasOf(state, facts);
    scheme.bias = (distance) => bias(facts.head, distance);
  }
  const before = attention(scheme, words.ids, 0, facts.causal);
  const order = test === "shuffle" ? permutation(words.ids.length, shuffle) : null;
  const after = order
    ? putBack(attention(scheme, order.map((i) => words.ids[i]), 0, facts.causal), order)
    : attention(scheme, words.ids, shift, facts.causal);
  return { names: words.names, before, after, largest: largestDifference(before, after), everywhere: null, output: null, order, shift };
}
