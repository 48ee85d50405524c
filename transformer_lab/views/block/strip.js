// A vector as a strip of coloured cells, zero in the scale's middle; wrapped where it is long.

import { entry } from "../shared/colours.js";
import { element, sizedContext } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";

const NARROWEST = 3; // pixels of a cell
const WIDEST = 14;

/** The largest by size among several vectors, and at least something. @param {Float32Array[]} vectors */
export function mostOf(vectors) {
  let most = 1e-9;
  for (const values of vectors) for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

/** How the cells of a strip lie. @param {number} count @param {number} width in pixels */
export function stripLayout(count, width) {
  const cell = Math.max(NARROWEST, Math.min(WIDEST, width / Math.max(1, count)));
  const across = Math.max(1, Math.min(count, Math.floor(width / cell + 1e-6)));
  return { cell, across, rows: Math.ceil(count / across) };
}

export class Strip {
  /** @param {Float32Array} values @param {string} name @param {(at: number | null, strip: Strip) => void} hover @param {boolean} inTable */
  constructor(values, name, hover, inTable) {
    this.values = values;
    this.name = name;
    this.inTable = inTable;
    this.canvas = element("canvas", { class: "tl-strip", "aria-hidden": "true" });
    this.canvas.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      hover(this.at(event.clientX - box.left, event.clientY - box.top), this);
    });
    this.canvas.addEventListener("pointerleave", () => hover(null, this));
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    if (!this.layout) return null;
    const { cell, across, rows } = this.layout;
    const [column, row] = [Math.floor(x / cell), Math.floor(y / this.tall)];
    const index = row * across + column;
    return column >= 0 && column < across && row >= 0 && row < rows && index < this.values.length ? index : null;
  }

  /**
   * @param {number} width
   * @param {number} most the value at the ends of the scale
   * @param {Uint8ClampedArray} table diverging
   * @param {number} tall pixels of a row
   */
  draw(width, most, table, tall = 14) {
    this.layout = stripLayout(this.values.length, width);
    this.tall = tall;
    const { cell, across, rows } = this.layout;
    const context = sizedContext(this.canvas, Math.ceil(across * cell), rows * tall);
    const gap = cell >= 6 ? 1 : 0;
    this.values.forEach((value, i) => {
      context.fillStyle = entry(table, linearShade(value, -most, most));
      context.fillRect((i % across) * cell, Math.floor(i / across) * tall, cell - gap, tall - 1);
    });
  }
}
