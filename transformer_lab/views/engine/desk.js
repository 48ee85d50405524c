// Answers questions on one model: each text is read once, and questions about it, with or without
// edits, start from the passes already computed. Every answer is a generator, so that its runner
// may stop between two steps.

import { analysis } from "./analyses.js";
import { ImageModel } from "./images.js";
import { named } from "./named.js";
import { Pass } from "./pass.js";
import { picture, pictures } from "./pictures.js";
import { outcome } from "./predictions.js";
import { DamagedModel, NOT_AS_WRITTEN } from "./safetensors.js";
import { TextModel } from "./text_model.js";
import { decode, names, textShown, words } from "./token_text.js";
import { verified } from "./verified.js";

/** Passes of other texts to keep, for patches. */
const SOURCES = 4;

/** One text of a model: its pass without edits, and the latest with edits. */
export class Reading {
  /** @param {TextModel} text @param {import("./pass.js").Inputs} inputs @param {(source: any) => import("./pass.js").Pass} source */
  constructor(text, inputs, source) {
    this.text = text;
    this.inputs = inputs;
    this.source = source;
    /** @type {{name: string, pass: import("./pass.js").Pass} | null} */
    this.clean = null;
    /** @type {{name: string, pass: import("./pass.js").Pass} | null} */
    this.last = null;
  }

  /**
   * A pass over the text, reused if it is one of the two kept.
   * @param {any[]} edits
   * @returns {Generator<null, import("./pass.js").Pass>}
   */
  *pass(edits) {
    const name = JSON.stringify(edits);
    const known = [this.clean, this.last].find((one) => one?.name === name);
    if (known) return known.pass;
    const pass = yield* this.fresh(edits);
    if (edits.length) this.last = { name, pass };
    else this.clean = { name, pass };
    return pass;
  }

  /** A pass that is not kept; it starts from the kept pass that agrees further. @param {any[]} edits @returns {Generator<null, import("./pass.js").Pass>} */
  *fresh(edits) {
    const from = [this.clean, this.last].flatMap((known) => (known ? [known.pass] : []));
    const pass = new Pass(this.text.model, this.inputs, edits, { read: this.source, from });
    yield* pass.steps();
    return pass;
  }

  /** Predictions at a position without edits, beside those of a pass with edits. @param {import("./pass.js").Pass} clean @param {import("./pass.js").Pass | null} pass @param {number} position */
  compared(clean, pass, position) {
    if (!this.text.model.weights.head) {
      return {
        position,
        kl: null,
        rows: [],
        states: pass
          ? Array.from(
              analysis("state_changes", { before: clean.last(), after: pass.last() }).change.data,
            )
          : [],
      };
    }
    const { kl, rows } = outcome(
      clean.logits([position]).data,
      pass && pass.logits([position]).data,
    );
    const names = this.names(rows.map(({ id }) => id));
    return { position, kl, rows: rows.map((row, i) => ({ ...row, token: names[i] })), states: [] };
  }

  /** Names of predicted tokens. @param {number[]} ids */
  names(ids) {
    return this.text.targetTokenizer.tokens(ids);
  }
}

export class Desk {
  constructor() {
    this.model = /** @type {any} a TextModel or an ImageModel */ (null);
    /** @type {Map<string, Reading>} texts by name */
    this.readings = new Map();
    /** @type {Map<string, import("./pass.js").Pass>} texts that patches come from */
    this.sources = new Map();
  }

  /**
   * @param {any} question `ask`: its name; `of`: which text, if a view has several; a list of them
   *   for an answer by its name
   * @returns {Generator<any, any>} steps; those that are not null are parts of the answer
   */
  answer({ ask, of = "", ...given }) {
    if (!Object.hasOwn(ANSWERS, ask))
      throw new Error(`the engine does not know the question ${ask}`);
    if (ask === "load") return load(this, given);
    if (!this.model) throw new Error("no model has been loaded");
    if (ask === "read")
      return (this.model instanceof ImageModel ? readImage : read)(this, of, given);
    const readings = [of].flat().map((one) => this.readings.get(one));
    if (!readings.every(Boolean)) throw new Error("no text has been read");
    return ask === "named" ? named(readings, given) : ANSWERS[ask](readings[0], given);
  }

  source(source) {
    const name = JSON.stringify([source.tokens, source.target ?? null]);
    let pass = this.sources.get(name);
    if (!pass) {
      pass = /** @type {TextModel} */ (this.model).model.run({
        tokens: source.tokens,
        target: source.target,
      });
      this.sources.set(name, pass);
      if (this.sources.size > SOURCES)
        this.sources.delete(/** @type {string} */ (this.sources.keys().next().value));
    }
    return pass;
  }
}

/** @type {Record<string, (asked: any, given: any, more?: any) => Generator<any, any>>} */
const ANSWERS = {
  load,
  read,
  words,
  decode,
  named,
  names,
  predict,
  picture,
  pictures,
  effects,
  changes,
  write,
};

/** Load the model that a page carries, and compare it with PyTorch. @param {Desk} desk @param {import("./text_model.js").Packed} packed */
function* load(desk, packed) {
  desk.readings.clear();
  desk.sources.clear();
  try {
    const loaded = packed.tokenizer ? new TextModel(packed) : new ImageModel(packed);
    yield null;
    if (packed.check) yield* verified(loaded.model, packed.check);
    desk.model = loaded;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new DamagedModel(NOT_AS_WRITTEN); // JavaScript's own: a part is missing, or of another kind
  }
  const { model } = desk.model;
  const { n_heads: heads, n_ctx: longest, kind } = model.config;
  return {
    kind,
    longest,
    head: Boolean(model.weights.head),
    kinds: model.kinds.map((one) => ({ kind: one, layers: model.layersOf(one), heads })),
  };
}

/**
 * Read a text, given in words or as token ids of the side with the predictions.
 * @param {Desk} desk
 * @param {string} of its name
 * @param {{text: string, target?: string | null, masked?: number[], ids?: number[] | null}} given
 */
function* read(desk, of, { text, target = null, masked = [], ids = null }) {
  const model = /** @type {TextModel} */ (desk.model);
  const both = model.kind === "encoder-decoder";
  if (target !== null && !both) {
    throw new Error(
      `target='${target}': ${model.name} is ${model.kind === "encoder" ? "an" : "a"} ${model.kind} and takes no target; leave it out`,
    );
  }
  const plain = both || !ids ? model.encode(text) : ids;
  const inputs = {
    tokens: model.masked(plain, masked),
    target: /** @type {number[] | null} */ (null),
  };
  if (both) inputs.target = ids ?? (yield* quietly(model.targetIds(inputs.tokens, target)));
  yield* begin(desk, of, inputs);
  return {
    ids: inputs.tokens,
    positions: model.positions(inputs),
    position: model.firstPosition(inputs),
    ...textShown(model, inputs, plain),
  };
}

/** Start a reading with its pass without edits, from which others start. @param {Desk} desk @param {string} of @param {import("./pass.js").Inputs} inputs */
function* begin(desk, of, inputs) {
  const reading = new Reading(desk.model, inputs, (source) => desk.source(source));
  yield* reading.pass([]);
  const before = desk.readings.get(of);
  if (before) desk.model.model.forget(before.inputs);
  desk.readings.set(of, reading);
}

/** Read an image; see `ImageModel.read`. @param {Desk} desk @param {string} of its name @param {{pixels: {shape: number[], data: any}, prepare?: boolean}} given */
function* readImage(desk, of, { pixels, prepare = false }) {
  const { inputs, seen } = yield* desk.model.read(pixels, prepare);
  yield* begin(desk, of, inputs);
  return { seen, pixels: inputs.pixel_values.data };
}

/** Predictions at a position, without and with edits. @param {Reading} reading */
function* predict(reading, { edits = [], position }) {
  const clean = yield* reading.pass([]);
  const pass = edits.length ? yield* reading.pass(edits) : null;
  return { ...reading.compared(clean, pass, position), experts: routing(pass ?? clean) };
}

/** Experts and gates of each token, [layer][token], the largest first; null for a layer without experts, and for a model without any. @param {import("./pass.js").Pass} pass */
function routing(pass) {
  const kind = pass.model.defaultKind;
  const layers = Array.from({ length: pass.model.layersOf(kind) }, (_, layer) =>
    pass.streamAt("gates", kind, layer),
  );
  if (!layers.some(Boolean)) return null;
  return layers.map((gates) => {
    if (!gates) return null;
    const { rows, columns, data } = gates;
    return Array.from({ length: rows }, (_, row) =>
      Array.from(data.subarray(row * columns, (row + 1) * columns), (gate, i) => [i, gate])
        .filter(([, gate]) => gate)
        .sort((a, b) => b[1] - a[1]),
    );
  });
}

/** Predictions with each of some heads ablated, one step per head. @param {Reading} reading */
function* effects(reading, { places, position }) {
  const clean = yield* reading.pass([]);
  const found = [];
  for (const { kind, layer, head } of places) {
    const pass = yield* reading.fresh([{ edit: "ablate", layer, head, kind }]);
    const effect = { kind, layer, head, ...reading.compared(clean, pass, position) };
    found.push(effect);
    yield effect;
  }
  return found;
}

/**
 * How far each of some edits alone moves a metric, one step per edit: the logit difference of a
 * token and another; without another, its log-probability or (`plain`) its logit.
 * @param {Reading} reading
 */
function* changes(reading, { edits, position, token, against = null, plain = false }) {
  const clean = yield* reading.pass([]);
  const [name, other] =
    against !== null
      ? ["logit_difference", { against: Int32Array.of(against) }]
      : [plain ? "token_logit" : "token_log_probability", {}];
  const metric = (pass) =>
    analysis(name, { logits: pass.logits([position]), token: Int32Array.of(token), ...other })
      .metric.data[0];
  const before = metric(clean);
  const found = [];
  for (const edit of edits) found.push(metric(yield* reading.fresh([edit])) - before);
  return found;
}

/** Continue the text, without edits and, if there are any, with them. @param {Reading} reading */
function* write(reading, { n, sampling = {}, edits = [] }) {
  const written = (edits) =>
    reading.text.write(reading.inputs, n, {
      sampling,
      edits,
      read: reading.source,
      first: () => reading.pass(edits),
    });
  const plain = yield* written([]);
  const edited = edits.length ? yield* quietly(written(edits)) : null;
  return {
    plain,
    edited,
    tokens: reading.names(plain),
    editedTokens: edited && reading.names(edited),
  };
}

/** Run the steps of another answer without passing on its parts. */
function* quietly(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    yield null;
  }
}
