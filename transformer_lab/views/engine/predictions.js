// What logits say: probabilities, the likeliest tokens, and how predictions differ under edits. As in
// views/explorer/runs.py and circuits/lens.py.

import { add, dot, lengths, matrix, rowsOf } from "./tensors.js";

/** @typedef {import("./tensors.js").Matrix} Matrix */

const LISTED = 8; // rows: the likeliest before …
const NEWCOMERS = 3; // … of which so many give way to those that are likeliest after

/** log softmax of one row. @param {ArrayLike<number>} logits @returns {Float64Array} */
export function logProbabilities(logits) {
  let top = -Infinity;
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i]);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - top);
  const log = top + Math.log(sum);
  return Float64Array.from(logits, (x) => x - log);
}

/** The k largest, the largest first; of equals the first. @param {ArrayLike<number>} values @param {number} k @returns {number[]} */
export function likeliest(values, k) {
  const best = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === k && values[i] <= values[best[k - 1]]) continue;
    let at = best.length;
    while (at && values[best[at - 1]] < values[i]) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}

/**
 * Predictions at one position without edits, and with them: the likeliest before, then those that have
 * risen among the likeliest after.
 * @param {ArrayLike<number>} before log-probabilities
 * @param {ArrayLike<number> | null} after
 */
export function outcome(before, after) {
  let order = likeliest(before, LISTED);
  let risen = /** @type {number[]} */ ([]);
  let kl = null;
  if (after) {
    const kept = order.slice(0, LISTED - NEWCOMERS);
    risen = likeliest(after, NEWCOMERS + 2).filter((id) => !kept.includes(id)).slice(0, NEWCOMERS);
    order = [...order.filter((id) => !risen.includes(id)).slice(0, LISTED - risen.length), ...risen];
    kl = 0;
    for (let i = 0; i < before.length; i++) kl += Math.exp(before[i]) * (before[i] - after[i]) || 0;
    kl = Math.max(0, kl);
  }
  const row = (id) => ({ id, before: Math.exp(before[id]), after: after ? Math.exp(after[id]) : null, risen: risen.includes(id) });
  return { kl, rows: order.map(row) };
}

/**
 * For a model without a head: how far edits move the final state of each token, ‖after − before‖ / ‖before‖.
 * @param {Matrix} before @param {Matrix} after
 */
export function stateChanges(before, after) {
  const d = before.columns;
  return Array.from({ length: before.rows }, (_, i) => {
    let [moved, whole] = [0, 0];
    for (let k = i * d; k < (i + 1) * d; k++) {
      moved += (after.data[k] - before.data[k]) ** 2;
      whole += before.data[k] ** 2;
    }
    return Math.sqrt(moved) / Math.max(1e-12, Math.sqrt(whole));
  });
}

/**
 * What the stream would predict before the first block and after every one, through the model's own
 * final norm and head. Source: nostalgebraist 2020.
 * @param {import("./pass.js").Pass} pass
 * @param {number[]} places
 * @param {number} [k] tokens a cell
 */
export function logitLens(pass, places, k = 5) {
  const { model } = pass;
  const kind = model.defaultKind;
  const layers = Array.from({ length: model.layersOf(kind) }, (_, layer) => layer);
  const streams = [pass.streamAt("resid_pre", kind, 0), ...layers.map((layer) => pass.streamAt("resid_post", kind, layer))];
  const columns = places.map((place) => {
    const [answer] = likeliest(pass.logits([place]).data, 1);
    const rows = matrix(streams.length, streams[0].columns);
    streams.forEach((stream, i) => rows.data.set(rowsOf(stream, place, place + 1).data, i * rows.columns));
    const read = model.read(rows);
    return streams.map((_, i) => {
      const logits = rowsOf(read, i, i + 1).data;
      const log = logProbabilities(logits);
      const cells = likeliest(logits, k).map((id) => ({ id, probability: Math.exp(log[id]) }));
      const rank = logits.reduce((count, x) => count + (x > logits[answer] ? 1 : 0), 0);
      return { cells, answer, probability: Math.exp(log[answer]), rank };
    });
  });
  return streams.map((_, i) => columns.map((cells) => cells[i]));
}

/**
 * What each part of every block adds to the stream: how long it is, that over the length of the stream
 * that it is added to, and in which direction (1: longer, −1: erased). As in circuits/stream.py.
 * @param {import("./pass.js").Pass} pass
 * @param {string} kind of the stack
 * @returns {{part: string, norm: Float32Array[], share: Float32Array[], cosine: Float32Array[]}[]} each [layer][position]
 */
export function blockShares(pass, kind) {
  const { model } = pass;
  const layers = Array.from({ length: model.layersOf(kind) }, (_, layer) => layer);
  const at = (name, layer) => pass.streamAt(name, kind, layer);
  const mid = (layer) => {
    const sum = add(at("resid_pre", layer), at("attn_out", layer)); // between self- and cross-attention
    return model.config.norm_first ? sum : model.norm(sum, model.stackOf(kind).blocks[layer].norm1);
  };
  /** @type {[string, string, (layer: number) => Matrix][]} */
  const parts = [["attention", "attn_out", (layer) => at("resid_pre", layer)]];
  if (at("cross_out", 0)) parts.push(["cross-attention", "cross_out", mid]);
  if (at("mlp_out", 0)) parts.push(["MLP", "mlp_out", (layer) => at("resid_mid", layer)]);
  return parts.map(([part, name, before]) => {
    const rows = layers.map((layer) => addedTo(at(name, layer), before(layer)));
    return { part, norm: rows.map((row) => row.norm), share: rows.map((row) => row.share), cosine: rows.map((row) => row.cosine) };
  });
}

/** @param {Matrix} added @param {Matrix} stream */
function addedTo(added, stream) {
  const d = added.columns;
  const [norm, length] = [lengths(added), lengths(stream)];
  const share = norm.map((x, i) => x / Math.max(1e-12, length[i]));
  const cosine = norm.map((x, i) => dot(added.data, i * d, stream.data, i * d, d) / Math.max(1e-12, x * length[i]));
  return { norm, share, cosine };
}
