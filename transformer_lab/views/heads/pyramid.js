// A head of a long text in the browser: its overview, with tiles, rows and columns loaded when
// needed. A cell of level l holds the largest of 2ˡ × 2ˡ weights, so that none is lost at any zoom.

import { typed, weightOf } from "../shared/codecs.js";
import { NotSent } from "../shared/requests.js";

const TILES_KEPT = 160; // of 256 KB
const ROWS_KEPT = 64;

/**
 * @typedef {import("../shared/map_frame.js").Part} Part of a map, in tokens
 * @typedef {[number, number]} Cells from the first to the end (exclusive)
 * @typedef {{most: Uint16Array, share: Uint16Array, rows: number, columns: number}} Tile
 *
 * @typedef {object} Overview
 * @property {number} level of the tile that holds the whole map
 * @property {number} base the finest level that Python stores and that a saved page holds
 * @property {number} scale the value of a packed weight of 1
 * @property {number} most the largest weight
 * @property {number} median of the largest weight of each row of cells
 * @property {[number, number, number][]} strongest query, key and weight
 * @property {string} sentence
 */

/**
 * The finest level at which every cell is at least one pixel wide.
 * @param {number} tokens that are visible
 * @param {number} pixels that they are drawn in
 * @param {number} finest level available
 * @param {number} top coarsest level available
 */
export function levelFor(tokens, pixels, finest, top) {
  let level = finest;
  while (level < top && 2 ** level * pixels < tokens) level++;
  return level;
}

/** The cells of a level that a part of a map touches. @param {Part} part @param {number} level @returns {{rows: Cells, columns: Cells}} */
export function cellsSeen({ query, key, queries, keys }, level) {
  const seen = (from, count) =>
    /** @type {Cells} */ ([Math.floor(from / 2 ** level), Math.ceil((from + count) / 2 ** level)]);
  return { rows: seen(query, queries), columns: seen(key, keys) };
}

/**
 * [row, column] of each tile that holds some of these cells, nearest to the middle first.
 * @param {{rows: Cells, columns: Cells}} cells
 * @param {number} tile cells along a side of one
 */
export function tilesHolding({ rows, columns }, tile) {
  /** @type {[number, number][]} */
  const found = [];
  const middle = [(rows[0] + rows[1]) / 2 / tile - 0.5, (columns[0] + columns[1]) / 2 / tile - 0.5];
  for (let row = Math.floor(rows[0] / tile); row * tile < rows[1]; row++) {
    for (let column = Math.floor(columns[0] / tile); column * tile < columns[1]; column++)
      found.push([row, column]);
  }
  const away = ([row, column]) => Math.hypot(row - middle[0], column - middle[1]);
  return found.sort((a, b) => away(a) - away(b));
}

/**
 * The largest weights of some cells. If a tile is not loaded, a coarser one is used, whose weights
 * are at least as large.
 * @param {(level: number, row: number, column: number) => Tile | null} tileAt
 * @param {number} level
 * @param {{rows: Cells, columns: Cells}} cells
 * @param {number} tile
 * @param {number} top level that is always loaded
 * @returns {{values: Float32Array, height: number, width: number, coarse: boolean}}
 */
export function gathered(tileAt, level, { rows, columns }, tile, top) {
  const [height, width] = [rows[1] - rows[0], columns[1] - columns[0]];
  const values = new Float32Array(height * width);
  let coarse = false;
  for (const [tileRow, tileColumn] of tilesHolding({ rows, columns }, tile)) {
    const [fromRow, toRow] = [
      Math.max(rows[0], tileRow * tile),
      Math.min(rows[1], (tileRow + 1) * tile),
    ];
    const [fromColumn, toColumn] = [
      Math.max(columns[0], tileColumn * tile),
      Math.min(columns[1], (tileColumn + 1) * tile),
    ];
    let [up, found] = [0, null];
    while (!found && level + up <= top) {
      found = tileAt(level + up, tileRow >> up, tileColumn >> up);
      if (!found) up++;
    }
    coarse ||= up > 0;
    if (!found) continue;
    const [top_, left] = [(tileRow >> up) * tile, (tileColumn >> up) * tile];
    for (let row = fromRow; row < toRow; row++) {
      const of = ((row >> up) - top_) * found.columns;
      for (let column = fromColumn; column < toColumn; column++) {
        values[(row - rows[0]) * width + column - columns[0]] = weightOf(
          found.most[of + (column >> up) - left],
        );
      }
    }
  }
  return { values, height, width, coarse };
}

/**
 * Pixels of a part of a map: each is the largest of the cells that it touches, so that no cell is
 * missed.
 * @param {Float32Array} values [row, column] of cells
 * @param {{rows: Cells, columns: Cells}} cells
 * @param {number} level
 * @param {Part} part
 * @param {number} width in pixels
 * @param {number} height
 */
export function pixelsOf(values, { rows, columns }, level, part, width, height) {
  const across = touched(width, part.key, part.keys / width, level, columns);
  const down = touched(height, part.query, part.queries / height, level, rows);
  const wide = columns[1] - columns[0];
  const pixels = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let row = down.first[y]; row <= down.last[y]; row++) {
      const of = row * wide;
      for (let x = 0; x < width; x++) {
        let most = pixels[y * width + x];
        for (let column = across.first[x]; column <= across.last[x]; column++) {
          if (values[of + column] > most) most = values[of + column];
        }
        pixels[y * width + x] = most;
      }
    }
  }
  return pixels;
}

/** The first and the last cell that each pixel along a side touches. */
function touched(count, from, tokensAPixel, level, [first, end]) {
  const found = { first: new Int32Array(count), last: new Int32Array(count) };
  const slip = 1e-6;
  for (let at = 0; at < count; at++) {
    const [a, b] = [at, at + 1].map((pixel) => (from + pixel * tokensAPixel) / 2 ** level);
    found.first[at] = Math.max(0, Math.min(end - 1, Math.floor(a + slip)) - first);
    found.last[at] = Math.max(found.first[at], Math.min(end - 1, Math.ceil(b - slip) - 1) - first);
  }
  return found;
}

export class Pyramid {
  /**
   * @param {string} name "kind/layer/head"
   * @param {string} letters what is hidden or weighted; see Python's `LongHeads.answer`
   * @param {Overview} info
   * @param {Uint8Array[]} buffers of its one tile
   * @param {{queries: number, keys: number, tile: number}} size
   * @param {import("../shared/requests.js").Requests} requests
   * @param {boolean} [saved] whether the data come from a page, which holds no finer level than
   *   `base`
   */
  constructor(name, letters, info, buffers, size, requests, saved = false) {
    this.name = name;
    this.letters = letters;
    this.info = info;
    this.size = size;
    this.requests = requests;
    this.finest = saved ? info.base : 0;
    this.error = 0; // of packed weights
    this.bytes = 2.5e6; // what a store assumes for it
    /** @type {Map<string, Tile>} */
    this.tiles = new Map();
    /** @type {Set<string>} tiles that are not available */
    this.absent = new Set();
    /** @type {Map<string, Promise<any>>} */
    this.asked = new Map();
    /** @type {Map<string, {row?: Float32Array, nothing?: number, column?: Float32Array}>} rows and columns that are loaded */
    this.here = new Map();
    this.overview = this.#read(info.level, 0, 0, buffers);
    /** @type {[number, number, number][]} level, row and column of tiles to request */
    this.wanted = [];
    this.arrived = () => {};
    this.asking = false;
  }

  /** @returns {Tile | null} */
  tile(level, row, column) {
    if (level === this.info.level) return row || column ? null : this.overview;
    const name = `${level}/${row}/${column}`;
    const found = this.tiles.get(name);
    if (!found) return null;
    this.tiles.delete(name); // least recently used tiles are dropped first
    this.tiles.set(name, found);
    return found;
  }

  // ---- drawing ----------------------------------------------------------------------------

  /** The largest weights of the cells of a level that a part touches. @param {Part} part @param {number} level */
  cells(part, level) {
    const cells = cellsSeen(part, level);
    const found = gathered(
      (...at) => this.tile(...at),
      level,
      cells,
      this.size.tile,
      this.info.level,
    );
    const { scale } = this.info;
    if (scale !== 1) found.values.forEach((value, i) => (found.values[i] = value * scale));
    return { ...found, cells };
  }

  /** A part in pixels, at the finest level that they can show. @param {Part} part @param {number} width @param {number} height */
  pixels(part, width, height) {
    const level = levelFor(part.keys, width, this.finest, this.info.level);
    const { values, cells, coarse } = this.cells(part, level);
    return {
      values: pixelsOf(values, cells, level, part, width, height),
      width,
      height,
      level,
      coarse,
    };
  }

  /** Largest weight of a cell, and its share; null until it is loaded. @param {{level: number, row: number, column: number}} cell */
  cell({ level, row, column }) {
    const { tile } = this.size;
    const found = this.tile(level, Math.floor(row / tile), Math.floor(column / tile));
    if (!found) return null;
    const at = (row % tile) * found.columns + (column % tile);
    const [most, share] = [found.most[at], found.share[at]].map(
      (bits) => weightOf(bits) * this.info.scale,
    );
    return { most, share };
  }

  /** A single weight; NaN until it is loaded. */
  value(query, key) {
    return (
      this.here.get(`row/${query}`)?.row?.[key] ??
      this.cell({ level: 0, row: query, column: key })?.most ??
      NaN
    );
  }

  /** The largest weight, and the end of the colours. */
  get ends() {
    const { most, median } = this.info;
    return { most, end: Math.min(most, 2.5 * median) || most };
  }

  /**
   * Request the missing tiles of a part, one after the other, instead of those wanted before.
   * @param {Part} part
   * @param {number} level
   * @param {() => void} here called when one has arrived
   * @returns {boolean} whether some are still to arrive
   */
  want(part, level, here) {
    const tiles =
      level < this.info.level ? tilesHolding(cellsSeen(part, level), this.size.tile) : [];
    this.wanted = tiles
      .filter(
        ([row, column]) =>
          !this.absent.has(`${level}/${row}/${column}`) && !this.tile(level, row, column),
      )
      .map(([row, column]) => [level, row, column]);
    this.arrived = here;
    this.#next();
    return this.wanted.length > 0;
  }

  async #next() {
    if (this.asking || !this.wanted.length) return;
    this.asking = true;
    const [level, row, column] = this.wanted.shift();
    const name = `${level}/${row}/${column}`;
    try {
      const { buffers } = await this.#ask(`tile/${name}`);
      while (this.tiles.size >= TILES_KEPT) this.tiles.delete(this.tiles.keys().next().value);
      this.tiles.set(name, this.#read(level, row, column, buffers));
    } catch (error) {
      if (error instanceof NotSent) this.wanted = [];
      else this.absent.add(name);
    } finally {
      this.asking = false;
    }
    this.arrived();
    this.#next();
  }

  // ---- sentences and numbers --------------------------------------------------------------------

  /** @param {number} query @returns {Float32Array} zeros until it is loaded */
  row(query) {
    return this.here.get(`row/${query}`)?.row ?? new Float32Array(this.size.keys);
  }

  /** The part of a query's row that goes to no key. @param {number} query */
  nothing(query) {
    return this.here.get(`row/${query}`)?.nothing ?? 0;
  }

  /** @param {number} key */
  column(key) {
    return this.here.get(`column/${key}`)?.column ?? new Float32Array(this.size.queries);
  }

  /** Load the row of a spot's query, or the column of its key. @param {{query: number | null, key: number | null}} spot @returns {Promise<any> | null} null: it is loaded */
  bring({ query, key }) {
    const what = query === null ? `column/${key}` : `row/${query}`;
    if (this.here.has(what)) return null;
    return this.#once(what, ({ message, buffers }) => {
      const numbers = Float32Array.from(
        typed(Uint16Array, buffers[0]),
        (code) => weightOf(code) * this.info.scale,
      );
      while (this.here.size >= ROWS_KEPT) this.here.delete(this.here.keys().next().value);
      this.here.set(
        what,
        query === null ? { column: numbers } : { row: numbers, nothing: message.info.nothing },
      );
      this.asked.delete(what);
    });
  }

  /** The position of the largest weight of a cell. @returns {Promise<{query: number, key: number, weight: number}>} */
  peak({ level, row, column }) {
    return this.#once(`peak/${level}/${row}/${column}`, ({ message }) => message.info);
  }

  /** The strongest edges of a part. @returns {Promise<[number, number, number][]>} */
  strongest([q0, q1], [k0, k1]) {
    return this.#once(`strongest/${q0}/${q1}/${k0}/${k1}`, ({ message }) => message.info.strongest);
  }

  /** How much each sentence (or paragraph) attends to each: [row, column], flat. @param {string} name @returns {Promise<Float32Array>} */
  groups(name) {
    return this.#once(`groups/${name}`, ({ buffers }) =>
      Float32Array.from(typed(Uint16Array, buffers[0]), (code) => weightOf(code) * this.info.scale),
    );
  }

  /** @param {string} what */
  #ask(what) {
    return this.requests.ask(
      { type: "block", name: `${this.name}|${this.letters}|${what}` },
      false,
    );
  }

  #once(what, read) {
    const known = this.asked.get(what);
    if (known) return known;
    const asked = this.#ask(what).then(read);
    asked.catch(() => this.asked.delete(what)); // so that it can be requested again
    while (this.asked.size >= ROWS_KEPT) this.asked.delete(this.asked.keys().next().value);
    this.asked.set(what, asked);
    return asked;
  }

  #read(level, row, column, buffers) {
    const { queries, keys, tile } = this.size;
    const count = (at, tokens) => Math.min(tile, Math.ceil(tokens / 2 ** level) - at * tile);
    const [most, share] = buffers.map((bytes) => typed(Uint16Array, bytes).slice());
    return { most, share, rows: count(row, queries), columns: count(column, keys) };
  }
}

/** What a map needs to draw weights that are not all loaded. @param {any} weights */
export const drawnOf = (weights) =>
  weights?.tiles
    ? {
        pixels: (...of) => weights.pixels(...of),
        valueAt: (query, key) => weights.value(query, key),
        want: (...of) => weights.want(...of),
        ends: weights.ends,
      }
    : {};
