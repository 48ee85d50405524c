// Which lines are drawn, and the note that says so.

import { largest, strongestEdges } from "../shared/attention.js";
import { quoted, short } from "../shared/messages.js";

export const MANY_QUERIES = 1024; // beyond, a whole column or map is not computed in one go
const SHARE = 0.7; // without a focus: each token's strongest edge, then others until they carry this much
const MOST_LINES = 400; // … or are so many
const LEAST = 0.01; // lines of the token in focus: from this weight …
const MOST_KEYS = 20; // … and at most so many where not every token is listed

/**
 * @typedef {import("../shared/linked.js").Spot} Spot
 * @typedef {{query: number, key: number | null, weight: number, head: number}} Edge key: null where it goes to nothing
 */

/**
 * @param {object} given
 * @param {import("./store.js").Kind} given.kind
 * @param {Spot | null} given.focus
 * @param {boolean} given.long whether only a part of the tokens is listed
 * @param {{head: number, rowOf: (query: number) => Float32Array, nothing: ((query: number) => number) | null}[]} given.rows
 *   of each head drawn; nothing: what goes to no key, where heads may look there
 * @param {boolean} given.layerMode whether all heads of the layer are meant
 * @param {number} given.end the value at the end of the colour scale
 * @param {boolean} given.valueWeighted
 * @param {import("./between.js").Block | null} [given.block] outside which rows hold nothing
 * @returns {{focus: Spot | null, edges: Edge[], note: string, weights: {queries: Map<number, string>, keys: Map<number | null, string>}}}
 */
export function lineScene({ kind, focus: wanted, long, rows, layerMode, end, valueWeighted, block = null }) {
  let focus = wanted;
  if (focus?.query === null && kind.queries > MANY_QUERIES) focus = null;
  if (!focus && long) focus = { query: (block?.a[1] ?? kind.queries) - 1, key: null };
  const there = block ? " from A to B" : "";
  const weights = { queries: new Map(), keys: new Map() };
  if (!focus) return { focus, weights, ...strongest(kind, rows, layerMode, there) };
  const least = LEAST * (valueWeighted ? end : 1);
  const most = long ? MOST_KEYS : Infinity;
  const limits = `from ${valueWeighted ? short(least) : ".01"} up${long ? `, at most ${MOST_KEYS}` : ""}`;
  /** @type {Edge[]} */
  const edges = [];
  let note;
  if (focus.query !== null) {
    const { query } = focus;
    let total = 0;
    for (const { head, rowOf, nothing } of rows) {
      const row = rowOf(query);
      const rest = nothing?.(query) ?? 0;
      total += row.reduce((sum, weight) => sum + weight, 0) + rest;
      if (rest >= least) edges.push({ query, key: null, weight: rest, head });
      for (const { index, weight } of largest(row, most, least)) edges.push({ query, key: index, weight, head });
    }
    const drawn = edges.reduce((sum, edge) => sum + edge.weight, 0);
    const token = quoted(kind.query_tokens[query]);
    const share = Math.round((100 * drawn) / Math.max(total, 1e-9));
    note = `Lines: where ${wanted ? token : `the last token, ${token},`} looks, ${limits}; ${share} % of its weight${there}.`;
  } else {
    const key = /** @type {number} */ (focus.key);
    for (const { head, rowOf } of rows) {
      const column = Float32Array.from({ length: kind.queries }, (_, query) => rowOf(query)[key]);
      for (const { index, weight } of largest(column, most, least)) edges.push({ query: index, key, weight, head });
    }
    note = `Lines: who looks at ${quoted(kind.key_tokens[key])}, ${limits}.`;
  }
  if (!layerMode) {
    for (const edge of edges) {
      if (focus.query !== null) weights.keys.set(edge.key, short(edge.weight));
      else weights.queries.set(edge.query, short(edge.weight));
    }
  }
  return { focus, edges, note, weights };
}

function strongest(kind, rows, layerMode, there) {
  const all = rows.flatMap(({ head, rowOf, nothing }) =>
    Array.from({ length: kind.queries }, (_, query) => ({ query, head, row: rowOf(query), nothing: nothing?.(query) ?? 0 })),
  );
  const { edges, covered } = strongestEdges(all, SHARE, MOST_LINES);
  const whose = layerMode ? `${rows.length} ${rows.length === 1 ? "head" : "heads"}` : "this head";
  const share = Math.round(100 * covered);
  return { edges, note: `Lines: each token’s strongest, then the strongest of ${whose}; ${share} % of the weight${there} (${edges.length} ${edges.length === 1 ? "line" : "lines"}).` };
}
