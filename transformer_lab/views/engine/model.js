// One Transformer: an encoder, a decoder or both, as its config says. transformer_lab/model.py in the
// language of the page: what is computed here is what lessons 01 to 04 write down.

import { normOf } from "./block.js";
import { readConfig, weightsOf } from "./config.js";
import { ModelOfKinds } from "./kinds.js";
import { Pass } from "./pass.js";
import { positionsOf } from "./positions.js";
import { ACTIVATIONS, each, linear, matrix, transposed } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {{tokens: number[], target?: number[] | null, tokenTypes?: number[] | null}} Inputs an encoder-decoder reads both
 */

export class Transformer extends ModelOfKinds {
  /**
   * @param {Record<string, any>} config as in config.json
   * @param {Map<string, {shape: number[], data: Float32Array}>} tensors of model.safetensors
   */
  constructor(config, tensors) {
    super();
    this.config = readConfig(config);
    this.weights = weightsOf(config, tensors);
    this.norm = normOf(config);
    this.positions = Object.fromEntries(["encoder", "decoder"].map((kind) => [kind, positionsOf(config, this.weights.positions, kind === "decoder")]));
  }

  /** @param {string} kind */
  layersOf(kind) {
    return this.stackOf(kind).blocks.length;
  }

  /** The weights of a stack; cross-attention is in the decoder's. @param {string} kind */
  stackOf(kind) {
    return this.weights[kind === "cross" ? "decoder" : kind];
  }

  /** W_O of each head: [head, dHead, d_model]. @param {string} kind @param {number} layer */
  outputOf(kind, layer) {
    const block = this.stackOf(kind).blocks[layer];
    const { weight } = (kind === "cross" ? block.cross : block.attention).out;
    return { shape: [this.config.n_heads, this.config.d_head, weight.rows], data: transposed(weight).data };
  }

  /**
   * Tokens, types and (where the scheme adds them) positions: [position, d_model].
   * @param {"encoder" | "decoder"} kind of the stack that reads them
   * @param {number[]} ids
   * @param {number} start where the first of them stands
   * @param {number[] | null} [types] segments, 0 by default
   */
  embed(kind, ids, start, types = null) {
    const x = this.summed(kind, ids, start, types);
    const { embeddingNorm } = this.weights;
    return embeddingNorm ? this.norm(x, embeddingNorm) : x;
  }

  /** The same before its norm. @param {"encoder" | "decoder"} kind @param {number[]} ids @param {number} start @param {number[] | null} [types] */
  summed(kind, ids, start, types = null) {
    const { config, weights } = this;
    const d = config.d_model;
    const table = this.both && kind === "decoder" ? weights.target : weights.embedding;
    const x = matrix(ids.length, d);
    ids.forEach((id, i) => x.data.set(table.data.subarray(id * d, (id + 1) * d), i * d));
    if (config.scale_embedding) each(x, (v) => v * Math.sqrt(d));
    if (weights.tokenTypes) for (let i = 0; i < x.data.length; i++) x.data[i] += weights.tokenTypes.data[(types?.[Math.floor(i / d)] ?? 0) * d + (i % d)];
    this.positions[kind].embed(x, start);
    return x;
  }

  /** What the model makes of a stream after its last block: [row, vocab]. @param {Matrix} x @param {string} [kind] */
  read(x, kind = this.defaultKind) {
    return this.logits(this.closed(x, kind));
  }

  /** The norm that closes a stack, where norms come first. @param {Matrix} x @param {string} kind */
  closed(x, kind) {
    const { norm } = this.stackOf(kind);
    return norm ? this.norm(x, norm) : x;
  }

  /** @param {Matrix} hidden [row, d_model] @returns {Matrix} [row, vocab] */
  logits(hidden) {
    const { config, weights } = this;
    if (!weights.head) throw new Error("this model was built with head=False, so it has no logits; use hidden(), or build it with head=True");
    if (weights.transform) hidden = this.norm(each(linear(hidden, weights.transform), ACTIVATIONS[config.activation]), weights.transform.norm);
    const logits = linear(hidden, weights.head);
    const cap = config.logit_softcap;
    return cap === null ? logits : each(logits, (v) => cap * Math.tanh(v / cap));
  }

  /** One pass, whose steps are still to be run. @param {Inputs} inputs @param {any[]} edits @param {import("./pass.js").Options} options */
  pass(inputs, edits, options) {
    return new Pass(this, inputs, edits, options);
  }

  /** A whole pass; see `Pass`. @param {Inputs} inputs @param {any[]} [edits] @param {import("./pass.js").Options} [options] */
  run(inputs, edits = [], options = {}) {
    const pass = this.pass(inputs, edits, options);
    for (const _ of pass.steps());
    return pass;
  }

  /**
   * Refuse what is no text for this model.
   * @param {number[]} ids
   * @param {number} [start]
   * @param {"encoder" | "decoder"} [kind]
   */
  check(ids, start = 0, kind = this.defaultKind) {
    const { n_ctx: most, vocab_size: source, target_vocab_size: target } = this.config;
    const size = this.both && kind === "decoder" ? (target ?? source) : source;
    if (!ids.length) throw new Error("tokens is empty; give at least one token");
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= size);
    if (strange !== undefined) throw new Error(`token ${strange} is outside the vocabulary of ${size} tokens`);
    if (start + ids.length > most) {
      throw new Error(
        `the text has ${start + ids.length} tokens but this model's context is n_ctx=${most}; shorten it, or train a model with a larger n_ctx`,
      );
    }
  }
}
