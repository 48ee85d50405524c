// The arithmetic of a model: matrices of 32-bit floats, row by row; sums are taken in 64 bits.

/**
 * @typedef {object} Matrix
 * @property {number} rows
 * @property {number} columns
 * @property {Float32Array} data
 */

/** @param {number} rows @param {number} columns @param {Float32Array} [data] @returns {Matrix} */
export const matrix = (rows, columns, data = new Float32Array(rows * columns)) => ({
  rows,
  columns,
  data,
});

/** @param {Matrix} x */
export const copyOf = (x) => matrix(x.rows, x.columns, x.data.slice());

/** Stack y below x. @param {Matrix} x @param {Matrix} y */
export function stacked(x, y) {
  const both = matrix(x.rows + y.rows, x.columns);
  both.data.set(x.data);
  both.data.set(y.data, x.data.length);
  return both;
}

/** Put the columns of each head of x and of y side by side. @param {Matrix} x @param {Matrix} y @param {number} heads */
export function beside(x, y, heads) {
  const both = matrix(x.rows, x.columns + y.columns);
  const [left, width] = [x.columns / heads, both.columns / heads];
  for (let i = 0; i < x.rows * heads; i++) {
    both.data.set(x.data.subarray(i * left, (i + 1) * left), i * width);
    both.data.set(y.data.subarray(i * (width - left), (i + 1) * (width - left)), i * width + left);
  }
  return both;
}

/** Turn scores into weights, in place: e^score over their sum; a row of −∞ becomes 0. @param {Float32Array} row @param {number} [sink] the score of an additional column, which is not returned */
export function softmax(row, sink = -Infinity) {
  let top = sink;
  for (const score of row) if (score > top) top = score;
  if (top === -Infinity) return row.fill(0);
  let sum = Math.exp(sink - top);
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j] - top);
  for (let j = 0; j < row.length; j++) row[j] /= sum;
  return row;
}

/** The k largest values, the largest first; ties go to the lower index. @param {ArrayLike<number>} values @param {number} k @returns {number[]} their indices */
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

/** Source: Numerical Recipes, 6.2; accurate to 1.2e-7, the last bit of a 32-bit float. */
export function erf(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const inner = t * (-0.82215223 + t * 0.17087277);
  const series =
    t *
    (0.37409196 +
      t *
        (0.09678418 +
          t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + inner))))));
  const rest = t * Math.exp(-x * x - 1.26551223 + t * (1.00002368 + series));
  return x >= 0 ? 1 - rest : rest - 1;
}

/** @type {Record<string, (x: number) => number>} */
export const ACTIVATIONS = {
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};
