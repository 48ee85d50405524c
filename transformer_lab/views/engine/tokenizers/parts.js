// Tokenizers by their parts, as the tokenizer.json of Hugging Face's fast ones describes them: BPE
// (GPT-2, Llama), WordPiece (BERT), Unigram (T5), and ours. views/pages/tokenizers.py refuses parts
// that are not known here, and writes regular expressions as a browser reads them. BERT's use
// Unicode 8 and a browser a newer version, so characters added since may be split differently.

import { BYTE_OF, BYTE_SIGNS, Merges, piecesOf, SPACE } from "./bytes.js";
import { display, displayBytes } from "./display.js";

/** @typedef {{encode: (piece: string) => number[]}} Model */

/** @param {Record<string, (value: any) => any>} table @param {any} value */
const partBy = (table, value) => table[value.type](value);

// ---- normalising a text before it is split ------------------------------------------------------

const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
const SPACES = new RegExp(`[${SPACE}]`, "gu");
const WHITE_SIGN = new RegExp(`[${SPACE}]`);
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const CONTROLS = /[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}]/gu;

const ENDS = [new RegExp(`^[${SPACE}]+`, "u"), new RegExp(`[${SPACE}]+$`, "u")];

/** @param {{String?: string, Regex?: string}} pattern */
const regexOf = ({ String: plain, Regex: source }) =>
  new RegExp(plain === undefined ? /** @type {string} */ (source) : escaped(plain), "gu");
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
const form = (name) => () => (text) => text.normalize(name);

/** @type {Record<string, (value: any) => (text: string) => string>} */
const NORMALIZERS = {
  NFC: form("NFC"),
  NFD: form("NFD"),
  NFKC: form("NFKC"),
  NFKD: form("NFKD"),
  Lowercase: () => (text) => Array.from(text, (c) => c.toLowerCase()).join(""),
  StripAccents: () => (text) => text.replace(/\p{M}/gu, ""),
  Strip:
    ({ strip_left: left, strip_right: right }) =>
    (text) =>
      [left, right].reduce((rest, on, i) => (on ? rest.replace(ENDS[i], "") : rest), text),
  Prepend:
    ({ prepend }) =>
    (text) =>
      text && prepend + text,
  Replace:
    ({ pattern, content }) =>
    (text) =>
      text.replace(regexOf(pattern), () => content),
  Sequence({ normalizers }) {
    const all = normalizers.map((one) => partBy(NORMALIZERS, one));
    return (text) => all.reduce((rest, normalize) => normalize(rest), text);
  },
  BertNormalizer({
    clean_text: clean,
    handle_chinese_chars: chinese,
    strip_accents: strip,
    lowercase: lower,
  }) {
    return (text) => {
      if (clean) text = text.replace(CONTROLS, "").replace(SPACES, " ");
      if (chinese) text = text.replace(CHINESE, " $& ");
      if (strip ?? lower) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
      return lower ? Array.from(text, (c) => c.toLowerCase()).join("") : text;
    };
  },
};

/** Split a text at the matches of a pattern; `behavior` says what becomes of the matches. @param {string} text @param {RegExp} pattern @param {string} behavior @param {boolean} [invert] */
function splitBy(text, pattern, behavior, invert = false) {
  const spans = [];
  let from = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (index > from) spans.push({ text: text.slice(from, index), is: invert });
    if (match) spans.push({ text: match, is: !invert });
    from = index + match.length;
  }
  if (from < text.length) spans.push({ text: text.slice(from), is: invert });
  if (behavior === "Removed") return spans.filter(({ is }) => !is).map((span) => span.text);
  const joins = {
    MergedWithPrevious: (span, last) => span.is && !last.is,
    MergedWithNext: (span, last) => !span.is && last.is,
    Contiguous: (span, last) => span.is === last.is,
  }[behavior];
  const pieces = [];
  for (const [i, span] of spans.entries()) {
    if (i && joins?.(span, spans[i - 1])) pieces[pieces.length - 1] += span.text;
    else pieces.push(span.text);
  }
  return pieces;
}

/** Each is passed a piece, and whether it is the first of the text. @type {Record<string, (value: any) => (text: string, first: boolean) => string[]>} */
const CUTTERS = {
  BertPreTokenizer: () => (text) =>
    text.match(
      new RegExp(`[!-/:-@\\[-\`{-~\\p{P}]|(?:(?![!-/:-@\\[-\`{-~\\p{P}])[^${SPACE}])+`, "gu"),
    ) ?? [],
  Digits:
    ({ individual_digits: single }) =>
    (text) =>
      text.match(single ? /\p{N}|\P{N}+/gu : /\p{N}+|\P{N}+/gu) ?? [],
  Punctuation:
    ({ behavior }) =>
    (text) =>
      splitBy(text, /[!-/:-@[-`{-~\p{P}]/gu, behavior),
  Split:
    ({ pattern, behavior, invert }) =>
    (text) =>
      splitBy(text, regexOf(pattern), behavior, invert),
  Whitespace: () => (text) => text.match(new RegExp(`[${WORD}]+|[^${WORD}${SPACE}]+`, "gu")) ?? [],
  WhitespaceSplit: () => (text) => splitBy(text, SPACES, "Removed"),
  Metaspace:
    ({ replacement: sign, prepend_scheme: scheme, split }) =>
    (text, first) => {
      const plain = text.replaceAll(" ", sign);
      const whole =
        (scheme === "always" || (scheme === "first" && first)) && !plain.startsWith(sign)
          ? sign + plain
          : plain;
      return split ? splitBy(whole, regexOf({ String: sign }), "MergedWithNext") : [whole];
    },
  ByteLevel:
    ({ add_prefix_space: prefix, use_regex: cut }) =>
    (text) => {
      const whole = prefix && !text.startsWith(" ") ? ` ${text}` : text;
      return ((cut ?? true) ? piecesOf(whole) : [whole]).map((piece) =>
        Array.from(new TextEncoder().encode(piece), (byte) => BYTE_SIGNS[byte]).join(""),
      );
    },
  Sequence({ pretokenizers }) {
    const all = pretokenizers.map((one) => partBy(CUTTERS, one));
    return (text, first) =>
      all.reduce((pieces, cut) => pieces.flatMap((piece, i) => cut(piece, first && !i)), [text]);
  },
};

// ---- from pieces to ids, and back -------------------------------------------------------------------

/** @type {Record<string, (value: any, ids: Map<string, number>) => Model>} */
const MODELS = {
  BPE(model, ids) {
    const merges = new Merges(
      ids,
      model.merges.map((pair) => (typeof pair === "string" ? pair.split(" ") : pair)),
    );
    const {
      end_of_word_suffix: suffix,
      byte_fallback: fallback,
      fuse_unk: fuse,
      unk_token: unknown,
      ignore_merges: whole,
    } = model;
    /** @param {string} piece */
    const lettersOf = (piece) => {
      const letters = Array.from(piece);
      const found = /** @type {number[]} */ ([]);
      let strange = /** @type {number | null} */ (null); // id for an unknown letter that has not been added yet
      for (const [i, letter] of letters.entries()) {
        const id = ids.get(suffix && i === letters.length - 1 ? letter + suffix : letter);
        const bytes =
          id === undefined && fallback
            ? byteNames(letter).map((byte) => ids.get(byte))
            : [undefined];
        if (id === undefined && bytes.every((byte) => byte !== undefined)) {
          found.push(.../** @type {number[]} */ (bytes));
          continue;
        }
        if (strange !== null && !(id === undefined && fuse)) found.push(strange);
        if (id === undefined) strange = ids.get(unknown) ?? null;
        else {
          strange = null;
          found.push(id);
        }
      }
      return strange === null ? found : [...found, strange];
    };
    return {
      encode: remembered((piece) =>
        whole && ids.has(piece)
          ? [/** @type {number} */ (ids.get(piece))]
          : merges.merged(lettersOf(piece)),
      ),
    };
  },
  /** The split whose scores have the largest sum (Kudo 2018). */
  Unigram({ vocab, unk_id: unknown, byte_fallback: fallback }, ids) {
    const least = vocab.reduce((low, [, score]) => Math.min(low, score), Infinity) - 10;
    const longest = vocab.reduce((most, [token]) => Math.max(most, Array.from(token).length), 1);
    const idsOf = (piece) => {
      const id = ids.get(piece);
      if (id !== undefined) return [id];
      const bytes = fallback ? byteNames(piece).map((byte) => ids.get(byte)) : [undefined];
      if (bytes.every((byte) => byte !== undefined)) return bytes;
      if (unknown === null)
        throw new Error(`“${piece}” is no token of this model, which has none for what is unknown`);
      return [unknown];
    };
    return {
      encode: remembered((piece) => {
        const letters = Array.from(piece);
        const best = letters.map(() => ({ score: 0, from: -1, id: unknown }));
        const offer = (from, to, id, score) => {
          const end = best[to - 1];
          if (end.from < 0 || score > end.score) Object.assign(end, { from, id, score });
        };
        for (let from = 0; from < letters.length; from++) {
          const before = from ? best[from - 1].score : 0;
          let text = "";
          let single = false;
          for (let to = from + 1; to <= Math.min(letters.length, from + longest); to++) {
            const id = ids.get((text += letters[to - 1]));
            if (id === undefined) continue;
            offer(from, to, id, vocab[id][1] + before);
            single ||= to === from + 1;
          }
          if (!single) offer(from, from + 1, unknown, least + before);
        }
        const found = /** @type {{text: string, id: number}[]} */ ([]);
        for (let end = letters.length; end > 0; end = best[end - 1].from) {
          const { from, id } = best[end - 1];
          const text = letters.slice(from, end).join("");
          if (found[0]?.id === unknown && id === unknown)
            found[0].text = text + found[0].text; // unknown neighbours become one
          else found.unshift({ text, id });
        }
        return found.flatMap(({ text }) => idsOf(text));
      }),
    };
  },
  WordLevel({ unk_token: unknown }, ids) {
    return {
      encode(piece) {
        const id = ids.get(piece) ?? ids.get(unknown);
        if (id === undefined)
          throw new Error(
            `text has “${display(piece)}”, which is not one of ${Array.from(ids.keys(), display).join("")}`,
          );
        return [id];
      },
    };
  },
  WordPiece(
    { unk_token: unknown, continuing_subword_prefix: prefix, max_input_chars_per_word: most },
    ids,
  ) {
    return {
      encode(piece) {
        const letters = Array.from(piece);
        const found = [];
        for (let from = 0; from < letters.length && letters.length <= most;) {
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

const TIDY = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

const textOf = (bytes, options = {}) =>
  new TextDecoder("utf-8", { ignoreBOM: true, ...options }).decode(Uint8Array.from(bytes));

/** Each maps a list of strings to another; the last list, joined, is the text. @type {Record<string, (value: any) => (tokens: string[]) => string[]>} */
const JOINERS = {
  ByteLevel: () => (tokens) => [
    textOf(tokens.flatMap((token) => bytesOfToken(token) ?? [...new TextEncoder().encode(token)])),
  ],
  WordPiece:
    ({ prefix, cleanup }) =>
    (tokens) =>
      tokens.map((token, i) => {
        const joined =
          i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
        return cleanup
          ? TIDY.reduce((text, [from, to]) => text.replaceAll(from, to), joined)
          : joined;
      }),
  Metaspace:
    ({ replacement: sign, prepend_scheme: scheme }) =>
    (tokens) =>
      tokens.map((token, i) => token.replaceAll(sign, !i && scheme !== "never" ? "" : " ")),
  Replace:
    ({ pattern, content }) =>
    (tokens) =>
      tokens.map((token) => token.replace(regexOf(pattern), () => content)),
  BPEDecoder:
    ({ suffix }) =>
    (tokens) =>
      tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? "" : " ")),
  /** Spaces between words. */
  Words:
    ({ closing, opening }) =>
    (tokens) =>
      tokens.map((token, i) =>
        i && !closing.includes(token) && !opening.includes(tokens[i - 1]) ? ` ${token}` : token,
      ),
  Fuse: () => (tokens) => [tokens.join("")],
  Strip:
    ({ content, start, stop }) =>
    (tokens) =>
      tokens.map((token) => {
        const letters = Array.from(token);
        let [from, to] = [0, letters.length];
        while (from < Math.min(start, to) && letters[from] === content) from++;
        while (to > Math.max(letters.length - stop, from) && letters[to - 1] === content) to--;
        return letters.slice(from, to).join("");
      }),
  ByteFallback: () => (tokens) => {
    const found = /** @type {string[]} */ ([]);
    let bytes = /** @type {number[]} */ ([]);
    const flush = () => {
      try {
        if (bytes.length) found.push(textOf(bytes, { fatal: true }));
      } catch {
        found.push(...bytes.map(() => "\ufffd"));
      }
      bytes = [];
    };
    for (const token of tokens) {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
      if (byte) bytes.push(parseInt(byte[1], 16));
      else {
        flush();
        found.push(token);
      }
    }
    flush();
    return found;
  },
  Sequence({ decoders }) {
    const all = decoders.map((one) => partBy(JOINERS, one));
    return (tokens) => all.reduce((rest, join) => join(rest), tokens);
  },
};

/** Names of the bytes of a text without a piece. @param {string} text */
const byteNames = (text) =>
  Array.from(
    new TextEncoder().encode(text),
    (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );

/** Cache a function's results by piece. @param {(piece: string) => number[]} f */
function remembered(f) {
  const answers = new Map();
  return (piece) => {
    const kept = answers.get(piece);
    if (kept) return kept;
    const found = f(piece);
    if (answers.size > 10_000) answers.clear();
    answers.set(piece, found);
    return found;
  };
}

/** @param {string} token @returns {number[] | null} */
function bytesOfToken(token) {
  const bytes = Array.from(token, (sign) => BYTE_OF.get(sign));
  return bytes.every((byte) => byte !== undefined) ? /** @type {number[]} */ (bytes) : null;
}

/** Special tokens around a text: ids before it, and after it. @returns {[number[], number[]]} */
function around(value) {
  if (!value || value.type === "ByteLevel") return [[], []];
  if (value.type === "BertProcessing" || value.type === "RobertaProcessing")
    return [[value.cls[1]], [value.sep[1]]];
  if (value.type === "Sequence") {
    return value.processors.map(around).reduce(
      ([left, right], [before, behind]) => [
        [...before, ...left],
        [...right, ...behind],
      ],
      [[], []],
    );
  }
  const at = value.single.findIndex((part) => part.Sequence);
  const ids = (parts) => parts.flatMap((part) => value.special_tokens[part.SpecialToken.id].ids);
  return [ids(value.single.slice(0, at)), ids(value.single.slice(at + 1))];
}

export class PartsTokenizer {
  /**
   * @param {{backend: any, ids: Record<string, number | null>, special: number[], hidden: number[], pieces: boolean, size: number}} values
   *   backend: as in tokenizer.json. special: ids shown by name; hidden: ids left out of texts.
   *   pieces: whether names may be SentencePiece's
   */
  constructor({ backend, ids, special, hidden, pieces, size }) {
    const { model, normalizer, pre_tokenizer: cutter, added_tokens: added, decoder } = backend;
    this.ids = ids;
    this.size = size;
    this.pieces = pieces;
    this.special = new Set(special);
    this.hidden = new Set(hidden);
    const byName = new Map(
      Array.isArray(model.vocab)
        ? model.vocab.map(([name], id) => [name, id])
        : Object.entries(model.vocab),
    );
    this.model = MODELS[model.type](model, byName);
    this.normalize = partBy(NORMALIZERS, normalizer);
    this.cut = cutter ? partBy(CUTTERS, cutter) : (text) => [text];
    this.byteLevel = JSON.stringify(decoder).includes('"ByteLevel"');
    this.join = partBy(JOINERS, decoder);
    this.around = around(backend.post_processor);
    this.names = new Map(Array.from(byName, ([name, id]) => [id, name]));
    for (const one of added) this.names.set(one.id, one.content);
    this.added = new Map(added.map((one) => [one.content, one]));
    const longest = [...added].sort((a, b) => b.content.length - a.content.length);
    this.marks = added.length
      ? new RegExp(longest.map(({ content }) => escaped(content)).join("|"), "gu")
      : null;
  }

  /**
   * Rows that an embedding must have, not counting the padding token: it is often added after the
   * last row, since no text has it.
   */
  get rows() {
    return Array.from(this.names.keys()).reduce(
      (most, id) => (id === this.ids.pad ? most : Math.max(most, id + 1)),
      0,
    );
  }

  /** @param {string} text */
  encode(text) {
    const ids = [...this.around[0]];
    let from = 0;
    for (const match of this.marks ? text.matchAll(this.marks) : []) {
      const { id, lstrip, rstrip } = this.added.get(match[0]);
      let [start, end] = [match.index, match.index + match[0].length];
      while (lstrip && start > from && WHITE_SIGN.test(text[start - 1])) start--;
      while (rstrip && end < text.length && WHITE_SIGN.test(text[end])) end++;
      this.add(ids, text.slice(from, start), !from);
      ids.push(id);
      from = end;
    }
    this.add(ids, text.slice(from), !from);
    return [...ids, ...this.around[1]];
  }

  /**
   * Append the ids of the text between two added tokens; `first`: whether it begins the whole text.
   */
  add(ids, text, first) {
    if (!text) return;
    for (const piece of this.cut(this.normalize(text), first))
      for (const id of this.model.encode(piece)) ids.push(id);
  }

  /** @param {number[]} ids */
  decode(ids) {
    const names = ids.filter((id) => !this.hidden.has(id)).map((id) => this.names.get(id));
    return this.join(names.filter((name) => name !== undefined)).join("");
  }

  /** One string per id, with invisible characters made visible. @param {number[]} ids */
  tokens(ids) {
    return ids.map((id) => {
      const name = this.names.get(id);
      if (name === undefined) return `⟨${id}⟩`; // models often have more rows than the tokenizer has tokens
      const one = this.pieces && /^<0x([0-9A-F]{2})>$/i.exec(name); // a byte that SentencePiece has no piece for
      const bytes = this.special.has(id)
        ? null
        : (this.byteLevel && bytesOfToken(name)) || (one && [parseInt(one[1], 16)]);
      if (bytes) return displayBytes(Uint8Array.from(bytes));
      return display(this.pieces && !this.special.has(id) ? name.replaceAll("▁", " ") : name);
    });
  }
}
