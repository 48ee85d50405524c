// Messages from a catalogue: the messages.json of a view's folder holds a template for each key.
// messages.py describes templates, and asks this from Python.

import sharedMessages from "./messages.json" with { type: "json" };

export const NOTHING = 1e-30; // a weight below it is 0 on some processors

const INSERTED = /\{(@?)(\w+)(?:, (\w+)(?:, (\w+))?)?\}/y;
const CHOSEN_BY = /\{(\w+), (plural|selectordinal|select|below), /y;
const CASE_OF = / *([=\w.]+) \{/y;
const LITERAL = /'([{}#])'|([^{}#']+|')/y;

/**
 * A number with a fixed number of decimals. Halves are rounded away from 0, and so are numbers that
 * fall short of a half by up to a thousandth of the last digit: Python and a browser compute the
 * same number except for its last bits.
 * @param {number} x
 * @param {number} [decimals]
 */
export function fixed(x, decimals = 2) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
  const whole = BigInt(Math.floor(Math.abs(x) * 10 ** decimals + 0.501));
  const digits = String(whole).padStart(decimals + 1, "0");
  const at = digits.length - decimals;
  return `${x < 0 && whole ? "−" : ""}${digits.slice(0, at)}${decimals ? "." : ""}${digits.slice(at)}`;
}

/** A weight to two decimals, as "0.61"; one that rounds to 0 as "<0.01". @param {number} x @param {number} [decimals] */
export function short(x, decimals = 2) {
  const text = fixed(x, decimals);
  if (x > NOTHING && /^[0.]*$/.test(text)) return `<0.${"1".padStart(decimals, "0")}`;
  return text;
}

/** A number with its sign, "+0.34"; if it rounds to 0, the sign is "+". @param {number} x @param {number} [decimals] */
export function withSign(x, decimals = 2) {
  const text = fixed(x, decimals);
  return text.startsWith("−") ? text : `+${text}`;
}

/** A change to two decimals, as "+0.21" or "−0.21", or to three if two would not show it; "0" below 0.0005. @param {number} x */
export function changeText(x) {
  const size = Math.abs(x);
  if (size < 0.0005) return "0";
  return (x > 0 ? "+" : "−") + short(size, size < 0.005 - 1e-5 ? 3 : 2);
}

/** A number to about three digits. @param {number} x */
export const sizeText = (x) =>
  fixed(x, Math.abs(x) >= 100 || x === 0 ? 0 : Math.abs(x) >= 10 ? 1 : 2);

/** A fraction as "34%"; one that rounds to 0 as "<1%". @param {number} x @param {number} [decimals] */
export function percentText(x, decimals = 0) {
  const text = fixed(100 * x, decimals);
  return x > NOTHING && text === "0" ? "<1%" : `${text}%`;
}

/** Decimals for two fractions as percentages: 0, or 1 if only one decimal tells them apart. @param {number} a @param {number} b */
export const digitsApart = (a, b) =>
  percentText(a) === percentText(b) && percentText(a, 1) !== percentText(b, 1) ? 1 : 0;

/** A number between 0 and 1 as a digit and a power of ten, as "3e−5". @param {number} x */
function powerText(x) {
  let places = 1;
  while (places < 300 && x * 10 ** places < 0.95) places++;
  return `${fixed(x * 10 ** places, 0)}e−${places}`;
}

/** @param {string} token */
export const quoted = (token) => `“${token}”`;

const WHICH = "\u2063"; // between a name and its number among those of the same name

/** A token's name in a sentence, numbered if several tokens have the same name: “the”₂. @param {string[]} tokens @param {number} at */
export function numbered(tokens, at) {
  const name = tokens[at];
  if (tokens.indexOf(name) === tokens.lastIndexOf(name)) return name;
  return `${name}${WHICH}${tokens.slice(0, at + 1).filter((token) => token === name).length}`;
}

/** @param {string} text */
const firstCapital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

/** An error's message as a sentence. @param {Error} error */
export const asSentence = ({ message }) => `${firstCapital(message)}.`.replace(/\.\.$/, ".");

/** @param {string} text */
export const firstSmall = (text) => text.slice(0, 1).toLowerCase() + text.slice(1);

/** @type {Record<string, (x: number, decimals?: number) => string>} */
const NUMBER_FORMATS = {
  abs: (x, decimals) => fixed(Math.abs(x), decimals),
  fixed,
  short,
  signed: withSign,
  change: changeText,
  size: sizeText,
  percent: percentText,
  apart: (x, other) => percentText(x, digitsApart(x, other ?? x)),
  power: powerText,
};
/** @type {Record<string, (text: string) => string>} */
const WORD_FORMATS = { capital: firstCapital, small: firstSmall };

/** Placeholder for a value that is an element, not text; `around` replaces it. */
export const SLOT = "\uFFFC";

/** A message with its SLOTs replaced by elements, or by pieces. @template T @param {string} text @param {...T} nodes @returns {(T | string)[]} */
export const around = (text, ...nodes) =>
  text.split(SLOT).flatMap((part, i) => (i ? [nodes[i - 1], part] : [part]));

/**
 * @typedef {(key: string, values?: Record<string, any>) => string} Say
 *
 * Combine a view's catalogues with the one that all views share, as a function of a key and its
 * values.
 * @param {...Record<string, string>} catalogues later ones override earlier ones
 * @returns {Say}
 */
export function messages(...catalogues) {
  /** @type {Record<string, string>} */
  const templates = Object.assign({}, sharedMessages, ...catalogues);
  /** @type {Map<string, any[]>} */
  const parsed = new Map();
  const say = (key, values = {}) => {
    if (!Object.hasOwn(templates, key)) throw new Error(`no message ${key}`);
    if (!parsed.has(key)) parsed.set(key, parseMessage(key, templates[key], { at: 0 }, false));
    return written(key, parsed.get(key), values, "#");
  };
  const written = (key, nodes, values, count) =>
    nodes
      .map((node) => {
        if (typeof node === "string") return node;
        if (node.length === 1) return count;
        if (node[0] === "@") return say(node[1], values);
        return node.length === 3
          ? chosen(key, node, values, count)
          : writtenValue(key, node, values, templates);
      })
      .join("");
  const chosen = (key, [name, choice, cases], values, count) => {
    const value = givenValue(key, name, values);
    let found;
    if (choice === "select") {
      found = value === null ? "=none" : String(value);
      if (found[0] === "=" && value !== null) found = "other";
    } else if (typeof value !== "number") {
      throw new Error(`message ${key}: ${name} must be a number, got ${JSON.stringify(value)}`);
    } else if (choice === "below") {
      found = [...cases.keys()].find((each) => each !== "other" && value < Number(each));
    } else {
      count = fixed(value, 0);
      found = cases.has(`=${count}`)
        ? `=${count}`
        : pluralCategory(value, choice === "selectordinal");
      count = count.replace(/\B(?=(\d{3})+$)/g, templates.thousands);
    }
    return written(key, cases.get(found) ?? cases.get("other"), values, count);
  };
  return say;
}

/** The messages that all views share. */
export const sayShared = messages();

/** By the last of their catalogues. @type {WeakMap<Record<string, string>, Say>} */
const sayers = new WeakMap([[sharedMessages, sayShared]]);

/** A message, for Python. @param {string} key @param {Record<string, any>} values @param {...Record<string, string>} catalogues */
export function sayFrom(key, values, ...catalogues) {
  const last = catalogues.at(-1) ?? /** @type {Record<string, string>} */ (sharedMessages);
  if (!sayers.has(last)) sayers.set(last, messages(...catalogues));
  return /** @type {Say} */ (sayers.get(last))(key, values);
}

function writtenValue(key, [, name, form, detail], values, templates) {
  const value = givenValue(key, name, values);
  if (typeof value === "number" && Object.hasOwn(NUMBER_FORMATS, form ?? "")) {
    const other = form === "apart" ? givenValue(key, detail, values) : Number(detail);
    return NUMBER_FORMATS[form](value, ...(detail ? [other] : []))
      .replace(".", templates.decimal)
      .replace("%", templates.percent);
  }
  if (typeof value === "number" && !form && value === Math.floor(value)) return fixed(value, 0);
  if (typeof value === "string" && form === "quoted") {
    const [name, which = ""] = value.split(WHICH);
    const number = which.replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]);
    return templates.quotes.replace("…", () => name) + number;
  }
  if (typeof value === "string" && (!form || Object.hasOwn(WORD_FORMATS, form)))
    return form ? WORD_FORMATS[form](value) : value;
  throw new Error(`message ${key}: ${name} cannot be written ${form ?? "without a format"}`);
}

function givenValue(key, name, values) {
  if (values[name] === undefined) throw new Error(`message ${key} has no value for ${name}`);
  return values[name];
}

/** Plural category, as in Unicode's rules for English and German. @param {number} n @param {boolean} ordinal */
function pluralCategory(n, ordinal) {
  if (!ordinal) return n === 1 ? "one" : "other";
  return Math.floor((n % 100) / 10) === 1
    ? "other"
    : ({ 1: "one", 2: "two", 3: "few" }[n % 10] ?? "other");
}

/** Parse a template into texts, ["#"], [@, name, format, detail], and [name, choice, cases]. @param {string} key @param {string} text @param {{at: number}} place */
export function parseMessage(key, text, place, inside) {
  const nodes = [];
  const take = (pattern) => {
    pattern.lastIndex = place.at;
    const found = pattern.exec(text);
    if (found) place.at = pattern.lastIndex;
    return found;
  };
  while (place.at < text.length) {
    let found;
    if ((found = take(INSERTED))) {
      nodes.push(found.slice(1));
    } else if ((found = take(CHOSEN_BY))) {
      const cases = new Map();
      for (let each; (each = take(CASE_OF));)
        cases.set(each[1], parseMessage(key, text, place, true));
      if (text[place.at] !== "}" || !cases.has("other"))
        throw new Error(`message ${key}: ${found[1]} has no other {…}, or no end`);
      nodes.push([found[1], found[2], cases]);
      place.at++;
    } else if ((found = take(LITERAL))) {
      nodes.push(found[1] ?? found[2]);
    } else if (text[place.at] === "#") {
      nodes.push(["#"]);
      place.at++;
    } else if (text[place.at] === "}" && inside) {
      place.at++;
      return nodes;
    } else {
      throw new Error(`message ${key}: what is ${text.slice(place.at, place.at + 20)}?`);
    }
  }
  if (inside) throw new Error(`message ${key}: a brace is open`);
  return nodes;
}

/** Short name of a head. @param {number} layer @param {number} head */
export const headTag = (layer, head) => `L${layer}H${head}`;
