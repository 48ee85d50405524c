// Answers questions on one model: a text is read once, and what is asked of it with or without edits
// begins from the passes that are there. Every answer is a generator, so that whoever runs it may stop
// between two steps.

import { Pass } from "./pass.js";
import { logitLens, logProbabilities, outcome, stateChanges } from "./predictions.js";
import { TextModel } from "./text_model.js";

/** Passes of other texts that are kept, for patches. */
const SOURCES = 4;

export class Desk {
  constructor() {
    this.model = /** @type {TextModel | null} */ (null);
    this.inputs = /** @type {import("./model.js").Inputs | null} */ (null);
    /** The pass without edits, and the last one with some: @type {{name: string, pass: Pass} | null} */
    this.clean = null;
    /** @type {{name: string, pass: Pass} | null} */
    this.last = null;
    /** @type {Map<string, Pass>} */
    this.sources = new Map();
  }

  /**
   * @param {{ask: string} & Record<string, any>} question
   * @returns {Generator<any, any>} steps, of which those that are not null are parts of the answer
   */
  answer({ ask, ...given }) {
    if (!Object.hasOwn(ANSWERS, ask)) throw new Error(`the engine does not know the question ${ask}`);
    if (ask !== "load" && !this.model) throw new Error("no model has been loaded");
    if (!["load", "read"].includes(ask) && !this.inputs) throw new Error("no text has been read");
    return ANSWERS[ask](this, given);
  }

  get text() {
    return /** @type {TextModel} */ (this.model);
  }

  /**
   * A pass over the text; the last ones again where they are what is asked for.
   * @param {any[]} edits
   * @param {number | null} [place] the only position that is asked about
   * @returns {Generator<null, Pass>}
   */
  *pass(edits, place = null) {
    const name = JSON.stringify(edits);
    for (const known of [this.clean, this.last]) if (known && known.name === name && (known.pass.place === null || known.pass.place === place)) return known.pass;
    const pass = yield* this.fresh(edits, place);
    if (edits.length) this.last = { name, pass };
    else this.clean = { name, pass };
    return pass;
  }

  /** One that is not kept, from whichever is nearer. */
  *fresh(edits, place) {
    const { model } = this.text;
    const read = (source) => this.source(source);
    const options = { place, read };
    const pass = new Pass(model, this.inputs, edits, options);
    const starts = [this.clean, this.last].filter((known) => known !== null);
    const reach = ({ pass: other }) => pass.edits.firstChange(other.edits);
    if (starts.length) pass.from = starts.reduce((a, b) => (reach(b) > reach(a) ? b : a)).pass;
    for (const _ of pass.steps()) yield null;
    return pass;
  }

  source(source) {
    const name = JSON.stringify([source.tokens, source.target ?? null]);
    let pass = this.sources.get(name);
    if (!pass) {
      pass = this.text.model.run({ tokens: source.tokens, target: source.target });
      this.sources.set(name, pass);
      if (this.sources.size > SOURCES) this.sources.delete(/** @type {string} */ (this.sources.keys().next().value));
    }
    return pass;
  }

  /** Names of predicted tokens. @param {number[]} ids */
  names(ids) {
    return this.text.targetTokenizer.tokens(ids);
  }

  /** Predictions of a pass at a position, beside those of the pass without edits. */
  compared(clean, pass, position) {
    if (!this.text.model.weights.head) {
      return { position, kl: null, rows: [], states: pass ? stateChanges(clean.last(), pass.last()) : [] };
    }
    const [before, after] = [clean, pass].map((one) => one && logProbabilities(one.logits([position]).data));
    const { kl, rows } = outcome(before, after);
    const names = this.names(rows.map(({ id }) => id));
    return { position, kl, rows: rows.map((row, i) => ({ ...row, token: names[i] })), states: [] };
  }
}

/** @type {Record<string, (desk: Desk, given: any) => Generator<any, any>>} */
const ANSWERS = { load, read, predict, map, stream, lens, effects, write };

/** A model from what a page carries. */
function* load(desk, packed) {
  desk.model = new TextModel(packed);
  desk.inputs = desk.clean = desk.last = null;
  desk.sources.clear();
  yield null;
  const { model } = desk.text;
  const { n_heads: heads, n_ctx: longest, kind } = model.config;
  return { kind, longest, head: Boolean(model.weights.head), kinds: model.kinds.map((one) => ({ kind: one, layers: model.layersOf(one), heads })) };
}

/**
 * A text, by its words or as token ids of the side that is predicted on.
 * @param {Desk} desk
 * @param {{text: string, target?: string | null, masked?: number[], ids?: number[] | null}} given
 */
function* read(desk, { text, target = null, masked = [], ids = null }) {
  const { text: model } = desk;
  const both = model.kind === "encoder-decoder";
  if (target !== null && !both) {
    throw new Error(`target='${target}': ${model.name} is ${model.kind === "encoder" ? "an" : "a"} ${model.kind} and takes no target; leave it out`);
  }
  const plain = both || !ids ? model.encode(text) : ids;
  const inputs = { tokens: model.masked(plain, masked), target: /** @type {number[] | null} */ (null) };
  if (both) inputs.target = ids ?? (yield* quietly(model.targetIds(inputs.tokens, target)));
  desk.inputs = inputs;
  desk.clean = desk.last = null;
  const pass = yield* desk.pass([]);
  const own = both ? inputs.target : inputs.tokens;
  return {
    ids: inputs.tokens,
    target: inputs.target,
    tokens: model.tokenizer.tokens(inputs.tokens),
    targetTokens: inputs.target && model.targetTokenizer.tokens(inputs.target),
    positions: model.positions(inputs),
    position: model.firstPosition(inputs),
    unknown: model.unknown(own ?? []),
    pass: pass.kept.length,
  };
}

/** What is predicted at a position, without edits and with these. */
function* predict(desk, { edits = [], position }) {
  const clean = yield* desk.pass([]);
  const place = desk.text.model.weights.head ? position : null; // states are of all tokens
  const pass = edits.length ? yield* desk.pass(edits, place) : null;
  return desk.compared(clean, pass, position);
}

/** Maps of some heads under edits, each [query, key], and how long their values are. */
function* map(desk, { edits = [], places }) {
  const pass = yield* desk.pass(edits);
  const found = [];
  for (const { kind, layer, head } of places) {
    found.push({ kind, layer, head, weights: pass.pattern(kind, layer, head), values: pass.valueNorms(kind, layer, head) });
    yield null;
  }
  return found;
}

/** The length of the residual stream, [layer + 1][position]. */
function* stream(desk, { edits = [], kind }) {
  return (yield* desk.pass(edits)).norms(kind);
}

/** The logit lens at some positions. */
function* lens(desk, { edits = [], positions, k = 5 }) {
  const pass = yield* desk.pass(edits);
  const rows = [];
  for (const position of positions) {
    rows.push(logitLens(pass, [position], k).map(([cell]) => cell));
    yield null;
  }
  return rows[0].map((_, layer) => rows.map((cells) => cells[layer]));
}

/** What happens without each of some heads, a step each. */
function* effects(desk, { places, position }) {
  const clean = yield* desk.pass([]);
  const place = desk.text.model.weights.head ? position : null;
  const found = [];
  for (const { kind, layer, head } of places) {
    const pass = yield* desk.fresh([{ edit: "ablate", layer, head, kind }], place);
    const told = { kind, layer, head, ...desk.compared(clean, pass, position) };
    found.push(told);
    yield told;
  }
  return found;
}

/** The text written on, without edits and once more with them. */
function* write(desk, { n, sampling = {}, edits = [] }) {
  const options = { sampling, read: (source) => desk.source(source) };
  const plain = yield* desk.text.write(desk.inputs, n, options);
  const edited = edits.length ? yield* quietly(desk.text.write(desk.inputs, n, { ...options, edits })) : null;
  return { plain, edited, tokens: desk.names(plain), editedTokens: edited && desk.names(edited) };
}

/** The steps, without the parts of an answer that is another's. */
function* quietly(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    yield null;
  }
}
