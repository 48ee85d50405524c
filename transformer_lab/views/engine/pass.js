// One pass of a model over a text: it goes from block to block, keeps what each gave, and lets edits
// change it. A pass that begins from another takes over the blocks below the first that differs.

import { analysis } from "./analyses.js";
import { attend, callOf, patternOf, valuesOf } from "./attention.js";
import { block, hiddenOf } from "./block.js";
import { Edits } from "./edits.js";
import { add, copyOf, matrix, rowsOf } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {import("./attention.js").Call} Call
 *
 * @typedef {object} Options
 * @property {Pass | null} [from] a pass over the same inputs, whose blocks are taken over
 * @property {number | null} [place] the one position that is asked about: the last block computes no other
 * @property {(source: any) => Pass} [read] another text without edits, for patches
 * @property {any} [before] a pass over the same text before it grew, which a graph goes on from
 *
 * @typedef {object} Attended
 * @property {Matrix} x what it was called with
 * @property {Matrix} source
 * @property {{query: Matrix, key: Matrix, value: Matrix}} raw before edits
 * @property {Call} call
 * @property {Matrix | null} z before edits; null where only one position was computed
 * @property {Matrix} edited
 *
 * @typedef {object} Kept
 * @property {string} kind
 * @property {number} layer
 * @property {Record<string, Attended>} attention by kind
 * @property {Record<string, Matrix>} streams
 */

/** Of the values of a call: a pass takes over those below its first edit. @type {WeakMap<Call, {shape: number[], data: Float32Array}>} */
const norms = new WeakMap();

export class Pass {
  /** @param {any} model a Transformer or a GraphModel @param {import("./model.js").Inputs} inputs @param {any[]} edits @param {Options} options */
  constructor(model, inputs, edits, { from = null, place = null, read }) {
    this.model = model;
    this.inputs = inputs;
    this.edits = new Edits(edits, model, read);
    this.from = from;
    this.place = place;
    this.memory = /** @type {Matrix | null} */ (null);
    /** @type {Kept[]} by turn */
    this.kept = [];
  }

  /** Compute it, a block between two steps. */
  *steps() {
    const { model, inputs } = this;
    const own = model.both ? inputs.target : inputs.tokens;
    if (!own) throw new Error("an encoder-decoder needs target, the decoder's input");
    model.check(own);
    if (this.place !== null && !(this.place >= 0 && this.place < own.length)) throw new Error(`position=${this.place} is outside the ${own.length} tokens (0 … ${own.length - 1})`);
    const lastLayer = model.layersOf(model.defaultKind) - 1;
    if (!this.edits.narrow(model.defaultKind, lastLayer)) this.place = null;
    const last = model.turnOf(model.defaultKind, lastLayer);
    const whole = this.place === null && this.from?.place === null;
    this.shared = this.from ? Math.min(this.edits.firstChange(this.from.edits), whole ? last + 1 : last) : 0;
    if (model.both) {
      model.check(inputs.tokens, 0, "encoder");
      const same = this.from && this.shared >= model.layersOf("encoder");
      const x = yield* this.stack("encoder", inputs.tokens, 0);
      this.memory = same ? this.from.memory : model.closed(x, "encoder");
    }
    const x = yield* this.stack(model.defaultKind, own, 0);
    this.hidden = model.closed(x, model.defaultKind);
    this.from = null; // let go of what was not taken over
  }

  *stack(kind, ids, start) {
    const { model } = this;
    const known = this.from?.kept[model.turnOf(kind, 0)];
    let x = known ? known.streams.input : model.embed(kind, ids, start, model.both ? null : this.inputs.tokenTypes);
    const positions = model.positions[kind];
    const blocks = model.stackOf(kind).blocks;
    for (let layer = 0; layer < blocks.length; layer++) {
      const turn = model.turnOf(kind, layer);
      if (turn < this.shared) {
        this.kept[turn] = this.from.kept[turn];
        x = this.kept[turn].streams.resid_post;
        continue;
      }
      this.here = { kind, layer, turn, start, bias: positions.bias(start + ids.length), narrow: false };
      this.here.narrow = this.place !== null && kind === model.defaultKind && layer === blocks.length - 1;
      this.kept[turn] = { kind, layer, attention: {}, streams: { input: x } };
      x = block(blocks[layer], model.config, x, { positions, start, memory: this.memory }, this);
      yield turn;
    }
    return x;
  }

  // ---- what a block asks on its way -------------------------------------------------------------------

  /** What goes on in the place of a point of the stream. @param {string} name @param {Matrix} x */
  stream(name, x) {
    const { kind, layer, turn } = this.here;
    return (this.kept[turn].streams[name] = this.edits.stream(name, kind, layer, x));
  }

  /** The rows of a block that are wanted after its attention has seen all. @param {Matrix} x */
  wanted(x) {
    return this.here.narrow ? rowsOf(x, this.place, this.place + 1) : x;
  }

  /**
   * z [query, head · dHead], what heads give before W_O.
   * @param {Matrix} x what queries are made of
   * @param {Matrix} source what keys are made of
   * @param {() => Matrix} makeQuery
   * @param {() => {key: Matrix, value: Matrix}} makeKeys
   */
  attention(x, source, makeQuery, makeKeys) {
    const { kind: stack, layer, turn, start, bias, narrow } = this.here;
    const kind = source === x ? stack : "cross";
    const { n_heads: heads, d_head: dHead } = this.model.config;
    const before = this.from?.kept[turn]?.attention[kind];
    const query = before?.x === x ? before.raw.query : makeQuery();
    const { key, value } = before?.source === source ? before.raw : makeKeys();
    const raw = { query, key, value };
    const own = kind !== "cross";
    const place = own || !narrow ? start : start + this.place;
    const call = this.edits.call({ kind, layer, heads, dHead, ...raw, bias: own ? bias : null, causal: kind === "decoder", start: place, changes: [] });
    const asked = own && narrow ? callOf(call, this.place, this.place + 1) : call;
    const z = this.attended(asked, before ?? null, call);
    const edited = this.edits.heads(asked, z);
    this.kept[turn].attention[kind] = { x, source, raw, call, z: narrow ? null : z, edited };
    return edited;
  }

  /** Of heads whose maps are changed neither now nor then, what they gave then. */
  attended(asked, before, call) {
    const same = before?.z && ["query", "key", "value"].every((name) => before.call[name] === call[name]);
    if (!same) return attend(asked);
    const at = asked.start - before.call.start;
    const z = asked.query.rows < before.z.rows ? copyOf(rowsOf(before.z, at, at + asked.query.rows)) : before.z;
    const changes = [...asked.changes, ...before.call.changes];
    return changes.length ? attend(asked, copyOf(z), (head) => changes.some((change) => (change.head ?? head) === head)) : z;
  }

  // ---- what is asked of a pass ------------------------------------------------------------------------

  /** Logits at some positions, all by default: [row, vocab]. @param {number[]} [places] */
  logits(places) {
    const { hidden } = this;
    if (!places) return this.model.logits(hidden);
    const rows = matrix(places.length, hidden.columns);
    places.forEach((place, i) => rows.data.set(this.rowAt(place), i * hidden.columns));
    return this.model.logits(rows);
  }

  rowAt(place) {
    const n = (this.model.both ? this.inputs.target : this.inputs.tokens).length;
    if (!(Number.isInteger(place) && place >= 0 && place < n)) throw new Error(`position=${place} is outside the ${n} tokens (0 … ${n - 1})`);
    if (this.place !== null && place !== this.place) throw new Error(`this pass computed position ${this.place} alone`);
    const row = this.place === null ? place : 0;
    return this.hidden.data.subarray(row * this.hidden.columns, (row + 1) * this.hidden.columns);
  }

  /** @param {string} kind @param {number} layer @returns {Attended} */
  at(kind, layer) {
    if (!this.model.kinds.includes(kind)) throw new Error(`kind='${kind}' is not in this model; it has ${this.model.kinds.join(", ")}`);
    const layers = this.model.layersOf(kind);
    if (!(Number.isInteger(layer) && layer >= 0 && layer < layers)) throw new Error(`layer=${layer} is outside 0 … ${layers - 1}`);
    return this.kept[this.model.turnOf(kind, layer)].attention[kind];
  }

  /** One head's map, [query, key]; computed when somebody looks. @param {string} kind @param {number} layer @param {number} head */
  pattern(kind, layer, head) {
    return patternOf(this.callOf(kind, layer, head), head);
  }

  callOf(kind, layer, head) {
    const { call } = this.at(kind, layer);
    if (!(Number.isInteger(head) && head >= 0 && head < call.heads)) throw new Error(`head=${head} is outside 0 … ${call.heads - 1}`);
    return call;
  }

  /** ‖value · W_O‖ of each head and key, [head, key]; ‖value‖ where no matrix alone follows the heads. @param {string} kind @param {number} layer */
  valueNorms(kind, layer) {
    const { call } = this.at(kind, layer);
    const known = norms.get(call);
    if (known) return known;
    const values = valuesOf(call);
    const [heads, n, d] = values.shape;
    const output = this.model.outputOf(kind, layer, heads);
    const { data } = output ? analysis("value_norms", { values, w_o: output }).norm : analysis("lengths", { x: { shape: [heads * n, d], data: values.data } }).length;
    norms.set(call, { shape: [heads, n], data });
    return { shape: [heads, n], data };
  }

  /** What heads gave. @param {string} kind @param {number} layer */
  heads(kind, layer) {
    return this.at(kind, layer).edited;
  }

  /** @param {string} name @param {string} kind of the stack @param {number} layer @returns {Matrix} */
  streamAt(name, kind, layer) {
    return this.kept[this.model.turnOf(kind, layer)].streams[name];
  }

  /** What the last block gives, before the norm that closes the stack. */
  last() {
    const kind = this.model.defaultKind;
    return this.streamAt("resid_post", kind, this.model.layersOf(kind) - 1);
  }

  /** The stream before the first block and after every one. @param {string} kind of the stack */
  streamRows(kind) {
    const layers = Array.from({ length: this.model.layersOf(kind) }, (_, layer) => layer);
    return [this.streamAt("resid_pre", kind, 0), ...layers.map((layer) => this.streamAt("resid_post", kind, layer))];
  }

  /** Its length: [layer + 1][position]. @param {string} kind of the stack */
  norms(kind) {
    return this.streamRows(kind).map((x) => analysis("lengths", { x }).length.data);
  }

  /** The stream between self- and cross-attention; null where it is their sum. @param {string} kind @param {number} layer @returns {Generator<null, Matrix | null>} */
  *middle(kind, layer) {
    const { model } = this;
    if (model.config.norm_first) return null;
    return model.norm(add(this.streamAt("resid_pre", kind, layer), this.streamAt("attn_out", kind, layer)), model.stackOf(kind).blocks[layer].norm1);
  }

  /** What a walk through a block shows beside the stream, as `BlockParts` of circuits/block_walk.py. @param {string} kind @param {number} layer @returns {Generator<null, any>} */
  *parts(kind, layer) {
    const { config, norm } = this.model;
    const { norm1, norm3, feedForward } = this.model.stackOf(kind).blocks[layer];
    const at = (name) => this.streamAt(name, kind, layer) ?? null;
    const before = (x, own) => (config.norm_first ? norm(x, own) : x);
    const mlp = at("mlp_out");
    const reads = mlp && before(at("resid_mid"), norm3);
    const name = config.norm === "rms" ? "RMSNorm" : "LayerNorm";
    const found = { norm: name, mlp_norm: name, after: !config.norm_first, middle: yield* this.middle(kind, layer), cross: at("cross_out"), mlp };
    return { ...found, reads: before(at("resid_pre"), norm1), attention: at("attn_out"), mlp_reads: reads, hidden: reads && hiddenOf(feedForward, config, reads) };
  }
}
