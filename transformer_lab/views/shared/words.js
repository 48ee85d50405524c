// What is seen, in plain words and numbers. The counterpart of views/words.py.

import { largest } from "./attention.js";

/**
 * A weight to two decimals, as ".61"; a weight that rounds to nothing as "<.01".
 * @param {number} weight
 * @param {number} [decimals]
 */
export function short(weight, decimals = 2) {
  if (weight > 0 && weight < 0.5 * 10 ** -decimals) return `<.${"0".repeat(decimals - 1)}1`;
  const text = weight.toFixed(decimals);
  return text.startsWith("0.") ? text.slice(1) : text;
}

/**
 * How many decimals are right, given how far a weight may be from Python's.
 * @param {number} error
 */
export function decimalsFor(error) {
  return error > 5e-4 ? 2 : error > 5e-5 ? 3 : 4;
}

/** @param {string} token */
export const quoted = (token) => `“${token}”`;

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
 */

/** @param {Seen} seen */
export function headName(seen) {
  const kind = seen.several ? `${seen.kind[0].toUpperCase()}${seen.kind.slice(1)}, layer` : "Layer";
  return `${kind} ${seen.layer}, head ${seen.head}${seen.edited ? " after the edits" : ""}`;
}

/**
 * A change to two decimals, as "+.21" or "−.21"; 0 where there is none to speak of.
 * @param {number} change
 */
export function signed(change) {
  if (Math.abs(change) < 0.0005) return "0";
  return (change > 0 ? "+" : "−") + short(Math.abs(change));
}

const EQUAL = 1e-4; // changes that differ by less are equal

/**
 * What edits changed in a map.
 * @param {Seen} seen
 * @param {(query: number) => Float32Array} changeOf after less before
 * @param {{query: number | null, key: number | null} | null} focus
 */
export function differenceSentence(seen, changeOf, focus) {
  const { query = null, key = null } = focus ?? {};
  if (query !== null && key !== null) {
    const told = signed(changeOf(query)[key]);
    const how = told === "0" ? "does not change" : `changes by ${told}`;
    return `${headName(seen)}: what ${quoted(seen.queries[query])} gives to ${quoted(seen.keys[key])} ${how}.`;
  }
  // Of equals the first; what one token loses another gains, and browsers hold rounded weights.
  let best = { query: query ?? 0, key: key ?? 0, change: 0 };
  for (let row = query ?? 0; row <= (query ?? seen.queries.length - 1); row++) {
    const changes = changeOf(row);
    for (let at = key ?? 0; at <= (key ?? seen.keys.length - 1); at++) {
      if (Math.abs(changes[at]) > Math.abs(best.change) + EQUAL) best = { query: row, key: at, change: changes[at] };
    }
  }
  const told = signed(best.change);
  if (told === "0") return `${headName(seen)}: the edits change nothing ${focus ? "here " : ""}to speak of.`;
  const edge = `${quoted(seen.queries[best.query])} → ${quoted(seen.keys[best.key])}`;
  return `${headName(seen)}: the edits change ${edge} most (${told}).`;
}

/**
 * What one query looks at.
 * @param {Seen} seen
 * @param {number} query
 * @param {Float32Array} row as it is shown
 */
export function querySentence(seen, query, row) {
  const start = `${headName(seen)}: ${quoted(seen.queries[query])}`;
  const top = largest(row, 3, 0.005);
  if (!top.length) return `${start} has nothing left to look at.`;
  const named = top.map(({ index, weight }) => `${quoted(seen.keys[index])} (${short(weight)})`);
  if (seen.valueWeighted) {
    return `${start} takes most from ${listed(named)} (weight × value length).`;
  }
  if (seen.causal && seen.same && query === 0 && top[0].index === 0) {
    return `${start} is the first token, so it can only look at itself.`;
  }
  if (top[0].weight < 0.1) {
    return `${start} spreads its weight widely; most goes to ${listed(named)}.`;
  }
  if (top[0].weight >= 0.995) return `${start} looks only at ${named[0]}.`;
  const rest = named.slice(1).map((name) => `, then ${name}`);
  const how = top[0].weight >= 0.5 ? "looks mostly at" : "looks most at";
  return `${start} ${how} ${named[0]}${rest[0] ?? ""}.`;
}

/**
 * How much one query looks at one key.
 * @param {Seen} seen
 * @param {number} query
 * @param {number} key
 * @param {Float32Array} row as it is shown
 */
export function cellSentence(seen, query, key, row) {
  const start = `${headName(seen)}: ${quoted(seen.queries[query])}`;
  const other = quoted(seen.keys[key]);
  const weight = row[key];
  if (seen.valueWeighted) return `${start} takes ${short(weight)} from ${other} (weight × value length).`;
  if (seen.causal && seen.same && key > query) {
    return `${start} cannot look at ${other}, which comes later.`;
  }
  let rank = 1;
  let reachable = 0;
  for (const w of row) {
    if (w > weight) rank++;
    if (w > 0) reachable++;
  }
  const place = rank === 1 ? "its largest share" : `its ${ordinal(rank)} largest of ${reachable}`;
  return `${start} gives ${short(weight)} of its weight to ${other}${weight > 0.005 ? `, ${place}` : ""}.`;
}

/**
 * Which queries look at one key.
 * @param {Seen} seen
 * @param {number} key
 * @param {Float32Array} column
 */
export function keySentence(seen, key, column) {
  const start = `${headName(seen)}: ${quoted(seen.keys[key])}`;
  const top = largest(column, 3, 0.005);
  if (!top.length) return `${start} is looked at by no token.`;
  const named = top.map(({ index, weight }) => `${quoted(seen.queries[index])} (${short(weight)})`);
  const verb = seen.valueWeighted ? "gives most to" : "is looked at most by";
  return `${start} ${verb} ${listed(named)}.`;
}

/**
 * What stands out in a whole map; the habit is an average over the queries that have a choice.
 * @param {Seen} seen
 * @param {(query: number) => Float32Array} rowOf as shown
 * @param {number} queries how many rows to look at, spread over the text
 */
export function headSentence(seen, rowOf, queries) {
  const total = seen.queries.length;
  const count = Math.min(queries, total);
  let [first, self, before, rows] = [0, 0, 0, 0];
  let best = { query: 0, key: 0, weight: -1 };
  for (let i = 0; i < count; i++) {
    const query = count === total ? i : Math.round((i * (total - 1)) / (count - 1));
    if (seen.causal && seen.same && query === 0 && total > 1) continue; // it has no choice
    const row = rowOf(query);
    rows++;
    first += row[0];
    if (seen.same) {
      self += query > 0 ? row[query] : 0;
      before += query > 1 ? row[query - 1] : 0;
    }
    for (let key = 0; key < row.length; key++) {
      if (row[key] > best.weight) best = { query, key, weight: row[key] };
    }
  }
  if (best.weight <= 0) return `${headName(seen)}: nothing to show.`;
  const edge = `${quoted(seen.queries[best.query])} → ${quoted(seen.keys[best.key])} (${short(best.weight)})`;
  if (seen.valueWeighted) {
    return `${headName(seen)}: the strongest edge is ${edge}, as weight × value length.`;
  }
  const habits = [
    { share: first / rows, where: `to the first token, ${quoted(seen.keys[0])}` },
    { share: self / rows, where: "to the token itself" },
    { share: before / rows, where: "to the token just before" },
  ].sort((a, b) => b.share - a.share);
  const habit =
    habits[0].share >= 0.2
      ? ` On average ${Math.round(100 * habits[0].share)} % of a token’s weight goes ${habits[0].where}.`
      : "";
  return `${headName(seen)}: the largest weight is ${edge}.${habit}`;
}

/** @param {string[]} names */
function listed(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

/** @param {number} n */
function ordinal(n) {
  const tens = n % 100;
  if (tens >= 11 && tens <= 13) return `${n}th`;
  return `${n}${{ 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th"}`;
}
