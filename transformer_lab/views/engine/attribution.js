// Attribution: the flow to a logit, and a score split by the components that wrote the query's and
// the key's residual stream. Two graphs that the page carries compute the numbers: see
// graphs/attribution.py.

import { likeliest, matrix, softmax } from "./tensors.js";

const SENT = 300; // edges of one flow
const ANSWERED = 5;
const [SUM_ROOM, SUM_ROUNDING] = [1e-3, 1e-5]; // tolerance of a sum, relative to the score and to the largest score of such vectors
const KEPT_WRITERS = 8; // per side of the table; the rest are summed
const MOST_PARTS = 3e7; // numbers in all contributions together

/**
 * Attribute one logit: what each head carries from token to token toward it.
 * @param {import("./desk.js").Reading} reading
 * @param {{edits?: any[], position: number, token?: number | null, against?: number | null}} given
 *   token: by default the likeliest without edits; against: follow the difference of the two logits
 */
export function* tokenFlow(reading, { edits = [], position, token: asked = null, against = null }) {
  const { model } = reading.text;
  if (model.config.refused.flow)
    throw new Error(`the flow to a logit cannot be computed: ${model.config.refused.flow}`);
  const clean = yield* reading.pass([]);
  const pass = edits.length ? yield* reading.pass(edits) : clean;
  const [before, after] = [clean, pass].map((one) => softmax(one.logits([position]).data.slice()));
  const most = likeliest(before, 1)[0];
  const token = asked ?? most;
  for (const [what, id] of /** @type {[string, number | null][]} */ ([
    ["token", token],
    ["against", against],
  ])) {
    if (id !== null && !(Number.isInteger(id) && id >= 0 && id < before.length))
      throw new Error(`${what}=${id} is outside the ${before.length} tokens of the vocabulary`);
  }
  const found = yield* pass.analysing("flow", {
    position: row([position]),
    toward: row([token, against ?? token]),
    by: row([1, against === null ? 0 : -1]),
  });
  const [logit, constant, total] = ["logit", "constant", "total"].map(
    (name) => found.get(name).data[0],
  );
  const [stream, stays, mlps] = ["stream", "stays", "mlps"].map((name) =>
    eachRowOf(found.get(name)),
  );
  const shown = [...new Set([token, ...likeliest(after, ANSWERED)])].slice(0, ANSWERED);
  const answers = shown.map((id) => ({ id, before: before[id], after: after[id] }));
  return {
    logit,
    constant,
    total,
    ...largestEdges(found.get("edges")),
    stream,
    stays,
    mlps,
    token,
    most,
    against,
    before: before[token],
    after: after[token],
    answers,
  };
}

const row = (data) => ({ shape: [data.length], data });

/** @param {{shape: number[], data: Float32Array}} x */
const eachRowOf = ({ shape, data }) =>
  Array.from({ length: shape[0] }, (_, i) => data.subarray(i * shape[1], (i + 1) * shape[1]));

/** The edges of the largest size, of either sign, and how many are not zero. */
function largestEdges({ shape, data }) {
  const [, heads, queries, keys] = shape;
  const places = likeliest(data.map(Math.abs), SENT).filter((at) => data[at]);
  const edges = places.map((at) => ({
    place: [
      Math.floor(at / (heads * queries * keys)),
      Math.floor(at / (queries * keys)) % heads,
      Math.floor(at / keys) % queries,
      at % keys,
    ],
    value: data[at],
  }));
  return { edges, count: data.reduce((n, x) => n + (x ? 1 : 0), 0) };
}

/**
 * Split the score of a cell, and what exceeds the row's mean, by the components that wrote the
 * query's and the key's residual stream.
 * @param {any} pass
 * @param {{kind: string, layer: number, head: number, query: number, key: number, scaled: number, longest: number}} cell
 *   longest: ‖q‖·‖k‖·scale, the largest score of vectors of these lengths
 * @param {number[]} reachable keys that the query may attend to
 * @param {boolean} above whether there are enough of them to take a mean
 * @returns {Generator<null, {info: Record<string, any>, numbers: Float32Array[]}>} like `_sources`
 *   of views/why/data.py
 */
export function* scoreBySource(
  pass,
  { kind, layer, head, query, key, scaled, longest },
  reachable,
  above,
) {
  const { refused, sources: known } = pass.model.config;
  const not = (why) => ({ info: { why_no_sources: why, splits: {} }, numbers: [] });
  if (refused.sources) return not(refused.sources);
  const n = pass.callOf(kind, layer, head).key.rows;
  const named = Object.entries(known[kind]).map(([side, { names, short, counts }]) => {
    const own = (list) => [...list.slice(0, counts[layer]), list[list.length - 1]];
    return [side, { names: own(names), short: own(short) }];
  });
  const sources = Object.fromEntries(named);
  if (sources.key.names.length * n * pass.last().columns > MOST_PARTS)
    return not("the text is too long for this page to split its scores by source");
  const keys = matrix(2, n);
  for (const j of reachable) keys.data[n + j] = -1 / reachable.length;
  for (const table of [0, n]) keys.data[table + key] += 1;
  const place = `${kind}/${layer}`;
  const { shape, data } = (yield* pass.analysing(
    "sources",
    {
      head: row([head]),
      query: row([query]),
      [`keys/${kind}`]: { shape: [2, n], data: keys.data },
    },
    [place],
  )).get(place);
  const [score, lifted] = [0, 1].map((table) =>
    eachRowOf({ shape: shape.slice(1), data: data.subarray(table * shape[1] * shape[2]) }),
  );
  if (
    !(
      Math.abs(sumOf(score.map(sumOf)) - scaled) <=
      Math.max(SUM_ROOM * Math.abs(scaled), SUM_ROUNDING * longest)
    )
  )
    return not("the parts do not add up to the score");
  const numbers = /** @type {Float32Array[]} */ ([]);
  const splits = Object.fromEntries(
    Object.entries(above ? { score, above: lifted } : { score }).map(([name, one]) => [
      name,
      tableOf(one, numbers),
    ]),
  );
  return { info: { why_no_sources: "", sources, splits }, numbers };
}

const sumOf = (values) => values.reduce((a, b) => a + b, 0);

/**
 * Append the sums of both sides and a small table to the numbers; return which parts the table
 * keeps.
 */
function tableOf(parts, numbers) {
  const byQuery = parts.map(sumOf);
  const byKey = Array.from(parts[0], (_, k) => sumOf(parts.map((row) => row[k])));
  const [rows, columns] = [byQuery, byKey].map(keptOf);
  const small = keptAndRest(parts, rows).map((row) =>
    keptAndRest(
      Array.from(row, (x) => [x]),
      columns,
    ).map(([x]) => x),
  );
  numbers.push(...[byQuery, byKey, small.flat()].map((x) => Float32Array.from(x)));
  return { rows, columns, shape: [small.length, small[0].length], total: sumOf(byQuery) };
}

/** The indices of the largest parts by size, the largest first; all of them if they are few. */
const keptOf = (values) =>
  likeliest(values.map(Math.abs), values.length <= KEPT_WRITERS + 1 ? values.length : KEPT_WRITERS);

/** The kept rows, then the sum of the others if there are any. */
function keptAndRest(rows, kept) {
  const found = kept.map((i) => Array.from(rows[i]));
  if (kept.length === rows.length) return found;
  const rest = rows.filter((_, i) => !kept.includes(i));
  return [...found, found[0].map((_, k) => sumOf(rest.map((row) => row[k])))];
}
