// Position schemes as closed forms, as in transformer_lab/positions.py.

/**
 * Rotation of each pair of dimensions from one position to the next, in radians: base^(−2i/width).
 * Source: Vaswani et al. 2017, 3.5; Su et al. 2021, equation 15.
 * @param {number} width
 * @param {number} base
 */
export function rates(width, base) {
  return Float64Array.from({ length: width / 2 }, (_, i) => Math.pow(base, -(2 * i) / width));
}

/**
 * PE[p, 2i] = sin(p · rate_i), PE[p, 2i+1] = cos(the same); with `halves` all sines come first.
 * @param {number} length
 * @param {number} width
 * @param {number} base
 * @param {boolean} [halves]
 * @returns {Float32Array} [position, dimension]
 */
export function sinusoids(length, width, base, halves = false) {
  const speed = rates(width, base);
  const table = new Float32Array(length * width);
  for (let p = 0; p < length; p++) {
    for (let i = 0; i < width / 2; i++) {
      table[p * width + (halves ? i : 2 * i)] = Math.sin(p * speed[i]);
      table[p * width + (halves ? width / 2 + i : 2 * i + 1)] = Math.cos(p * speed[i]);
    }
  }
  return table;
}

/**
 * Σ cos(distance · rate): the dot product of two sinusoidal encodings at this distance. Divided by
 * the number of pairs, it is what rotation leaves of q·k on average when q = k.
 * @param {number} distance
 * @param {Float64Array} speed
 */
export function sumOfCosines(distance, speed) {
  let sum = 0;
  for (const rate of speed) sum += Math.cos(distance * rate);
  return sum;
}

/** One slope per head. Source: Press et al. 2022. @param {number} heads @returns {number[]} */
export function alibiSlopes(heads) {
  const series = (n) => Array.from({ length: n }, (_, i) => Math.fround(2 ** ((-8 * (i + 1)) / n)));
  const lower = 2 ** Math.floor(Math.log2(heads));
  const between = series(2 * lower).filter((_, i) => i % 2 === 0);
  return [...series(lower), ...between.slice(0, heads - lower)];
}

/**
 * The bucket of a distance key − query, in fp32 as T5 computes it. Source: Raffel et al. 2020.
 * @param {number} distance
 * @param {boolean} causal
 * @param {number} buckets
 * @param {number} most
 */
export function relativeBucket(distance, causal, buckets, most) {
  const f = Math.fround;
  const half = causal ? buckets : Math.floor(buckets / 2);
  const first = !causal && distance > 0 ? half : 0;
  const away = causal ? Math.max(0, -distance) : Math.abs(distance);
  const exact = Math.floor(half / 2);
  if (away < exact) return first + away;
  const part = f(f(Math.log(f(away / exact))) / f(Math.log(most / exact)));
  return first + Math.min(half - 1, exact + Math.floor(f(part * (half - exact))));
}

/** A pseudorandom integer from three integers. */
function scrambled(row, column, seed) {
  let x =
    Math.imul(row + 1, 0x9e3779b1) ^
    Math.imul(column + 1, 0x85ebca77) ^
    Math.imul(seed + 1, 0xc2b2ae3d);
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * A normal random number that depends only on its indices, so that tables of every size start alike
 * and none has to be sent.
 * @param {number} row
 * @param {number} column
 * @param {number} seed
 */
export function noise(row, column, seed) {
  const first = (scrambled(row, column, 2 * seed) + 0.5) / 2 ** 32;
  const second = (scrambled(row, column, 2 * seed + 1) + 0.5) / 2 ** 32;
  return Math.sqrt(-2 * Math.log(first)) * Math.cos(2 * Math.PI * second);
}

/**
 * The original index of each word of the shuffled sentence. The first shuffle swaps the second word
 * and the last.
 * @param {number} count
 * @param {number} which
 * @returns {number[]}
 */
export function permutation(count, which) {
  const order = Array.from({ length: count }, (_, i) => i);
  const swap = (a, b) => ([order[a], order[b]] = [order[b], order[a]]);
  if (which === 0) swap(count > 2 ? 1 : 0, count - 1);
  else for (let i = count - 1; i > 0; i--) swap(i, scrambled(i, which, 7) % (i + 1));
  return order;
}

/**
 * Attention of one head: softmax of q·k/√width, with the position scheme applied.
 * @param {object} scheme
 * @param {number} scheme.width numbers in a query
 * @param {(p: number, i: number) => number} [scheme.added] to queries and keys alike
 * @param {Float64Array} [scheme.turned] rates at which pairs (i, i + width/2) are rotated
 * @param {(distance: number) => number} [scheme.bias] added to the score, by key − query
 * @param {number[]} words the word at each position; equal words are equal numbers
 * @param {number} first position of the first word
 * @param {boolean} causal
 * @returns {Float64Array} [query, key]
 */
export function attention(scheme, words, first, causal) {
  const { width, added, turned, bias } = scheme;
  const n = words.length;
  const vectors = (seed) =>
    words.map((word, at) => {
      const p = first + at;
      const x = Float64Array.from(
        { length: width },
        (_, i) => noise(word, i, seed) + (added ? added(p, i) : 0),
      );
      if (!turned) return x;
      const half = width / 2;
      return Float64Array.from({ length: width }, (_, i) => {
        const angle = p * turned[i % half];
        const other = i < half ? -x[i + half] : x[i - half];
        return x[i] * Math.cos(angle) + other * Math.sin(angle);
      });
    });
  const [q, k] = [vectors(1), vectors(2)];
  const weights = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const seen = causal ? i + 1 : n;
    const row = [];
    for (let j = 0; j < seen; j++) {
      let score = 0;
      for (let c = 0; c < width; c++) score += q[i][c] * k[j][c];
      row.push(score / Math.sqrt(width) + (bias ? bias(j - i) : 0));
    }
    const top = Math.max(...row);
    const exps = row.map((score) => Math.exp(score - top));
    const total = exps.reduce((a, b) => a + b, 0);
    exps.forEach((e, j) => (weights[i * n + j] = e / total));
  }
  return weights;
}

/**
 * A shuffled sentence's weights with each word back at its original position.
 * @param {Float32Array | Float64Array} weights [query, key] of the shuffled sentence
 * @param {number[]} order
 */
export function putBack(weights, order) {
  const n = order.length;
  const back = weights.slice();
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) back[order[i] * n + order[j]] = weights[i * n + j];
  return back;
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
export function largestDifference(a, b) {
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
}
