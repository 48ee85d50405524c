// The lines of a long text: where the chosen token looks, or the strongest edges of what is seen.

import { largest } from "../shared/attention.js";
import { quoted, short } from "../shared/messages.js";
import { isLong, lineScene } from "./lines.js";
import { wholeSight } from "./zoom.js";

const LINES = 20;
const LEAST_LINE = 0.01;

/** @param {import("./long_heads.js").LongHeads} heads */
export async function drawLongLines(heads) {
  const { pyramid, state, here, linesPanel, shell, end } = heads;
  if (!pyramid || heads.signal.aborted) return;
  const { kind, valueWeighted, block } = state;
  const { head } = heads.shown;
  const weights = { queries: new Map(), keys: new Map() };
  const how = { long: true, ghost: false, end, ground: shell.inks.ground, named: false };
  if (here?.row) {
    const nothing = here.nothing > 0 && !valueWeighted ? () => here.nothing : null;
    const scene = lineScene({ kind, focus: here.of, long: true, rows: [{ head, rowOf: () => here.row, nothing }], layerMode: false, end, valueWeighted });
    return linesPanel.drawScene(scene, { ...how, ghost: Boolean(nothing) });
  }
  if (here?.column) {
    const edges = largest(here.column, LINES, LEAST_LINE * (valueWeighted ? end : 1)).map(({ index, weight }) => ({ query: index, key: here.of.key, weight, head }));
    for (const edge of edges) weights.queries.set(edge.query, short(edge.weight));
    return linesPanel.drawScene({ focus: here.of, edges, weights, note: `Lines: who looks most at ${quoted(kind.key_tokens[here.of.key])}, at most ${LINES}.` }, how);
  }
  const { strongest, whole } = await strongestSeen(heads);
  if (pyramid !== heads.pyramid || heads.here || heads.signal.aborted) return;
  const everyQuery = !isLong(block ? block.a[1] - block.a[0] : kind.queries); // is listed
  const edges = longLines(strongest, everyQuery).map(([query, key, weight]) => ({ query, key, weight, head }));
  const where = whole ? "of this head" : block ? "from A to B" : "of the part on view";
  const which = everyQuery ? "each token’s strongest, then " : "";
  const told = edges.length ? `${which}the strongest ${where} (${edges.length} ${edges.length === 1 ? "line" : "lines"})` : `none of the strongest lies ${block ? "between A and B" : "in the part on view"}`;
  linesPanel.drawScene({ focus: null, edges, weights, note: `Lines: ${told}. Choose a cell to see where its token looks.` }, how);
}

/**
 * Which of the strongest edges are drawn: LINES, and each query's first where every query is listed.
 * @param {[number, number, number][]} strongest query, key and weight, the largest first
 * @param {boolean} everyQuery
 */
export function longLines(strongest, everyQuery) {
  const known = new Set();
  const own = everyQuery ? strongest.filter(([query]) => !known.has(query) && known.add(query)) : [];
  const others = strongest.filter((edge) => !own.includes(edge));
  return [...own, ...others.slice(0, Math.max(0, LINES - own.length))];
}

/** The strongest edges of what is seen, or of what is marked. */
async function strongestSeen(heads) {
  const { pyramid, state, grouped, sights } = heads;
  const { kind, block } = state;
  const sight = sights.tokens ?? wholeSight(pyramid.size);
  const whole = !block && (grouped || sight.tokens >= Math.max(kind.queries, kind.keys));
  if (whole) return { strongest: pyramid.info.strongest, whole };
  const span = (from, count) => [Math.max(0, Math.floor(from)), Math.min(count, Math.ceil(from + sight.tokens))];
  const [a, b] = block ? [block.a, block.b] : [span(sight.query, kind.queries), span(sight.key, kind.keys)];
  try {
    return { strongest: await pyramid.strongest(a, b), whole };
  } catch {
    const inside = ([query, key]) => query >= a[0] && query < a[1] && key >= b[0] && key < b[1];
    return { strongest: pyramid.info.strongest.filter(inside), whole };
  }
}
