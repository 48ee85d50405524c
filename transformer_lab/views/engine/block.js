// One layer: attention, then a feed-forward layer, each with a residual connection and a norm.

import { keysOf, queriesOf } from "./attention.js";
import { ACTIVATIONS, add, each, layerNorm, linear, rmsNorm } from "./tensors.js";

/** @typedef {import("./tensors.js").Matrix} Matrix */

/**
 * @param {any} config
 * @returns {(x: Matrix, norm: import("./tensors.js").Norm) => Matrix}
 */
export const normOf = (config) => (x, norm) => (config.norm === "rms" ? rmsNorm : layerNorm)(x, norm, config.norm_eps);

/**
 * With the norms first the residual stream itself is never normalised: x + f(norm(x)). With the norms
 * last it is the paper's norm(x + f(x)).
 * @param {any} weights of this block
 * @param {any} config
 * @param {Matrix} x [position, d_model]
 * @param {object} context
 * @param {import("./positions.js").Positions} context.positions
 * @param {number} context.start where the first of these tokens stands
 * @param {Matrix | null} context.memory the encoder's, for cross-attention
 * @param {import("./pass.js").Pass} pass sees what passes, and may change it
 * @returns {Matrix}
 */
export function block(weights, config, x, { positions, start, memory }, pass) {
  const norm = normOf(config);
  const before = (y, own) => (config.norm_first ? norm(y, own) : y);
  const plus = (y, part, name, own) => {
    const sum = add(y, pass.stream(name, part));
    return config.norm_first ? sum : norm(sum, own);
  };

  x = pass.stream("resid_pre", x);
  const all = x;
  const own = { positions, start };
  const h = once(() => before(all, weights.norm1));
  const z = pass.attention(all, all, () => queriesOf(weights.attention, config, h(), own), () => keysOf(weights.attention, config, h(), own));
  x = plus(pass.wanted(x), linear(z, weights.attention.out), "attn_out", weights.norm1);
  if (weights.cross) {
    const [mid, other] = [x, { positions: null, start }];
    const y = pass.attention(mid, memory, () => queriesOf(weights.cross, config, before(mid, weights.norm2), other), () => keysOf(weights.cross, config, memory, other));
    x = plus(x, linear(y, weights.cross.out), "cross_out", weights.norm2);
  }
  x = pass.stream("resid_mid", x);
  if (weights.feedForward) x = plus(x, feedForward(weights.feedForward, config, before(x, weights.norm3)), "mlp_out", weights.norm3);
  return pass.stream("resid_post", x);
}

/** @template T @param {() => T} make @returns {() => T} */
function once(make) {
  let made;
  return () => (made ??= make());
}

/** down of what the hidden units give. */
const feedForward = (weights, config, x) => linear(hiddenOf(weights, config, x), weights.down);

/** activation(up(x)), or with SwiGLU silu(gate(x)) · up(x). Source: Shazeer 2020. @param {any} weights @param {any} config @param {Matrix} x */
export function hiddenOf({ up, gate }, { activation }, x) {
  const inner = linear(x, up);
  if (!gate) return each(inner, ACTIVATIONS[activation]);
  const open = each(linear(x, gate), ACTIVATIONS[activation]);
  for (let i = 0; i < inner.data.length; i++) inner.data[i] *= open.data[i];
  return inner;
}
