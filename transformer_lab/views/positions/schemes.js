// What a PositionView knows of each position scheme: one object a scheme, as in schemes.py. A scheme
// that is not here is shown by what was measured on the model that has it.

import { alibiSlopes, noise, rates, relativeBucket, sinusoids, sumOfCosines } from "./math.js";

const SAMPLED_FROM = 64;
const RANDOM_BUCKETS = 32;
const RANDOM_MOST = 128;
const RANDOM_TABLE = 0.5; // standard deviation

/**
 * @typedef {object} Facts what of the state concerns a scheme
 * @property {number} width numbers of a position's vector, or of a head's query and key
 * @property {number} heads
 * @property {number} head the one on view
 * @property {number} base
 * @property {boolean} halves
 * @property {boolean} causal
 * @property {Float32Array | null} trained the model's own table
 * @property {any} given the model
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
 * @typedef {object} Series
 * @property {string} name
 * @property {number} head
 * @property {number[]} y
 * @property {{low: number[], high: number[]}} [band]
 *
 * @typedef {object} Known
 * @property {string} name
 * @property {string} source where its formula is from
 * @property {string[]} sizes the sliders that it depends on, beside the length
 * @property {boolean} [addsVector] its vectors have d_model numbers
 * @property {boolean} [perHead] heads differ
 * @property {(heads: number, dModel: number) => boolean} [headsFit]
 * @property {(facts: Facts) => string} [note]
 * @property {(facts: Facts) => string} title of the encoding
 * @property {string} [nothing] what is said where there is no encoding
 * @property {string} [scale] what the encoding's colours are
 * @property {string} [unit] a column of the encoding
 * @property {string} [curvesTitle]
 * @property {[number, number]} [curvesRange]
 * @property {string} distanceTitle
 * @property {string} [distanceHint]
 * @property {[number, number]} [distanceRange]
 * @property {(facts: Facts, length: number) => Encoding | null} encoding
 * @property {(facts: Facts, x: number[], length: number) => {series: Series[], what: string, sampled: boolean}} byDistance
 * @property {(facts: Facts, count: number) => object} inHead what it does to a head, for `attention`
 */

const one = (y, band) => [{ name: "", head: 0, y, band }];
const randomNote = ({ trained }) => (trained ? "" : "Random numbers stand for what training would find.");

// ---- vectors that are added to the tokens ---------------------------------------------------------

const VECTORS = {
  addsVector: true,
  title: () => "What is added to each token",
  curvesTitle: "A few dimensions, by position",
  distanceTitle: "Two positions’ dot product, by distance",
};

/** @type {Known} */
const sinusoidal = {
  ...VECTORS,
  name: "sinusoidal",
  source: "PE[p, 2i] = sin(p / base^(2i/d)), PE[p, 2i+1] = cos(the same). Vaswani et al. 2017, 3.5.",
  sizes: ["d_model", "base"],
  curvesRange: [-1.08, 1.08],
  encoding({ width, base, halves }, length) {
    const table = sinusoids(length, width, base, halves);
    return { rows: length, columns: width, value: (p, i) => table[p * width + i], largest: 1, what: "value" };
  },
  byDistance({ width, base }, x) {
    const speed = rates(width, base);
    return { series: one(x.map((d) => sumOfCosines(d, speed))), what: "dot product of two positions", sampled: false };
  },
  inHead({ width, base, halves }, count) {
    const table = sinusoids(count, width, base, halves);
    return { added: (p, i) => table[p * width + i] };
  },
};

/** The vectors of a learned table, or of a random one: (position, dimension) -> number. */
function learnedTable({ trained, width }) {
  if (trained) return (p, i) => trained[p * width + i];
  const known = new Map();
  return (p, i) => {
    if (!known.has(p)) known.set(p, Float64Array.from({ length: width }, (_, c) => RANDOM_TABLE * noise(p, c, 3)));
    return known.get(p)[i];
  };
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

/** @type {Known} */
const learned = {
  ...VECTORS,
  name: "learned",
  source: "One trained vector a position. Gehring et al. 2017; GPT-2, BERT.",
  sizes: ["d_model"],
  note: randomNote,
  distanceHint: "mean; band: least to most",
  encoding(facts, length) {
    const { width } = facts;
    const value = learnedTable(facts);
    // A few dimensions of a trained table are far larger than the rest; they would hide it.
    const sizes = new Float64Array(length * width);
    for (let p = 0; p < length; p++) for (let i = 0; i < width; i++) sizes[p * width + i] = Math.abs(value(p, i));
    sizes.sort();
    const largest = sizes[Math.floor(0.995 * (sizes.length - 1))];
    return { rows: length, columns: width, value, largest, clipped: sizes[sizes.length - 1] > largest, what: "value" };
  },
  byDistance(facts, x, length) {
    const { mean, low, high, sampled } = products(learnedTable(facts), facts.width, length, x);
    return { series: one(mean, { low, high }), what: "dot product of two positions", sampled };
  },
  inHead(facts) {
    const { trained } = facts;
    const value = learnedTable(facts);
    const unit = trained ? Math.sqrt(trained.reduce((sum, v) => sum + v * v, 0) / trained.length) : RANDOM_TABLE;
    return { added: (p, i) => (value(p, i) * RANDOM_TABLE) / unit };
  },
};

// ---- pairs that are turned ------------------------------------------------------------------------

/** @type {Known} */
const rotary = {
  name: "rotary",
  source: "Pair i of q and of k is turned by p / base^(2i/d). Su et al. 2021, equation 15.",
  sizes: ["d_model", "n_heads", "base"],
  headsFit: (heads, dModel) => dModel % (2 * heads) === 0,
  note: ({ heads, width }) => `Each of ${heads} heads has d_head ${width}.`,
  title: () => "By how much each pair is turned",
  scale: "cosine of the angle",
  unit: "pair",
  curvesTitle: "Cosine of a pair’s angle, by position",
  curvesRange: [-1.08, 1.08],
  distanceTitle: "What is left of q·k, by distance",
  distanceHint: "if q = k",
  distanceRange: [-0.6, 1.08],
  encoding({ width, base }, length) {
    const speed = rates(width, base);
    const angle = (p, i) => p * speed[i];
    return { rows: length, columns: width / 2, value: (p, i) => Math.cos(angle(p, i)), angle, largest: 1, what: "cosine" };
  },
  byDistance({ width, base }, x) {
    const speed = rates(width, base);
    return { series: one(x.map((d) => sumOfCosines(d, speed) / speed.length)), what: "mean cosine over the pairs", sampled: false };
  },
  inHead: ({ width, base }) => ({ turned: rates(width, base) }),
};

// ---- numbers that are added to scores -------------------------------------------------------------

/** What all such schemes have, from (facts) -> (head, distance) -> number. */
const biases = (biasOf) => ({
  sizes: ["n_heads"],
  perHead: true,
  title: ({ head }) => `What head ${head} adds to a score`,
  distanceTitle: "What is added, by distance",
  encoding(facts, length) {
    const bias = biasOf(facts);
    let largest = 0;
    const line = [];
    for (let d = -(length - 1); d < length; d++) {
      line.push(bias(facts.head, d));
      largest = Math.max(largest, Math.abs(line[line.length - 1]));
    }
    const value = (q, k) => (facts.causal && k > q ? NaN : line[k - q + length - 1]);
    return { rows: length, columns: length, value, largest, what: /** @type {"bias"} */ ("bias") };
  },
  byDistance(facts, x) {
    const bias = biasOf(facts);
    const series = Array.from({ length: facts.heads }, (_, head) => ({ name: `head ${head}`, head, y: x.map((d) => bias(head, d)) }));
    return { series, what: "bias", sampled: false };
  },
  inHead(facts) {
    const bias = biasOf(facts);
    return { bias: (distance) => bias(facts.head, distance) };
  },
});

/** @type {Known} */
const alibi = {
  ...biases(({ heads }) => {
    const slopes = alibiSlopes(heads);
    return (head, distance) => -slopes[head] * Math.abs(distance);
  }),
  name: "ALiBi",
  source: "score − slope · |distance|, slopes 2^(−8h/H). Press et al. 2022.",
};

/** @type {Known} */
const relative = {
  ...biases(({ trained, heads, causal, given }) => {
    const buckets = trained ? given.buckets : RANDOM_BUCKETS;
    const most = trained ? given.max_distance : RANDOM_MOST;
    const value = trained ? (bucket, head) => trained[bucket * heads + head] : (bucket, head) => noise(bucket, head, 3);
    return (head, distance) => value(relativeBucket(distance, causal, buckets, most), head);
  }),
  name: "T5 relative",
  source: "score + b[head, bucket(distance)]: small distances one by one, large ones on a log scale. Raffel et al. 2020, 2.1.",
  note: randomNote,
};

// ---- nothing, and what is not known ---------------------------------------------------------------

/** @type {Known} */
const none = {
  name: "none",
  source: "Attention alone treats its keys as a set. Vaswani et al. 2017, 3.5.",
  sizes: [],
  title: () => "Nothing is added",
  nothing: "A token’s vector is the same wherever it stands.",
  distanceTitle: "By distance: no difference",
  distanceRange: [-1, 1],
  encoding: () => null,
  byDistance: (_, x) => ({ series: one(x.map(() => 0)), what: "added", sampled: false }),
  inHead: () => ({}),
};

/** @param {string} name @returns {Known} of a scheme that only a model's measurements show */
const measuredAlone = (name) => ({
  name,
  source: "",
  sizes: [],
  title: () => "What it is",
  nothing: "This view has no formula of it; what it does was measured on the model.",
  distanceTitle: "",
  encoding: () => null,
  byDistance: () => ({ series: [], what: "", sampled: false }),
  inHead: () => ({}),
});

/** @type {Record<string, Known>} */
export const SCHEMES = { sinusoidal, learned, rotary, alibi, relative, none };

/** @param {string} name @returns {Known} */
export const known = (name) => SCHEMES[name] ?? measuredAlone(name);
