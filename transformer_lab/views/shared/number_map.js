// A matrix of numbers, all of them in memory, on a linear scale or on that of weights; cells are
// reported as rows and columns.

import { MatrixMap } from "../marks/matrix.js";
import { shade, signedShade } from "./colours.js";

/** @typedef {{row: number | null, column: number | null}} Cell */

/** The position of a value on a linear scale, 0 … 255. @param {number} value @param {number} low @param {number} high */
export function linearShade(value, low, high) {
  const place = (value - low) / (high - low || 1);
  return Math.max(0, Math.min(255, Math.round(255 * place)));
}

export class NumberMap extends MatrixMap {
  /** @param {HTMLCanvasElement} canvas @param {AbortSignal} signal @param {{hover?: (at: Cell | null) => void, pick?: (at: Cell) => void}} on */
  constructor(canvas, signal, on) {
    const cellOf = (spot) =>
      spot && { row: spot.query, column: spot.nothing ? this.scene.part.keys : spot.key };
    super(canvas, signal, {
      hover: (spot) => on.hover?.(cellOf(spot)),
      pick: (spot) => on.pick?.(cellOf(spot)),
    });
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {any} scene as for `MatrixMap.show`, but with rows and columns (how many), value(row,
   *   column) (NaN: out of reach), low and high (the ends of the colours), weights: whether to use
   *   the scale of weights, on which small ones differ visibly, rowNames and columnNames (default:
   *   numbers), square, and apart: whether the last column is set apart
   */
  show(width, height, scene) {
    const {
      rows,
      columns,
      value,
      low,
      high,
      weights,
      rowNames,
      columnNames = [],
      apart,
      square,
    } = scene;
    const part = { query: 0, key: 0, queries: rows, keys: columns - (apart ? 1 : 0) };
    super.show(width, height, {
      write: () => "",
      ...scene,
      part,
      queries: rowNames ?? Array(rows).fill(""),
      keys: columnNames,
      numbered: !rowNames,
      stretched: !square,
      pixels: ({ queries, keys }) => ({
        width: keys,
        height: queries,
        values: Float32Array.from({ length: queries * keys }, (_, i) =>
          value(Math.floor(i / keys), i % keys),
        ),
        level: 0,
        coarse: false,
      }),
      valueAt: value,
      place: (number) =>
        weights && !Number.isNaN(number)
          ? (low < 0 ? signedShade : shade)(number, high)
          : linearShade(number, low, high),
      ...(apart
        ? { nothing: (row) => value(row, part.keys), nothingName: columnNames[part.keys] }
        : {}),
    });
  }

  /** @param {any} hover cells @param {any} [chosen] @param {any} [draft] */
  mark(hover, chosen = null, draft = null) {
    const spotOf = (cell) =>
      cell &&
      (cell.column === undefined
        ? cell
        : {
            query: cell.row,
            ...(cell.column === this.scene?.part.keys
              ? { key: null, nothing: true }
              : { key: cell.column }),
          });
    super.mark(spotOf(hover), spotOf(chosen), draft);
  }
}
