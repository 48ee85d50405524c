// Why a head looks at a key, in words and numbers. The counterpart of words.py.

import { fixed, quoted, short } from "../shared/messages.js";

/** @param {number} x @param {number} [decimals] */
export const signedText = (x, decimals = 2) => `${x < 0 ? "−" : "+"}${fixed(Math.abs(x), decimals)}`;

/** @param {number} x @param {number} [decimals] */
export const plainText = (x, decimals = 2) => `${x < 0 ? "−" : ""}${fixed(Math.abs(x), decimals)}`;

/**
 * @typedef {object} Why
 * @property {string} name
 * @property {string} query
 * @property {string} key
 * @property {number} weight
 * @property {number} scaled
 * @property {number | null} score null: the query may not look at the key
 * @property {number | null} mean of the row's scores, before biases
 * @property {boolean} above
 * @property {[number, number]} dimension the largest product
 * @property {[string, number] | null} keyPart the largest part of each side, where sources are known
 * @property {[string, number] | null} queryPart
 *
 * @param {Why} why
 */
export function whySentence(why) {
  const start = `${why.name}: ${quoted(why.query)}`;
  if (why.score === null) {
    return `${start} may not look at ${quoted(why.key)}: their score, ${plainText(why.scaled)}, counts for nothing.`;
  }
  let text = `${start} gives ${short(why.weight)} of its weight to ${quoted(why.key)}. Their score is ${plainText(why.score)}`;
  if (why.mean !== null) {
    const apart = why.scaled - why.mean;
    text += ` (before any bias ${fixed(Math.abs(apart))} ${apart < 0 ? "below" : "above"} the row’s mean)`;
  }
  return `${text}. ${largestPart(why)}`;
}

/** @param {Why} why */
function largestPart(why) {
  const of = why.above ? "that difference" : "it";
  if (!why.keyPart || !why.queryPart) {
    const [dimension, value] = why.dimension;
    return `Dimension ${dimension} gives ${signedText(value)} of ${of}, the most of all.`;
  }
  const [[key, keyValue], [query, queryValue]] = [why.keyPart, why.queryPart];
  return `On the key’s side ${key} gives ${signedText(keyValue)} of ${of}; on the query’s side ${query} gives ${signedText(queryValue)}.`;
}
