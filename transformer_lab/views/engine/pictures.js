// Maps as a browser's views are sent them: weights in 16 bits, and every head small. As in
// tracing/packing.py and tracing/maps.py.

import { WEIGHT_SCALE } from "../shared/codecs.js";

const THUMBNAIL = 32;
/** What was made of a call, by head: a pass takes over the calls below its first edit. @type {WeakMap<import("./attention.js").Call, Map<number, Picture>>} */
const made = new WeakMap();

/**
 * @typedef {object} Shown a kind of attention, as it is shown
 * @property {string} kind
 * @property {number} queries
 * @property {number} keys
 */

/** @typedef {{small: Uint8Array, map: Uint8Array | null, norms: Uint8Array | null}} Picture */

/**
 * Every head small; and whole, with the lengths of its values, where that is wanted.
 * @param {import("./desk.js").Reading} reading
 * @param {{edits?: any[], shown: Shown[], whole: boolean}} given
 * @returns {Generator<null, {thumbs: Uint8Array, maps: Uint8Array, norms: Uint8Array}>}
 */
export function* pictures(reading, { edits = [], shown, whole }) {
  const pass = yield* reading.pass(edits);
  const { model } = reading.text;
  const all = [];
  for (const one of shown) {
    for (let layer = 0; layer < model.layersOf(one.kind); layer++) {
      for (let head = 0; head < model.config.n_heads; head++) {
        all.push(pictureOf(pass, { ...one, layer, head }, whole));
        yield null;
      }
    }
  }
  const parts = (name) => joined(all.map((picture) => picture[name] ?? new Uint8Array(0)));
  return { thumbs: parts("small"), maps: parts("map"), norms: parts("norms") };
}

/** @param {import("./pass.js").Pass} pass @param {Shown & {layer: number, head: number}} shown @param {boolean} whole @returns {Picture} */
function pictureOf(pass, shown, whole) {
  const { kind, layer, head } = shown;
  const { call } = pass.at(kind, layer);
  if (!made.has(call)) made.set(call, new Map());
  const heads = /** @type {Map<number, Picture>} */ (made.get(call));
  if (!heads.has(head)) {
    const [weights, keys] = [pass.pattern(kind, layer, head), call.key.rows];
    heads.set(head, {
      small: small(weights, weights.length / keys, keys),
      map: whole ? packed(weights, keys, shown) : null,
      norms: whole ? lengthsOf(pass, shown) : null,
    });
  }
  return /** @type {Picture} */ (heads.get(head));
}

/** One head, whole. @param {import("./desk.js").Reading} reading @param {{edits?: any[], shown: Shown & {layer: number, head: number}}} given */
export function* picture(reading, { edits = [], shown }) {
  const pass = yield* reading.pass(edits);
  const { kind, layer, head } = shown;
  const { rows } = pass.at(kind, layer).call.key;
  return { map: packed(pass.pattern(kind, layer, head), rows, shown), norms: lengthsOf(pass, shown) };
}

function lengthsOf(pass, { kind, layer, head, keys }) {
  return bytes(Float32Array.from(pass.valueNorms(kind, layer, head).subarray(0, keys)));
}

/** Weights of which so many rows and columns are shown. @param {Float32Array} weights @param {number} columns @param {Shown} shown */
function packed(weights, columns, { queries, keys }) {
  const codes = new Uint16Array(queries * keys);
  for (let i = 0; i < queries; i++) for (let j = 0; j < keys; j++) codes[i * keys + j] = codeOf(weights[i * columns + j]);
  return bytes(codes);
}

/** ⌊w · 60000⌋; 0 is for what is exactly 0. @param {number} weight */
const codeOf = (weight) => (weight > 0 ? Math.max(1, Math.floor(Math.min(1, weight) * WEIGHT_SCALE)) : 0);

/** Max-pooled to at most 32 × 32, as places on the square-root scale of colours. */
function small(weights, rows, columns) {
  const [height, width] = [Math.min(THUMBNAIL, rows), Math.min(THUMBNAIL, columns)];
  const shades = new Uint8Array(height * width);
  const from = (i, n, parts) => Math.floor((i * n) / parts);
  const to = (i, n, parts) => Math.ceil(((i + 1) * n) / parts);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let most = 0;
      for (let i = from(y, rows, height); i < to(y, rows, height); i++) {
        for (let j = from(x, columns, width); j < to(x, columns, width); j++) most = Math.max(most, weights[i * columns + j]);
      }
      shades[y * width + x] = Math.round(255 * Math.sqrt(Math.min(1, most)));
    }
  }
  return shades;
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
