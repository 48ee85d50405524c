// What a cloud shows, in words and numbers. The counterpart of words.py.

import { fixed, percentText, quoted, sizeText } from "../shared/messages.js";

const VECTORS = "vectors"; // the row of vectors that were given, whatever they are

/** What one point of a row is: a token, or a vector of which nothing else is known. @param {string} where */
export const pointOf = (where) => (where === VECTORS ? "vector" : "token");

const sumOf = (values) => values.reduce((sum, x) => sum + x, 0);

/**
 * @param {object} it
 * @param {string} it.shows "layer", "paths" or "random"
 * @param {string} it.where
 * @param {number} it.rows
 * @param {number} it.points
 * @param {string} it.sample
 * @param {number[]} it.shares
 * @param {number[]} it.chance
 * @param {[string, number, number] | null} it.lone
 * @param {[string, number, number, number] | null} it.token
 */
export function cloudSentence(it) {
  const [one, given] = [pointOf(it.where), it.where === VECTORS];
  const many = `${it.points} ${one}${it.points === 1 ? "" : "s"}${it.sample ? ` (${it.sample})` : ""}`;
  const start = (mark) => (given ? "" : it.where.slice(0, 1).toUpperCase() + it.where.slice(1) + mark);
  const [whole, chance] = [sumOf(it.shares), sumOf(it.chance)];
  const parts = it.shares.map((x) => fixed(100 * x, 0)).join(", ");
  let text;
  if (whole <= 0) {
    text = `${start(": ")}${many}, with no spread to show.`;
  } else if (it.shows === "random") {
    const inside = given ? "" : it.where === "token embeddings" ? ` in the ${it.where}` : ` ${it.where}`;
    text = `Random directions, each as far from the mean as a ${one} is${inside}: three components hold ${percentText(chance)} of the variance of ${many}. The ${one}s’ own hold ${percentText(whole)}.`;
  } else if (it.shows === "paths") {
    text = `The paths of ${many} through ${it.rows - 1} layers; components of all layers together: three hold ${percentText(whole)} of the variance (${parts}), and ${percentText(chance)} of random directions of the same lengths.`;
  } else {
    text = `${start(", ")}${many}: three principal components hold ${percentText(whole)} of the variance (${parts}), and ${percentText(chance)} of random directions of the same lengths.`;
  }
  if (it.lone && it.shows !== "paths") {
    const [name, at, share] = it.lone;
    text += ` ${quoted(name)} (${at}) alone makes ${percentText(share)} of the variance.`;
  }
  if (it.token) {
    const [name, at, length, kept] = it.token;
    text += ` ${quoted(name)} (${at}) has length ${sizeText(length)}; the picture shows ${percentText(kept)} of its squared distance from the mean.`;
  }
  return text;
}
