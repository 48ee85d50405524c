// What a PositionView shows, in plain words and numbers. The counterpart of words.py.

import { known } from "./schemes.js";
import { short } from "../shared/messages.js";

/** Below this a change of a weight is nothing but rounding. */
export const NO_CHANGE = 5e-5;

/** A number near nothing, by its power of ten; the minus sign, unlike a hyphen, never ends a line. @param {number} value */
export function tiny(value) {
  if (value < 1e-9) return "below 1e−9";
  let power = Math.floor(Math.log10(value));
  let digit = Math.round(value / 10 ** power);
  if (digit === 10) [digit, power] = [1, power + 1];
  return `${digit}e−${-power}`;
}

/** A change of a weight. @param {number} value */
export const weightChange = (value) => (value < NO_CHANGE ? tiny(value) : short(value));

/**
 * @typedef {object} PositionFacts
 * @property {string} scheme
 * @property {boolean} own whether it is the scheme of the model that was given
 * @property {string} name of that model, or nothing
 * @property {number} width numbers of a position (or in a query and key)
 * @property {number} heads
 * @property {number} head
 * @property {boolean} causal
 * @property {string} test "move" or "shuffle"
 * @property {number} shift
 * @property {number} largest change of a weight
 */

/** @param {PositionFacts} facts */
export function changeSentence({ scheme, causal, test, shift, largest }) {
  const same = largest < NO_CHANGE;
  const none = scheme === "none";
  if (test === "move") {
    if (shift === 0) return "Move the words to see what changes.";
    return same
      ? `Moving the words by ${shift} changes no weight (largest change: ${tiny(largest)}): ${none ? "positions do not count" : "only distances count"}.`
      : `Moving the words by ${shift} changes a weight by up to ${short(largest)}: places count, not distances alone.`;
  }
  return same
    ? `Shuffled, every word gives every other the same weight as before (largest change: ${tiny(largest)}): the order is not seen.`
    : `Shuffled, a weight changes by up to ${short(largest)}: the order is seen${none && causal ? ", but only by the causal mask" : ""}.`;
}

/** @param {PositionFacts} facts */
export const positionSentence = (facts) => `${known(facts.scheme).sentence(facts)} ${changeSentence(facts)}`;
