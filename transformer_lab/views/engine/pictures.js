// Attention patterns in the form sent to a browser's views: weights in 16 bits, and a thumbnail of
// every head.

import { analysis } from "./analyses.js";

/** Pictures by call: a pass reuses the calls below its first edit, and so their pictures. @type {WeakMap<import("./attention.js").Call, Pictures>} */
const made = new WeakMap();

/**
 * @typedef {object} Shown a kind of attention, and how much of it is shown
 * @property {string} kind
 * @property {number} queries
 * @property {number} keys
 *
 * @typedef {{small: Uint8Array, map: Uint8Array}} Pictures thumbnails and patterns of a layer's
 *   heads
 */

/**
 * Thumbnails of every head and, if `whole`, their full patterns. Norms of values come with a single
 * head.
 * @param {import("./desk.js").Reading} reading
 * @param {{edits?: any[], shown: Shown[], whole: boolean}} given
 * @returns {Generator<null, {thumbs: Uint8Array, maps: Uint8Array}>}
 */
export function* pictures(reading, { edits = [], shown, whole }) {
  const pass = yield* reading.pass(edits);
  const all = [];
  for (const one of shown) {
    for (let layer = 0; layer < reading.text.model.layersOf(one.kind); layer++)
      all.push(yield* picturesOf(pass, { ...one, layer }, whole));
  }
  const parts = (name) => joined(all.map((layer) => layer[name]));
  return { thumbs: parts("small"), maps: parts("map") };
}

/** @param {import("./pass.js").Pass} pass @param {Shown & {layer: number}} shown @param {boolean} whole @returns {Generator<null, Pictures>} */
function* picturesOf(pass, shown, whole) {
  const { kind, layer } = shown;
  const { call } = pass.at(kind, layer);
  const known = made.get(call);
  if (known && (!whole || known.map.length)) return known;
  const shape = [call.heads, call.query.rows, call.key.rows];
  const weights = pass.patterns(kind, layer);
  yield null;
  const { shades } = analysis("thumbnails", { maps: { shape, data: weights } });
  const found = {
    small: Uint8Array.from(shades.data),
    map: whole ? packed(weights, shape, shown) : new Uint8Array(0),
  };
  made.set(call, found);
  return found;
}

/** The full pattern of one head. @param {import("./desk.js").Reading} reading @param {{edits?: any[], shown: Shown & {layer: number, head: number}}} given */
export function* picture(reading, { edits = [], shown }) {
  const pass = yield* reading.pass(edits);
  const { kind, layer, head, keys } = shown;
  const { query, key } = pass.at(kind, layer).call;
  return {
    map: packed(pass.pattern(kind, layer, head), [1, query.rows, key.rows], shown),
    norms: bytes(pass.valueNorms(kind, layer, head).slice(0, keys)),
  };
}

/** @param {Float32Array} data @param {number[]} shape [head, query, key] @param {Shown} shown */
function packed(data, shape, { queries, keys }) {
  const weights = cut({ shape, data }, queries, keys);
  return bytes(
    Uint16Array.from(
      analysis("codes", { weights: { shape: [shape[0] * queries, keys], data: weights } }).codes
        .data,
    ),
  );
}

/** The first rows and columns of each matrix. @param {{shape: number[], data: Float32Array}} x @param {number} rows @param {number} columns */
function cut({ shape: [count, height, width], data }, rows, columns) {
  if (rows === height && columns === width) return data;
  const part = new Float32Array(count * rows * columns);
  for (let i = 0; i < count * rows; i++) {
    const from = (Math.floor(i / rows) * height + (i % rows)) * width;
    part.set(data.subarray(from, from + columns), i * columns);
  }
  return part;
}

const bytes = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
