// Says which parts of a text a model does not read as written, where Python does not.

import { sayShared } from "../shared/messages.js";

const MASKS = /\[MASK\]|<mask>/;

/**
 * A sentence on what is not read as it was written; "" if nothing.
 * @param {string} text
 * @param {string | null} target as it was written; null: the model's own answer
 * @param {string} kind of the model
 * @param {any} read the engine's answer to "read"
 */
export function unreadSentence(text, target, kind, read) {
  const sides = [{ side: "text", n: read.text.tokens.length, ...read.text }];
  if (read.target && target !== null)
    sides.push({ side: "target", n: read.target.tokens.length - 1, ...read.target });
  const parts = sides
    .filter(({ unknown }) => unknown)
    .map(({ side, n, unknown: count, sign }) => sayShared("unknown", { count, side, n, sign }));
  const wish = text.match(MASKS);
  if (wish && kind !== "encoder") parts.push(sayShared("unmasked", { mask: wish[0] }));
  return parts.join(" ");
}
