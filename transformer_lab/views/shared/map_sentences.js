// Values of the messages about an attention pattern, computed from its weights.

import { NOTHING, numbered, sayShared } from "./messages.js";

// Two processors, or Python and a browser, compute the same number except for its last bits.
// Sentences must not depend on those where numbers are equal by nature: fractions of 1/2 or 1/8,
// equal keys.
const EQUAL = 1e-4; // changes that differ by less count as equal; they come from rounded weights
export const EVEN = 1e-5; // weights that differ by less count as equal
export const TO_NOTHING = sayShared("to_nothing"); // name of the column beside a map

/** How many decimals are correct, given how far a weight may be from Python's. @param {number} error */
export function decimalsFor(error) {
  return error > 5e-4 ? 2 : error > 5e-5 ? 3 : 4;
}

/**
 * @typedef {object} Seen what a sentence is made from
 * @property {string} kind
 * @property {number} layer
 * @property {number} head
 * @property {boolean} several whether the trace has more than one kind of attention
 * @property {string[]} queries
 * @property {string[]} keys
 * @property {boolean} causal
 * @property {boolean} same whether queries and keys are the same tokens
 * @property {boolean} valueWeighted
 * @property {boolean} [edited] whether the weights are those after edits
 * @property {Record<number, number> | null} [nothing] the fraction of each query's weight that goes
 *   to no key, if heads may attend to nothing
 * @property {string} [over] text after a head's name if its pattern combines several texts
 * @property {boolean} [spread] whether the numbers are standard deviations over texts
 *
 * @typedef {{query: number | null, key: number | null} | null} Focus
 */

/** The fraction of a query's weight that goes to no key; 0 if it is unknown or too small to mention. @param {Pick<Seen, "nothing" | "valueWeighted">} seen @param {number} query */
function toNothing(seen, query) {
  const share = seen.valueWeighted ? 0 : (seen.nothing?.[query] ?? 0);
  return share > 0.005 + EVEN ? share : 0;
}

/** @param {Pick<Seen, "kind" | "layer" | "head" | "several">} seen */
export const headName = (seen) => sayShared("head", seen);

/** The start of a sentence on the effect of an edit that removes a head. @param {{kind: string, layer: number, head: number}} place @param {boolean} several */
export const withoutHead = ({ kind, layer, head }, several) =>
  sayShared("without", { kind, layer, head, several });

/** The start of a sentence on the effect of a head that has not been removed yet. @param {{kind: string, layer: number, head: number}} place @param {boolean} several */
export const ifOff = ({ kind, layer, head }, several) =>
  sayShared("if_off", { kind, layer, head, several });

/** @param {string} message @param {Seen} seen @param {Record<string, any>} values */
function sayOf(
  message,
  { several, kind, layer, head, edited = false, over = "", valueWeighted: value = false },
  values,
) {
  return sayShared(message, { several, kind, layer, head, edited, over, value, ...values });
}

/** What edits changed in a map. @param {Seen} seen @param {(query: number) => Float32Array} changeOf after minus before @param {Focus} focus */
export const differenceSentence = (seen, changeOf, focus) =>
  sayExtreme("difference", seen, changeOf, focus);

/**
 * Where texts differ most in a map, or in the part in focus.
 * @param {Seen} seen
 * @param {(query: number) => Float32Array} rowOf
 * @param {Focus} focus
 */
export const spreadSentence = (seen, rowOf, focus) => sayExtreme("spread", seen, rowOf, focus);

/**
 * The number of the largest size in a map, or in its part in focus. Ties go to the first; they are
 * common, since what one token loses another gains.
 */
function sayExtreme(message, seen, rowOf, focus) {
  const { query = null, key = null } = focus ?? {};
  const pair = query !== null && key !== null;
  let best = { query: query ?? 0, key: key ?? 0, change: pair ? rowOf(query)[key] : 0 };
  for (let row = query ?? 0; !pair && row <= (query ?? seen.queries.length - 1); row++) {
    const values = rowOf(row);
    for (let at = key ?? 0; at <= (key ?? seen.keys.length - 1); at++) {
      if (Math.abs(values[at]) > Math.abs(best.change) + EQUAL)
        best = { query: row, key: at, change: values[at] };
    }
  }
  return sayOf(message, seen, {
    query: numbered(seen.queries, best.query),
    key: numbered(seen.keys, best.key),
    change: best.change,
    size: Math.abs(best.change),
    part: pair ? "pair" : focus ? "here" : "whole",
  });
}

/** What one query attends to. @param {Seen} seen @param {number} query @param {Float32Array} row as it is shown */
export function querySentence(seen, query, row) {
  const nothing = toNothing(seen, query) || null;
  const alone = seen.causal && seen.same && query === 0 && nothing === null;
  return sayOf("query", seen, {
    query: numbered(seen.queries, query),
    nothing,
    itself: alone && foremost(row) === 0,
    ...namedOf(row, seen.keys),
  });
}

/** How much one query attends to one key. @param {Seen} seen @param {number} query @param {number} key @param {Float32Array} row as it is shown */
export function cellSentence(seen, query, key, row) {
  const weight = row[key];
  let rank = 1;
  let reachable = 0;
  for (const w of row) {
    if (w > weight + EVEN) rank++;
    if (w > NOTHING) reachable++;
  }
  return sayOf("cell", seen, {
    query: numbered(seen.queries, query),
    key: numbered(seen.keys, key),
    weight,
    later: seen.causal && seen.same && key > query,
    rank,
    reachable,
  });
}

/**
 * How much the queries of span a attend to the keys of span b, on average, and how much they would
 * if they attended evenly to every key within reach.
 * @param {Seen} seen
 * @param {[number, number]} a
 * @param {[number, number]} b
 * @param {number} share
 * @param {number} even
 * @param {boolean} [about] whether the share is only approximate
 */
export const betweenSentence = (seen, a, b, share, even, about = false) =>
  sayOf("between", seen, {
    share,
    even,
    about,
    ...spanValues("from", seen.queries, a),
    ...spanValues("to", seen.keys, b),
  });

/**
 * How edits change how much span a attends to span b.
 * @param {Seen} seen @param {[number, number]} a @param {[number, number]} b
 * @param {number} before @param {number} after @param {boolean} [about] as above
 */
export const betweenChangeSentence = (seen, a, b, before, after, about = false) =>
  sayOf("between_change", seen, {
    before,
    after,
    about,
    ...spanValues("from", seen.queries, a),
    ...spanValues("to", seen.keys, b),
  });

/** @param {string} name @param {string[]} tokens @param {[number, number]} span */
const spanValues = (name, tokens, [start, end]) => ({
  [name]: numbered(tokens, start),
  [`${name}_end`]: numbered(tokens, end - 1),
  [`${name}_n`]: end - start,
});

/**
 * How much of one query's weight goes to nothing, and why nothing is not a key.
 * @param {Seen} seen
 * @param {number} query
 * @param {number} share or its change
 * @param {boolean} [isChange]
 */
export const nothingSentence = (seen, query, share, isChange = false) =>
  sayOf("nothing", seen, {
    query: numbered(seen.queries, query),
    share,
    change: isChange ? share : null,
    size: Math.abs(share),
  });

/** Which queries attend to one key. @param {Seen} seen @param {number} key @param {Float32Array} column */
export const keySentence = (seen, key, column) =>
  sayOf("key", seen, { key: numbered(seen.keys, key), ...namedOf(column, seen.queries) });

/** The queries whose rows are read: `count` of `total`, spread over the text. @param {number} total @param {number} count */
export const sampledRows = (total, count) =>
  Array.from({ length: Math.min(count, total) }, (_, i) =>
    count >= total ? i : Math.floor((i * (total - 1)) / (count - 1) + 0.501),
  );

/**
 * What stands out in a whole map; the habit is an average over the queries that have a choice.
 * @param {Seen} seen
 * @param {(query: number) => ArrayLike<number>} rowOf as shown
 * @param {number} queries how many rows to read, spread over the text
 */
export function headSentence(seen, rowOf, queries) {
  const total = seen.queries.length;
  let [first, itself, before, nothing, rows] = [0, 0, 0, 0, 0];
  let best = { query: 0, key: 0, weight: -1 };
  for (const query of sampledRows(total, queries)) {
    if (skipsFirst(seen) && query === 0) continue;
    const row = rowOf(query);
    rows++;
    first += row[0];
    nothing += toNothing(seen, query);
    if (seen.same) {
      itself += query > 0 ? row[query] : 0;
      before += query > 1 ? row[query - 1] : 0;
    }
    const key = foremost(row);
    if (row[key] > best.weight + EVEN) best = { query, key, weight: row[key] };
  }
  const sums = [first, itself, before, nothing];
  return standingOut(
    seen,
    best,
    sums.map((sum) => sum / Math.max(1, rows)),
  );
}

/** Whether sentences about a whole map omit the first query, which has no choice. @param {Seen} seen */
const skipsFirst = (seen) => seen.causal && seen.same && seen.queries.length > 1;

const HABITS = ["first", "itself", "before", "nothing"];

/**
 * A map's largest weight, and its habit if it has one.
 * @param {Seen} seen
 * @param {{query: number, key: number, weight: number}} best
 * @param {number[]} shares mean weights on the first key, on the query's own, on the one before, and
 *   on nothing
 */
export function standingOut(seen, { query, key, weight }, shares) {
  const at = foremost(shares);
  const share = shares[at];
  return sayOf("whole", seen, {
    found: weight > 0,
    skips: skipsFirst(seen),
    query: numbered(seen.queries, query),
    key: numbered(seen.keys, key),
    weight,
    first: numbered(seen.keys, 0),
    share,
    habit: share >= 0.2 - EVEN && !seen.valueWeighted ? HABITS[at] : null,
  });
}

/** For Python. @param {Seen} seen @param {number[]} queries */
export const allToNothing = (seen, queries) => queries.map((query) => toNothing(seen, query));

/** For Python: `headSentence` on the rows of some queries. @param {Seen} seen @param {number[]} places @param {Float32Array} rows */
export const headSentenceOf = (seen, places, rows) =>
  headSentence(seen, rowsIn(rows, seen, places), places.length);

/** For Python: the largest number of a map, as "difference" or "spread". @param {string} message @param {Seen} seen @param {Float32Array} map [query, key] @param {[number | null, number | null] | null} selected */
export const mapSentence = (message, seen, map, selected) =>
  sayExtreme(
    message,
    seen,
    rowsIn(map, seen),
    selected && { query: selected[0], key: selected[1] },
  );

/** @param {Float32Array} numbers [row, key] @param {Seen} seen @param {number[]} [places] the query of each row */
function rowsIn(numbers, { keys }, places) {
  return (query) => {
    const at = places ? places.indexOf(query) : query;
    return numbers.subarray(at * keys.length, (at + 1) * keys.length);
  };
}

/** Index of the largest entry; the first of those that count as equal. @param {ArrayLike<number>} row */
function foremost(row) {
  let most = row[0];
  for (let i = 1; i < row.length; i++) if (row[i] > most) most = row[i];
  let at = 0;
  while (row[at] < most - EVEN) at++;
  return at;
}

/** Up to three entries above 0.005, largest first; ties go to the first. @param {Float32Array} row */
function leaders(row) {
  const left = Float32Array.from(row);
  const found = [];
  while (found.length < Math.min(3, row.length)) {
    const index = foremost(left);
    const weight = left[index];
    if (weight <= 0.005 + EVEN) break;
    found.push({ index, weight });
    left[index] = -1;
  }
  return found;
}

/** The entries that stand out, each with its weight, and the largest weight. @param {Float32Array} row @param {string[]} tokens */
function namedOf(row, tokens) {
  const top = leaders(row);
  const [a, b, c] = top.map(({ index, weight }) =>
    sayShared("weighted", { token: numbered(tokens, index), weight }),
  );
  return { n: top.length, weight: row[foremost(row)] ?? 0, a, b, c };
}
