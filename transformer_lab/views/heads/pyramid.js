// A head of a long text as the browser has it: its overview, and tiles, rows and sums as they are wanted.

import { typed, weightOf } from "../shared/codecs.js";
import { NotSent } from "../shared/requests.js";

const TILES_KEPT = 160; // of 256 KB
const ROWS_KEPT = 64;

/**
 * @typedef {object} Overview
 * @property {number} level of the tile that holds the whole map
 * @property {number} base the finest level that Python keeps, and a saved page holds
 * @property {number} scale what a packed weight of 1 stands for
 * @property {number} most the largest weight
 * @property {number} median of the largest weights of rows of cells
 * @property {[number, number, number][]} strongest query, key and weight
 * @property {string} sentence
 */

export class Pyramid {
  /**
   * @param {string} name "kind/layer/head"
   * @param {string} letters what is hidden or weighted; see Python's `LongHeads.answer`
   * @param {Overview} info
   * @param {Uint8Array[]} buffers of its one tile
   * @param {{queries: number, keys: number, tile: number}} size
   * @param {import("../shared/requests.js").Requests} requests
   */
  constructor(name, letters, info, buffers, size, requests) {
    this.name = name;
    this.letters = letters;
    this.info = info;
    this.size = size;
    this.requests = requests;
    /** @type {Map<string, import("./zoom.js").Tile>} */
    this.tiles = new Map();
    /** @type {Set<string>} what cannot be had */
    this.absent = new Set();
    /** @type {Map<string, Promise<any>>} */
    this.known = new Map();
    this.overview = this.#read(info.level, 0, 0, buffers);
    this.asking = false;
  }

  /** @returns {import("./zoom.js").Tile | null} */
  tile(level, row, column) {
    if (level === this.info.level) return row || column ? null : this.overview;
    const name = `${level}/${row}/${column}`;
    const found = this.tiles.get(name);
    if (!found) return null;
    this.tiles.delete(name); // the last that is looked at is the last to go
    this.tiles.set(name, found);
    return found;
  }

  /**
   * Ask for tiles that are not here, one after the other; what was wanted before is no longer.
   * @param {[number, number, number][]} wanted level, row and column
   * @param {() => void} here one has come
   * @returns {boolean} whether some are on their way
   */
  want(wanted, here) {
    this.wanted = wanted.filter(([level, row, column]) => !this.absent.has(`${level}/${row}/${column}`) && !this.tile(level, row, column));
    this.here = here;
    this.#next();
    return this.wanted.length > 0;
  }

  async #next() {
    if (this.asking || !this.wanted?.length) return;
    this.asking = true;
    const [level, row, column] = this.wanted.shift();
    const name = `${level}/${row}/${column}`;
    try {
      const { buffers } = await this.ask(`tile/${name}`);
      while (this.tiles.size >= TILES_KEPT) this.tiles.delete(this.tiles.keys().next().value);
      this.tiles.set(name, this.#read(level, row, column, buffers));
    } catch (error) {
      if (error instanceof NotSent) this.wanted = [];
      else this.absent.add(name);
    } finally {
      this.asking = false;
    }
    this.here();
    this.#next();
  }

  /** @param {string} what @param {boolean} [urgent] */
  ask(what, urgent = false) {
    return this.requests.ask({ type: "block", name: `${this.name}|${this.letters}|${what}` }, urgent);
  }

  /** What a query gives to each key, and to nothing. @param {number} query @returns {Promise<{row: Float32Array, nothing: number}>} */
  row(query) {
    return this.#once(`row/${query}`, ({ message, buffers }) => ({ row: this.#floats(buffers[0]), nothing: message.info.nothing }));
  }

  /** What each query gives to a key. @param {number} key @returns {Promise<Float32Array>} */
  column(key) {
    return this.#once(`column/${key}`, ({ buffers }) => this.#floats(buffers[0]));
  }

  /** Where the largest weight of a cell lies. @returns {Promise<{query: number, key: number, weight: number}>} */
  peak(level, row, column) {
    return this.#once(`peak/${level}/${row}/${column}`, ({ message }) => message.info);
  }

  /** The strongest edges of a part. @returns {Promise<[number, number, number][]>} */
  strongest([q0, q1], [k0, k1]) {
    return this.#once(`strongest/${q0}/${q1}/${k0}/${k1}`, ({ message }) => message.info.strongest);
  }

  /** What each sentence (or paragraph) gives to each: [row, column] flat. @param {string} name @returns {Promise<Uint16Array>} */
  groups(name) {
    return this.#once(`groups/${name}`, ({ buffers }) => typed(Uint16Array, buffers[0]).slice());
  }

  #once(what, read) {
    const known = this.known.get(what);
    if (known) return known;
    const asked = this.ask(what).then(read);
    asked.catch(() => this.known.delete(what)); // so that it is asked again
    while (this.known.size >= ROWS_KEPT) this.known.delete(this.known.keys().next().value);
    this.known.set(what, asked);
    return asked;
  }

  #floats(bytes) {
    const bits = typed(Uint16Array, bytes);
    return Float32Array.from(bits, (code) => weightOf(code) * this.info.scale);
  }

  #read(level, row, column, buffers) {
    const { queries, keys, tile } = this.size;
    const count = (at, tokens) => Math.min(tile, Math.ceil(tokens / 2 ** level) - at * tile);
    const [most, share] = buffers.map((bytes) => typed(Uint16Array, bytes).slice());
    return { most, share, rows: count(row, queries), columns: count(column, keys) };
  }
}

/** The same of a small map that is wholly here, such as of sentences: tiles are made of it. */
export class SmallPyramid {
  /** @param {Uint16Array} bits [row, column] @param {{queries: number, keys: number, tile: number}} size @param {number} scale */
  constructor(bits, size, scale) {
    this.size = size;
    const level = Math.max(0, Math.ceil(Math.log2(Math.max(size.queries, size.keys) / size.tile)));
    let most = 0;
    for (const code of bits) if (code > most) most = code;
    this.info = { level, base: 0, scale, most: weightOf(most) * scale, median: weightOf(most) * scale, strongest: [] };
    /** @type {[number, number, number][]} nothing is asked for */
    this.wanted = [];
    this.levels = [{ most: bits, rows: size.queries, columns: size.keys }];
    for (let i = 0; i < level; i++) this.levels.push(halvedBits(this.levels[i]));
    /** @type {Map<string, any>} */
    this.cut = new Map();
  }

  tile(level, row, column) {
    const whole = this.levels[level];
    const { tile } = this.size;
    if (!whole || row * tile >= whole.rows || column * tile >= whole.columns) return null;
    const name = `${level}/${row}/${column}`;
    if (!this.cut.has(name)) {
      const [rows, columns] = [Math.min(tile, whole.rows - row * tile), Math.min(tile, whole.columns - column * tile)];
      const most = new Uint16Array(rows * columns);
      for (let i = 0; i < rows; i++) {
        const from = (row * tile + i) * whole.columns + column * tile;
        most.set(whole.most.subarray(from, from + columns), i * columns);
      }
      this.cut.set(name, { most, share: most, rows, columns });
    }
    return this.cut.get(name);
  }

  want() {
    return false;
  }
}

function halvedBits({ most, rows, columns }) {
  const [height, width] = [Math.ceil(rows / 2), Math.ceil(columns / 2)];
  const half = new Uint16Array(height * width);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = (row >> 1) * width + (column >> 1);
      const code = most[row * columns + column];
      if (code > half[at]) half[at] = code;
    }
  }
  return { most: half, rows: height, columns: width };
}
