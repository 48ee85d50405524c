// One score q·k of one head, from its dimensions to a weight, and who wrote it. As in circuits/score_parts.py.

import { keyHead } from "./attention.js";
import { likeliest } from "./predictions.js";
import { scoreBySource } from "./sources.js";
import { dot } from "./tensors.js";

/**
 * What a head compares for one query: it and every key, their products, and what is added to these, all in 64 bits.
 * @param {import("./pass.js").Pass} pass @param {import("./attention.js").Call} call @param {number} head @param {number} row
 */
export function rowScores(pass, call, head, row) {
  const [n, d] = [call.key.rows, call.dHead];
  const scale = 1 / Math.sqrt(d);
  const vector = (x, at, part) => Float64Array.from(x.data.subarray(at * x.columns + part * d, at * x.columns + (part + 1) * d));
  const q = vector(call.query, row, head);
  const keys = Array.from({ length: n }, (_, j) => vector(call.key, j, keyHead(call, head)));
  const dots = Float64Array.from(keys, (k) => dot(q, 0, k, 0, d));
  const place = call.start + row;
  const from = pass.model.config.positions.name === "alibi" && call.causal ? n - 1 : place; // as Python keeps it: a softmax sees no difference
  const bias = Float64Array.from(keys, (_, j) => (call.causal && j > place ? -Infinity : call.bias ? call.bias.lines[head][j - from + call.bias.middle] : 0));
  return { q, keys, dots, scale, bias, scores: dots.map((x, j) => x * scale + bias[j]) };
}

/**
 * @param {import("./desk.js").Reading} reading
 * @param {{kind: string, layer: number, head: number, query: number | null, key: number | null}} given
 *   query left out: the last one, or that which gives the key most; key left out: that which gets most
 */
export function* score(reading, { kind, layer, head, query = null, key = null }) {
  const pass = yield* reading.pass([]);
  const call = pass.callOf(kind, layer, head);
  const map = pass.pattern(kind, layer, head);
  const [queries, n, d] = [call.query.rows, call.key.rows, call.dHead];
  for (const [name, value, count] of /** @type {const} */ ([["query", query, queries], ["key", key, n]])) {
    if (value !== null && !(Number.isInteger(value) && value >= 0 && value < count)) throw new Error(`${name}=${value} is outside the ${count} tokens (0 … ${count - 1})`);
  }
  const row = query ?? (key === null ? queries - 1 : likeliest(Array.from({ length: queries }, (_, i) => map[i * n + key]), 1)[0]);
  const weights = map.subarray(row * n, (row + 1) * n);
  const to = key ?? likeliest(weights, 1)[0];

  const { q, keys, scale, bias, scores } = rowScores(pass, call, head, row);
  const reached = Array.from(keys.keys()).filter((j) => Number.isFinite(scores[j]));
  const reachable = reached.map((j) => keys[j]);
  const k = keys[to];
  const products = q.map((x, i) => x * k[i] * scale);
  const aboveK = k.map((x, i) => x - reachable.reduce((sum, one) => sum + one[i], 0) / reachable.length);
  const aboveProducts = q.map((x, i) => x * aboveK[i] * scale);
  const whole = dot(q, 0, k, 0, d);
  const above = reachable.length > 1;
  const turns = kind !== "cross" && pass.model.config.positions.name === "rotary";
  const length = (x) => Math.sqrt(dot(x, 0, x, 0, d));
  const cell = { kind, layer, head, query: row, key: to, scaled: whole * scale, longest: length(q) * length(k) * scale };
  const bySource = yield* scoreBySource(pass, cell, reached, above);
  return {
    info: {
      kind, layer, head, query: row, key: to, dot: whole, scale, scaled: whole * scale, softcap: null, capped: whole * scale,
      bias: unlessInfinite(bias[to]), score: unlessInfinite(scores[to]), weight: weights[to],
      mean: above ? whole * scale - aboveProducts.reduce((sum, x) => sum + x, 0) : null,
      d, keys: n, pairs: turns ? Array.from({ length: d }, (_, i) => i % (d / 2)) : null,
      why_no_above: "", ...bySource.told,
    },
    numbers: Float32Array.from([q, k, products, scores, weights, ...(above ? [aboveK, aboveProducts] : []), ...bySource.numbers].flatMap((part) => Array.from(part))),
    /** Whether each place that may be left out leads here. */
    lastQuery: row === queries - 1,
    mostOfRow: likeliest(weights, 1)[0] === to,
    mostOfKey: likeliest(Array.from({ length: queries }, (_, i) => map[i * n + to]), 1)[0] === row,
  };
}

const unlessInfinite = (x) => (Number.isFinite(x) ? x : null);
