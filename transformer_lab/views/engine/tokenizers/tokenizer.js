// Text to token ids and back, with the same ids as Python.

import { PartsTokenizer } from "./parts.js";

/** The tokenizer that these values describe: by its parts, or by recorded texts. @param {any} values */
export const tokenizerOf = (values) =>
  values.why === undefined ? new PartsTokenizer(values) : new RecordedTokenizer(values);

/**
 * Replaces a tokenizer that does not run here: the texts it has read, and the names of its tokens.
 */
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

  /** One string per id. @param {number[]} ids */
  tokens(ids) {
    return ids.map((id) => this.names[id] ?? `⟨${id}⟩`);
  }
}
