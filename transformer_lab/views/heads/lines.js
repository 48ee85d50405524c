// Attention as lines between two columns of tokens.

import { element, say, sizedContext, tokenElement, listen } from "../shared/dom.js";
import { TO_NOTHING } from "../shared/map_sentences.js";
import { largest, strongestEdges } from "../shared/attention.js";
import { readable } from "../shared/colours.js";
import { fixed, quoted, short } from "../shared/messages.js";
import { sayHeads } from "./scale.js";

const ALL_UP_TO = 64; // tokens; of longer texts only the neighbourhood of the focus is shown
const AROUND = 10;
const STRONGEST_TINT = 40; // per cent of a head's colour under a token: with all sixteen colours the text keeps a contrast of 4.5:1

const NO_TOKEN = sayHeads("no_token_so_that");

/** @typedef {{index: number} | {gap: number}} Line of a column: a token, or the number of tokens left out */

/** The indices to list, with gaps where others are left out. @param {number[]} indices @param {number} count @returns {Line[]} */
export function withGaps(indices, count) {
  const sorted = [...new Set(indices)].sort((a, b) => a - b);
  const lines = [];
  let next = 0;
  for (const index of sorted) {
    if (index > next) lines.push({ gap: index - next });
    lines.push({ index });
    next = index + 1;
  }
  if (next < count) lines.push({ gap: count - next });
  return lines;
}

/** Which tokens of a column to list. @param {number} count @param {number | null} focus @param {number[]} wanted */
export function columnLines(count, focus, wanted) {
  if (count <= ALL_UP_TO) return Array.from({ length: count }, (_, index) => ({ index }));
  if (wanted.length) return withGaps(wanted, count);
  const middle = focus ?? count - 1;
  const from = Math.max(0, Math.min(middle - AROUND, count - 2 * AROUND - 1));
  return withGaps(
    Array.from({ length: Math.min(count, 2 * AROUND + 1) }, (_, i) => from + i),
    count,
  );
}

/** Whether a text is so long that only a part of it is listed. @param {number} count */
export const isLong = (count) => count > ALL_UP_TO;

/**
 * How far lines of several heads between the same two tokens are moved apart, so that none hides another.
 * @param {{query: number, key: number | null}[]} edges
 * @param {number} rowHeight
 * @returns {Map<object, number>}
 */
export function besides(edges, rowHeight) {
  const bundles = new Map();
  for (const edge of edges) {
    const name = `${edge.query}/${edge.key}`;
    bundles.set(name, [...(bundles.get(name) ?? []), edge]);
  }
  const aside = new Map();
  for (const bundle of bundles.values()) {
    const apart = Math.min(4, (0.8 * rowHeight) / bundle.length);
    bundle.forEach((edge, i) => aside.set(edge, (i - (bundle.length - 1) / 2) * apart));
  }
  return aside;
}

export class LineView {
  /** @param {{hover: (at: Spot | null) => void, pick: (at: Spot) => void}} on @param {AbortSignal} signal */
  constructor(on, signal) {
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.left = element("div.tl-column.tl-queries#queries");
    this.right = element("div.tl-column.tl-keys#keys");
    const strands = element("div.tl-strands", this.canvas);
    this.root = element("div.tl-lines", this.left, strands, this.right);
    /**
     * The width between the columns. The numbers beside the tokens change it, and it is unknown
     * while a host hides the view: the observer reports it before the page is painted.
     */
    this.width = 0;
    /** @type {number | undefined} if the height is fixed rather than that of the content */
    this.height = undefined;
    const observer = new ResizeObserver(([{ contentRect }]) => {
      const width = Math.floor(contentRect.width);
      if (!width || width === this.width) return;
      this.width = width;
      if (this.scene) this.#drawLines();
    });
    observer.observe(strands);
    signal.addEventListener("abort", () => observer.disconnect());
    /** Heights of tokens; of the keys, null is "nothing". @type {{queries: Map<number, number>, keys: Map<number | null, number>}} */
    this.places = { queries: new Map(), keys: new Map() };
    for (const [column, side] of [
      [this.left, "query"],
      [this.right, "key"],
    ]) {
      const target = (event) => {
        const token = event.target.closest?.("[data-index]");
        const query = this.scene?.selected?.query ?? null;
        if (query !== null && event.target.closest?.(".tl-ghost"))
          return { query, key: null, nothing: true };
        if (!token) return null;
        const index = Number(token.dataset.index);
        return side === "query" ? { query: index, key: null } : { query: null, key: index };
      };
      listen(column, "pointerover", signal, (event) => on.hover(target(event)));
      listen(column, "pointerleave", signal, () => on.hover(null));
      listen(column, "click", signal, (event) => {
        const at = target(event);
        if (at) on.pick(at);
      });
    }
  }

  /**
   * List tokens. To be called only when they have changed, so that elements under the pointer stay.
   * @param {string[]} queries
   * @param {string[]} keys
   * @param {Line[]} queryLines
   * @param {Line[]} keyLines
   * @param {Uint8Array | null} hidden
   * @param {boolean} [ghost] whether a query may attend to nothing, which is listed below the keys
   */
  list(queries, keys, queryLines, keyLines, hidden, ghost = false) {
    const rows = Math.max(queryLines.length, keyLines.length + (ghost ? 1.5 : 0));
    this.rowHeight = Math.max(15, Math.min(24, (this.height ?? 430) / rows));
    this.high = Math.ceil(this.rowHeight * rows);
    this.root.style.setProperty("--tl-row", `${this.rowHeight}px`);
    this.places.queries = this.#fill(this.left, queries, queryLines, null);
    this.places.keys = this.#fill(this.right, keys, keyLines, hidden);
    if (ghost) this.#addGhost(keyLines.length);
  }

  #addGhost(above) {
    this.right.append(
      element(
        "div.tl-token.tl-ghost#nothing",
        { title: NO_TOKEN },
        element("span.tl-word", TO_NOTHING),
        element("span.tl-weight"),
      ),
    );
    this.places.keys.set(null, (above + 1) * this.rowHeight);
  }

  #fill(column, tokens, lines, hidden) {
    const places = new Map();
    const children = lines.map((line, i) => {
      if ("gap" in line) {
        return element(
          "div.tl-gap",
          { title: sayHeads("tokens_left_out", { gap: line.gap }) },
          `⋯ ${line.gap}`,
        );
      }
      places.set(line.index, (i + 0.5) * this.rowHeight);
      return element(
        "div",
        { class: `tl-token${hidden?.[line.index] ? " tl-hidden" : ""}`, "data-index": line.index },
        element("span.tl-word", tokenElement(tokens[line.index])),
        element("span.tl-weight"),
      );
    });
    column.replaceChildren(...children);
    return places;
  }

  /**
   * Draw the lines.
   * @param {object} scene
   * @param {{query: number, key: number | null, weight: number, share: number, head: number}[]} scene.edges
   *   share: the weight relative to the end of the scale, 0 … 1; key: null for weight to nothing
   * @param {(head: number) => string} scene.colourOf
   * @param {Spot | null} scene.focus
   * @param {Spot | null} scene.selected
   * @param {Map<number, string>} scene.queryNotes numbers beside the tokens
   * @param {Map<number | null, string>} scene.keyNotes
   * @param {boolean} scene.named whether to write each line's head at its end
   * @param {string} scene.ground the colour below the names
   */
  draw(scene) {
    this.scene = scene;
    this.#paintTokens(scene);
    if (this.width) this.#drawLines();
  }

  #drawLines() {
    const { scene, width } = this;
    const context = sizedContext(this.canvas, width, this.high);
    const beside = besides(scene.edges, this.rowHeight);
    for (const edge of [...scene.edges].sort((a, b) => a.share - b.share)) {
      const aside = beside.get(edge);
      const from = this.places.queries.get(edge.query) + aside;
      const to = this.places.keys.get(edge.key) + aside;
      if (Number.isNaN(from) || Number.isNaN(to)) continue;
      context.strokeStyle = scene.colourOf(edge.head);
      context.globalAlpha = 0.18 + 0.82 * Math.sqrt(edge.share);
      context.lineWidth = 1 + 5 * edge.share;
      context.lineCap = edge.key === null ? "butt" : "round";
      context.setLineDash(edge.key === null ? [6, 4] : []);
      context.beginPath();
      context.moveTo(2, from);
      context.bezierCurveTo(width * 0.45, from, width * 0.55, to, width - 2, to);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
    if (scene.named) this.#nameLines(context, width, scene);
  }

  /** Tint each token like its strongest line, and write its number. */
  #paintTokens(scene) {
    /** @type {Map<number | null, {share: number, head: number}>[]} */
    const [queryTint, keyTint] = [new Map(), new Map()];
    const tint = (map, index, edge) => {
      if ((map.get(index)?.share ?? 0) < edge.share) map.set(index, edge);
    };
    for (const edge of scene.edges) {
      tint(queryTint, edge.query, edge);
      tint(keyTint, edge.key, edge);
    }
    this.#paint(this.left, "query", queryTint, scene, scene.queryNotes);
    this.#paint(this.right, "key", keyTint, scene, scene.keyNotes);
    this.#paintGhost(scene);
  }

  #paintGhost(scene) {
    const ghost = this.right.querySelector(".tl-ghost");
    if (!ghost) return;
    const share = scene.keyNotes.get(null) ?? "";
    say(ghost.querySelector(".tl-weight"), share);
    ghost.title = `${TO_NOTHING} ${share}: ${NO_TOKEN}`.replace(" :", ":");
    ghost.classList.toggle("tl-focus", Boolean(scene.focus?.nothing));
  }

  /** Name lines of several heads, since colour alone must not tell heads apart. */
  #nameLines(context, width, scene) {
    const used = new Map();
    context.font = "bold 10px system-ui, sans-serif";
    context.textBaseline = "middle";
    const atKeys = scene.focus?.query !== null;
    for (const edge of [...scene.edges].sort((a, b) => b.share - a.share)) {
      const end = atKeys ? edge.key : edge.query;
      const y = (atKeys ? this.places.keys : this.places.queries).get(end);
      const count = used.get(end) ?? 0;
      if (y === undefined || count >= 4) continue;
      used.set(end, count + 1);
      const x = atKeys ? width - 9 - 17 * count : 9 + 17 * count;
      context.fillStyle = scene.ground;
      context.fillRect(x - 8, y - 7, 17, 14);
      context.fillStyle = readable(scene.colourOf(edge.head), scene.ground);
      context.textAlign = "center";
      context.fillText(String(edge.head), x, y + 0.5);
    }
  }

  #paint(column, side, tints, scene, notes) {
    for (const token of column.querySelectorAll("[data-index]")) {
      const index = Number(token.dataset.index);
      const strongest = tints.get(index);
      const isFocus = scene.focus?.[side] === index;
      token.classList.toggle("tl-focus", isFocus);
      token.classList.toggle("tl-selected", scene.selected?.[side] === index);
      const strength =
        strongest && scene.focus && !isFocus ? Math.round(STRONGEST_TINT * strongest.share) : 0;
      token.style.background = strength
        ? `color-mix(in srgb, ${scene.colourOf(strongest.head)} ${strength}%, transparent)`
        : "";
      say(token.querySelector(".tl-weight"), notes.get(index) ?? "");
    }
  }
}

export const MANY_QUERIES = 1024; // beyond it, a whole column or map is not computed in one go
const SHARE = 0.7; // without a focus: each token's strongest edge, then others until they carry this much
const MOST_LINES = 400; // most lines without a focus
const LEAST = 0.01; // lines of the token in focus: least weight
const MOST_KEYS = 20; // most lines of the token in focus, if not every token is listed

/**
 * @typedef {import("../shared/linked.js").Spot} Spot
 * @typedef {{query: number, key: number | null, weight: number, head: number}} Edge key: null for
 *   weight to nothing
 */

const STRONGEST = 20; // lines of a text whose whole map is not loaded

/**
 * The strongest edges of the visible part of a long text, and each query's strongest if every query
 * is listed.
 * @param {{edges: [number, number, number][], whose: string, kind: import("./store.js").Kind, head: number, block: import("./between.js").Block | null}} of
 *   edges: query, key and weight, the largest first
 * @returns {ReturnType<typeof lineScene>}
 */
export function strongestScene({ edges, whose, kind, head, block }) {
  const every = !isLong(block ? block.a[1] - block.a[0] : kind.queries);
  const known = new Set();
  const own = every ? edges.filter(([query]) => !known.has(query) && known.add(query)) : [];
  const others = edges
    .filter((edge) => !own.includes(edge))
    .slice(0, Math.max(0, STRONGEST - own.length));
  const drawn = [...own, ...others].map(([query, key, weight]) => ({ query, key, weight, head }));
  const lines = drawn.length
    ? sayHeads("the_strongest", { every, whose, drawn: drawn.length })
    : sayHeads("none_lies", { replace: whose.replace(/^of/, "in") });
  return {
    focus: null,
    edges: drawn,
    note: sayHeads("lines_choose_a_cell", { drawn: lines }),
    weights: { queries: new Map(), keys: new Map() },
  };
}

/**
 * @param {object} given
 * @param {import("./store.js").Kind} given.kind
 * @param {Spot | null} given.focus
 * @param {boolean} given.long whether only a part of the tokens is listed
 * @param {{head: number, rowOf: (query: number) => Float32Array, nothing: ((query: number) => number) | null}[]} given.rows
 *   of each head drawn; nothing: weight to no key, if heads may attend to nothing
 * @param {boolean} given.layerMode whether all heads of the layer are drawn
 * @param {number} given.end the value at the end of the colour scale
 * @param {boolean} given.valueWeighted
 * @param {import("./between.js").Block | null} [given.block] outside it rows are 0
 * @param {((key: number) => Float32Array) | null} [given.columnOf] if not all rows are loaded
 * @returns {{focus: Spot | null, edges: Edge[], note: string, weights: {queries: Map<number, string>, keys: Map<number | null, string>}}}
 */
export function lineScene({
  kind,
  focus: wanted,
  long,
  rows,
  layerMode,
  end,
  valueWeighted,
  block = null,
  columnOf = null,
}) {
  let focus = wanted;
  if (focus?.query === null && kind.queries > MANY_QUERIES && !columnOf) focus = null;
  if (!focus && long) focus = { query: (block?.a[1] ?? kind.queries) - 1, key: null };
  const there = block ? sayHeads("from_a_to_b_word") : "";
  const weights = { queries: new Map(), keys: new Map() };
  if (!focus) return { focus, weights, ...strongest(kind, rows, layerMode, there) };
  const least = LEAST * (valueWeighted ? end : 1);
  const most = long ? MOST_KEYS : Infinity;
  const limit = valueWeighted ? fixed(least) : "1%";
  let limits = sayHeads("from_up", {
    limit,
    part: long ? sayHeads("at_most_of", { most_keys: MOST_KEYS }) : "",
  });
  const chosen = (weights) => {
    const some = largest(weights, most, least);
    if (some.length || rows.length > 1) return some;
    limits = sayHeads("the_strongest_each_below", { limit });
    return largest(weights, MOST_KEYS, Number.MIN_VALUE);
  };
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
      for (const { index, weight } of chosen(row)) edges.push({ query, key: index, weight, head });
    }
    const drawn = edges.reduce((sum, edge) => sum + edge.weight, 0);
    const token = quoted(kind.query_tokens[query]);
    const share = Math.round((100 * drawn) / Math.max(total, 1e-9));
    note = sayHeads("lines_what_attends_to", {
      part: wanted ? token : sayHeads("the_last_token", { token }),
      limits,
      share,
      there,
    });
  } else {
    const key = /** @type {number} */ (focus.key);
    for (const { head, rowOf } of rows) {
      const column = columnOf
        ? columnOf(key)
        : Float32Array.from({ length: kind.queries }, (_, query) => rowOf(query)[key]);
      for (const { index, weight } of chosen(column))
        edges.push({ query: index, key, weight, head });
    }
    note = sayHeads("lines_which_tokens_attend", { key_token: kind.key_tokens[key], limits });
  }
  if (!layerMode) {
    for (const edge of edges) {
      const written = short(edge.weight, edge.weight < LEAST ? 3 : 2);
      if (focus.query !== null) weights.keys.set(edge.key, written);
      else weights.queries.set(edge.query, written);
    }
  }
  return { focus, edges, note, weights };
}

function strongest(kind, rows, layerMode, there) {
  const all = rows.flatMap(({ head, rowOf, nothing }) =>
    Array.from({ length: kind.queries }, (_, query) => ({
      query,
      head,
      row: rowOf(query),
      nothing: nothing?.(query) ?? 0,
    })),
  );
  const { edges, covered } = strongestEdges(all, SHARE, MOST_LINES);
  const whose = layerMode ? sayHeads("count", { heads: rows.length }) : sayHeads("this_head");
  const share = Math.round(100 * covered);
  return {
    edges,
    note: sayHeads("lines_each_tokens_strongest", { whose, share, there, drawn: edges.length }),
  };
}
