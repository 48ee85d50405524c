// What is seen in a picture, in plain words and numbers. The counterpart of words.py.

import { weightOf } from "../shared/codecs.js";
import { short } from "../shared/messages.js";
import { EVEN } from "../shared/map_sentences.js";

const PATCHES_NAMED = 3;
const LEAST = 0.005; // of a row, below which what is lacking may be rounding

/**
 * @typedef {object} Look one row of a head's map
 * @property {number} layer
 * @property {number} head
 * @property {number} query
 * @property {string[]} labels
 * @property {number} start the position of the first patch
 * @property {number} n how many patches there are
 * @property {Uint16Array} codes
 * @property {string} [others] what the positions are called that are no patches, where that is told
 * @property {boolean} [padded] whether its window may reach beyond the picture, which takes its share
 */

/**
 * What one position looks at.
 * @param {Look} look
 * @param {number | null} distance
 * @param {number} even the distance of a head that looks everywhere alike
 */
export function lookSentence({ layer, head, query, labels, start, n, codes, others: name, padded }, distance, even) {
  const order = Array.from({ length: n }, (_, i) => i);
  order.sort((a, b) => codes[start + b] - codes[start + a] || a - b);
  const named = order
    .slice(0, PATCHES_NAMED)
    .filter((i) => codes[start + i])
    .map((i) => `${labels[start + i]} (${short(weightOf(codes[start + i]))})`);
  let told = `Layer ${layer}, head ${head}: ${labels[query]} `;
  told += named.length ? `looks most at ${listedPatches(named)}` : "looks at no patch";
  let others = 0;
  codes.forEach((code, i) => {
    if (i < start || i >= start + n) others += weightOf(code);
  });
  if (n < labels.length) told += `; ${short(others)} goes to ${name || othersName(labels, start, n)}`;
  let beyond = 1;
  codes.forEach((code) => (beyond -= weightOf(code)));
  if (padded && beyond > LEAST + EVEN) told += `; ${short(beyond)} goes to the padding beyond the picture`;
  if (distance !== null) {
    told += `. Its patches look ${distance.toFixed(1)} patches far on average (everywhere alike: ${even.toFixed(1)})`;
  }
  return `${told}.`;
}

/** What the positions are called that are no patches. @param {string[]} labels @param {number} start @param {number} n */
export function othersName(labels, start, n) {
  const others = [...labels.slice(0, start), ...labels.slice(start + n)];
  const kinds = [...new Set(others.map((label) => label.replace(/[ \d]+$/, "")))];
  return listedPatches(kinds.map((kind) => (others.includes(kind) ? kind : `${kind}s`)));
}

/** @param {string[]} items */
const listedPatches = (items) => (items.length === 1 ? items[0] : `${items.slice(0, -1).join(", ")} and ${items[items.length - 1]}`);
