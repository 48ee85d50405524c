// What of a text a model does not read as it was written, where no Python says it.

import { messages } from "../shared/messages.js";

const sayUnread = messages();
const MASKS = /\[MASK\]|<mask>/;

/**
 * What of a text is not read as it was written.
 * @param {string} text
 * @param {string} kind of the model
 * @param {{name: string, unknown: number, count: number, sign: string}[]} sides
 */
export function unreadSentence(text, kind, sides) {
  const parts = sides.filter(({ unknown }) => unknown).map(({ name: side, unknown: count, count: n, sign }) => sayUnread("unknown", { count, side, n, sign }));
  const wish = text.match(MASKS);
  if (wish && kind !== "encoder") parts.push(sayUnread("unmasked", { mask: wish[0] }));
  return parts.join(" ");
}
