// A text as the page's engine has read it, in the form that Python sends to an Explorer: the
// counterpart of session.py.

import { kindsOf, wellFormed } from "../heads/reading.js";
import { unreadSentence } from "../pages/unread.js";
import { followSegments } from "./segments.js";

const MOST_STATES = 8;

/**
 * @typedef {object} Words
 * @property {string} text
 * @property {string | null} target null: the model's own answer
 * @property {number[]} masked
 * @property {number[] | null} given tokens of the side with the predictions, if its words would be
 *   read as others
 * @property {import("./segments.js").Segment[]} [segments] named parts of the text; by default
 *   those of the text before
 *
 * @typedef {object} Read
 * @property {number[]} plain tokens of the side with the predictions, before masking
 * @property {number[]} ids that the model reads, masks included
 * @property {number[]} positions where the model predicts
 * @property {number} first the position to show first
 * @property {number} length how many positions there are
 *
 * @typedef {Words & Read} Reading
 */

/**
 * @param {Words} words
 * @param {any} read the engine's answer to "read"
 * @param {Record<string, any>} about what the view knew about the text before
 * @returns {{reading: Reading, traits: Record<string, any>}}
 */
export function readingOf(words, read, about, kindsBefore) {
  const { plain, ids, positions, position: first } = read;
  const { tokens } = read.target ?? read.text;
  const segments = words.segments ?? followSegments(about.segments ?? [], about.ids, plain);
  const reading = { ...words, segments, plain, ids, positions, first, length: tokens.length };
  const traits = {
    _text: wellFormed(words.text),
    _target: read.target ? (words.target === null ? read.written : wellFormed(words.target)) : null,
    _masked: words.masked,
    _about: {
      ...about,
      own_target: words.target === null,
      tokens,
      unread: unreadSentence(words.text, words.target, about.kind, read),
      ids: plain,
      segments,
    },
    _kinds: kindsOf(kindsBefore, read, segments),
  };
  return { reading, traits };
}

/**
 * Predictions in the form sent to a view.
 * @param {any} found the engine's answer to "predict"
 * @param {string[]} tokens of the side with the predictions */
export function outcomeOf({ kl, rows, states, experts = null }, tokens) {
  const moved = states.map((change, i) => [i, tokens[i], change]);
  return {
    kl,
    rows: rows.map(({ token, before, after, risen }) => [token, before, after, risen]),
    ids: rows.map(({ id }) => id),
    states: moved.sort((a, b) => b[2] - a[2]).slice(0, MOST_STATES),
    experts,
    mean: moved.length ? states.reduce((sum, change) => sum + change, 0) / states.length : null,
  };
}
