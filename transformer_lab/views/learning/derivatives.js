// The derivatives of tensors.js, one function for each of its own: from dy, what the loss changes by
// with each number of y, to dx. Gradients of weights are added to those that are there.

import { linear, matrix, transposed } from "../engine/tensors.js";

/**
 * @typedef {import("../engine/tensors.js").Matrix} Matrix
 * @typedef {import("../engine/tensors.js").Linear} Linear
 * @typedef {import("../engine/tensors.js").Norm} Norm
 */

/**
 * y = x·Wᵀ + b:  dW += dyᵀ·x,  db += Σ dy,  dx = dy·W.
 * @param {Matrix} dy @param {Matrix} x @param {Linear} layer @param {Linear} gradient
 * @returns {Matrix} dx
 */
export function linearBackward(dy, x, { weight }, gradient) {
  const { bias } = gradient;
  if (bias) for (let at = 0; at < dy.data.length; ) for (let o = 0; o < bias.length; o++) bias[o] += dy.data[at++];
  addTo(gradient.weight, linear(transposed(dy), { weight: transposed(x), bias: null }));
  return linear(dy, { weight: transposed(weight), bias: null });
}

/** In place. @param {Matrix} sum @param {Matrix} x */
export function addTo(sum, x) {
  const [to, from] = [sum.data, x.data];
  for (let i = 0; i < to.length; i++) to[i] += from[i];
}

/**
 * y = n · g + b with n = (x − mean) · s, of each row:  dn = dy · g,  dx = s · (dn − mean dn − n · mean(dn · n)).
 * @param {Matrix} dy @param {Matrix} x @param {Norm} norm @param {Norm} gradient @param {{norm: string, norm_eps: number}} config
 */
export function normBackward(dy, x, { weight }, gradient, { norm, norm_eps: eps }) {
  const d = x.columns;
  const dx = matrix(x.rows, d);
  const [n, dn] = [new Float64Array(d), new Float64Array(d)];
  const mean = (f) => {
    let sum = 0;
    for (let k = 0; k < d; k++) sum += f(k);
    return sum / d;
  };
  for (let at = 0; at < x.data.length; at += d) {
    const middle = norm === "rms" ? 0 : mean((k) => x.data[at + k]);
    const s = 1 / Math.sqrt(mean((k) => (x.data[at + k] - middle) ** 2) + eps);
    for (let k = 0; k < d; k++) {
      n[k] = (x.data[at + k] - middle) * s;
      dn[k] = dy.data[at + k] * (weight ? weight[k] : 1);
      if (gradient.weight) gradient.weight[k] += dy.data[at + k] * n[k];
      if (gradient.bias) gradient.bias[k] += dy.data[at + k];
    }
    const shared = norm === "rms" ? 0 : mean((k) => dn[k]);
    const along = mean((k) => dn[k] * n[k]);
    for (let k = 0; k < d; k++) dx.data[at + k] = s * (dn[k] - shared - n[k] * along);
  }
  return dx;
}

/** dy · f′(x), in the place of dy. @param {Matrix} dy @param {Matrix} x @param {Matrix} y f(x) @param {string} activation */
export function activationBackward(dy, x, y, activation) {
  const slope = SLOPES[activation];
  for (let i = 0; i < x.data.length; i++) dy.data[i] *= slope(x.data[i], y.data[i]);
  return dy;
}

const siluSlope = (x, y) => (x ? (y / x) * (1 + x - y) : 0.5); // y/x is the sigmoid

/** @type {Record<string, (x: number, y: number) => number>} */
const SLOPES = {
  gelu: (x, y) => (x ? y / x : 0.5) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI), // y/x is Φ(x)
  gelu_tanh(x, y) {
    const share = x ? y / x : 0.5; // (1 + tanh u) / 2
    return share + 2 * x * share * (1 - share) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
  },
  relu: (x) => (x > 0 ? 1 : 0),
  relu2: (x) => 2 * Math.max(0, x),
  silu: siluSlope,
  swiglu: siluSlope, // its gate's
};
