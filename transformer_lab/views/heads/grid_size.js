// Where the thumbnails of every head lie: layers down and heads across, as large as there is room.

const LARGEST_THUMB = 54;
const SMALLEST_PITCH = 5;
const WIDEST = 1.5; // a thumbnail may be so much wider than high

/**
 * @typedef {object} GridSize
 * @property {number} across from one thumbnail to the next, in CSS pixels
 * @property {number} down
 * @property {number} gap between two
 * @property {number} perRow how many stand in a row: every head of a layer, but where there is one layer
 * @property {number} rows
 *
 * @typedef {{width: number, height: number}} GridRoom for the thumbnails; Infinity: as high as it likes
 */

/**
 * @param {{layers: number, heads: number}} grid
 * @param {GridRoom} room
 * @returns {GridSize}
 */
export function gridSize({ layers, heads }, room) {
  let perRow = heads;
  if (layers === 1 && heads > 4) {
    // The heads of a single layer need not stand in one row.
    const side = (each) => Math.min(room.width / each, room.height / Math.ceil(heads / each), LARGEST_THUMB + 3);
    for (let each = heads - 1; each > 0; each--) if (side(each) > side(perRow) + 1) perRow = each;
  }
  const rows = layers * Math.ceil(heads / perRow);
  const most = LARGEST_THUMB + 3;
  const fit = (length, count) => Math.max(SMALLEST_PITCH, Math.min(most, Math.floor(length / count)));
  let across = fit(room.width, perRow);
  const down = Math.min(across, fit(room.height, rows));
  across = Math.min(across, Math.max(SMALLEST_PITCH, Math.floor(WIDEST * down)));
  const gap = down >= 24 ? 3 : down >= 12 ? 2 : 1;
  return { across, down, gap, perRow, rows };
}

/**
 * The column and row of a head in the grid.
 * @param {number} layer
 * @param {number} head
 * @param {number} heads of a layer
 * @param {GridSize} size
 */
export function cellOfHead(layer, head, heads, { perRow }) {
  return { column: head % perRow, row: layer * Math.ceil(heads / perRow) + Math.floor(head / perRow) };
}

/**
 * The head at a column and a row; null where there is none.
 * @param {number} column
 * @param {number} row
 * @param {{layers: number, heads: number}} grid
 * @param {GridSize} size
 */
export function headAtCell(column, row, { layers, heads }, { perRow }) {
  const rowsALayer = Math.ceil(heads / perRow);
  const layer = Math.floor(row / rowsALayer);
  const head = (row % rowsALayer) * perRow + column;
  const inside = column >= 0 && row >= 0 && column < perRow && layer < layers && head < heads;
  return inside ? { layer, head } : null;
}

/**
 * Which names are written beside rows (or above columns) that are so far apart: every one, or every
 * 2nd, 5th, 10th …; the chosen one always, and then not those too near to it.
 * @param {number} count
 * @param {number} pitch
 * @param {number} least how far apart two names must be
 * @param {number} chosen
 * @returns {boolean[]}
 */
export function namesShown(count, pitch, least, chosen) {
  const step = [1, 2, 5, 10, 20, 50].find((each) => each * pitch >= least) ?? 100;
  return Array.from({ length: count }, (_, i) =>
    i === chosen || (i % step === 0 && Math.abs(i - chosen) * pitch >= least));
}
