// How one logit comes together: what each head carries from token to token toward it. Every norm is held
// at the scale that it had, every map is held, and what an mlp writes is taken as it is, so that the logit
// is a sum over all ways from an embedding or an mlp through the heads. As in hub/flows.py. Source: Elhage
// et al. 2021; Ferrando and Voita 2024.

import { keyHead } from "./attention.js";
import { logProbabilities } from "./predictions.js";
import { add, dot, likeliest, linear, matrix, transposed } from "./tensors.js";

const SENT = 300; // edges of one flow
const ANSWERED = 5;
const SUM_APART = 2e-4; // how far the sum may be off, beside the largest logit

/** @typedef {import("./tensors.js").Matrix} Matrix */

/**
 * @param {import("./desk.js").Reading} reading
 * @param {{edits?: any[], position: number, token?: number | null, against?: number | null}} given token: by
 *   default the likeliest without edits; against: the difference of the two logits is followed
 */
export function* tokenFlow(reading, { edits = [], position, token: asked = null, against = null }) {
  const { model, name } = reading.text;
  if (model.both) throw refusal(`${name} has several stacks, and a flow to a logit needs a single one`);
  if (!model.weights.head) throw refusal(`${name} has no head that predicts tokens`);
  if (model.weights.transform) throw refusal(`${name} has an activation before its head`);
  const clean = yield* reading.pass([]);
  const pass = edits.length ? yield* reading.pass(edits) : clean;
  const [before, after] = [clean, pass].map((one) => logProbabilities(one.logits([position]).data));
  const most = likeliest(before, 1)[0];
  const token = asked ?? most;
  for (const [what, id] of /** @type {[string, number | null][]} */ ([["token", token], ["against", against]])) {
    if (id !== null && !(Number.isInteger(id) && id >= 0 && id < before.length)) throw new Error(`${what}=${id} is outside the ${before.length} tokens of the vocabulary`);
  }
  const found = yield* flowTo(pass, position, token, against);
  const shown = [...new Set([token, ...likeliest(after, ANSWERED)])].slice(0, ANSWERED);
  const answers = shown.map((id) => ({ id, before: Math.exp(before[id]), after: Math.exp(after[id]) }));
  return { ...found, token, most, against, before: Math.exp(before[token]), after: Math.exp(after[token]), answers };
}

const refusal = (why) => new Error(`the flow to a logit cannot be computed: ${why}`);

/** @param {import("./pass.js").Pass} pass @param {number} position @param {number} token @param {number | null} against */
function* flowTo(pass, position, token, against) {
  const { model } = pass;
  const { config, weights } = model;
  const kind = model.defaultKind;
  const layers = model.layersOf(kind);
  const [n, d] = [pass.inputs.tokens.length, config.d_model];
  const slope = matrix(n, d); // of the logit, to what stands at each token
  let constant = 0;
  for (const [id, sign] of against === null ? [[token, 1]] : [[token, 1], [against, -1]]) {
    for (let k = 0; k < d; k++) slope.data[position * d + k] += sign * weights.head.weight.data[id * d + k];
    constant += sign * (weights.head.bias?.[id] ?? 0);
  }
  const logit = constant + dot(pass.rowAt(position), 0, slope.data, position * d, d);
  const held = (dy, x, norm) => {
    constant += along(norm.bias, dy);
    return heldBackward(dy, x, norm, config);
  };
  const { blocks, norm: closing } = model.stackOf(kind);
  let dx = closing ? held(slope, pass.last(), closing) : slope;
  const stream = [standing(pass.last(), dx)];
  const [stays, mlps, edges] = [[], [], []];
  for (let layer = layers - 1; layer >= 0; layer--) {
    const block = blocks[layer];
    const at = (name) => pass.streamAt(name, kind, layer);
    const mlp = at("mlp_out");
    if (mlp && !config.norm_first) dx = held(dx, add(at("resid_mid"), mlp), block.norm3);
    const wrote = mlp ? standing(mlp, dx) : new Float32Array(n);
    if (!config.norm_first) dx = held(dx, add(at("resid_pre"), at("attn_out")), block.norm1);
    constant += along(block.attention.out.bias, dx);
    const carried = yield* carriedBy(pass, kind, layer, linear(dx, { weight: transposed(block.attention.out.weight), bias: null }));
    constant += along(block.attention.value.bias, carried.slope);
    const back = linear(carried.slope, { weight: transposed(block.attention.value.weight), bias: null });
    dx = add(dx, config.norm_first ? held(back, at("resid_pre"), block.norm1) : back);
    const here = standing(at("resid_pre"), dx);
    stays.unshift(stream[0].map((x, q) => x - carried.into[q] - wrote[q]));
    stream.unshift(here);
    mlps.unshift(wrote);
    edges.unshift(carried);
  }
  const sum = [stream[0], ...mlps].reduce((whole, part) => part.reduce((a, b) => a + b, whole), constant);
  const size = pass.logits([position]).data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (!(Math.abs(sum - logit) <= SUM_APART * Math.max(size, Math.abs(logit)))) throw refusal(`the ways through the heads do not sum to the logit (off by ${Math.abs(sum - logit).toPrecision(2)})`);
  return { logit, constant, ...largest(edges), stream, stays, mlps };
}

/** Of a norm whose scale is held at that of x: what the logit changes by with x, from what it changes by with the norm. @param {Matrix} dy @param {Matrix} x @param {any} norm @param {Record<string, any>} config */
function heldBackward(dy, x, { weight }, { norm, norm_eps: eps }) {
  const d = x.columns;
  const dx = matrix(x.rows, d);
  const centred = norm === "layer";
  const mean = (f) => {
    let sum = 0;
    for (let k = 0; k < d; k++) sum += f(k);
    return sum / d;
  };
  for (let at = 0; at < x.data.length; at += d) {
    const middle = centred ? mean((k) => x.data[at + k]) : 0;
    const scale = 1 / Math.sqrt(mean((k) => (x.data[at + k] - middle) ** 2) + eps);
    const own = (k) => dy.data[at + k] * (weight ? weight[k] : 1) * scale;
    const shared = centred ? mean(own) : 0;
    for (let k = 0; k < d; k++) dx.data[at + k] = own(k) - shared;
  }
  return dx;
}

/** What a bias brings at all tokens together. @param {Float32Array | null} bias @param {Matrix} slope */
function along(bias, slope) {
  let sum = 0;
  if (bias) for (let i = 0; i < slope.data.length; i++) sum += bias[i % slope.columns] * slope.data[i];
  return sum;
}

/** What stands at each token, toward the logit. @param {Matrix} x @param {Matrix} slope */
const standing = (x, slope) => Float32Array.from({ length: x.rows }, (_, q) => dot(x.data, q * x.columns, slope.data, q * x.columns, x.columns));

/**
 * What the heads of a layer carry, and what the logit changes by with their values.
 * @param {import("./pass.js").Pass} pass @param {string} kind @param {number} layer @param {Matrix} dz with what they give
 */
function* carriedBy(pass, kind, layer, dz) {
  const { call } = pass.at(kind, layer);
  const { value, dHead } = call;
  const n = value.rows;
  const slope = matrix(n, value.columns);
  const carries = new Float32Array(call.heads * n * n);
  const into = new Float64Array(n);
  for (let head = 0; head < call.heads; head++) {
    const map = pass.pattern(kind, layer, head);
    const v = keyHead(call, head) * dHead;
    for (let q = 0; q < n; q++) {
      for (let k = 0; k < n; k++) {
        const weight = map[q * n + k];
        if (!weight) continue;
        const [from, to] = [q * dz.columns + head * dHead, k * value.columns + v];
        into[q] += carries[(head * n + q) * n + k] = weight * dot(dz.data, from, value.data, to, dHead);
        for (let c = 0; c < dHead; c++) slope.data[to + c] += weight * dz.data[from + c];
      }
    }
    yield null;
  }
  return { layer, n, carries, into, slope };
}

/** The edges that carry most, either way, and how many carry something. */
function largest(all) {
  let [total, count] = [0, 0];
  const candidates = all.flatMap(({ layer, n, carries }) => {
    for (const value of carries) {
      total += value;
      count += value ? 1 : 0;
    }
    const best = likeliest(carries.map(Math.abs), SENT).filter((at) => carries[at]);
    return best.map((at) => ({ place: [layer, Math.floor(at / (n * n)), Math.floor(at / n) % n, at % n], value: carries[at] }));
  });
  const order = likeliest(candidates.map(({ value }) => Math.abs(value)), SENT);
  return { edges: order.map((at) => candidates[at]), total, count };
}
