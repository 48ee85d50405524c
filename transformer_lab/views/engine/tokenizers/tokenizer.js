// Text to token ids and back, by characters, by words or by byte-level BPE: what tokenizer.json
// describes, with the same ids as in Python.

import { BYTE_OF, Merges } from "./bytes.js";
import { display, displayBytes } from "./display.js";
import { HuggingFaceTokenizer } from "./hugging_face.js";

const SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"];
const UNK = 3;
const EOS = 2;

// Python's \w and \s.
const WHITE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WORDS = new RegExp(`[\\p{L}\\p{N}_]+(?:['’-][\\p{L}\\p{N}_]+)*|[^\\p{L}\\p{N}_${WHITE}]`, "gu");
const CLOSING = new Set(".,;:!?)]}…");
const OPENING = new Set("([{");

/**
 * How each kind splits a text into ids, and puts ids together again.
 * @type {Record<string, (values: any, ids: Map<string, number>, vocabulary: string[]) => {encode: (text: string) => number[], decode: (ids: number[]) => string, display?: (id: number) => string}>}
 */
const KINDS_OF_TOKENS = {
  alphabet: (_, ids, vocabulary) => ({
    encode(text) {
      const strange = Array.from(text).find((character) => !ids.has(character));
      if (strange !== undefined) throw new Error(`text has “${display(strange)}”, which is not one of ${vocabulary.map(display).join("")}`);
      return Array.from(text, (character) => /** @type {number} */ (ids.get(character)));
    },
    decode: (found) => found.map((id) => vocabulary[id]).join(""),
  }),
  char: (_, ids, vocabulary) => ({
    encode: (text) => Array.from(text, (character) => ids.get(character) ?? UNK),
    decode: (found) => found.map((id) => vocabulary[id]).join(""),
  }),
  word: (_, ids, vocabulary) => ({
    encode: (text) => Array.from(text.matchAll(WORDS), ([word]) => ids.get(word) ?? UNK),
    decode: (found) =>
      found
        .map((id, i) => {
          const tight = i === 0 || CLOSING.has(vocabulary[id]) || OPENING.has(vocabulary[found[i - 1]]);
          return tight ? vocabulary[id] : ` ${vocabulary[id]}`;
        })
        .join(""),
  }),
  bpe: ({ merges }, ids, vocabulary) => {
    const engine = new Merges(ids, merges);
    const bytesOf = (id) => (id < SPECIAL.length ? [...new TextEncoder().encode(SPECIAL[id])] : Array.from(vocabulary[id], (sign) => /** @type {number} */ (BYTE_OF.get(sign))));
    return {
      encode: (text) => engine.encode(text),
      decode: (found) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(found.flatMap(bytesOf))),
      display: (id) => displayBytes(Uint8Array.from(bytesOf(id))),
    };
  },
};

/** The tokenizer that these values describe: one of ours, one of Hugging Face's, or what was recorded of one. @param {any} values */
export const tokenizerOf = (values) => new ({ __proto__: null, hugging_face: HuggingFaceTokenizer, recorded: RecordedTokenizer }[values?.kind] ?? Tokenizer)(values);

/** The texts that a tokenizer read which does not run here, and the names of its tokens. */
class RecordedTokenizer {
  /** @param {{why: string, texts: [string, number[]][], names: string[], ids: Record<string, number | null>, rows: number}} values */
  constructor({ why, texts, names, ids, rows }) {
    this.why = why;
    this.texts = texts;
    this.names = names;
    this.ids = ids;
    this.rows = rows;
  }

  /** @param {string} text */
  encode(text) {
    return this.#known(([one]) => one === text)[1];
  }

  /** @param {string} text */
  encodeMasked(text) {
    return this.encode(text);
  }

  /** @param {number[]} ids */
  decode(ids) {
    const { bos, eos, pad } = this.ids;
    const plain = (list) => list.filter((id) => ![bos, eos, pad].includes(id)).join();
    return this.#known(([, one]) => plain(one) === plain(ids))[0];
  }

  #known(is) {
    const known = this.texts.find(is);
    if (!known) throw new Error(`this page reads no other text: ${this.why}`);
    return known;
  }

  /** One string an id. @param {number[]} ids */
  tokens(ids) {
    return ids.map((id) => this.names[id] ?? `⟨${id}⟩`);
  }
}

export class Tokenizer {
  /** @param {any} values of tokenizer.json */
  constructor(values) {
    if (!Object.hasOwn(KINDS_OF_TOKENS, values?.kind)) throw new Error(`this page's engine does not know tokenizers of kind ${JSON.stringify(values?.kind)}`);
    this.special = values.kind === "alphabet" ? [] : SPECIAL;
    this.ids = this.special.length ? { pad: 0, bos: 1, eos: EOS, unk: UNK, mask: 4 } : { pad: null, bos: null, eos: null, unk: null, mask: null };
    this.vocabulary = [...this.special, ...values.vocabulary];
    const ids = new Map(this.vocabulary.map((token, id) => [token, id]));
    // No text merges into the name of a special token, nor is one a word of it.
    this.kind = KINDS_OF_TOKENS[values.kind](values, ids, this.vocabulary);
  }

  get size() {
    return this.vocabulary.length;
  }

  /** A text of a masked model: what a reader writes as <mask> is that token, which no other text gives. @param {string} text */
  encodeMasked(text) {
    if (this.ids.mask === null) return this.encode(text);
    return text.split(SPECIAL[this.ids.mask]).flatMap((part, i) => [...(i ? [this.ids.mask] : []), ...this.encode(part)]);
  }

  /** Rows that an embedding must have. */
  get rows() {
    return this.size;
  }

  /** Unknown pieces become <unk>; nothing is ever added. @param {string} text */
  encode(text) {
    return this.kind.encode(text);
  }

  /** Padding, beginning and end are left out. @param {number[]} ids */
  decode(ids) {
    return this.kind.decode(this.checked(ids).filter((id) => !this.special.length || id > EOS));
  }

  /** One string an id, invisible characters made visible. @param {number[]} ids */
  tokens(ids) {
    return this.checked(ids).map((id) => this.special[id] ?? this.kind.display?.(id) ?? display(this.vocabulary[id]));
  }

  checked(ids) {
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= this.size);
    if (strange !== undefined) throw new Error(`id ${strange} is outside this tokenizer's 0 … ${this.size - 1}`);
    return ids;
  }
}
