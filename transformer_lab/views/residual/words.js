// What a residual view shows, in words and numbers. The counterpart of words.py.

import { fixed, quoted, short } from "../shared/words.js";

/** A length to about three digits. @param {number} x */
export function sizeText(x) {
  if (x === 0) return "0";
  return fixed(x, x >= 100 ? 0 : x >= 10 ? 1 : 2);
}

/** @param {number} x */
export function cosineText(x) {
  const text = fixed(Math.abs(x));
  return `${x < 0 ? "−" : "+"}${text.startsWith("0.") ? text.slice(1) : text}`;
}

/** @param {string} part @param {number} layer */
const partName = (part, layer) => (part === "block" ? `the block of layer ${layer}` : `layer ${layer}’s ${part}`);

/**
 * Of an even number, the lower of the two in the middle.
 * @param {number[]} values
 */
export function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/**
 * @typedef {object} Answer what the logit lens says of one token
 * @property {string} token
 * @property {number} probability
 * @property {number} settled the first row from which on it is the likeliest
 * @property {boolean} here whether the model says what stands at the token, not what comes next
 *
 * @typedef {object} Profile of one token, or of the typical one
 * @property {number[]} norms [layer + 1]
 * @property {string[]} parts
 * @property {number[][]} shares [part][layer]
 * @property {number[][]} cosines
 */

/**
 * @param {string} name
 * @param {string[]} tokens
 * @param {Profile} profile
 * @param {number | null} token
 * @param {Answer | null} answer
 */
export function residualSentence(name, tokens, profile, token, answer) {
  const { norms, parts, shares, cosines } = profile;
  const layers = norms.length - 1;
  const who = token === null ? "A typical token" : `${quoted(tokens[token])} (${token})`;
  let text = `${who}: the stream’s length goes from ${sizeText(norms[0])} to ${sizeText(norms[layers])} over ${layers} ${layers === 1 ? "layer" : "layers"}`;
  if (token === null) text += " (medians)";
  if (parts.length) {
    let [part, layer] = [0, 0];
    shares.forEach((row, p) => row.forEach((share, l) => {
      if (share > shares[part][layer]) [part, layer] = [p, l];
    }));
    text += `; most is added by ${partName(parts[part], layer)}, ${sizeText(shares[part][layer])} times as long as the stream`;
    text += `, cosine ${cosineText(cosines[part][layer])}`;
  }
  text = `${name}${text}.`;
  return answer ? `${text} ${answerSentence(answer, layers)}` : text;
}

/** @param {Answer} answer @param {number} layers */
export function answerSentence(answer, layers) {
  const start = `The model’s answer ${answer.here ? "here" : "next"} is ${quoted(answer.token)} (${short(answer.probability)})`;
  if (answer.settled > layers) return `${start}.`;
  if (answer.settled === layers) return `${start}, the likeliest only after the last layer.`;
  const where = answer.settled === 0 ? "the start" : `layer ${answer.settled - 1}`;
  return `${start}, the likeliest from ${where} on.`;
}
