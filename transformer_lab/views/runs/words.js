// Where a scrubber stands, in words and numbers. The counterpart of words.py.

import { fixed, short } from "../shared/messages.js";

/** A score, as a share or with its unit. @param {number} value @param {string} unit */
export const amount = (value, unit) => (unit === "share" ? short(value) : `${fixed(value)} ${unit}`);

/**
 * The first snapshot at which a score has passed half of its last value; -1 where it did not grow by
 * a tenth.
 * @param {ArrayLike<number>} line
 */
export function passedHalf(line) {
  const last = line[line.length - 1];
  if (last - line[0] < 0.1) return -1;
  for (let i = 0; i < line.length; i++) if (line[i] >= last / 2) return i;
  return -1;
}

/**
 * @typedef {object} RunFacts
 * @property {number} step
 * @property {number} steps of the whole run
 * @property {number[]} known steps with a snapshot
 * @property {number | null} loss
 * @property {string} measure
 * @property {string} unit
 * @property {number} layer
 * @property {number} head
 * @property {number} layers
 * @property {number} heads
 * @property {(at: number, layer: number, head: number) => number} score
 */

/** @param {RunFacts} facts */
export function runSentence({ step, steps, known, loss, measure, unit, layer, head, layers, heads, score }) {
  const at = known.indexOf(step);
  let text = `Step ${step} of ${steps}`;
  if (step === 0) text += ", before training.";
  else text += loss === null || loss === undefined ? "." : `: loss ${fixed(loss)} nats a token.`;
  if (!measure) return text;
  const value = score(at, layer, head);
  text += ` ${measure[0].toUpperCase()}${measure.slice(1)}: layer ${layer}, head ${head} has ${amount(value, unit)}`;
  let best = [0, 0];
  for (let l = 0; l < layers; l++) {
    for (let h = 0; h < heads; h++) if (score(at, l, h) > score(at, best[0], best[1])) best = [l, h];
  }
  if (best[0] === layer && best[1] === head) text += layers * heads > 1 ? ", the most of all." : ".";
  else text += `; layer ${best[0]}, head ${best[1]} has the most, ${amount(score(at, best[0], best[1]), unit)}.`;
  const line = known.map((_, i) => score(i, layer, head));
  const half = unit === "share" ? passedHalf(line) : -1;
  if (half >= 0) {
    text += ` It began at ${short(line[0])} and ends at ${short(line[line.length - 1])}; by step ${known[half]} it had passed half of that.`;
  }
  return text;
}
