// A model: its graph over its weights, and what Python says about it.

import { Analyses } from "./analyses.js";
import { ANALYSES } from "./analysis_graphs.js";
import { Graph, UnknownGraph } from "./graph.js";
import { Pass } from "./pass.js";
import { Weights } from "./workspace.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 *
 * @typedef {object} About what Python says about the model besides its graph
 * @property {string} kind
 * @property {Record<string, number>} layers by kind of attention
 * @property {number} n_heads
 * @property {number} n_kv_heads
 * @property {number} n_ctx
 * @property {number | null} vocab_size null: not known
 * @property {number | null} target_vocab_size
 * @property {Record<string, string>} lacking points of the stream that it does not expose,
 *   "kind.name", and why
 * @property {Record<string, number[]>} pairs dimensions of queries that rotate together, by
 *   "kind/layer"
 * @property {Record<string, any>} walks by block, "kind/layer": what a walk through it reads, or
 *   why there is none
 * @property {Record<string, {weight: string, shape: number[], strides: number[]}>} w_o W_O by "kind/layer"
 * @property {Record<string, Record<string, Writers>>} sources components that write what heads
 *   read, by kind and side ("query", "key")
 * @property {Record<string, string>} refused which of "flow" and "sources" are not available, and
 *   why
 *
 * @typedef {{names: string[], short: string[], counts: Record<string, number>}} Writers layer by
 *   layer, biases last; counts: how many of them each layer reads
 */

const HELD = 4; // passes that later ones may start from

export class GraphModel {
  /**
   * @param {About} config
   * @param {import("./graph.js").Description} description
   * @param {Map<string, any>} tensors {shape, data}, with `scale` for those in 8 bits
   * @param {Record<string, import("./graph.js").Description>} [analyses] other graphs over the same weights
   */
  constructor(config, description, tensors, analyses = {}) {
    this.config = { ...config, vocab_size: config.vocab_size ?? Infinity }; // none is refused
    checkWeights(description, tensors);
    const loaded = new Weights(tensors);
    this.graph = new Graph(description, loaded);
    this.analyses = new Analyses({ ...ANALYSES, ...analyses }, loaded);
    this.weights = { head: "logits" in description.results };
    /** @type {Pass[]} the oldest first */
    this.held = [];
  }

  /**
   * Run one of the other graphs that the page carries.
   * @param {string} name
   * @param {Record<string, any>} inputs numbers, or {shape, data}
   * @param {string[] | null} [wanted] the only results that are computed
   * @returns {Generator<null, Map<string, {shape: number[], data: Float32Array}>>} results by name
   */
  analysing(name, inputs, wanted = null) {
    return this.analyses.steps(name, inputs, wanted);
  }

  /** Like `analysing`, in one go. @param {string} name @param {Record<string, any>} inputs @returns {Record<string, import("./analyses.js").Numbers>} */
  analysis(name, inputs) {
    return Object.fromEntries(this.analyses.run(name, inputs));
  }

  /**
   * W_O of a head, [1, dValue, d_model], as an input of a graph over the model's weights; null
   * unless a single matrix follows the heads.
   * @param {string} kind @param {number} layer @param {number} heads of the layer @param {number} head
   */
  outputOf(kind, layer, heads, head) {
    const view = this.config.w_o[`${kind}/${layer}`];
    if (!view) return null;
    const {
      weight,
      shape: [rows, columns],
      strides: [row, column],
    } = view;
    const { on, loaded } = this.graph;
    return () => {
      const kept = loaded.at(weight);
      const wide = kept.store.scale ? on.widened(kept) : kept;
      return on.view(
        wide,
        [1, rows / heads, columns],
        [rows * row, row, column],
        wide.at + head * (rows / heads) * row,
      );
    };
  }

  get both() {
    return this.config.kind === "encoder-decoder";
  }

  /** Kinds of attention; `defaultKind` is meant where none is named. */
  get kinds() {
    return this.both ? ["encoder", "decoder", "cross"] : [this.config.kind];
  }

  get defaultKind() {
    return this.config.kind === "encoder" ? "encoder" : "decoder";
  }

  /** @param {string} kind */
  layersOf(kind) {
    return this.config.layers[kind];
  }

  /** Index of a block in a pass; an encoder's blocks come first. @param {string} kind @param {number} layer */
  turnOf(kind, layer) {
    return layer + (this.both && kind !== "encoder" ? this.layersOf("encoder") : 0);
  }

  /** Logits from a residual stream after the last block: [row, vocab]. @param {Matrix} x */
  read(x) {
    const { nodes, tail } = this.graph.description;
    const node = nodes.find(([, name]) => name === tail);
    if (!node?.[0].endsWith(".point"))
      throw new Error(
        "the graph of this page does not make logits of each row of the stream by itself, so that there is no logit lens",
      );
    return this.graph.read(x);
  }

  /** @param {import("./pass.js").Inputs} inputs @param {any[]} [edits] @param {import("./pass.js").Options} [options] */
  run(inputs, edits = [], options = {}) {
    const pass = new Pass(this, inputs, edits, options);
    for (const _ of pass.steps());
    return pass;
  }

  /** Keep a pass for later ones to start from: the latest, and the one without edits. @param {Pass} pass */
  hold(pass) {
    this.held.push(pass);
    if (this.held.length <= HELD) return;
    const at = Math.max(
      0,
      this.held.findIndex((one) => one.edits.list.length > 0),
    );
    const [old] = this.held.splice(at === this.held.length - 1 ? 0 : at, 1);
    old.release();
  }

  /** Drop the passes of a text. @param {import("./pass.js").Inputs} inputs */
  forget(inputs) {
    for (const pass of this.held) if (pass.inputs === inputs) pass.release();
    this.held = this.held.filter((pass) => pass.inputs !== inputs);
  }

  /** @param {number[]} ids @param {"encoder" | "decoder"} [kind] */
  check(ids, kind = this.defaultKind) {
    const { vocab_size: source, target_vocab_size: target } = this.config;
    const side = this.both && kind === "decoder" ? "target" : "tokens";
    const size = side === "target" ? (target ?? source) : source;
    if (!ids.length) throw new Error("tokens is empty; give at least one token");
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= size);
    if (strange !== undefined)
      throw new Error(`token ${strange} is outside the vocabulary of ${size} tokens`);
    this.checkLength(ids.length, side);
    const [, most] = this.graph.description.lengths[side];
    if (ids.length > most)
      throw new Error(
        `the text has ${ids.length} tokens but this model reads at most ${most}; shorten it`,
      );
  }

  /** Refuse a length that the graph is not valid for, although the model may read it. @param {number} n @param {string} side "tokens" or "target" */
  checkLength(n, side) {
    const [shortest, longest] = this.graph.description.lengths[side];
    if (n >= shortest && (n <= longest || shortest < longest)) return;
    const wanted = shortest === longest ? `exactly ${shortest}` : `at least ${shortest}`;
    throw new Error(`the text has ${n} tokens, and in this page the model reads ${wanted}`);
  }
}

/** @param {import("./graph.js").Description} description @param {Map<string, {shape: number[]}>} tensors @throws {UnknownGraph} */
function checkWeights({ weights }, tensors) {
  for (const [name, { shape }] of Object.entries(weights)) {
    const found = tensors.get(name)?.shape;
    if (!found) throw new UnknownGraph(`${name} is missing in the weights of this page`);
    if (String(found) !== String(shape))
      throw new UnknownGraph(`${name} is [${found}] in the weights and [${shape}] in the graph`);
  }
}
