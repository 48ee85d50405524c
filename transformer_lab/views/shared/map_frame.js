// Layout of a map's cells on its canvas, and of maps of one size side by side.

const TEXT = 12; // px
const LEAST_TEXT = 9;
const LEAN = Math.PI / 3;
export const LONGEST_NAME = 96; // px

/**
 * Angle and size of names above columns of this width: slanted if no two touch, otherwise vertical,
 * and smaller if even that is too wide.
 * @param {number} pitch from one column to the next, in pixels
 */
export function leaning(pitch) {
  if (pitch * Math.sin(LEAN) >= TEXT - 0.5) return { angle: LEAN, size: TEXT };
  return { angle: Math.PI / 2, size: textOf(pitch) };
}

/** The largest text size, in pixels, at which no two lines touch. @param {number} pitch */
export const textOf = (pitch) => Math.max(LEAST_TEXT, Math.min(TEXT, Math.floor(pitch)));

/** Height of slanted names of this length, in pixels. @param {number} length @param {number} pitch */
export const leaningHeight = (length, pitch) =>
  Math.min(length, LONGEST_NAME) * Math.sin(leaning(pitch).angle) + TEXT;

/**
 * @param {CanvasRenderingContext2D} context whose font and colour are set
 * @param {string} text
 * @param {number} x the middle of the column
 * @param {number} y its top
 * @param {number | null} pitch of slanted names; null: write horizontally
 */
export function writeAbove(context, text, x, y, pitch) {
  context.save();
  context.translate(x, y - 5);
  context.textAlign = pitch === null ? "center" : "left";
  if (pitch !== null) context.rotate(-leaning(pitch).angle);
  context.fillText(text, pitch === null ? 0 : 2, pitch === null ? -4 : 1);
  context.restore();
}

const LARGEST_CELL = 46;
export const LABEL_FROM = 10.5; // cell size, in pixels, from which every token is labelled
export const NAMES_FROM = 12; // room beside the cells, in pixels, from which names are written
const APART = 7; // gap between the keys and the column of weight to nothing
const LEAST_BESIDE = 10; // least width of that column
const CAPTION = 26; // above each of several maps
const TILES_APART = 14;
const NO_NAMES = 2; // margin where rows or columns have no names

/**
 * @typedef {{query: number, key: number, queries: number, keys: number}} Part of a map
 * @typedef {{left: number, width: number}} Beside position of the column of weight to nothing
 * @typedef {{left: number, top: number, cell: number, down: number, width: number, height: number, named: boolean, slant: boolean, beside: Beside | null}} Frame
 *   cell: from one column to the next; down: from one row to the next; named: whether every row and column has its name
 * @typedef {{query: number | null, key: number | null, nothing?: boolean, level?: number, row?: number, column?: number, queries?: number, keys?: number}} Spot
 *   nothing: in that column; level: of a cell of 2ˡ × 2ˡ weights, with its row and column among
 *   such cells, and how many queries and keys it holds
 */

/**
 * @typedef {object} Room of a map, in pixels
 * @property {number} width of the canvas
 * @property {number} height at most, of the cells
 * @property {number} [rowLabel] the longest name of a row; without one, rows and columns have numbers
 * @property {number} columnLabel the longest name of a column
 * @property {number} [lastLabel] the name of the last column
 * @property {number} [nothing] the name of the column of weight to nothing, if there is one
 * @property {boolean} [stretched] whether cells fill the room instead of being square
 * @property {number} [largest] size of a square cell
 * @property {boolean} [unnamed] whether rows are named by a neighbour on the left
 * @property {number} [before] anything else on the left
 * @property {number} [above] anything else at the top
 */

/**
 * Layout of the cells on a canvas of the given width.
 * @param {Part} part
 * @param {Room} room
 * @returns {Frame}
 */
export function frameOf(part, room) {
  const { nothing = 0, largest = LARGEST_CELL, before = 0 } = room;
  const labelled = ({ across, down }) =>
    room.rowLabel !== undefined && Math.min(across, down) >= LABEL_FROM;
  const margin = nothing ? nothing / 2 + 4 : 8; // its slanted label leans over the right edge
  const sizeWith = (left, right = margin) => {
    const width = room.width - left - right - (nothing ? APART : 0);
    const across = nothing
      ? Math.min(width / (part.keys + 1), (width - LEAST_BESIDE) / part.keys)
      : width / part.keys;
    const down = room.height / part.queries;
    const side = Math.min(across, down, largest);
    return room.stretched ? { across, down } : { across: side, down: side };
  };
  let left =
    before + (room.unnamed ? NO_NAMES : Math.min(room.rowLabel ?? 0, 0.3 * room.width) + 10);
  let size = sizeWith(left);
  const named = labelled(size);
  if (!named) {
    left = before + (room.unnamed ? NO_NAMES : 38);
    size = sizeWith(left);
  }
  const slant = named && (room.columnLabel > size.across - 3 || nothing > 0);
  if (slant) {
    const leans =
      Math.min(room.lastLabel ?? 0, LONGEST_NAME) / 2 +
      6 -
      size.across / 2 -
      (nothing && APART + size.across); // over the right edge
    const narrower = sizeWith(left, Math.max(margin, leans));
    if (labelled(narrower)) size = narrower;
  }
  const { across: cell, down } = size;
  const slanted = Math.max(slant ? room.columnLabel : 0, nothing);
  const top = Math.round((slanted ? leaningHeight(slanted, cell) : 20) + (room.above ?? 0));
  const width = cell * part.keys;
  const beside = nothing
    ? { left: left + width + APART, width: Math.max(cell, LEAST_BESIDE) }
    : null;
  return { left, top, cell, down, width, height: down * part.queries, named, slant, beside };
}

/**
 * The cell, row label or column label at a point of the canvas; null elsewhere.
 * @param {number} x
 * @param {number} y
 * @param {Frame} frame
 * @param {Part} part
 * @returns {Spot | null}
 */
export function cellAt(x, y, frame, part) {
  const column = Math.floor((x - frame.left) / frame.cell);
  const row = Math.floor((y - frame.top) / frame.down);
  const key = column >= 0 && column < part.keys ? part.key + column : null;
  const query = row >= 0 && row < part.queries ? part.query + row : null;
  if (query !== null && key !== null) return { query, key };
  const { beside } = frame;
  if (query !== null && beside && x >= beside.left && x < beside.left + beside.width)
    return { query, key: null, nothing: true };
  if (query !== null && x < frame.left) return { query, key: null };
  if (key !== null && y < frame.top) return { query: null, key };
  return null;
}

/**
 * The cell of a level that holds a query and a key; its own `query` and `key` are the first that it
 * holds.
 * @param {number} query @param {number} key @param {number} level @param {{queries: number, keys: number}} size of the whole map
 */
export function cellHolding(query, key, level, size) {
  const side = 2 ** level;
  const [row, column] = [Math.floor(query / side), Math.floor(key / side)];
  return {
    level,
    row,
    column,
    query: row * side,
    key: column * side,
    queries: Math.min(side, size.queries - row * side),
    keys: Math.min(side, size.keys - column * side),
  };
}

/**
 * The frame whose cells, with the labels above them, fit a height of `whole`: smaller cells may
 * slant the labels, which then need more room themselves.
 * @param {Part} part @param {Room} room @param {number} whole
 */
export function fittedFrame(part, room, whole) {
  let frame = frameOf(part, room);
  for (let i = 0; i < 3 && frame.top + frame.height + 2 > whole; i++) {
    frame = frameOf(part, { ...room, height: Math.max(1, whole - frame.top - 2) });
  }
  return frame;
}

/**
 * Layout of maps of one size side by side, with as many per row as make their cells largest. The
 * first map of each row has row names and the maps of the first row have column names, so that rows
 * and columns line up.
 * @param {Part} part @param {Room} room for all of them, with a caption above each @param {number} count
 * @returns {{columns: number, height: number, tiles: {frame: Frame, width: number}[]}}
 */
export function tilesOf(part, room, count) {
  const { nothing = 0, lastLabel = 0 } = room;
  const leans = Math.max(Math.min(lastLabel, LONGEST_NAME), nothing) / 2 + 6;
  const fit = (columns, apart) => {
    const rows = Math.ceil(count / columns);
    const all = {
      ...part,
      queries: rows * part.queries,
      keys: columns * part.keys + (nothing ? columns - 1 : 0),
    };
    const width = room.width - (columns - 1) * (apart + (nothing ? APART + LEAST_BESIDE : 0));
    const whole = Math.max(40, room.height - rows * (CAPTION + 2) - (rows - 1) * (NO_NAMES + 2));
    return {
      columns,
      rows,
      apart,
      frame: fittedFrame(all, { ...room, width: Math.max(60, width), height: whole }, whole),
    };
  };
  const found = Array.from({ length: count }, (_, i) => {
    const close = fit(i + 1, TILES_APART);
    return close.frame.slant || nothing ? fit(i + 1, Math.max(TILES_APART, leans)) : close;
  });
  const { columns, apart, frame } = found.reduce((best, one) =>
    one.frame.cell > 1.02 * best.frame.cell ? one : best,
  );
  const { cell, slant, named } = frame;
  const [width, height] = [cell * part.keys, cell * part.queries];
  const tiles = Array.from({ length: count }, (_, i) => {
    const left = i % columns ? NO_NAMES : frame.left;
    const beside = nothing
      ? { left: left + width + APART, width: Math.max(cell, LEAST_BESIDE) }
      : null;
    const right = beside ? beside.left + beside.width : left + width;
    return {
      frame: {
        left,
        top: i < columns ? frame.top : NO_NAMES,
        cell,
        down: cell,
        width,
        height,
        named,
        slant,
        beside,
      },
      width: Math.ceil(right + apart),
    };
  });
  const high = tiles
    .filter((_, i) => i % columns === 0)
    .reduce((sum, one) => sum + CAPTION + Math.ceil(one.frame.top + height + 2), 0);
  return { columns, height: high, tiles };
}
