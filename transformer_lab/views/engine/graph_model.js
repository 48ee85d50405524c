// A model that travels as its graph, as the rest of the engine asks for a model: what `Transformer` is for
// our own. What needs weights by their part in an architecture (sources) it refuses.

import { Analyses } from "./analyses.js";
import { Graph, GraphPass } from "./graph.js";
import { matrix } from "./tensors.js";
import { Pass } from "./pass.js";
import { ModelOfKinds } from "./kinds.js";
import { rescaled } from "./safetensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 *
 * @typedef {object} About what Python tells of the model beside its graph
 * @property {string} kind
 * @property {Record<string, number>} layers by kind of attention
 * @property {number} n_heads
 * @property {number} n_kv_heads
 * @property {number} n_ctx
 * @property {number} vocab_size
 * @property {number | null} target_vocab_size
 * @property {string[]} lacking points of the stream that it does not show, "kind.name"
 * @property {Record<string, {weight: string, shape: number[], strides: number[], at: number}>} w_o W_O by "kind/layer"
 */

const HELD = 4; // passes that later ones may begin from

export class GraphModel extends ModelOfKinds {
  /**
   * @param {About} config
   * @param {import("./graph.js").Description} description
   * @param {Map<string, any>} tensors {shape, data}, and `scale` of those in 8 bits
   * @param {Record<string, import("./graph.js").Description>} [analyses] other graphs over the same weights
   */
  constructor(config, description, tensors, analyses = {}) {
    super();
    this.config = { ...config, attention_only: false };
    this.graph = new Graph(description, (name) => /** @type {any} */ (tensors.get(name)));
    this.tensors = tensors;
    this.analyses = new Analyses(analyses, (weight) => /** @type {any} */ (tensors.get(weight)), this.graph);
    this.weights = { head: "logits" in description.results };
    /** @type {GraphModelPass[]} the oldest first */
    this.held = [];
  }

  /**
   * Run one of the other graphs that the page carries.
   * @param {string} name
   * @param {Record<string, any>} inputs numbers, or {shape, data}
   * @returns {Generator<null, Map<string, {shape: number[], data: Float32Array}>>} results by name
   */
  analysing(name, inputs) {
    return this.analyses.steps(name, inputs);
  }

  /** The same at once. @param {string} name @param {Record<string, any>} inputs */
  analysis(name, inputs) {
    return this.analyses.run(name, inputs);
  }

  /** W_O of each head, [head, dValue, d_model]; null where no matrix alone follows the heads. @param {string} kind @param {number} layer @param {number} heads */
  outputOf(kind, layer, heads) {
    const view = this.config.w_o[`${kind}/${layer}`];
    if (!view) return null;
    const kept = this.tensors.get(view.weight);
    const from = kept.scale ? rescaled(kept.shape, kept.data, kept.scale) : kept.data;
    const { shape: [rows, columns], strides: [row, column], at } = view;
    const data = new Float32Array(rows * columns);
    for (let k = 0, to = 0; k < rows; k++) for (let o = 0; o < columns; o++) data[to++] = from[at + k * row + o * column];
    return { shape: [heads, rows / heads, columns], data };
  }

  /** Why it has no parts by name, which some analyses need. */
  get refusal() {
    return "this page carries the model as a graph, in which its parts have no names";
  }

  /** @param {string} kind */
  layersOf(kind) {
    return this.config.layers[kind];
  }

  /** @returns {never} */
  stackOf() {
    throw new Error(this.refusal);
  }

  /** What the model makes of a stream after its last block: [row, vocab]. @param {Matrix} x */
  read(x) {
    const { nodes, tail } = this.graph.description;
    const node = nodes.find(([, name]) => name === tail);
    if (!node?.[0].endsWith(".point")) throw new Error("the graph of this page does not make logits of each row of the stream by itself, so that there is no logit lens");
    return this.graph.read(x);
  }

  /** @param {import("./model.js").Inputs} inputs @param {any[]} edits @param {import("./pass.js").Options} options */
  pass(inputs, edits, options) {
    return new GraphModelPass(this, inputs, edits, options);
  }

  /** @param {import("./model.js").Inputs} inputs @param {any[]} [edits] @param {import("./pass.js").Options} [options] */
  run(inputs, edits = [], options = {}) {
    const pass = this.pass(inputs, edits, options);
    for (const _ of pass.steps());
    return pass;
  }

  /** Later passes begin from the latest ones, and from the one without edits. @param {GraphModelPass} pass */
  hold(pass) {
    this.held.push(pass);
    if (this.held.length <= HELD) return;
    const at = Math.max(0, this.held.findIndex((one) => one.edits.list.length > 0));
    const [old] = this.held.splice(at === this.held.length - 1 ? 0 : at, 1);
    old.inner?.release();
  }

  /** @param {number[]} ids @param {"encoder" | "decoder"} [kind] */
  check(ids, kind = this.defaultKind) {
    const { n_ctx: most, vocab_size: source, target_vocab_size: target } = this.config;
    const size = this.both && kind === "decoder" ? (target ?? source) : source;
    const [shortest, longest] = this.graph.description.lengths[this.both && kind === "decoder" ? "target" : "tokens"];
    if (!ids.length) throw new Error("tokens is empty; give at least one token");
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= size);
    if (strange !== undefined) throw new Error(`token ${strange} is outside the vocabulary of ${size} tokens`);
    if (ids.length > most) throw new Error(`the text has ${ids.length} tokens but this model reads at most ${most}; shorten it`);
    if (ids.length >= shortest && ids.length <= longest) return;
    const wanted = shortest === longest ? `exactly ${shortest}` : `${shortest} to ${longest}`;
    throw new Error(`the text has ${ids.length} tokens, and in this page the model reads ${wanted}`);
  }
}

/** One pass of a graph, with what a pass of our own model has. */
export class GraphModelPass extends Pass {
  /** @param {any} model @param {import("./model.js").Inputs} inputs @param {any[]} edits @param {import("./pass.js").Options} options */
  constructor(model, inputs, edits, options) {
    super(model, inputs, edits, { ...options, place: null });
    /** @type {GraphPass | null} */
    this.inner = null;
    /** A pass over the same text before it grew. @type {GraphModelPass | null} */
    this.before = options.before ?? null;
  }

  *steps() {
    const { model, inputs, edits } = this;
    model.check(inputs.tokens, model.both ? "encoder" : model.defaultKind);
    if (model.both) {
      if (!inputs.target) throw new Error("an encoder-decoder needs target, the decoder's input");
      model.check(inputs.target, "decoder");
    }
    const hooks = {
      call: (call) => edits.call(call),
      heads: (call, z) => edits.heads(call, z),
      stream: (name, kind, layer, x, start) => edits.stream(name, kind, layer, x, start),
    };
    this.inner = new GraphPass(model.graph, { tokens: inputs.tokens, target: inputs.target }, { hooks, from: this.#start() });
    this.from = this.before = null;
    for (const _ of this.inner.steps()) yield 0;
    for (const [place, { call, z }] of this.inner.attention) {
      const [kind, layer] = place.split("/");
      this.#keptAt(kind, Number(layer)).attention[kind] = /** @type {any} */ ({ call, z, edited: z });
    }
    for (const [place, x] of this.inner.streams) {
      const [kind, layer, name] = place.split("/");
      this.#keptAt(kind, Number(layer)).streams[name] = x;
    }
    if (!this.inner.start) model.hold(this);
  }

  /** The block of an earlier pass that this one may begin with, or the pass that it goes on from. */
  #start() {
    const pass = this.before?.inner;
    if (pass && this.model.graph.description.growth) return { pass, block: null };
    const inner = /** @type {GraphModelPass | null} */ (this.from)?.inner;
    if (!inner) return null;
    const first = this.edits.firstChange(/** @type {any} */ (this.from).edits);
    const { graph } = this.model;
    const blocks = [...graph.blocks.keys()].filter((block) => {
      const [kind, layer] = block.split("/");
      return this.model.turnOf(kind, Number(layer)) <= first && inner.kept.has(block);
    });
    const block = blocks[blocks.length - 1];
    return block === undefined ? null : { pass: inner, block };
  }

  #keptAt(kind, layer) {
    const turn = this.model.turnOf(kind, layer);
    return (this.kept[turn] ??= { kind: kind === "cross" ? "decoder" : kind, layer, attention: {}, streams: {} });
  }

  *middle(kind, layer) {
    return this.model.config.walks?.[`${kind}/${layer}`]?.nodes?.middle ? (yield* this.parts(kind, layer)).middle : null;
  }

  /** @param {string} kind @param {number} layer @returns {Generator<null, any>} */
  *parts(kind, layer) {
    const block = `${kind}/${layer}`;
    const { nodes, why = "this page does not say what its blocks are made of, so none can be walked through", ...names } = this.model.config.walks?.[block] ?? {};
    if (!nodes) throw new Error(why);
    const inner = /** @type {GraphPass} */ (this.inner);
    const pass = new GraphPass(inner.graph, inner.inputs, { from: inner.kept.has(block) ? { pass: inner, block } : null, wanted: Object.values(nodes) });
    for (const _ of pass.steps()) yield null;
    pass.release();
    const rows = ({ shape, data }) => matrix(data.length / shape[shape.length - 1], shape[shape.length - 1], data);
    return { ...names, ...Object.fromEntries(Object.entries(nodes).map(([name, node]) => [name, rows(pass.results.get(node))])) };
  }

  /** @param {number[]} [places] */
  logits(places) {
    if (!this.model.weights.head) throw new Error("this model has no head, so it gives no logits");
    const inner = /** @type {GraphPass} */ (this.inner);
    const n = (this.model.both ? this.inputs.target : this.inputs.tokens).length;
    return inner.answersAt(places ?? Array.from({ length: n }, (_, i) => i));
  }
}
