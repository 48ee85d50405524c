// One pass of a model over a text, with edits, and the questions it answers afterwards. A pass that
// starts from another reuses its blocks below the first that differs.

import { analysis } from "./analyses.js";
import { partOf, patternsOf, scoresOf, valuesOf } from "./attention.js";
import { Edits } from "./edits.js";
import { GraphPass } from "./graph.js";
import { matrix } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {import("./attention.js").Call} Call
 * @typedef {{tokens?: any, target?: number[] | null, pixel_values?: {shape: number[], data: any}}} Inputs
 *   tokens are numbers; an encoder-decoder reads tokens and target, an image model only pixels
 *
 * @typedef {object} Options
 * @property {Pass[]} [from] passes over the same inputs; the blocks of one are reused
 * @property {(source: any) => Pass} [read] runs another text without edits, for patches
 * @property {Pass | null} [before] a pass over the same text before it grew, which this one
 *   continues
 */

export class Pass extends GraphPass {
  /** @param {import("./graph_model.js").GraphModel} model @param {Inputs} inputs @param {any[]} changes @param {Options} options */
  constructor(model, inputs, changes, { from = [], before = null, read }) {
    const edits = new Edits(changes, model, read);
    const hooks = {
      call: (call) => edits.call(call),
      heads: (call, z) => edits.heads(call, z),
      stream: (name, kind, layer, x, start) => edits.stream(name, kind, layer, x, start),
    };
    super(model.graph, inputs, {
      hooks,
      from:
        before && model.graph.description.growth
          ? { pass: before, block: null }
          : beginningOf(model, edits, from),
    });
    this.model = model;
    this.edits = edits;
  }

  /** Run the pass; a step is a block or some nodes. @returns {Generator<null, void>} */
  *steps() {
    const { model, inputs } = this;
    if (inputs.tokens) model.check(inputs.tokens, model.both ? "encoder" : model.defaultKind);
    if (model.both) {
      if (!inputs.target) throw new Error("an encoder-decoder needs target, the decoder's input");
      model.check(inputs.target, "decoder");
    }
    yield* super.steps();
    if (!this.start) model.hold(this);
  }

  /** The stream between self-attention and cross-attention; null where it is the sum of the stream and self-attention. @param {string} kind @param {number} layer @returns {Generator<null, Matrix | null>} */
  *middle(kind, layer) {
    return this.model.config.walks[`${kind}/${layer}`]?.nodes?.middle
      ? (yield* this.parts(kind, layer)).middle
      : null;
  }

  /** What a walk through a block shows besides the stream, like `BlockParts` of circuits/block_parts.py. @param {string} kind @param {number} layer @returns {Generator<null, any>} */
  *parts(kind, layer) {
    const block = `${kind}/${layer}`;
    const { nodes, why = "", ...names } = this.model.config.walks[block];
    if (!nodes) throw new Error(why);
    const pass = new GraphPass(this.graph, this.inputs, {
      from: this.kept.has(block) ? { pass: this, block } : null,
      wanted: Object.values(nodes),
    });
    yield* pass.steps();
    pass.release();
    const rows = ({ shape, data }) =>
      matrix(data.length / shape[shape.length - 1], shape[shape.length - 1], data);
    return {
      ...names,
      ...Object.fromEntries(
        Object.entries(nodes).map(([name, node]) => [name, rows(pass.results.get(node))]),
      ),
    };
  }

  /**
   * Run one of the model's other graphs. Inputs that are not given are this pass's: the text,
   * points of the stream ("mlp_out/kind/layer"), outputs of heads ("z/kind/layer") and their
   * attention patterns ("pattern/kind/layer").
   * @param {string} name @param {Record<string, any>} given @param {string[] | null} [wanted]
   */
  analysing(name, given, wanted = null) {
    const { graph, inputs } = this;
    const parts = {
      z: (kind, layer) => {
        const {
          z: { rows, columns, data },
          call: { heads },
        } = this.at(kind, layer);
        return { shape: [1, rows, heads, columns / heads], data };
      },
      pattern: (kind, layer) => {
        const { heads, query, key } = this.at(kind, layer).call;
        return { shape: [heads, query.rows, key.rows], data: this.patterns(kind, layer) };
      },
    };
    const read = (input) => () => {
      const [part, kind, layer] = input.split("/");
      if (Object.hasOwn(parts, part)) return parts[part](kind, Number(layer));
      const { rows, columns, data } = this.streamAt(part, kind, Number(layer));
      return { shape: [1, rows, columns], data };
    };
    const own = Object.fromEntries(
      (this.model.analyses.described[name]?.inputs ?? []).map((input) => [
        input,
        graph.description.inputs.includes(input) ? inputs[input] : read(input),
      ]),
    );
    return this.model.analysing(name, { ...own, ...given }, wanted);
  }

  /** Logits at some positions, all by default: [row, vocab]. @param {number[]} [places] */
  logits(places) {
    if (!this.model.weights.head) throw new Error("this model has no head, so it gives no logits");
    const n = (this.model.both ? this.inputs.target : this.inputs.tokens).length;
    return this.answersAt(places ?? Array.from({ length: n }, (_, i) => i));
  }

  /** Inputs and outputs of the heads of a layer. @param {string} kind @param {number} layer */
  at(kind, layer) {
    if (!this.model.kinds.includes(kind))
      throw new Error(`kind='${kind}' is not in this model; it has ${this.model.kinds.join(", ")}`);
    const layers = this.model.layersOf(kind);
    if (!(Number.isInteger(layer) && layer >= 0 && layer < layers))
      throw new Error(`layer=${layer} is outside 0 … ${layers - 1}`);
    return /** @type {{call: Call, z: Matrix}} */ (this.attention.get(`${kind}/${layer}`));
  }

  /** One head's attention pattern, [query, key]; computed on access. @param {string} kind @param {number} layer @param {number} head */
  pattern(kind, layer, head) {
    return patternsOf(this.graph.on, this.callOf(kind, layer, head), [head]);
  }

  /** All attention patterns of a layer, [head, query, key]. @param {string} kind @param {number} layer */
  patterns(kind, layer) {
    const { call } = this.at(kind, layer);
    return patternsOf(
      this.graph.on,
      call,
      Array.from({ length: call.heads }, (_, head) => head),
    );
  }

  /** Scores that the softmax of a row reads. @param {Call} call @param {number} head @param {number} row */
  scores(call, head, row) {
    return scoresOf(this.graph.on, call, head, row);
  }

  callOf(kind, layer, head) {
    const { call } = this.at(kind, layer);
    if (!(Number.isInteger(head) && head >= 0 && head < call.heads))
      throw new Error(`head=${head} is outside 0 … ${call.heads - 1}`);
    return call;
  }

  /** ‖value · W_O‖ of each key; ‖value‖ unless a single matrix follows the heads. @param {string} kind @param {number} layer @param {number} head */
  valueNorms(kind, layer, head) {
    const call = this.callOf(kind, layer, head);
    const values = partOf(valuesOf(call), head);
    const output = this.model.outputOf(kind, layer, call.heads, head);
    if (output) return this.model.analysis("value_norms", { values, w_o: output }).norm.data;
    return analysis("lengths", { x: { shape: values.shape.slice(1), data: values.data } }).length
      .data;
  }

  /** Attention patterns of some queries, and the norm of what each key adds: 0 for a head whose output is replaced by an edit. @param {string} kind @param {number} layer @param {number} from @param {number} to */
  carriers(kind, layer, from, to) {
    const { call } = this.at(kind, layer);
    const heads = Array.from({ length: call.heads }, (_, head) => head);
    const n = call.key.rows;
    const lengths = new Float32Array(call.heads * n);
    for (const head of heads) {
      const left = this.edits.left(kind, layer, head);
      lengths.set(
        this.valueNorms(kind, layer, head).map((x) => x * left),
        head * n,
      );
    }
    return {
      maps: {
        shape: [call.heads, to - from, n],
        data: patternsOf(this.graph.on, call, heads, [from, to]),
      },
      lengths: { shape: [call.heads, n], data: lengths },
    };
  }

  /** Outputs of the heads of a layer. @param {string} kind @param {number} layer */
  heads(kind, layer) {
    return this.at(kind, layer).z;
  }

  /** @param {string} name @param {string} kind of the stack @param {number} layer @returns {Matrix} */
  streamAt(name, kind, layer) {
    return /** @type {Matrix} */ (this.streams.get(`${kind}/${layer}/${name}`));
  }

  /** Output of the last block, before the stack's final norm. */
  last() {
    const kind = this.model.defaultKind;
    return this.streamAt("resid_post", kind, this.model.layersOf(kind) - 1);
  }

  /** The stream before the first block and after every one. @param {string} kind of the stack */
  streamRows(kind) {
    const layers = Array.from({ length: this.model.layersOf(kind) }, (_, layer) => layer);
    return [
      this.streamAt("resid_pre", kind, 0),
      ...layers.map((layer) => this.streamAt("resid_post", kind, layer)),
    ];
  }

  /** Norm of the stream: [layer + 1][position]. @param {string} kind of the stack */
  norms(kind) {
    return this.streamRows(kind).map((x) => analysis("lengths", { x }).length.data);
  }
}

/** The pass that can be reused furthest, and the block up to which it can be reused; null if there is none. @param {import("./graph_model.js").GraphModel} model @param {Edits} edits @param {Pass[]} passes */
function beginningOf(model, edits, passes) {
  const reach = (pass) => edits.firstChange(pass.edits);
  const [pass] = passes.toSorted((a, b) => reach(b) - reach(a));
  const block =
    pass &&
    [...model.graph.blocks.keys()].findLast((block) => {
      const [kind, layer] = block.split("/");
      return model.turnOf(kind, Number(layer)) <= reach(pass) && pass.kept.has(block);
    });
  return block === undefined ? null : { pass, block };
}
