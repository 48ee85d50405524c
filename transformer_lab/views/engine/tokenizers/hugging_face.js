// Hugging Face's fast tokenizers, as their tokenizer.json describes them: byte-level BPE (GPT-2, Llama's
// relatives) and WordPiece (BERT). A part that is not known here is refused by its name. BERT's know
// Unicode 8 and a browser a newer one, so that signs that came later may be cut otherwise.

import { BYTE_OF, BYTE_SIGNS, Merges, piecesOf, SPACE, wellFormed } from "./bytes.js";
import { display, displayBytes } from "./display.js";

/** @typedef {{encode: (piece: string) => number[]}} Model */

const refuse = (part, value) => new Error(`this page's engine does not know the ${part} ${value?.type ?? JSON.stringify(value)} of the tokenizer`);

/** @param {Record<string, (value: any) => any>} table @param {string} part @param {any} value */
function known(table, part, value) {
  if (!Object.hasOwn(table, value?.type)) throw refuse(part, value);
  return table[value.type](value);
}

// ---- what happens to a text before it is cut --------------------------------------------------------

const CHINESE = /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
const SPACES = new RegExp(`[${SPACE}]`, "gu");
const WHITE_SIGN = new RegExp(`[${SPACE}]`);
const CONTROLS = /[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}]/gu;

/** @type {Record<string, (value: any) => (text: string) => string>} */
const NORMALIZERS = {
  BertNormalizer({ clean_text: clean, handle_chinese_chars: chinese, strip_accents: strip, lowercase: lower }) {
    return (text) => {
      if (clean) text = text.replace(CONTROLS, "").replace(SPACES, " ");
      if (chinese) text = text.replace(CHINESE, " $& ");
      if (strip ?? lower) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
      return lower ? Array.from(text, (c) => c.toLowerCase()).join("") : text;
    };
  },
};

/** @type {Record<string, (value: any) => (text: string) => string[]>} */
const CUTTERS = {
  BertPreTokenizer: () => (text) => text.match(new RegExp(`[!-/:-@\\[-\`{-~\\p{P}]|(?:(?![!-/:-@\\[-\`{-~\\p{P}])[^${SPACE}])+`, "gu")) ?? [],
  Digits: ({ individual_digits: single }) => (text) => text.match(single ? /\p{N}|\P{N}+/gu : /\p{N}+|\P{N}+/gu) ?? [],
  ByteLevel: ({ add_prefix_space: prefix, use_regex: cut }) => (text) => {
    const whole = prefix && !text.startsWith(" ") ? ` ${text}` : text;
    return cut ?? true ? piecesOf(whole) : [whole];
  },
  Sequence({ pretokenizers }) {
    const all = pretokenizers.map((one) => known(CUTTERS, "pre-tokenizer", one));
    return (text) => all.reduce((pieces, cut) => pieces.flatMap(cut), [text]);
  },
};

// ---- from pieces to ids, and back -------------------------------------------------------------------

/** @type {Record<string, (value: any, ids: Map<string, number>) => Model>} */
const MODELS = {
  BPE(model, ids) {
    for (const name of ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"]) if (model[name]) throw refuse(name, model[name]);
    const merges = new Merges(ids, model.merges.map((pair) => (typeof pair === "string" ? pair.split(" ") : pair)));
    const signs = (piece) => Array.from(new TextEncoder().encode(piece), (byte) => BYTE_SIGNS[byte]).join("");
    return { encode: (piece) => (model.ignore_merges && ids.has(signs(piece)) ? [/** @type {number} */ (ids.get(signs(piece)))] : merges.encodePiece(piece)) };
  },
  WordPiece({ unk_token: unknown, continuing_subword_prefix: prefix, max_input_chars_per_word: most }, ids) {
    return {
      encode(piece) {
        const letters = Array.from(piece);
        const found = [];
        for (let from = 0; from < letters.length && letters.length <= most; ) {
          let to = letters.length;
          const named = () => ids.get((from ? prefix : "") + letters.slice(from, to).join(""));
          while (to > from && named() === undefined) to--;
          if (to === from) break;
          found.push({ id: /** @type {number} */ (named()), to });
          from = to;
        }
        const whole = found.length > 0 && found[found.length - 1].to === letters.length;
        return whole ? found.map(({ id }) => id) : [/** @type {number} */ (ids.get(unknown))];
      },
    };
  },
};

const TIDY = [[" .", "."], [" ?", "?"], [" !", "!"], [" ,", ","], [" ' ", "'"], [" n't", "n't"], [" 'm", "'m"], [" do not", " don't"], [" 's", "'s"], [" 've", "'ve"], [" 're", "'re"]];

/** @type {Record<string, (value: any) => (tokens: string[]) => string>} */
const JOINERS = {
  ByteLevel: () => (tokens) => {
    const bytes = tokens.flatMap((token) => bytesOfToken(token) ?? [...new TextEncoder().encode(token)]);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
  },
  WordPiece: ({ prefix, cleanup }) => (tokens) =>
    tokens
      .map((token, i) => {
        const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
        return cleanup ? TIDY.reduce((text, [from, to]) => text.replaceAll(from, to), joined) : joined;
      })
      .join(""),
};

/** @param {string} token @returns {number[] | null} */
function bytesOfToken(token) {
  const bytes = Array.from(token, (sign) => BYTE_OF.get(sign));
  return bytes.every((byte) => byte !== undefined) ? /** @type {number[]} */ (bytes) : null;
}

/** What is put around a text: ids before it, and behind. @returns {[number[], number[]]} */
function around(value) {
  if (!value || value.type === "ByteLevel") return [[], []];
  if (value.type === "BertProcessing") return [[value.cls[1]], [value.sep[1]]];
  if (value.type === "Sequence") {
    return value.processors.map(around).reduce(([left, right], [before, behind]) => [[...before, ...left], [...right, ...behind]], [[], []]);
  }
  if (value.type !== "TemplateProcessing") throw refuse("post-processor", value);
  const at = value.single.findIndex((part) => part.Sequence);
  const ids = (parts) => parts.flatMap((part) => value.special_tokens[part.SpecialToken.id].ids);
  return [ids(value.single.slice(0, at)), ids(value.single.slice(at + 1))];
}

export class HuggingFaceTokenizer {
  /** @param {{backend: any, ids: Record<string, number | null>, special: number[], size: number}} values backend as in tokenizer.json */
  constructor({ backend, ids, special, size }) {
    const { model, normalizer, pre_tokenizer: cutter, added_tokens: added, decoder } = backend;
    this.ids = ids;
    this.size = size;
    this.special = new Set(special);
    const byName = new Map(Object.entries(model.vocab ?? {}));
    this.model = known({ BPE: (one) => MODELS.BPE(one, byName), WordPiece: (one) => MODELS.WordPiece(one, byName) }, "model", model);
    this.normalize = normalizer ? known(NORMALIZERS, "normalizer", normalizer) : (text) => text;
    this.cut = known(CUTTERS, "pre-tokenizer", cutter);
    this.byteLevel = decoder?.type === "ByteLevel";
    this.join = known(JOINERS, "decoder", decoder);
    this.around = around(backend.post_processor);
    this.names = new Map(Array.from(byName, ([name, id]) => [id, name]));
    for (const one of added) {
      if (one.single_word || (one.normalized && normalizer)) throw refuse("added token", one.content);
      this.names.set(one.id, one.content);
    }
    this.hidden = new Set(added.filter((one) => one.special).map((one) => one.id)); // left out of texts
    this.added = new Map(added.map((one) => [one.content, one]));
    const escaped = ({ content }) => content.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
    const longest = [...added].sort((a, b) => b.content.length - a.content.length);
    this.marks = added.length ? new RegExp(longest.map(escaped).join("|"), "gu") : null;
  }

  /** Rows that an embedding must have: a padding token is often added behind the last, since no text has it. */
  get rows() {
    return 1 + Math.max(-1, ...[...this.names.keys()].filter((id) => id !== this.ids.pad));
  }

  /** @param {string} text */
  encode(text) {
    const whole = wellFormed(text);
    const ids = [...this.around[0]];
    let from = 0;
    for (const match of this.marks ? whole.matchAll(this.marks) : []) {
      const { id, lstrip, rstrip } = this.added.get(match[0]);
      let [start, end] = [match.index, match.index + match[0].length];
      while (lstrip && start > from && WHITE_SIGN.test(whole[start - 1])) start--;
      while (rstrip && end < whole.length && WHITE_SIGN.test(whole[end])) end++;
      this.add(ids, whole.slice(from, start));
      ids.push(id);
      from = end;
    }
    this.add(ids, whole.slice(from));
    return [...ids, ...this.around[1]];
  }

  /** What stands between two tokens that were added. */
  add(ids, text) {
    if (!text) return;
    for (const piece of this.cut(this.normalize(text))) for (const id of this.model.encode(piece)) ids.push(id);
  }

  /** Its names of special tokens are read as such in any text. @param {string} text */
  encodeMasked(text) {
    return this.encode(text);
  }

  /** @param {number[]} ids */
  decode(ids) {
    const names = ids.filter((id) => !this.hidden.has(id)).map((id) => this.names.get(id));
    return this.join(names.filter((name) => name !== undefined));
  }

  /** One string an id, invisible characters made visible. @param {number[]} ids */
  tokens(ids) {
    return ids.map((id) => {
      const name = this.names.get(id);
      if (name === undefined) return `⟨${id}⟩`; // models often have more rows than the tokenizer has tokens
      const one = /^<0x([0-9A-F]{2})>$/i.exec(name); // a byte that SentencePiece has no piece for
      const bytes = this.special.has(id) ? null : (this.byteLevel && bytesOfToken(name)) || (one && [parseInt(one[1], 16)]);
      if (bytes) return displayBytes(Uint8Array.from(bytes));
      return display(this.special.has(id) ? name : name.replaceAll("▁", " "));
    });
  }
}
