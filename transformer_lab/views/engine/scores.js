// One score q·k of one head: from its dimensions to a weight, and which components wrote it.

import { analysis } from "./analyses.js";
import { keyHead } from "./attention.js";
import { likeliest, matrix } from "./tensors.js";
import { scoreBySource } from "./attribution.js";

/**
 * What a head compares for one query: the query and every key, their products, and what is added to
 * these.
 * @param {import("./pass.js").Pass} pass @param {import("./attention.js").Call} call @param {number} head @param {number} row
 */
export function rowScores(pass, call, head, row) {
  const { query, key, dHead: d, scale, softcap } = call;
  const first = keyHead(call, head) * d;
  const q = query.data.slice(row * query.columns + head * d, row * query.columns + (head + 1) * d);
  const keys = rowsOf(
    Array.from({ length: key.rows }, (_, j) =>
      key.data.subarray(j * key.columns + first, j * key.columns + first + d),
    ),
  );
  const compared = analysis("attention_row", {
    query: q,
    keys,
    scores: pass.scores(call, head, row),
    scale,
    softcap: softcap ?? 0,
  });
  const [dots, scaled, bias, scores] = ["dots", "scaled", "bias", "scores"].map(
    (name) => compared[name].data,
  );
  return {
    q,
    keys: Array.from({ length: key.rows }, (_, j) => keys.data.subarray(j * d, (j + 1) * d)),
    dots,
    scale,
    softcap,
    scaled,
    bias,
    scores,
  };
}

/** @param {Float32Array[]} rows @returns {import("./tensors.js").Matrix} */
const rowsOf = (rows) =>
  matrix(rows.length, rows[0].length, Float32Array.from(rows.flatMap((row) => Array.from(row))));

/**
 * @param {import("./desk.js").Reading} reading
 * @param {{kind: string, layer: number, head: number, query: number | null, key: number | null}} given
 *   default query: the one that attends most to the key, or the last if there is no key; default
 *   key: the one that gets most weight
 */
export function* score(reading, { kind, layer, head, query = null, key = null }) {
  const pass = yield* reading.pass([]);
  const call = pass.callOf(kind, layer, head);
  const map = pass.pattern(kind, layer, head);
  const [queries, n, d] = [call.query.rows, call.key.rows, call.dHead];
  for (const [name, value, count] of /** @type {const} */ ([
    ["query", query, queries],
    ["key", key, n],
  ])) {
    if (value !== null && !(Number.isInteger(value) && value >= 0 && value < count))
      throw new Error(`${name}=${value} is outside the ${count} tokens (0 … ${count - 1})`);
  }
  const row =
    query ??
    (key === null
      ? queries - 1
      : likeliest(
          Array.from({ length: queries }, (_, i) => map[i * n + key]),
          1,
        )[0]);
  const weights = map.subarray(row * n, (row + 1) * n);
  const to = key ?? likeliest(weights, 1)[0];

  const { q, keys, dots, scale, softcap, scaled, bias, scores } = rowScores(pass, call, head, row);
  const reached = Array.from(keys.keys()).filter((j) => Number.isFinite(scores[j]));
  const above = reached.length > 1;
  const k = keys[to];
  const split = analysis("score_products", {
    query: q,
    key: k,
    others: rowsOf(above ? reached.map((j) => keys[j]) : keys),
    scale,
  });
  const { products, above: aboveK, above_products: aboveProducts } = split;
  const cell = {
    kind,
    layer,
    head,
    query: row,
    key: to,
    scaled: dots[to] * scale,
    longest: split.longest.data[0],
  };
  const bySource = yield* scoreBySource(pass, cell, reached, above);
  return {
    info: {
      kind,
      layer,
      head,
      query: row,
      key: to,
      dot: dots[to],
      scale,
      scaled: cell.scaled,
      softcap,
      capped: scaled[to],
      bias: unlessInfinite(bias[to]),
      score: unlessInfinite(scores[to]),
      weight: weights[to],
      mean: above ? split.mean.data[0] : null,
      d,
      keys: n,
      pairs: pass.model.config.pairs[`${kind}/${layer}`] ?? null,
      why_no_above: "",
      ...bySource.info,
    },
    numbers: Float32Array.from(
      [
        q,
        k,
        products.data,
        scores,
        weights,
        ...(above ? [aboveK.data, aboveProducts.data] : []),
        ...bySource.numbers,
      ].flatMap((part) => Array.from(part)),
    ),
    /** Whether this cell is the default for an omitted query or key. */
    lastQuery: row === queries - 1,
    mostOfRow: likeliest(weights, 1)[0] === to,
    mostOfKey:
      likeliest(
        Array.from({ length: queries }, (_, i) => map[i * n + to]),
        1,
      )[0] === row,
  };
}

const unlessInfinite = (x) => (Number.isFinite(x) ? x : null);
