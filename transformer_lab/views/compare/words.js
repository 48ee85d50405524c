// Where two maps differ, in words and numbers. The counterpart of words.py.

import { quoted, short } from "../shared/messages.js";

/** A share of attention below this is called none. */
export const NO_MOVE = 5e-4;

/**
 * @typedef {object} Compared
 * @property {string} kind
 * @property {boolean} several whether there is more than one kind of attention
 * @property {number} layer
 * @property {number} head
 * @property {[string, string]} names of the two sides
 * @property {string[]} queries aligned
 * @property {string[]} keys aligned
 * @property {boolean} causal
 * @property {Float32Array} first [query, key], NaN for gaps
 * @property {Float32Array} second
 * @property {Float32Array} moved [layer, head]
 * @property {number} heads
 * @property {boolean} [nothing] whether the last key is what goes to nothing
 */

/** @param {Compared} it @param {number} layer @param {number} head */
export const placeName = (it, layer, head) =>
  `${it.several ? `${it.kind[0].toUpperCase()}${it.kind.slice(1)}, layer` : "Layer"} ${layer}, head ${head}`;

const share = (value) => (value < NO_MOVE ? "nothing" : short(value));

/**
 * @param {Compared} it
 * @param {number | null} query
 * @param {number | null} key
 */
export function compareSentence(it, query, key) {
  const start = `${placeName(it, it.layer, it.head)}: `;
  if (query !== null && key !== null) return start + pairWords(it, query, key);
  const [first, second] = it.names;
  if (query !== null) {
    const n = it.keys.length;
    const [a, b] = [it.first, it.second].map((map) => map.subarray(query * n, (query + 1) * n));
    const empty = [a, b].map((row) => row.every(Number.isNaN));
    if (empty[0] || empty[1]) return `${start}${quoted(it.queries[query])} is in ${empty[0] ? second : first} only.`;
    let sum = 0;
    for (let k = 0; k < n; k++) sum += Math.abs((b[k] || 0) - (a[k] || 0));
    return `${start}${share(sum / 2)} of the attention of ${quoted(it.queries[query])} lies elsewhere in ${second}.${mostWords(it, query)}`;
  }
  let best = 0;
  it.moved.forEach((value, i) => {
    if (value > it.moved[best]) best = i;
  });
  if (it.moved[best] < NO_MOVE) return `${first} and ${second} are alike: no head’s attention lies elsewhere.`;
  const [layer, head] = [Math.floor(best / it.heads), best % it.heads];
  const here = share(it.moved[it.layer * it.heads + it.head]);
  const text = layer === it.layer && head === it.head
    ? `${placeName(it, layer, head)} differs most of all heads: ${here} of its attention lies elsewhere in ${second}`
    : `${placeName(it, layer, head)} differs most: ${share(it.moved[best])} of its attention lies elsewhere in ${second}. In layer ${it.layer}, head ${it.head} it is ${here}`;
  return `${text}.${mostWords(it, null)}`;
}

function pairWords(it, query, key) {
  const toNothing = it.nothing && key === it.keys.length - 1;
  const names = `${quoted(it.queries[query])} → ${toNothing ? it.keys[key] : quoted(it.keys[key])}`;
  const at = query * it.keys.length + key;
  const [a, b] = [it.first[at], it.second[at]];
  if (it.causal && key > query && !toNothing) return `${quoted(it.queries[query])} cannot look at ${quoted(it.keys[key])}, which comes later.`;
  if (Number.isNaN(a) && Number.isNaN(b)) return `${names}: no text has both tokens.`;
  if (Number.isNaN(a)) return `${names} is in ${it.names[1]} only: ${short(b)}.`;
  if (Number.isNaN(b)) return `${names} is in ${it.names[0]} only: ${short(a)}.`;
  return `${names} is ${short(a)} in ${it.names[0]} and ${short(b)} in ${it.names[1]}.`;
}

/** The pair that differs most, in one row or in all. */
function mostWords(it, row) {
  const n = it.keys.length;
  let [best, at] = [-1, 0];
  for (let i = row === null ? 0 : row * n; i < (row === null ? it.first.length : (row + 1) * n); i++) {
    const difference = Math.abs(it.second[i] - it.first[i]);
    if (difference > best) [best, at] = [difference, i];
  }
  return best < NO_MOVE ? "" : ` The largest change: ${pairWords(it, Math.floor(at / n), at % n)}`;
}
