// The map of a long text on its canvas: pixels, labels, marks, and the small overview of the whole.

import { colourCells } from "../marks/matrix.js";
import { paintBlocked, shade } from "../shared/colours.js";
import { fitText, sizedContext } from "../shared/dom.js";
import { leaning, leaningHeight, LONGEST_NAME, textOf, writeAbove } from "../shared/map_frame.js";
import { roundStep } from "../shared/ticks.js";
import { cellsSeen, gathered, levelFor, pixelsOf, wholeSight } from "./zoom.js";

const NAMED_FROM = 11; // pixels a token from which every one is named
const LABEL_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const NAME_ROOM = 112;
const OVERVIEW = 56;

/**
 * @typedef {object} LongScene
 * @property {import("./pyramid.js").Pyramid | import("./pyramid.js").SmallPyramid} pyramid
 * @property {import("./zoom.js").Size & {tile: number}} size
 * @property {import("./zoom.js").Sight} sight
 * @property {number} finest level that can be had
 * @property {string[]} queries names
 * @property {string[]} keys
 * @property {boolean} causal
 * @property {number} offset keys before the first query
 * @property {number} end of the colours
 * @property {Uint8ClampedArray} table
 * @property {any} inks
 */

export class LongCanvas {
  /** @param {HTMLCanvasElement} canvas @param {HTMLCanvasElement} overview */
  constructor(canvas, overview) {
    this.canvas = canvas;
    this.overview = overview;
    this.picture = document.createElement("canvas");
    /** @type {LongScene | null} */
    this.scene = null;
  }

  /** Lay out and paint. @param {LongScene} scene @param {number} width @param {number} height */
  show(scene, width, height) {
    this.scene = scene;
    const { size, sight } = scene;
    const named = (side) => side / sight.tokens >= NAMED_FROM;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const longest = (names, from, count) => {
      context.font = `12px ${LABEL_FONT}`;
      return Math.max(0, ...names.slice(Math.floor(from), Math.ceil(from + count)).map((name) => context.measureText(name).width));
    };
    let [left, top] = [44, 20];
    let side = Math.min(width - left - 10, height - top - 4);
    if (named(side)) {
      left = Math.min(NAME_ROOM, longest(scene.queries, sight.query, sight.tokens)) + 10;
      top = Math.round(leaningHeight(longest(scene.keys, sight.key, sight.tokens), side / sight.tokens)) + 4;
      const leans = 30;
      side = Math.min(width - left - leans, height - top - 4);
    }
    side = Math.max(80, Math.floor(side));
    const per = side / sight.tokens; // CSS pixels a token
    const [down, across] = [Math.min(sight.tokens, size.queries - sight.query), Math.min(sight.tokens, size.keys - sight.key)];
    this.frame = { left, top, per, width: across * per, height: down * per, down, across, named: per >= NAMED_FROM };
    this.width = Math.min(width, Math.ceil(left + across * per + (this.frame.named ? 30 : 10)));
    this.height = Math.ceil(top + down * per + 4);
    this.ratio = globalThis.devicePixelRatio || 1;
    this.level = levelFor(sight.tokens, side * this.ratio, scene.finest, scene.pyramid.info.level);
    this.paint();
  }

  /** The cells that are seen, in tiles of this scene's. */
  get cells() {
    const { sight, size } = /** @type {LongScene} */ (this.scene);
    return cellsSeen(sight, this.level, size);
  }

  /** What is here of the part that is seen. */
  paint() {
    const { scene, frame, level, cells, ratio } = this;
    const { pyramid, size, sight, table, end } = /** @type {LongScene} */ (scene);
    const found = gathered((...at) => pyramid.tile(...at), level, cells, size.tile, pyramid.info.level);
    this.coarse = found.coarse;
    const [width, height] = [frame.width, frame.height].map((x) => Math.max(1, Math.round(x * ratio)));
    const values = pixelsOf(found.values, cells, level, sight, width, height, frame.per * ratio);
    colourCells(this.picture, { width, height }, table, (i) => shade(values[i], end / pyramid.info.scale));
    this.#paintOverview();
  }

  #paintOverview() {
    const { scene, ratio } = this;
    const { pyramid, size, sight, table, end, inks } = /** @type {LongScene} */ (scene);
    const whole = wholeSight(size);
    const per = (OVERVIEW * ratio) / whole.tokens;
    const { level } = pyramid.info;
    const cells = cellsSeen(whole, level, size);
    const { values } = gathered((...at) => pyramid.tile(...at), level, cells, size.tile, level);
    const [width, height] = [size.keys, size.queries].map((count) => Math.max(1, Math.round(count * per)));
    const shown = pixelsOf(values, cells, level, whole, width, height, per);
    const context = colourCells(this.overview, { width, height }, table, (i) => shade(shown[i], end / pyramid.info.scale));
    if (scene?.causal) {
      context.beginPath();
      const corner = (size.keys - size.queries) * per;
      for (const [i, [x, y]] of [[corner, 0], [width, 0], [width, height]].entries()) i ? context.lineTo(x, y) : context.moveTo(x, y);
      paintBlocked(context, inks);
    }
    Object.assign(this.overview.style, { width: `${width / ratio}px`, height: `${height / ratio}px` });
    const side = Math.max(4 * ratio, sight.tokens * per); // so that it is seen
    for (const [ink, line] of [[inks.ground, 4], [inks.accent, 2]]) {
      context.strokeStyle = ink;
      context.lineWidth = line * ratio;
      context.strokeRect(sight.key * per, sight.query * per, side, side);
    }
  }

  /**
   * Draw what lies over the weights.
   * @param {{query: number | null, key: number | null, queries?: number, keys?: number} | null} pointed from where on, and how many
   * @param {{query: number | null, key: number | null} | null} selected
   * @param {import("./between.js").Block | null} block that is marked
   */
  mark(pointed, selected, block) {
    const { scene, frame } = this;
    if (!scene) return;
    const context = sizedContext(this.canvas, this.width, this.height);
    const { left, top, width, height } = frame;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.picture, left, top, width, height);
    this.#blocked(context);
    this.#labels(context, selected);
    context.save();
    context.beginPath();
    context.rect(left - 2, top - 2, width + 4, height + 4);
    context.clip();
    const box = (from, count, origin, all) => (from === null ? [0, all] : [(from - origin) * frame.per, count * frame.per]);
    const outline = (at, line, ink, dash = []) => {
      const [y, h] = box(at.query, at.queries ?? 1, scene.sight.query, height);
      const [x, w] = box(at.key, at.keys ?? 1, scene.sight.key, width);
      const grow = ([from, count]) => (count < 6 ? [from - (6 - count) / 2, 6] : [from, count]);
      const [[x0, w0], [y0, h0]] = [grow([x, w]), grow([y, h])];
      for (const [colour, thick] of [[scene.inks.ground, line + 2], [ink, line]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick;
        context.setLineDash(colour === ink ? dash : []);
        context.strokeRect(left + x0, top + y0, w0, h0);
      }
      context.setLineDash([]);
    };
    if (block) {
      const { a, b } = block;
      outline({ query: a[0], queries: a[1] - a[0], key: b[0], keys: b[1] - b[0] }, 1.5, scene.inks.ink, [6, 3]);
    }
    if (selected) outline(selected, 2.5, scene.inks.accent);
    if (pointed) outline(pointed, 1.5, scene.inks.accent);
    context.restore();
    // For scripts and tests: where token (query, key) lies, in CSS pixels, and what is seen.
    const { sight } = scene;
    Object.assign(this.canvas.dataset, {
      left: String(left - sight.key * frame.per), top: String(top - sight.query * frame.per), cell: String(frame.per),
      level: String(this.level), tokens: String(sight.tokens), query: String(sight.query), key: String(sight.key), coarse: String(this.coarse),
    });
  }

  /** What no query of a cell can look at. */
  #blocked(context) {
    const { scene, frame, level } = this;
    if (!scene?.causal) return;
    const { sight, size, offset } = scene;
    const { rows } = this.cells;
    context.beginPath();
    for (let row = rows[0]; row < rows[1]; row++) {
      const last = Math.min(size.queries, (row + 1) * 2 ** level) - 1 + offset; // the key that the last of its queries sees
      const from = Math.max(0, ((Math.floor(last / 2 ** level) + 1) * 2 ** level - sight.key) * frame.per);
      if (from >= frame.width) continue;
      const y0 = Math.max(0, (row * 2 ** level - sight.query) * frame.per);
      const y1 = Math.min(frame.height, ((row + 1) * 2 ** level - sight.query) * frame.per);
      context.rect(frame.left + from, frame.top + y0, frame.width - from, y1 - y0 + 0.5);
    }
    paintBlocked(context, scene.inks);
  }

  #labels(context, selected) {
    const { scene, frame } = this;
    const { sight, queries, keys, inks } = /** @type {LongScene} */ (scene);
    const { left, top, per, named, down, across } = frame;
    context.textBaseline = "middle";
    const each = (from, count, room, write) => {
      const step = named ? 1 : roundStep(count, room);
      for (let at = Math.ceil(from / step) * step; at < from + count; at += step) write(at, (at - from + 0.5) * per);
    };
    const set = (on, size) => {
      context.font = `${on ? "bold " : ""}${named ? size : 11}px ${LABEL_FONT}`;
      context.fillStyle = on ? inks.accent : named ? inks.ink : inks.quiet;
    };
    context.textAlign = "right";
    each(sight.query, down, frame.height, (at, y) => {
      if (y < 0 || y > frame.height) return;
      set(selected?.query === at, textOf(per));
      context.fillText(named ? fitText(context, queries[at], left - 8) : String(at), left - 6, top + y);
    });
    each(sight.key, across, frame.width, (at, x) => {
      if (x < 0 || x > frame.width) return;
      set(selected?.key === at, leaning(per).size);
      writeAbove(context, named ? fitText(context, keys[at], LONGEST_NAME) : String(at), left + x, top, named ? per : null);
    });
  }

  /**
   * What stands at a point of the canvas: a cell of the level that is drawn, as its first query and key and
   * how many it holds; null outside.
   * @param {number} x
   * @param {number} y
   */
  at(x, y) {
    const { scene, frame, level } = this;
    if (!scene || !frame) return null;
    const [query, key] = [scene.sight.query + (y - frame.top) / frame.per, scene.sight.key + (x - frame.left) / frame.per];
    const inside = x >= frame.left && y >= frame.top && x < frame.left + frame.width && y < frame.top + frame.height;
    return inside ? this.cellOf(query, key, level) : null;
  }

  /** The cell that holds a query and a key. */
  cellOf(query, key, level = this.level) {
    const { size } = /** @type {LongScene} */ (this.scene);
    const [row, column] = [Math.floor(query / 2 ** level), Math.floor(key / 2 ** level)];
    const [q, k] = [row * 2 ** level, column * 2 ** level];
    return { level, row, column, query: q, key: k, queries: Math.min(2 ** level, size.queries - q), keys: Math.min(2 ** level, size.keys - k) };
  }

  /** The token at a point, whether or not it lies in the map. */
  tokenAt(x, y) {
    const { scene, frame } = this;
    return { query: scene.sight.query + (y - frame.top) / frame.per, key: scene.sight.key + (x - frame.left) / frame.per };
  }
}
