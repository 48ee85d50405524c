// What of a text a model does not read as it was written, where no Python says it.

import { quoted } from "../shared/messages.js";

const MASKS = /\[MASK\]|<mask>/;

/**
 * What of a text is not read as it was written.
 * @param {string} text
 * @param {string} kind of the model
 * @param {{name: string, unknown: number, count: number, sign: string}[]} sides
 */
export function unreadSentence(text, kind, sides) {
  const parts = sides.filter(({ unknown }) => unknown).map(({ name, unknown, count, sign }) =>
    `The model does not know ${unknown} of the ${name}’s ${count} tokens: it reads ${quoted(sign)} there.`);
  const wish = text.match(MASKS);
  if (wish && kind !== "encoder") parts.push(`${quoted(wish[0])} is read as plain text: this model has no masks, it predicts the next token.`);
  return parts.join(" ");
}
