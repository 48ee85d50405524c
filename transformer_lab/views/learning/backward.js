// The backward pass: from the loss to every weight, through the same blocks that a pass went through,
// last to first. What pass.js kept is read, and what it did not is computed again. Each function stands
// for one of block.js and model.js.

import { normOf } from "../engine/block.js";
import { ACTIVATIONS, add, copyOf, each, linear, matrix } from "../engine/tensors.js";
import { relativeBucket } from "../positions/math.js";
import { headsBackward } from "./attention_backward.js";
import { activationBackward, addTo, linearBackward, normBackward } from "./derivatives.js";

/** @typedef {import("../engine/tensors.js").Matrix} Matrix */

/**
 * Adds the gradient of every weight to `gradients`.
 * @param {import("../engine/pass.js").Pass} pass over one text, without edits
 * @param {Matrix} logits of all its positions
 * @param {Matrix} dLogits
 * @param {any} gradients a tree as the model's weights are
 */
export function backward(pass, logits, dLogits, gradients) {
  const { model, inputs } = pass;
  const kind = model.defaultKind;
  const dHidden = headBackward(model, pass.hidden, logits, dLogits, gradients);
  const dMemory = model.both ? matrix(pass.memory.rows, pass.memory.columns) : null;
  const dx = stackBackward(pass, kind, dHidden, gradients, dMemory);
  embeddingBackward(model, kind, model.both ? inputs.target : inputs.tokens, dx, gradients);
  if (!dMemory) return;
  embeddingBackward(model, "encoder", inputs.tokens, stackBackward(pass, "encoder", dMemory, gradients, null), gradients);
}

function headBackward({ config, weights }, hidden, logits, dLogits, gradients) {
  const cap = config.logit_softcap;
  const dy = copyOf(dLogits);
  if (cap !== null) for (let i = 0; i < dy.data.length; i++) dy.data[i] *= 1 - (logits.data[i] / cap) ** 2;
  const { transform } = weights;
  if (!transform) return linearBackward(dy, hidden, weights.head, gradients.head);
  const inner = linear(hidden, transform);
  const active = each(copyOf(inner), ACTIVATIONS[config.activation]);
  const normed = normOf(config)(active, transform.norm);
  const dNormed = linearBackward(dy, normed, weights.head, gradients.head);
  const dActive = normBackward(dNormed, active, transform.norm, gradients.transform.norm, config);
  return linearBackward(activationBackward(dActive, inner, active, config.activation), hidden, transform, gradients.transform);
}

function stackBackward(pass, kind, dy, gradients, dMemory) {
  const { model } = pass;
  const [stack, own] = [model.stackOf(kind), gradients[kind]];
  const layers = stack.blocks.length;
  let dx = stack.norm ? normBackward(dy, pass.streamAt("resid_post", kind, layers - 1), stack.norm, own.norm, model.config) : dy;
  for (let layer = layers - 1; layer >= 0; layer--) dx = blockBackward(pass, kind, layer, dx, gradients, dMemory);
  return dx;
}

function blockBackward(pass, kind, layer, dy, gradients, dMemory) {
  const { model } = pass;
  const { config } = model;
  const [weights, own] = [model.stackOf(kind).blocks[layer], gradients[kind].blocks[layer]];
  const at = (name) => pass.streamAt(name, kind, layer);
  const { attention } = pass.kept[model.turnOf(kind, layer)];

  /** x + f(norm(x)), or norm(x + f(x)), backwards. `inner` is f's derivative, given what f was given. */
  const part = (name, x, added, dSum, inner) => {
    if (config.norm_first) return add(dSum, normBackward(inner(dSum, normOf(config)(x, weights[name])), x, weights[name], own[name], config));
    const d = normBackward(dSum, add(x, added), weights[name], own[name], config);
    return add(d, inner(d, x));
  };
  const heads = (name, call, d, made, how) => {
    const dz = linearBackward(d, attention[call].edited, weights[name].out, own[name].out);
    return headsBackward(dz, attention[call].call, made, weights[name], own[name], { config, ...how });
  };

  let dx = dy;
  if (weights.feedForward) dx = part("norm3", at("resid_mid"), at("mlp_out"), dx, (d, h) => feedForwardBackward(weights.feedForward, own.feedForward, config, d, h));
  if (weights.cross) {
    dx = part("norm2", attention.cross.x, at("cross_out"), dx, (d, h) => {
      const found = heads("cross", "cross", d, { x: h, source: pass.memory }, { positions: null });
      for (const y of found.source) addTo(dMemory, y);
      return found.x;
    });
  }
  return part("norm1", at("resid_pre"), at("attn_out"), dx, (d, h) => {
    const how = { positions: model.positions[kind], biased: biasBackward(config, gradients, kind) };
    const found = heads("attention", kind, d, { x: h, source: h }, how);
    return found.source.reduce(add, found.x);
  });
}

function feedForwardBackward({ up, gate, down }, own, { activation }, dy, x) {
  const inner = linear(x, up);
  const closed = gate ? linear(x, gate) : inner;
  const active = each(copyOf(closed), ACTIVATIONS[activation]);
  const dProduct = linearBackward(dy, gate ? times(inner, active) : active, down, own.down);
  const dClosed = activationBackward(gate ? times(dProduct, inner) : dProduct, closed, active, activation);
  if (!gate) return linearBackward(dClosed, x, up, own.up);
  return add(linearBackward(times(dProduct, active), x, up, own.up), linearBackward(dClosed, x, gate, own.gate));
}

/** What a score's bias is read from: a table of distances, where there is one. */
function biasBackward(config, gradients, kind) {
  const { name, buckets, max_distance: most } = config.positions;
  if (name !== "relative") return undefined;
  const table = gradients.positions[kind];
  return (head, distance, dS) => {
    table.data[relativeBucket(distance, kind === "decoder", buckets, most) * table.columns + head] += dS;
  };
}

function embeddingBackward(model, kind, ids, dy, gradients) {
  const { config, weights } = model;
  const d = config.d_model;
  const dx = weights.embeddingNorm ? normBackward(dy, model.summed(kind, ids, 0), weights.embeddingNorm, gradients.embeddingNorm, config) : dy;
  const table = model.both && kind === "decoder" ? gradients.target : gradients.embedding;
  const scale = config.scale_embedding ? Math.sqrt(d) : 1;
  ids.forEach((id, i) => {
    for (let k = 0; k < d; k++) {
      const g = dx.data[i * d + k];
      table.data[id * d + k] += scale * g;
      if (gradients.tokenTypes) gradients.tokenTypes.data[k] += g; // segment 0
      if (gradients.positions.table) gradients.positions.table.data[i * d + k] += g;
    }
  });
}

const times = (x, y) => matrix(x.rows, x.columns, x.data.map((v, i) => v * y.data[i]));
