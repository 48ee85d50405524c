// Maps as a browser's views are sent them: weights in 16 bits, and every head small.

import { analysis } from "./analyses.js";
import { partOf } from "./attention.js";

/** What was made of a call: a pass takes over the calls below its first edit. @type {WeakMap<import("./attention.js").Call, Pictures>} */
const made = new WeakMap();

/**
 * @typedef {object} Shown a kind of attention, as it is shown
 * @property {string} kind
 * @property {number} queries
 * @property {number} keys
 *
 * @typedef {{small: Uint8Array, map: Uint8Array, norms: Uint8Array}} Pictures of a layer's heads
 */

/**
 * Every head small; and whole, with the lengths of its values, where that is wanted.
 * @param {import("./desk.js").Reading} reading
 * @param {{edits?: any[], shown: Shown[], whole: boolean}} given
 * @returns {Generator<null, {thumbs: Uint8Array, maps: Uint8Array, norms: Uint8Array}>}
 */
export function* pictures(reading, { edits = [], shown, whole }) {
  const pass = yield* reading.pass(edits);
  const all = [];
  for (const one of shown) {
    for (let layer = 0; layer < reading.text.model.layersOf(one.kind); layer++) all.push(yield* picturesOf(pass, { ...one, layer }, whole));
  }
  const parts = (name) => joined(all.map((layer) => layer[name]));
  return { thumbs: parts("small"), maps: parts("map"), norms: parts("norms") };
}

/** @param {import("./pass.js").Pass} pass @param {Shown & {layer: number}} shown @param {boolean} whole @returns {Generator<null, Pictures>} */
function* picturesOf(pass, shown, whole) {
  const { kind, layer } = shown;
  const { call } = pass.at(kind, layer);
  const known = made.get(call);
  if (known && (!whole || known.map.length)) return known;
  const maps = [];
  for (let head = 0; head < call.heads; head++) {
    maps.push(pass.pattern(kind, layer, head));
    yield null;
  }
  const shape = [call.heads, call.query.rows, call.key.rows];
  const weights = new Float32Array(shape[0] * shape[1] * shape[2]);
  maps.forEach((one, head) => weights.set(one, head * one.length));
  const { shades } = analysis("thumbnails", { maps: { shape, data: weights } });
  const nothing = new Uint8Array(0);
  const norms = () => bytes(cut(pass.valueNorms(kind, layer), call.heads, shown.keys));
  const found = { small: Uint8Array.from(shades.data), map: whole ? packed(maps, shape[2], shown) : nothing, norms: whole ? norms() : nothing };
  made.set(call, found);
  return found;
}

/** One head, whole. @param {import("./desk.js").Reading} reading @param {{edits?: any[], shown: Shown & {layer: number, head: number}}} given */
export function* picture(reading, { edits = [], shown }) {
  const pass = yield* reading.pass(edits);
  const { kind, layer, head, keys } = shown;
  const { rows } = pass.at(kind, layer).call.key;
  return { map: packed([pass.pattern(kind, layer, head)], rows, shown), norms: bytes(cut(partOf(pass.valueNorms(kind, layer), head), 1, keys)) };
}

/** Weights of which so many rows and columns are shown. @param {Float32Array[]} maps @param {number} columns @param {Shown} shown */
function packed(maps, columns, { queries, keys }) {
  const shown = maps.map((data) => cut({ shape: [data.length / columns, columns], data }, queries, keys));
  return joined(shown.map((data) => bytes(Uint16Array.from(analysis("codes", { weights: { shape: [queries, keys], data } }).codes.data))));
}

/** The first rows and columns. @param {{shape: number[], data: Float32Array}} x @param {number} rows @param {number} columns */
function cut({ shape, data }, rows, columns) {
  const part = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) part.set(data.subarray(i * shape[1], i * shape[1] + columns), i * columns);
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
