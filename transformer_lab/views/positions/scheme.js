// What a PositionView computes from its state: the encoding, the curve by distance, the weights
// before and after a test. Nothing here touches the page.

import { alibiSlopes, attention, largestDifference, permutation, putBack } from "./math.js";
import { known, schemeCurves, schemeInHead, schemeMap } from "./schemes.js";
import { nearestStop } from "../shared/controls.js";

/**
 * @typedef {object} PositionState
 * @property {string} scheme
 * @property {number} d_model
 * @property {number} n_heads
 * @property {number} base
 * @property {number} length
 * @property {number} shift
 * @property {boolean} causal
 * @property {string} test
 * @property {number} shuffle
 * @property {number} layer
 * @property {number} head
 * @property {any} given
 * @property {{names: string[], ids: number[]}} words
 * @property {Float32Array} table
 * @property {Float32Array} maps
 */

/** @param {PositionState} state */
export function schemeFacts(state) {
  const { scheme, given } = state;
  const own = given.scheme === scheme;
  const { vector } = known(scheme);
  const perHead = Math.max(2, 2 * Math.floor(state.d_model / state.n_heads / 2));
  const width = own ? (vector ? given.d_model : given.d_head) : vector ? state.d_model : perHead;
  const measured = !given.words ? null : own ? "own" : scheme === "none" ? "none" : null;
  const heads = own || measured ? given.n_heads : state.n_heads; // measured weights have the model's heads
  return {
    scheme,
    own,
    width,
    heads,
    measured,
    given,
    base: own ? given.base : state.base,
    halves: own && given.halves,
    head: Math.min(state.head, heads - 1),
    causal: own || measured ? given.causal : state.causal,
    trained: own && state.table.length > 0 ? state.table : null,
  };
}

/** Values of the sentence. @param {PositionState} state @param {any} facts @param {{shift: number, largest: number}} change */
export const positionValues = (
  { given, test },
  { scheme, own, width, heads, head, causal },
  { shift, largest },
) => ({
  scheme,
  own,
  width,
  pairs: Math.floor(width / 2),
  name: given.words ? given.name : null,
  head,
  causal,
  slope: alibiSlopes(heads)[head],
  test,
  shift,
  largest,
});

/** The encoding as a map of rows and columns. @param {PositionState} state */
export function encodingOf(state) {
  return schemeMap(schemeFacts(state), state.length);
}

/** Distances key − query, and the scheme's value for each. @param {PositionState} state */
export function byDistance(state) {
  const facts = schemeFacts(state);
  const { length } = state;
  const x = [];
  for (let d = -(length - 1); d <= (facts.causal ? 0 : length - 1); d++) x.push(d);
  return { x, what: known(state.scheme).by_distance, ...schemeCurves(facts, x, length) };
}

/** Weights before and after the test. @param {PositionState} state */
export function changeOf(state) {
  const facts = schemeFacts(state);
  const change = facts.measured ? measuredChange(state, facts) : randomChange(state, facts);
  return { ...change, n: change.names.length, causal: facts.causal };
}

function measuredChange(state, facts) {
  const { given, maps, test } = state;
  const variant = /** @type {string} */ (facts.measured);
  const [, layers, heads] = [0, state.given.layers, given.n_heads];
  const n = given.words.length;
  const one = layers * heads * n * n;
  const layer = Math.min(state.layer, layers - 1);
  const place = (layer * heads + facts.head) * n * n;
  const cut = (index) => maps.subarray(index * one + place, index * one + place + n * n);
  // In the order of the bytes: each variant's map before, then its moves, then its shuffles.
  const count = (name) => given.changes[name].move.length + given.changes[name].shuffle.length;
  const from = variant === "own" ? 0 : 1 + count("own");
  const before = cut(from);
  const shift = nearestStop(given.shifts, state.shift);
  if (test === "move" && variant === "none") {
    return {
      names: given.words,
      before,
      after: before,
      largest: 0,
      everywhere: 0,
      output: 0,
      order: null,
      shift: state.shift,
    };
  }
  const which = test === "move" ? shift : state.shuffle % given.orders.length;
  const tell = given.changes[variant][test][which];
  const after = cut(from + 1 + (test === "move" ? 0 : given.changes[variant].move.length) + which);
  return {
    names: given.words,
    before,
    after,
    largest: tell.largest[layer][facts.head],
    everywhere: Math.max(...tell.largest.flat()),
    output: tell.output,
    order: test === "shuffle" ? given.orders[which] : null,
    shift: test === "move" ? given.shifts[which] : state.shift,
  };
}

function randomChange(state, facts) {
  const { words, shift, test, shuffle } = state;
  const { width } = facts;
  const scheme = { width, ...schemeInHead(facts, shift + words.ids.length) };
  const before = attention(scheme, words.ids, 0, facts.causal);
  const order = test === "shuffle" ? permutation(words.ids.length, shuffle) : null;
  const after = order
    ? putBack(
        attention(
          scheme,
          order.map((i) => words.ids[i]),
          0,
          facts.causal,
        ),
        order,
      )
    : attention(scheme, words.ids, shift, facts.causal);
  return {
    names: words.names,
    before,
    after,
    largest: largestDifference(before, after),
    everywhere: null,
    output: null,
    order,
    shift,
  };
}
