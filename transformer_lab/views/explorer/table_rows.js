// The heads of an Explorer as rows of a table: what is known about each, sorted, searched and as
// text.

import { csvText } from "../shared/csv.js";
import { fixed } from "../shared/messages.js";
import { sayExplorer } from "./prose.js";

export const WORD_COLUMNS = ["label", "evidence"]; // columns of words; the others are numbers
const NEAREST = /nearest is “[^”]*”/g; // a label that the head does not have
const QUOTED = /["“”][^"“”]*["“”]/g;
const COMPARED = /^(.*?)(<=|>=|!=|==|=|<|>|≤|≥|≠)(.*)$/s;
const NUMBER = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%?)$/i;
const ALIKE = { "==": "=", "≤": "<=", "≥": ">=", "≠": "!=" };
const COMPARE = {
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};

/**
 * A predicate for rows that match a query. Throws for an unknown column, or a comparison without a
 * number.
 * @param {string} query
 * @param {string[]} columns those that may be compared
 * @param {(column: string) => string} [shortOf] the header of a column, by which it can be named
 *   too
 * @returns {(valueOf: (column: string) => any) => boolean}
 */
export function asked(query, columns, shortOf = (column) => column) {
  const clauses = partsOf(query).map((part) => clause(part, columns, shortOf));
  return (valueOf) => clauses.every((holds) => holds(valueOf));
}

/** Split a query at each "and" outside quotes; a trailing "and" is dropped. */
function partsOf(query) {
  const kept = [];
  const hidden = query
    .replaceAll("\0", "")
    .replace(QUOTED, (found) => `\0${kept.push(found) - 1}\0`)
    .trim();
  const parts = hidden.replace(/(^|\s)and$/i, "").split(/\s+and\s+/i);
  return parts
    .map((part) => part.replace(/\0(\d+)\0/g, (_, i) => kept[Number(i)]).trim())
    .filter(Boolean);
}

function clause(part, columns, shortOf) {
  const compared = /^["“”]/.test(part) ? null : COMPARED.exec(part);
  if (!compared) {
    const words = bare(part);
    return (valueOf) =>
      plain(`${valueOf("label") || ""} ${valueOf("evidence").replace(NEAREST, "")}`).includes(
        words,
      );
  }
  const [name, given] = [compared[1].trim(), compared[3].trim()];
  const sign = ALIKE[compared[2]] ?? compared[2];
  const named = (nameOf) => columns.find((column) => spelled(nameOf(column)) === spelled(name));
  const column = named((one) => one) ?? named(shortOf);
  if (column === undefined)
    throw new Error(`there is no column “${name}”; choose from ${columns.join(", ")}`);
  if (WORD_COLUMNS.includes(column)) return sameWords(column, sign, bare(given));
  const number = numberOf(given);
  if (number === null) throw new Error(`“${part}” needs a number; write “${column} ${sign} 3”`);
  const either = column === "effect" && number >= 0; // in either direction
  return (valueOf) => {
    const value = valueOf(column) ?? NaN;
    return !Number.isNaN(value) && COMPARE[sign](either ? Math.abs(value) : value, number);
  };
}

function sameWords(column, sign, words) {
  if (sign !== "=" && sign !== "!=")
    throw new Error(`“${column}” holds words; compare it with = or !=`);
  return (valueOf) => (plain(valueOf(column) || "") === words) === (sign === "=");
}

function numberOf(given) {
  const found = NUMBER.exec(given.replace("−", "-"));
  if (!found) return null;
  return found[2] ? Number(found[1]) / 100 : Number(found[1]);
}

const bare = (words) => plain(words.replace(/^["“”\s]+|["“”\s]+$/g, ""));
const plain = (words) => words.toLowerCase().split(/\s+/).filter(Boolean).join(" ");
const spelled = (name) => plain(name.replace(/[_-]/g, " "));

const SHARE_OF_TEXT = 0.5; // of the attention; from there on a head's score on this text is mentioned
const NAMED = ["layer", "head", "effect", "label", "score"];

/**
 * @typedef {object} Row
 * @property {string} kind
 * @property {number} layer
 * @property {number} head
 * @property {string} label what it is called, or ""
 * @property {string} evidence
 * @property {number | null} score of its label, or of the nearest one
 * @property {number | null} effect how the prediction changes without it
 * @property {boolean} estimated
 * @property {Record<string, number>} scores on this text; NaN if a head has none
 *
 * @typedef {object} HeadsKnown what rows are made from
 * @property {string} kind
 * @property {number} layers
 * @property {number} heads
 * @property {Record<string, string>} [headless] layers without heads
 * @property {string[]} names of the scores
 * @property {Float32Array} scores [score, layer, head]
 * @property {string[]} shares those of the names that are shares of attention
 * @property {(layer: number, head: number) => {tag: string, sentence: string, score?: number | null}} labelOf
 * @property {(layer: number, head: number) => {change: number, estimated: boolean} | null} effectOf
 */

/** @param {HeadsKnown} known @returns {Row[]} */
export function rowsOf(known) {
  const { kind, layers, heads, headless = {}, names, scores } = known;
  const rows = [];
  for (let layer = 0; layer < layers; layer++) {
    if (headless[layer]) continue;
    for (let head = 0; head < heads; head++) {
      const at = layer * heads + head;
      const own = Object.fromEntries(
        names.map((name, i) => [name, scores[i * layers * heads + at]]),
      );
      if (names.length && names.every((name) => Number.isNaN(own[name]))) continue; // a layer has fewer
      const label = known.labelOf(layer, head);
      const effect = known.effectOf(layer, head);
      rows.push({
        kind,
        layer,
        head,
        label: label.tag,
        evidence: [label.sentence, onThisText(own, known.shares)].filter(Boolean).join("; "),
        score: label.score ?? null,
        effect: effect?.change ?? null,
        estimated: effect?.estimated ?? false,
        scores: own,
      });
    }
  }
  return rows;
}

/** A head's high scores on a text, in words. @param {Record<string, number>} scores @param {string[]} shares */
export function onThisText(scores, shares) {
  const most = shares
    .filter((name) => scores[name] > SHARE_OF_TEXT)
    .sort((a, b) => scores[b] - scores[a]);
  return most.length
    ? sayExplorer("on_this_text", {
        most: most.map((name) => `${name} ${fixed(scores[name])}`).join(", "),
      })
    : "";
}

/** @param {Row} row @param {string} column */
export const valueOf = (row, column) => (column in row.scores ? row.scores[column] : row[column]);

/** The columns that rows have, in the order in which they are shown. @param {string[]} names of scores */
export const columnsOf = (names) => [...NAMED, ...names];

/**
 * The rows that match a query. Throws if it is not a valid query.
 * @param {Row[]} rows @param {string} query @param {string[]} columns
 * @param {(column: string) => string} [shortOf] the header of a column */
export function searched(rows, query, columns, shortOf) {
  const holds = asked(query, [...columns, "evidence"], shortOf);
  return rows.filter((row) => holds((column) => valueOf(row, column)));
}

/** @param {string} column whether the first click on it puts the largest first */
export const fallsFirst = (column) => !["layer", "head", "label"].includes(column);

/** @param {Row[]} rows @param {string} column @param {boolean} falling the largest first (for effects by size); rows without a value come last */
export function sorted(rows, column, falling) {
  const keyOf = (row) => {
    const value = valueOf(row, column);
    if (value === null || value === "" || Number.isNaN(value)) return null;
    return column === "effect" ? Math.abs(value) : value;
  };
  const keyed = rows.map((row) => ({ row, key: keyOf(row) }));
  const known = keyed.filter(({ key }) => key !== null);
  const sign = falling ? -1 : 1;
  known.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0));
  return [...known, ...keyed.filter(({ key }) => key === null)].map(({ row }) => row);
}

/** @param {Row[]} rows @param {string[]} columns */
export function csvOf(rows, columns) {
  const lines = rows.map((row) => [
    row.kind,
    ...columns.map((column) => valueOf(row, column)),
    row.effect === null ? "" : row.estimated ? sayExplorer("an_estimate") : "measured",
    row.evidence,
  ]);
  return csvText([["kind", ...columns, sayExplorer("effect_is"), "evidence"], ...lines]);
}

/** An effect as the table shows it: "−0.31", "≈ +0.02". @param {Row} row */
export function effectText({ effect, estimated }) {
  if (effect === null) return "";
  const size = Math.abs(effect);
  const text = size < 0.0005 ? "0" : `${effect > 0 ? "+" : "−"}${fixed(size, 3)}`;
  return estimated ? `≈ ${text}` : text;
}
