// Asking a table of heads: words, and comparisons of its columns. The counterpart of heads/query.py.

export const WORD_COLUMNS = ["label", "evidence"]; // columns of words; the others are numbers
const NEAREST = /nearest is “[^”]*”/g; // the label that a head has not
const QUOTED = /["“”][^"“”]*["“”]/g;
const COMPARED = /^(.*?)(<=|>=|!=|==|=|<|>|≤|≥|≠)(.*)$/s;
const NUMBER = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%?)$/i;
const ALIKE = { "==": "=", "≤": "<=", "≥": ">=", "≠": "!=" };
const COMPARE = {
  "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};

/**
 * Whether a row is asked for. Throws for a column that is not there, or a comparison with no number.
 * @param {string} query
 * @param {string[]} columns those that may be compared
 * @param {(column: string) => string} [shortOf] what stands above a column, which names it too
 * @returns {(valueOf: (column: string) => any) => boolean}
 */
export function asked(query, columns, shortOf = (column) => column) {
  const clauses = partsOf(query).map((part) => clause(part, columns, shortOf));
  return (valueOf) => clauses.every((holds) => holds(valueOf));
}

/** What stands between "and"s that are in no quotes; one that nothing follows yet is left out. */
function partsOf(query) {
  const kept = [];
  const hidden = query.replaceAll("\0", "").replace(QUOTED, (found) => `\0${kept.push(found) - 1}\0`).trim();
  const parts = hidden.replace(/(^|\s)and$/i, "").split(/\s+and\s+/i);
  return parts.map((part) => part.replace(/\0(\d+)\0/g, (_, i) => kept[Number(i)]).trim()).filter(Boolean);
}

function clause(part, columns, shortOf) {
  const compared = /^["“”]/.test(part) ? null : COMPARED.exec(part);
  if (!compared) {
    const words = bare(part);
    return (valueOf) => plain(`${valueOf("label") || ""} ${valueOf("evidence").replace(NEAREST, "")}`).includes(words);
  }
  const [name, given] = [compared[1].trim(), compared[3].trim()];
  const sign = ALIKE[compared[2]] ?? compared[2];
  const named = (nameOf) => columns.find((column) => spelled(nameOf(column)) === spelled(name));
  const column = named((one) => one) ?? named(shortOf);
  if (column === undefined) throw new Error(`there is no column “${name}”; choose from ${columns.join(", ")}`);
  if (WORD_COLUMNS.includes(column)) return sameWords(column, sign, bare(given));
  const number = numberOf(given);
  if (number === null) throw new Error(`“${part}” needs a number; write “${column} ${sign} 3”`);
  const either = column === "effect" && number >= 0; // whichever way it goes
  return (valueOf) => {
    const value = valueOf(column) ?? NaN;
    return !Number.isNaN(value) && COMPARE[sign](either ? Math.abs(value) : value, number);
  };
}

function sameWords(column, sign, words) {
  if (sign !== "=" && sign !== "!=") throw new Error(`“${column}” holds words; compare it with = or !=`);
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
