// A model and its tokenizers. Errors for a text that cannot be read use the words of
// transformer_lab/text_model.py.

import { GraphModel } from "./graph_model.js";
import { readSafetensors } from "./safetensors.js";
import { tokenizerOf } from "./tokenizers/tokenizer.js";
import { checkSampling, writing } from "./writing.js";

const LETTERS = 256; // more characters than a token has on average, in any text
const ANSWER = 64; // most tokens of an encoder-decoder's own answer

const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/**
 * @typedef {object} Packed what a page carries
 * @property {string} name
 * @property {import("./graph_model.js").About} config
 * @property {import("./graph.js").Description} graph
 * @property {Record<string, import("./graph.js").Description>} [analyses] other graphs over the same weights
 * @property {Uint8Array} weights of model.safetensors
 * @property {number} checksum of the weights, CRC-32
 * @property {any} tokenizer of tokenizer.json
 * @property {any} [targetTokenizer] of an encoder-decoder with two vocabularies
 * @property {number[]} ends tokens after which the model writes no more
 * @property {number[]} [starts] tokens that an encoder-decoder's own answer begins with
 * @property {import("./verified.js").Check} [check] what PyTorch answers with these weights
 */

export class TextModel {
  /** @param {Packed} packed @throws {import("./safetensors.js").DamagedModel} */
  constructor({
    name,
    config,
    graph,
    analyses = {},
    weights,
    checksum,
    tokenizer,
    targetTokenizer = null,
    ends,
    starts = [],
  }) {
    this.name = name;
    this.ends = new Set(ends);
    this.starts = starts;
    this.model = new GraphModel(config, graph, readSafetensors(weights, checksum), analyses);
    this.tokenizer = tokenizerOf(tokenizer);
    this.targetTokenizer = targetTokenizer ? tokenizerOf(targetTokenizer) : this.tokenizer;
    const { vocab_size: rows, target_vocab_size: targetRows } = this.model.config;
    for (const [side, one, most] of /** @type {const} */ ([
      ["tokenizer", this.tokenizer, rows],
      ["target_tokenizer", this.targetTokenizer, targetRows ?? rows],
    ])) {
      if (one.rows <= most) continue;
      throw new Error(
        `${side} has ${thousands(one.rows)} tokens but the embedding of the model ${name} has ${thousands(most)} rows; ` +
          "give the tokenizer that belongs to the model",
      );
    }
  }

  get kind() {
    return this.model.config.kind;
  }

  get longest() {
    return this.model.config.n_ctx;
  }

  /** Token ids. @param {string} text */
  encode(text) {
    return this.#encode("text", text, this.tokenizer);
  }

  #encode(name, text, tokenizer) {
    if (typeof text !== "string") throw new Error(`${name} must be a string, got a ${typeof text}`);
    const letters = text.length > LETTERS * this.longest ? Array.from(text).length : 0;
    if (letters > LETTERS * this.longest) {
      throw new Error(
        `${name} has ${thousands(letters)} characters but ${this.name} reads at most ${this.longest} tokens; shorten it`,
      );
    }
    const ids = tokenizer.encode(text);
    if (!ids.length) throw new Error(`${name} is empty; type at least one word`);
    if (ids.length > this.longest) {
      this.model.checkLength(ids.length, this.model.both && name === "target" ? name : "tokens");
      throw new Error(
        `${name} has ${ids.length} tokens but ${this.name} reads at most ${this.longest}; shorten it`,
      );
    }
    return ids;
  }

  /**
   * The decoder's input, as in text_model.py: its start token and then the target or, without one,
   * what the model generates.
   * @param {number[]} ids
   * @param {string | null} target
   * @param {any[]} [edits]
   * @returns {Generator<number | null, number[]>}
   */
  *targetIds(ids, target, edits = []) {
    const { eos, pad } = this.targetTokenizer.ids;
    const { starts, ends } = this;
    let written;
    if (target === null) {
      const most = Math.min(this.longest, ANSWER) - starts.length;
      const inputs = { tokens: ids, target: starts };
      written = yield* writing(this.model, inputs, most, { ends, edits });
      written = [...starts.slice(1), ...written];
    } else {
      written = this.#encode("target", target, this.targetTokenizer);
    }
    while (written.length && [eos, pad].includes(written[written.length - 1]))
      written = written.slice(0, -1);
    return [starts[0], ...written];
  }

  /**
   * Tokens that the model generates; fewer than n if it ends the text (the end-of-text token is not
   * included).
   * @param {import("./pass.js").Inputs} inputs
   * @param {number} n
   * @param {{edits?: any[], sampling?: import("./writing.js").Sampling, read?: any, first?: any}} [options]
   * @returns {Generator<number | null, number[]>}
   */
  *write(inputs, n, { edits = [], sampling = {}, ...more } = {}) {
    const { config } = this.model;
    checkSampling(sampling, config.target_vocab_size ?? config.vocab_size);
    if (this.kind === "encoder")
      throw new Error(`${this.name} is an encoder and cannot generate text; it fills in masks`);
    const own = this.model.both ? inputs.target : inputs.tokens;
    if (!own)
      throw new Error(
        "target_ids is required for an encoder-decoder (the ids generated so far), and for no other model",
      );
    const room = this.longest - own.length;
    if (!(Number.isInteger(n) && n >= 1 && n <= room))
      throw new Error(
        `n must be at least 1 and at most ${room}, the tokens left in the context, got ${n}`,
      );
    const { ends } = this;
    const written = yield* writing(this.model, inputs, n, { ends, edits, sampling, ...more });
    return written[written.length - 1] === this.targetTokenizer.ids.eos
      ? written.slice(0, -1)
      : written;
  }

  /** Positions with a prediction: every token of a decoder, the masks of an encoder, none without a head. @param {import("./pass.js").Inputs} inputs */
  positions({ tokens, target }) {
    if (!this.model.weights.head) return [];
    const read = this.model.both ? (target ?? []) : tokens;
    return Array.from(read.keys()).filter(
      (i) => this.kind !== "encoder" || tokens[i] === this.tokenizer.ids.mask,
    );
  }

  /** The position to show first. @param {import("./pass.js").Inputs} inputs */
  firstPosition(inputs) {
    return this.kind === "decoder" ? inputs.tokens.length - 1 : (this.positions(inputs)[0] ?? 0);
  }

  /** Token ids with some of them masked. @param {number[]} ids @param {number[]} positions */
  masked(ids, positions) {
    const hidden = new Set(positions);
    const { mask } = this.tokenizer.ids;
    if (hidden.size && (this.kind !== "encoder" || mask === null))
      throw new Error(`${this.name} has no mask token, so nothing can be masked`);
    for (const place of hidden) {
      if (!(Number.isInteger(place) && place >= 0 && place < ids.length))
        throw new Error(
          `masked=${place} is outside the ${ids.length} tokens; give numbers 0 … ${ids.length - 1}`,
        );
    }
    return ids.map((id, i) => (hidden.has(i) ? mask : id));
  }
}
