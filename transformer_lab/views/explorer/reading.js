// A text as the page's engine has read it, in the form in which Python tells a view of one: the
// counterpart of state.py and heads/data.py.

import { unreadSentence } from "./prose.js";

const ALL_MAPS_BYTES = 4 * 2 ** 20;
const LONGEST = 1024; // tokens of a map that are shown
const THUMBNAIL = 32;
const MOST_STATES = 8;

/** Of what a text is: two of the same words, masks and tokens are one. @param {Words} words */
export const readingName = ({ text, target, masked, given }) => JSON.stringify([text, target, masked, given]);

/** Text that JSON and Python can hold. @param {string} text */
export const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "?");

/**
 * @typedef {object} Words
 * @property {string} text
 * @property {string | null} target null: the model's own answer
 * @property {number[]} masked
 * @property {number[] | null} given tokens of the side that is predicted on, where its words would give others
 *
 * @typedef {object} Read
 * @property {number[]} plain tokens of the side that is predicted on, masks apart
 * @property {number[]} ids that are read, masks among them
 * @property {number[]} positions where the model predicts
 * @property {number} first the position to begin with
 * @property {number} length how many tokens can be stood at
 *
 * @typedef {Words & Read} Reading
 */

/**
 * @param {Words} words
 * @param {any} read the engine's answer to "read"
 * @param {any} told … and to "told"
 * @param {Record<string, any>} about what the view knew of the text before
 * @returns {{reading: Reading, traits: Record<string, any>}}
 */
export function readingOf(words, read, told, about, kindsBefore) {
  const both = Boolean(told.target);
  const own = both ? told.target : told.text;
  const sides = [{ name: "text", count: told.text.tokens.length, ...told.text }];
  if (both && words.target !== null) sides.push({ name: "target", ...told.target, count: told.target.tokens.length - 1 });
  const plain = told.plain;
  const reading = { ...words, plain, ids: read.ids, positions: read.positions, first: read.position, length: own.tokens.length };
  const kinds = kindsOf(kindsBefore, told);
  const traits = {
    _text: wellFormed(words.text),
    _target: both ? (words.target === null ? told.written : wellFormed(words.target)) : null,
    _masked: words.masked,
    _about: { ...about, own_target: words.target === null, tokens: own.tokens, unread: unreadSentence(words.text, about.kind, sides), ids: plain },
    _kinds: kinds,
  };
  return { reading, traits };
}

/** What each kind of attention is on this text, and where its parts stand in the bytes of all. */
function kindsOf(before, told) {
  const kinds = {};
  let [thumbs, maps, norms] = [0, 0, 0];
  for (const [kind, { segments: _, sinks: __, ...known }] of Object.entries(before)) {
    const [queries, keys] = [kind === "encoder" ? told.text : (told.target ?? told.text), kind === "decoder" ? (told.target ?? told.text) : told.text];
    const [allQueries, allKeys] = [queries.tokens.length, keys.tokens.length];
    const [nQueries, nKeys] = [Math.min(LONGEST, allQueries), Math.min(LONGEST, allKeys)];
    const thumbnail = [Math.min(THUMBNAIL, allQueries), Math.min(THUMBNAIL, allKeys)];
    kinds[kind] = {
      ...known, queries: nQueries, keys: nKeys, all_queries: allQueries, all_keys: allKeys, thumbnail, thumbs, maps, norms, has_norms: true,
      query_tokens: queries.tokens.slice(0, nQueries), key_tokens: keys.tokens.slice(0, nKeys), special: keys.special.filter((i) => i < nKeys),
    };
    const count = known.layers * known.heads;
    thumbs += count * thumbnail[0] * thumbnail[1];
    maps += 2 * count * nQueries * nKeys;
    norms += 4 * count * nKeys;
  }
  return kinds;
}

/** What the engine is asked for to show these kinds: their sizes, and whether all maps go at once. */
export function shownOf(kinds) {
  const shown = Object.entries(kinds).map(([kind, { queries, keys }]) => ({ kind, queries, keys }));
  const size = Object.values(kinds).reduce((sum, { layers, heads, all_queries: queries, all_keys: keys }) => sum + 2 * layers * heads * queries * keys, 0);
  return { shown, whole: size <= ALL_MAPS_BYTES };
}

/**
 * Predictions as a view is sent them.
 * @param {any} found the engine's answer to "predict"
 * @param {string[]} tokens of the side that is predicted on
 */
export function outcomeOf({ kl, rows, states }, tokens) {
  const moved = states.map((change, i) => [i, tokens[i], change]);
  return {
    kl,
    rows: rows.map(({ token, before, after, risen }) => [token, before, after, risen]),
    ids: rows.map(({ id }) => id),
    states: moved.sort((a, b) => b[2] - a[2]).slice(0, MOST_STATES),
    mean: moved.length ? states.reduce((sum, change) => sum + change, 0) / states.length : null,
  };
}
