// Sentences on when a word attends to a sound.

import { messages, NOTHING } from "../shared/messages.js";
import soundMessages from "./messages.json" with { type: "json" };
import { EVEN } from "../shared/map_sentences.js";

export const saySound = messages(soundMessages);
const WIDE = 4; // a stretch longer than 1 / WIDE of the sound is not localised

/**
 * @typedef {object} Listening what a sentence is made from
 * @property {string} who the head or the mean, at the beginning of a sentence
 * @property {string} word that attends
 * @property {ArrayLike<number>} weights of positions
 * @property {number} step seconds from one position to the next
 * @property {number} end when the sound ends, in seconds; what comes after is silence
 * @property {[string, number, boolean] | null} next the word after it, its probability, whether it was given
 * @property {[number, number] | null} span of positions, both included, that a reader chose
 */

/** @param {number} layer @param {number} head @param {string} mean @param {number[]} heads of each layer */
export const whoWords = (layer, head, mean, heads) =>
  saySound("who", {
    layer,
    head,
    mean,
    heads: mean === "all" ? heads.reduce((a, b) => a + b, 0) : heads[layer],
  });

/** The time span of positions, both included, in words. @param {number} first @param {number} last @param {number} step */
export const timeWords = (first, last, step) =>
  saySound("time", { from: Math.max(0, (first - 0.5) * step), to: (last + 0.5) * step });

/**
 * The shortest run of positions that holds half of the weight; among several, the one that holds
 * most; ties go to the first. Null if there is no weight.
 * @param {ArrayLike<number>} weights
 */
export function halfOf(weights) {
  const n = weights.length;
  const sums = new Float64Array(n + 1);
  for (let i = 0; i < n; i++) sums[i + 1] = sums[i] + weights[i];
  const total = sums[n];
  if (total <= NOTHING) return null;
  const enough = total * (0.5 - EVEN);
  let [shortest, end] = [n, 0];
  for (let first = 0; first < n; first++) {
    end = Math.max(end, first);
    while (end < n && sums[end] - sums[first] < enough) end++;
    if (sums[end] - sums[first] < enough) break;
    shortest = Math.min(shortest, end - first);
  }
  shortest = Math.max(shortest, 1);
  let [best, most] = [0, -1];
  for (let first = 0; first <= n - shortest; first++) {
    const held = sums[first + shortest] - sums[first];
    if (held > most + EVEN) [best, most] = [first, held];
  }
  return { first: best, last: best + shortest - 1, held: most };
}

/** The first position in the silence after the sound; n if there is none. @param {number} end @param {number} step @param {number} n */
export function silentFrom(end, step, n) {
  for (let i = 0; i < n; i++) if (i * step >= end - 1e-9) return i;
  return n;
}

/** @param {ArrayLike<number>} weights @param {number} from @param {number} to not included */
export function heldBy(weights, from, to) {
  let sum = 0;
  for (let i = from; i < to; i++) sum += weights[i];
  return sum;
}

/** A sentence on when one word attends to the sound. @param {Listening} seen */
export function listenSentence({ who, word, weights, step, end, next, span }) {
  const n = weights.length;
  const found = halfOf(weights);
  const silent = silentFrom(end, step, n);
  const [comes, p, given] = next ?? [null];
  return saySound("sentence", {
    who,
    word,
    end,
    next: comes,
    p,
    given,
    silent: silent < n ? heldBy(weights, silent, n) : null,
    when: found && timeWords(found.first, found.last, step),
    held: found?.held,
    wide: found && (found.last - found.first + 1) * WIDE > Math.max(silent, WIDE),
    span: span && timeWords(span[0], span[1], step),
    span_held: span && heldBy(weights, span[0], span[1] + 1),
  });
}
