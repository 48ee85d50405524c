// From gradients to steps, as in transformer_lab/optim.py and training/loop.py.

/**
 * @typedef {object} Recipe
 * @property {number} steps
 * @property {number} lr
 * @property {[number, number]} betas
 * @property {number} eps
 * @property {number} decay of weights with two axes; gains and biases have none
 * @property {"cosine" | "constant"} schedule
 * @property {number | null} clip the largest norm of all gradients together
 */

/** tl.optim.AdamW's own. */
export const RECIPE = { lr: 3e-3, betas: [0.9, 0.98], eps: 1e-8, decay: 0.01, schedule: "cosine", clip: 1 };

/** What the learning rate is multiplied by: up over the first tenth of the steps, 100 at most, then half a cosine down. @param {Recipe} recipe @param {number} update from 0 */
export function rateAt({ steps, schedule }, update) {
  const warmup = Math.min(100, Math.floor(steps / 10));
  if (update < warmup) return (update + 1) / warmup;
  if (schedule === "constant") return 1;
  return (1 + Math.cos(Math.PI * Math.min(1, (update - warmup) / Math.max(1, steps - warmup)))) / 2;
}

/** Gradients no longer than `clip` together, in place; how long they were. @param {Map<string, {data: Float32Array}>} gradients @param {number | null} clip */
export function clipped(gradients, clip) {
  let squares = 0;
  for (const { data } of gradients.values()) for (let i = 0; i < data.length; i++) squares += data[i] * data[i];
  const norm = Math.sqrt(squares);
  if (clip === null || norm <= clip) return norm;
  const scale = clip / (norm + 1e-6);
  for (const { data } of gradients.values()) for (let i = 0; i < data.length; i++) data[i] *= scale;
  return norm;
}

/** Adam with decoupled weight decay. Source: Loshchilov and Hutter 2019. */
export class AdamW {
  /** @param {Map<string, {shape: number[], data: Float32Array}>} weights changed in place @param {Recipe} recipe */
  constructor(weights, recipe) {
    Object.assign(this, { weights, recipe });
    this.updates = 0;
    const zeros = () => new Map([...weights].map(([name, { data }]) => [name, new Float32Array(data.length)]));
    this.mean = zeros();
    this.square = zeros();
  }

  /**
   * m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²,  w ← (1 − lr·decay)·w − lr · m̂ / (√v̂ + ε).
   * @param {Map<string, {data: Float32Array}>} gradients
   * @returns {number} the learning rate
   */
  step(gradients) {
    const { betas: [first, second], eps, decay } = this.recipe;
    const lr = this.recipe.lr * rateAt(this.recipe, this.updates++);
    const [m1, v1] = [1 - first ** this.updates, 1 - second ** this.updates]; // m and v began at 0
    for (const [name, { shape, data: w }] of this.weights) {
      const g = /** @type {{data: Float32Array}} */ (gradients.get(name)).data;
      const m = /** @type {Float32Array} */ (this.mean.get(name));
      const v = /** @type {Float32Array} */ (this.square.get(name));
      const keep = shape.length >= 2 ? 1 - lr * decay : 1;
      for (let i = 0; i < w.length; i++) {
        m[i] = first * m[i] + (1 - first) * g[i];
        v[i] = second * v[i] + (1 - second) * g[i] * g[i];
        w[i] = keep * w[i] - (lr * (m[i] / m1)) / (Math.sqrt(v[i] / v1) + eps);
      }
    }
    return lr;
  }
}
