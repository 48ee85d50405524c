// Which part of a long map is seen, at which level of its pyramid, and how its cells become pixels. A cell
// of level l holds the largest of 2ˡ × 2ˡ weights, so that none is lost however small it is drawn.

import { weightOf } from "../shared/codecs.js";

const FEWEST_TOKENS = 8; // across, at the closest

/**
 * @typedef {{query: number, key: number, tokens: number}} Sight the first query and key that are seen, and how
 *   many of each; not always whole numbers
 * @typedef {{queries: number, keys: number}} Size of a map, in tokens
 * @typedef {[number, number]} Cells from one to (not with) another
 * @typedef {{most: Uint16Array, share: Uint16Array, rows: number, columns: number}} Tile
 */

/** @param {Size} size @returns {Sight} */
export const wholeSight = ({ queries, keys }) => ({ query: 0, key: 0, tokens: Math.max(queries, keys) });

/** The same part, moved and sized so that it lies in the map. @param {Sight} sight @param {Size} size @returns {Sight} */
export function sightWithin(sight, { queries, keys }) {
  const most = Math.max(queries, keys);
  const tokens = Math.max(Math.min(FEWEST_TOKENS, most), Math.min(most, sight.tokens));
  const begin = (from, count) => Math.max(0, Math.min(Math.max(0, count - tokens), from));
  return { query: begin(sight.query, queries), key: begin(sight.key, keys), tokens };
}

/**
 * Nearer or farther, where what stands at `at` stays where it is.
 * @param {Sight} sight
 * @param {number} factor of the tokens that are seen
 * @param {{query: number, key: number}} at
 * @param {Size} size
 */
export function zoomedSight(sight, factor, at, size) {
  const { tokens } = sightWithin({ ...sight, tokens: sight.tokens * factor }, size);
  const by = tokens / sight.tokens;
  return sightWithin({ query: at.query - (at.query - sight.query) * by, key: at.key - (at.key - sight.key) * by, tokens }, size);
}

/**
 * The finest level of which every cell is at least one pixel wide.
 * @param {number} tokens that are seen
 * @param {number} pixels in which
 * @param {number} finest that there is
 * @param {number} top the coarsest that there is
 */
export function levelFor(tokens, pixels, finest, top) {
  let level = finest;
  while (level < top && 2 ** level * pixels < tokens) level++;
  return level;
}

/** The cells of a level that are seen. @param {Sight} sight @param {number} level @param {Size} size @returns {{rows: Cells, columns: Cells}} */
export function cellsSeen(sight, level, { queries, keys }) {
  const seen = (from, count) => /** @type {Cells} */ ([
    Math.floor(from / 2 ** level),
    Math.ceil(Math.min(count, from + sight.tokens) / 2 ** level),
  ]);
  return { rows: seen(sight.query, queries), columns: seen(sight.key, keys) };
}

/**
 * The tiles that hold these cells, those nearest to the middle first: [row, column] each.
 * @param {{rows: Cells, columns: Cells}} cells
 * @param {number} tile cells along a side of one
 */
export function tilesHolding({ rows, columns }, tile) {
  /** @type {[number, number][]} */
  const found = [];
  const middle = [(rows[0] + rows[1]) / 2 / tile - 0.5, (columns[0] + columns[1]) / 2 / tile - 0.5];
  for (let row = Math.floor(rows[0] / tile); row * tile < rows[1]; row++) {
    for (let column = Math.floor(columns[0] / tile); column * tile < columns[1]; column++) found.push([row, column]);
  }
  const away = ([row, column]) => Math.hypot(row - middle[0], column - middle[1]);
  return found.sort((a, b) => away(a) - away(b));
}

/**
 * The largest weights of some cells. Where a tile is not here, those of a coarser one stand for it, which
 * are no smaller.
 * @param {(level: number, row: number, column: number) => Tile | null} tileAt
 * @param {number} level
 * @param {{rows: Cells, columns: Cells}} cells
 * @param {number} tile
 * @param {number} top level that is always here
 * @returns {{values: Float32Array, height: number, width: number, coarse: boolean}}
 */
export function gathered(tileAt, level, { rows, columns }, tile, top) {
  const [height, width] = [rows[1] - rows[0], columns[1] - columns[0]];
  const values = new Float32Array(height * width);
  let coarse = false;
  for (const [tileRow, tileColumn] of tilesHolding({ rows, columns }, tile)) {
    const [fromRow, toRow] = [Math.max(rows[0], tileRow * tile), Math.min(rows[1], (tileRow + 1) * tile)];
    const [fromColumn, toColumn] = [Math.max(columns[0], tileColumn * tile), Math.min(columns[1], (tileColumn + 1) * tile)];
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
        values[(row - rows[0]) * width + column - columns[0]] = weightOf(found.most[of + (column >> up) - left]);
      }
    }
  }
  return { values, height, width, coarse };
}

/**
 * Pixels of a part of a map: each the largest of the cells that it touches, so that none falls between.
 * @param {Float32Array} values [row, column] of cells
 * @param {{rows: Cells, columns: Cells}} cells
 * @param {number} level
 * @param {Sight} sight
 * @param {number} width in pixels
 * @param {number} height
 * @param {number} perToken pixels
 */
export function pixelsOf(values, { rows, columns }, level, sight, width, height, perToken) {
  const across = touched(width, sight.key, perToken, level, columns);
  const down = touched(height, sight.query, perToken, level, rows);
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

/** Of each pixel along a side the first and the last cell that it touches. */
function touched(count, from, perToken, level, [first, end]) {
  const found = { first: new Int32Array(count), last: new Int32Array(count) };
  const slip = 1e-6;
  for (let at = 0; at < count; at++) {
    const [a, b] = [from + at / perToken, from + (at + 1) / perToken].map((token) => token / 2 ** level);
    found.first[at] = Math.max(0, Math.min(end - 1, Math.floor(a + slip)) - first);
    found.last[at] = Math.max(found.first[at], Math.min(end - 1, Math.ceil(b - slip) - 1) - first);
  }
  return found;
}
