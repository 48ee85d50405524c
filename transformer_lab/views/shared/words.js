// What is seen, in plain words and numbers. The counterpart of words.py.

import { changeText, NOTHING, quoted, short } from "./messages.js";

// Two processors, or Python and a browser, find the same number but for its last bits. What is said
// must not hang on them where numbers are even by their nature: shares of 1/2 or 1/8, equal keys.
const EQUAL = 1e-4; // changes that differ by less are equal; these are made of rounded weights
export const EVEN = 1e-5; // weights that differ by less are even
export const TO_NOTHING = "to nothing"; // the column beside a map

/** What a change did to a written value. @param {string} before @param {string} after @param {string} [about] */
export function moved(before, after, about = "") {
  return before === after ? `stays at ${about}${before}` : `goes from ${before} to ${about}${after}`;
}

/**
 * How many decimals are right, given how far a weight may be from Python's.
 * @param {number} error
 */
export function decimalsFor(error) {
  return error > 5e-4 ? 2 : error > 5e-5 ? 3 : 4;
}

/** A head in few letters. @param {number} layer @param {number} head */
export const headTag = (layer, head) => `L${layer}H${head}`;

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
 * @property {Record<number, number> | null} [nothing] of each query, the share of its weight that goes to no
 *   key, where heads may look at nothing
 * @property {string} [over] what follows a head's name where its map is made of several texts'
 * @property {boolean} [spread] whether the numbers are standard deviations over texts
 */

/**
 * The share of a query's weight that goes to no key; 0 where that is not told.
 * @param {Pick<Seen, "nothing" | "valueWeighted">} seen
 * @param {number} query
 */
export function toNothing(seen, query) {
  const share = seen.valueWeighted ? 0 : seen.nothing?.[query] ?? 0;
  return share > 0.005 + EVEN ? share : 0;
}

/** @param {Pick<Seen, "kind" | "layer" | "head" | "several" | "edited" | "over">} seen */
export function headName(seen) {
  const kind = seen.several ? `${seen.kind[0].toUpperCase()}${seen.kind.slice(1)}, layer` : "Layer";
  return `${kind} ${seen.layer}, head ${seen.head}${seen.edited ? " after the edits" : ""}${seen.over ?? ""}`;
}

/**
 * What edits changed in a map.
 * @param {Seen} seen
 * @param {(query: number) => Float32Array} changeOf after less before
 * @param {{query: number | null, key: number | null} | null} focus
 */
export function differenceSentence(seen, changeOf, focus) {
  const { query = null, key = null } = focus ?? {};
  if (query !== null && key !== null) {
    const told = changeText(changeOf(query)[key]);
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
  const told = changeText(best.change);
  if (told === "0") return `${headName(seen)}: the edits change nothing ${focus ? "here " : ""}to speak of.`;
  const edge = `${quoted(seen.queries[best.query])} → ${quoted(seen.keys[best.key])}`;
  return `${headName(seen)}: the edits change ${edge} most (${told}).`;
}

/**
 * Where texts differ most in a map, or in the part of it that is in focus.
 * @param {Seen} seen
 * @param {(query: number) => Float32Array} rowOf
 * @param {{query: number | null, key: number | null} | null} focus
 */
export function spreadSentence(seen, rowOf, focus) {
  const { query = null, key = null } = focus ?? {};
  let best = { query: query ?? 0, key: key ?? 0, size: 0 };
  for (let row = query ?? 0; row <= (query ?? seen.queries.length - 1); row++) {
    const sizes = rowOf(row);
    for (let at = key ?? 0; at <= (key ?? seen.keys.length - 1); at++) {
      if (sizes[at] > best.size + EQUAL) best = { query: row, key: at, size: sizes[at] };
    }
  }
  if (best.size < 0.005 - EVEN) return `${headName(seen)}: the texts do not differ ${focus ? "here " : ""}to speak of.`;
  const most = query !== null && key !== null ? ", " : " most, ";
  const what = `what ${quoted(seen.queries[best.query])} gives to ${quoted(seen.keys[best.key])}`;
  return `${headName(seen)}: ${what} differs${most}by ${short(best.size)} (standard deviation).`;
}

/**
 * What one query looks at.
 * @param {Seen} seen
 * @param {number} query
 * @param {Float32Array} row as it is shown
 */
export function querySentence(seen, query, row) {
  const start = `${headName(seen)}: ${quoted(seen.queries[query])}`;
  const top = leaders(row);
  const nothing = toNothing(seen, query);
  if (!top.length) return `${start} ${nothing ? "looks at nothing" : "has nothing left to look at"}.`;
  const named = top.map(({ index, weight }) => `${quoted(seen.keys[index])} (${short(weight)})`);
  if (seen.valueWeighted) {
    return `${start} takes most from ${listed(named)} (weight × value length).`;
  }
  const left = nothing ? ` ${short(nothing)} of its weight goes to nothing.` : "";
  if (seen.causal && seen.same && query === 0 && top[0].index === 0 && !nothing) {
    return `${start} is the first token, so it can only look at itself.`;
  }
  if (top[0].weight < 0.1 - EVEN) {
    return `${start} spreads its weight widely; most goes to ${listed(named)}.${left}`;
  }
  if (top[0].weight >= 0.995 - EVEN) return `${start} looks only at ${named[0]}.`;
  const rest = named.slice(1).map((name) => `, then ${name}`);
  const how = top[0].weight >= 0.5 - EVEN ? "looks mostly at" : "looks most at";
  return `${start} ${how} ${named[0]}${rest[0] ?? ""}.${left}`;
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
    if (w > weight + EVEN) rank++;
    if (w > NOTHING) reachable++;
  }
  const place = rank === 1 ? "its largest share" : `its ${ordinal(rank)} largest of ${reachable}`;
  return `${start} gives ${short(weight)} of its weight to ${other}${weight > 0.005 + EVEN ? `, ${place}` : ""}.`;
}

/**
 * How much the queries of span a give to the keys of span b, on average, and what they would give if they
 * looked evenly at every key that they can see.
 * @param {Seen} seen
 * @param {[number, number]} a
 * @param {[number, number]} b
 * @param {number} share
 * @param {number} even
 * @param {boolean} [about] whether the share is known less well than it is told
 */
export function betweenSentence(seen, a, b, share, even, about = false) {
  const one = a[1] - a[0] === 1;
  const [verb, whose, mean] = one ? ["gives", "its", ""] : ["give", "their", ", on average"];
  const told = `${about ? "about " : ""}${short(share)}`;
  return `${headName(seen)}: ${stretch(seen.queries, a)} ${verb} ${told} of ${whose} attention to ${stretch(seen.keys, b)}${mean}; even attention over all keys in sight would give ${short(even)}.`;
}

/**
 * How edits change what span a gives to span b.
 * @param {Seen} seen @param {[number, number]} a @param {[number, number]} b
 * @param {number} before @param {number} after @param {boolean} [about] as above
 */
export function betweenChangeSentence(seen, a, b, before, after, about = false) {
  const one = a[1] - a[0] === 1;
  const [verb, whose, mean] = one ? ["gives", "its", ""] : ["give", "their", ", on average"];
  const what = `what ${stretch(seen.queries, a)} ${verb} of ${whose} attention to ${stretch(seen.keys, b)}${mean}`;
  const told = about ? "about " : "";
  if (short(before) === short(after)) return `${headName(seen)}: the edits leave ${what}, at ${told}${short(before)}.`;
  return `${headName(seen)}: the edits take ${what}, from ${told}${short(before)} to ${short(after)}.`;
}

/** @param {string[]} tokens @param {[number, number]} span */
function stretch(tokens, [start, end]) {
  if (end - start === 1) return quoted(tokens[start]);
  return `${quoted(tokens[start])} … ${quoted(tokens[end - 1])} (${end - start} tokens)`;
}

/**
 * How much one query gives to nothing, and why nothing is no key.
 * @param {Seen} seen
 * @param {number} query
 * @param {number} share or its change
 * @param {boolean} [isChange]
 */
export function nothingSentence(seen, query, share, isChange = false) {
  const start = `${headName(seen)}: ${isChange ? "what " : ""}${quoted(seen.queries[query])}`;
  const told = isChange ? `gives to nothing ${changeText(share) === "0" ? "does not change" : `changes by ${changeText(share)}`}` : `gives ${short(share)} of its weight to nothing`;
  return `${start} ${told}. That is no token: it cannot be cut, patched or chosen as a key.`;
}

/**
 * Which queries look at one key.
 * @param {Seen} seen
 * @param {number} key
 * @param {Float32Array} column
 */
export function keySentence(seen, key, column) {
  const start = `${headName(seen)}: ${quoted(seen.keys[key])}`;
  const top = leaders(column);
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
  const skipsFirst = seen.causal && seen.same && total > 1; // it has no choice
  let [first, self, before, nothing, rows] = [0, 0, 0, 0, 0];
  let best = { query: 0, key: 0, weight: -1 };
  for (let i = 0; i < count; i++) {
    const query = count === total ? i : Math.round((i * (total - 1)) / (count - 1));
    if (skipsFirst && query === 0) continue;
    const row = rowOf(query);
    rows++;
    first += row[0];
    nothing += toNothing(seen, query);
    if (seen.same) {
      self += query > 0 ? row[query] : 0;
      before += query > 1 ? row[query - 1] : 0;
    }
    const key = foremost(row);
    if (row[key] > best.weight + EVEN) best = { query, key, weight: row[key] };
  }
  if (best.weight <= 0) return `${headName(seen)}: nothing to show.`;
  const edge = `${quoted(seen.queries[best.query])} → ${quoted(seen.keys[best.key])} (${short(best.weight)})`;
  const start = `${headName(seen)}: ${skipsFirst ? "after the first token, " : ""}`;
  if (seen.valueWeighted) {
    return `${start}the strongest edge is ${edge}, as weight × value length.`;
  }
  const habits = [
    { share: first / rows, where: `to the first token, ${quoted(seen.keys[0])}` },
    { share: self / rows, where: "to the token itself" },
    { share: before / rows, where: "to the token just before" },
    { share: nothing / rows, where: "to nothing" },
  ];
  const { share, where } = habits[foremost(habits.map((each) => each.share))];
  const percent = Math.floor(100 * share + 0.501);
  const habit = share >= 0.2 - EVEN ? ` On average ${percent} % of a token’s weight goes ${where}.` : "";
  return `${start}the largest weight is ${edge}.${habit}`;
}

/** Where the largest entry stands: the first of those that are even. @param {ArrayLike<number>} row */
function foremost(row) {
  let most = row[0];
  for (let i = 1; i < row.length; i++) if (row[i] > most) most = row[i];
  let at = 0;
  while (row[at] < most - EVEN) at++;
  return at;
}

/** Up to three entries above .005, largest first; of even ones the first. @param {Float32Array} row */
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
