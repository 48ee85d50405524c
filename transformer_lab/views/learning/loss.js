// What training minimises, and its derivative by the logits.

import { matrix } from "../engine/tensors.js";

/** The target that no loss counts, as in Python. */
export const IGNORED = -100;

/** How many targets the mean is over. @param {number[]} targets */
export const counted = (targets) => targets.reduce((count, target) => count + (target === IGNORED ? 0 : 1), 0);

/**
 * Cross entropy, −log softmax(logits)[target], summed over targets and divided by `count`:
 * dLogits = (softmax(logits) − one-hot(target)) / count.
 * @param {import("../engine/tensors.js").Matrix} logits [position, vocab]
 * @param {number[]} targets one a position; or several, and each is told by its own part of the logits
 * @param {number} count of the targets of a whole batch
 * @returns {{loss: number, dLogits: import("../engine/tensors.js").Matrix}}
 */
export function crossEntropy(logits, targets, count) {
  const classes = logits.data.length / targets.length;
  const dLogits = matrix(logits.rows, logits.columns);
  let loss = 0;
  targets.forEach((target, i) => {
    if (target === IGNORED) return;
    const row = logits.data.subarray(i * classes, (i + 1) * classes);
    const top = row.reduce((a, b) => Math.max(a, b));
    const shares = Float64Array.from(row);
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += shares[c] = Math.exp(row[c] - top);
    loss -= (row[target] - top - Math.log(sum)) / count;
    for (let c = 0; c < classes; c++) dLogits.data[i * classes + c] = (shares[c] / sum - (c === target ? 1 : 0)) / count;
  });
  return { loss, dLogits };
}
