// The arithmetic of a model: matrices of 32-bit numbers, row by row; sums are taken in 64 bits.

/**
 * @typedef {object} Matrix
 * @property {number} rows
 * @property {number} columns
 * @property {Float32Array} data
 *
 * @typedef {{weight: Matrix, bias: Float32Array | null}} Linear weight [out, in], as torch keeps it
 * @typedef {{weight: Float32Array | null, bias: Float32Array | null}} Norm
 */

/** @param {number} rows @param {number} columns @param {Float32Array} [data] @returns {Matrix} */
export const matrix = (rows, columns, data = new Float32Array(rows * columns)) => ({ rows, columns, data });

/** Some rows, without a copy. @param {Matrix} x @param {number} from @param {number} to */
export const rowsOf = (x, from, to) => matrix(to - from, x.columns, x.data.subarray(from * x.columns, to * x.columns));

/** @param {Matrix} x */
export const copyOf = (x) => matrix(x.rows, x.columns, x.data.slice());

/** x + y. @param {Matrix} x @param {Matrix} y */
export function add(x, y) {
  const sum = copyOf(x);
  for (let i = 0; i < sum.data.length; i++) sum.data[i] += y.data[i];
  return sum;
}

/** f of every number, in place: for what nobody else holds. @param {Matrix} x @param {(v: number) => number} f */
export function each(x, f) {
  for (let i = 0; i < x.data.length; i++) x.data[i] = f(x.data[i]);
  return x;
}

/** One below the other. @param {Matrix} x @param {Matrix} y */
export function stacked(x, y) {
  const both = matrix(x.rows + y.rows, x.columns);
  both.data.set(x.data);
  both.data.set(y.data, x.data.length);
  return both;
}

/** xᵀ. @param {Matrix} x */
export function transposed(x) {
  const y = matrix(x.columns, x.rows);
  const [from, to] = [x.data, y.data];
  for (let row = 0, at = 0; row < x.rows; row++) for (let k = row; k < to.length; k += x.rows) to[k] = from[at++];
  return y;
}

/**
 * x·Wᵀ + b. Four rows at a time and two of W, so that each number that is read serves several sums.
 * @param {Matrix} x @param {Linear} layer
 */
export function linear(x, { weight, bias }) {
  const y = matrix(x.rows, weight.rows);
  let row = 0;
  if (x.rows >= 4) {
    const four = new Float64Array(4 * x.columns);
    for (; row + 4 <= x.rows; row += 4) fourRows(x, row, weight, bias, y, four);
  }
  for (; row < x.rows; row++) oneRow(x, row, weight, bias, y);
  return y;
}

function fourRows(x, row, weight, bias, y, four) {
  const [dIn, dOut, w, out] = [x.columns, weight.rows, weight.data, y.data];
  for (let r = 0; r < 4; r++) for (let k = 0, at = (row + r) * dIn; k < dIn; k++) four[4 * k + r] = x.data[at + k];
  let o = 0;
  for (; o + 2 <= dOut; o += 2) {
    let a0 = bias ? bias[o] : 0;
    let b0 = bias ? bias[o + 1] : 0;
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let b1 = b0;
    let b2 = b0;
    let b3 = b0;
    const first = o * dIn;
    const second = first + dIn;
    for (let k = 0, at = 0; k < dIn; k++, at += 4) {
      const u = w[first + k];
      const v = w[second + k];
      const x0 = four[at];
      const x1 = four[at + 1];
      const x2 = four[at + 2];
      const x3 = four[at + 3];
      a0 += x0 * u;
      a1 += x1 * u;
      a2 += x2 * u;
      a3 += x3 * u;
      b0 += x0 * v;
      b1 += x1 * v;
      b2 += x2 * v;
      b3 += x3 * v;
    }
    const at = row * dOut + o;
    out[at] = a0;
    out[at + 1] = b0;
    out[at + dOut] = a1;
    out[at + dOut + 1] = b1;
    out[at + 2 * dOut] = a2;
    out[at + 2 * dOut + 1] = b2;
    out[at + 3 * dOut] = a3;
    out[at + 3 * dOut + 1] = b3;
  }
  if (o < dOut) for (let r = row; r < row + 4; r++) out[r * dOut + o] = dot(x.data, r * dIn, w, o * dIn, dIn) + (bias ? bias[o] : 0);
}

function oneRow(x, row, weight, bias, y) {
  const [dIn, dOut] = [x.columns, weight.rows];
  for (let o = 0; o < dOut; o++) y.data[row * dOut + o] = dot(x.data, row * dIn, weight.data, o * dIn, dIn) + (bias ? bias[o] : 0);
}

/** Σ a[i]·b[j], `n` of each from a place on. Four sums, for one would wait for itself. */
export function dot(a, i, b, j, n) {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let k = 0;
  for (; k + 4 <= n; k += 4) {
    s0 += a[i + k] * b[j + k];
    s1 += a[i + k + 1] * b[j + k + 1];
    s2 += a[i + k + 2] * b[j + k + 2];
    s3 += a[i + k + 3] * b[j + k + 3];
  }
  for (; k < n; k++) s0 += a[i + k] * b[j + k];
  return s0 + s1 + (s2 + s3);
}

/** (x − mean) / √(variance + ε) · g + b, of each row. Source: Ba et al. 2016. @param {Matrix} x @param {Norm} norm @param {number} eps */
export function layerNorm(x, { weight, bias }, eps) {
  const y = matrix(x.rows, x.columns);
  const d = x.columns;
  for (let at = 0; at < x.data.length; at += d) {
    let mean = 0;
    for (let k = 0; k < d; k++) mean += x.data[at + k] / d;
    let variance = 0;
    for (let k = 0; k < d; k++) variance += (x.data[at + k] - mean) ** 2 / d;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let k = 0; k < d; k++) y.data[at + k] = (x.data[at + k] - mean) * scale * (weight ? weight[k] : 1) + (bias ? bias[k] : 0);
  }
  return y;
}

/** x / √(mean of x² + ε) · g, of each row. Source: Zhang and Sennrich 2019. @param {Matrix} x @param {Norm} norm @param {number} eps */
export function rmsNorm(x, { weight }, eps) {
  const y = matrix(x.rows, x.columns);
  const d = x.columns;
  for (let at = 0; at < x.data.length; at += d) {
    const scale = 1 / Math.sqrt(dot(x.data, at, x.data, at, d) / d + eps);
    for (let k = 0; k < d; k++) y.data[at + k] = x.data[at + k] * scale * (weight ? weight[k] : 1);
  }
  return y;
}

/** Scores to weights, in place: e^score over their sum; a row of −∞ becomes 0. @param {Float32Array} row @param {number} [sink] the score of one more column, which is left out */
export function softmax(row, sink = -Infinity) {
  let top = sink;
  for (const score of row) if (score > top) top = score;
  if (top === -Infinity) return row.fill(0);
  let sum = Math.exp(sink - top);
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j] - top);
  for (let j = 0; j < row.length; j++) row[j] /= sum;
  return row;
}

/** The k largest, the largest first; of equals the first. @param {ArrayLike<number>} values @param {number} k @returns {number[]} their indices */
export function likeliest(values, k) {
  const best = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === k && values[i] <= values[best[k - 1]]) continue;
    let at = best.length;
    while (at && values[best[at - 1]] < values[i]) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}

/** The length of each row. @param {Matrix} x @returns {Float32Array} */
export const lengths = (x) =>
  Float32Array.from({ length: x.rows }, (_, i) => Math.sqrt(dot(x.data, i * x.columns, x.data, i * x.columns, x.columns)));

/** Source: Numerical Recipes, 6.2; right to 1.2e-7, a last bit of 32. */
export function erf(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const inner = t * (-0.82215223 + t * 0.17087277);
  const series = t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + inner))))));
  const rest = t * Math.exp(-x * x - 1.26551223 + t * (1.00002368 + series));
  return x >= 0 ? 1 - rest : rest - 1;
}

const silu = (x) => x / (1 + Math.exp(-x));

/** @type {Record<string, (x: number) => number>} */
export const ACTIVATIONS = {
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(0, x),
  relu2: (x) => Math.max(0, x) ** 2,
  silu,
  swiglu: silu, // its gate's
};
