// A map of numbers on a canvas: rows down, columns across, on a linear scale, with labels or a
// numbered axis, a cell under the cursor and a chosen one.

import { colourCells, dashedBox, ruleCells } from "../marks/matrix.js";
import { inkOn } from "./colours.js";
import { leaning, leaningHeight, LONGEST_NAME, textOf, writeAbove } from "./map_frame.js";
import { roundStep } from "./ticks.js";
import { fitText, hearPointer, sizedContext } from "./dom.js";

const MONO_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const SANS_FONT = "system-ui, sans-serif";
const NAMED_FROM = 10.5; // cell size, in pixels, from which every row and column is named
const WRITTEN_FROM = 30; // … and from which its number is written into a cell
const HATCH = 6; // pixels from one line to the next
const GAP = 7; // before a last column that is set apart

/** @typedef {{row: number | null, column: number | null}} Cell */

/** The position of a value on a linear scale, 0 … 255. @param {number} value @param {number} low @param {number} high */
export function linearShade(value, low, high) {
  const place = (value - low) / (high - low || 1);
  return Math.max(0, Math.min(255, Math.round(255 * place)));
}

export class NumberMap {
  /** @param {HTMLCanvasElement} canvas @param {{hover?: (at: Cell | null) => void, pick?: (at: Cell) => void}} on @param {AbortSignal} signal */
  constructor(canvas, on, signal) {
    this.canvas = canvas;
    this.picture = document.createElement("canvas");
    /** @type {any} */
    this.scene = null;
    hearPointer(canvas, (x, y) => this.at(x, y), on, signal);
  }

  /** @param {number} x @param {number} y @returns {Cell | null} */
  at(x, y) {
    if (!this.scene) return null;
    const { left, top, across, down } = this.frame;
    const { rows, columns } = this.scene;
    const { columns: count, apart } = this.scene;
    const last = apart && x >= this.#left(count - 1);
    const column = Math.floor((x - left - (last ? GAP : 0)) / across);
    if (apart && !last && column >= count - 1) return null; // the gap
    const row = Math.floor((y - top) / down);
    const inRow = row >= 0 && row < rows;
    const inColumn = column >= 0 && column < columns;
    if (inRow && inColumn) return { row, column };
    if (inRow && x < left) return { row, column: null };
    if (inColumn && y < top) return { row: null, column };
    return null;
  }

  /**
   * @param {object} scene
   * @param {number} scene.rows
   * @param {number} scene.columns
   * @param {(row: number, column: number) => number} scene.value NaN is shown as out of reach
   * @param {number} scene.low the value at the lower end of the colour scale
   * @param {number} scene.high
   * @param {Uint8ClampedArray} scene.table
   * @param {any} scene.colours of the theme
   * @param {string[]} [scene.rowNames] tokens; numbers without
   * @param {string[]} [scene.columnNames]
   * @param {boolean} [scene.hideRowNames] where a neighbour on the left names the same rows
   * @param {string} [scene.rowTitle]
   * @param {string} [scene.columnTitle]
   * @param {(value: number, row: number, column: number) => string} [scene.write] what is written into large cells
   * @param {(row: number, column: number) => boolean} [scene.bold] whose text is set in bold
   * @param {(row: number, column: number) => boolean} [scene.hatched] of cells whose number is less sure
   * @param {boolean} [scene.square]
   * @param {number} [scene.cell] the largest size of a square cell
   * @param {boolean} [scene.apart] whether the last column is no token, and stands apart from the others
   * @param {{from: number, to: number, colour: string}[]} [scene.brackets] beside the rows
   * @param {number} [scene.firstRow] the number of the first row, on a numbered axis
   * @param {number} width
   * @param {number} height
   */
  show(scene, width, height) {
    this.scene = scene;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.font = `12px ${MONO_FONT}`;
    const widest = (names) => Math.max(0, ...(names ?? []).map((name) => context.measureText(name).width));
    const { rows, columns, rowNames, columnNames, rowTitle, columnTitle } = scene;
    if (scene.apart) width -= GAP;
    const [rowRoom, columnRoom] = [widest(rowNames), Math.min(widest(columnNames), LONGEST_NAME)];
    const beside = scene.brackets?.length ? 12 : 0;
    const names = scene.hideRowNames ? 2 : Math.min(rowRoom, 0.3 * width) + 10;
    let left = (rowNames ? names : 34) + (rowTitle ? 16 : 0) + beside;
    let across = (width - left - 8) / columns;
    let down = height / rows;
    if (scene.square) across = down = Math.min(across, down, scene.cell ?? 46);
    this.named = Boolean(rowNames) && Math.min(across, down) >= NAMED_FROM;
    if (rowNames && !this.named) {
      left = 34 + (rowTitle ? 16 : 0);
      across = (width - left - 8) / columns;
      if (scene.square) across = down = Math.min(across, down, scene.cell ?? 46);
    }
    const slant = this.named && columnRoom > across - 4;
    if (slant) {
      // Slanted names of the last columns lean out to the right.
      const fits = (width - left - Math.max(8, 0.5 * columnRoom)) / columns;
      across = scene.square ? Math.min(across, fits) : fits;
      if (scene.square) down = across;
    }
    const top = Math.round((slant ? leaningHeight(columnRoom, across) : 20) + (columnTitle ? 16 : 0));
    const gap = scene.apart ? GAP : 0;
    this.frame = { left, top, across, down, width: across * columns + gap, height: down * rows, slant };
    this.width = Math.min(width + gap, Math.ceil(left + this.frame.width + Math.max(8, slant ? 0.5 * columnRoom : 0)));
    this.height = Math.ceil(top + this.frame.height + 2);
    this.#paint();
    this.mark(null, null);
  }

  /** Where a column begins. @param {number} column */
  #left(column) {
    const { left, across } = this.frame;
    return left + column * across + (this.scene.apart && column === this.scene.columns - 1 ? GAP : 0);
  }

  #paint() {
    const { rows, columns, value, low, high, table } = this.scene;
    colourCells(this.picture, { width: columns, height: rows }, table, (cell) =>
      linearShade(value(Math.floor(cell / columns), cell % columns), low, high));
  }

  /** @param {Cell | null} hover @param {Cell | null} [chosen] */
  mark(hover, chosen = null) {
    if (!this.scene) return;
    const { scene, frame } = this;
    const context = sizedContext(this.canvas, this.width, this.height);
    const { left, top, height } = frame;
    const together = scene.columns - (scene.apart ? 1 : 0); // columns
    const width = together * frame.across;
    context.fillStyle = scene.colours.blocked;
    context.fillRect(left, top, width, height);
    context.imageSmoothingEnabled = frame.across < 1 || frame.down < 1;
    context.drawImage(this.picture, 0, 0, together, scene.rows, left, top, width, height);
    context.strokeStyle = scene.colours.line;
    context.strokeRect(left - 0.5, top - 0.5, width + 1, height + 1);
    if (scene.apart) this.#apart(context);
    if (scene.hatched) this.#hatch(context);
    if (this.named) ruleCells(context, scene.colours.line, frame, { ...frame, columns: together, rows: scene.rows, from: 1 });
    if (scene.write && Math.min(frame.across, frame.down) >= WRITTEN_FROM) this.#numbers(context);
    const focus = hover ?? chosen;
    if (this.named) this.#names(context, focus);
    else this.#axes(context, focus);
    this.#titles(context);
    this.#brackets(context);
    if (chosen) this.#outline(context, chosen, 2.5);
    if (hover) this.#outline(context, hover, 1.5);
    // For scripts and tests: where cells lie, in CSS pixels.
    Object.assign(this.canvas.dataset, { left: String(left), top: String(top), across: String(frame.across), down: String(frame.down) });
  }

  /** The last column, which is no token. */
  #apart(context) {
    const { columns, rows, colours } = this.scene;
    const { top, across, height } = this.frame;
    const left = this.#left(columns - 1);
    context.fillStyle = colours.blocked;
    context.fillRect(left, top, across, height);
    context.drawImage(this.picture, columns - 1, 0, 1, rows, left, top, across, height);
    dashedBox(context, colours.quiet, left - 0.5, top - 0.5, across + 1, height + 1);
  }

  #hatch(context) {
    const { left, top, across, down, width, height } = this.frame;
    const { rows, columns, hatched, colours } = this.scene;
    context.save();
    context.beginPath();
    for (let row = 0; row < rows; row++) {
      for (let from = 0, to = 0; from < columns; from = to + 1) {
        for (to = from; to < columns && hatched(row, to); ) to++; // a run of them is one area
        if (to > from) context.rect(this.#left(from), top + row * down, (to - from) * across, down);
      }
    }
    context.clip();
    context.strokeStyle = colours.quiet;
    context.globalAlpha = 0.4;
    context.beginPath();
    for (let x = left - height; x < left + width; x += HATCH) {
      context.moveTo(x, top + height);
      context.lineTo(x + height, top);
    }
    context.stroke();
    context.restore();
  }

  #numbers(context) {
    const { top, across, down } = this.frame;
    const { rows, columns, value, low, high, table, write, bold } = this.scene;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const number = value(row, column);
        const text = Number.isNaN(number) ? "" : write(number, row, column);
        if (!text) continue;
        context.font = `${bold?.(row, column) ? "bold " : ""}11px ${MONO_FONT}`;
        context.fillStyle = inkOn(table, linearShade(number, low, high));
        context.fillText(fitText(context, text, Math.max(across - 4, 26)), this.#left(column) + 0.5 * across, top + (row + 0.5) * down + 0.5);
      }
    }
  }

  #names(context, focus) {
    const { left, top, across, down, slant } = this.frame;
    const { rowNames, columnNames, colours } = this.scene;
    context.textBaseline = "middle";
    const beside = this.scene.brackets?.length ? 12 : 0;
    const write = (text, room, on, size) => {
      context.font = `${on ? "bold " : ""}${size}px ${MONO_FONT}`;
      context.fillStyle = on ? colours.accent : colours.ink;
      return fitText(context, text, room);
    };
    context.textAlign = "right";
    if (!this.scene.hideRowNames) rowNames.forEach((name, row) => {
      const text = write(name, left - 8 - beside, focus?.row === row, textOf(down));
      context.fillText(text, left - 6 - beside, top + (row + 0.5) * down);
    });
    columnNames.forEach((name, column) => {
      const text = write(name, slant ? LONGEST_NAME : 60, focus?.column === column, leaning(across).size);
      writeAbove(context, text, this.#left(column) + 0.5 * across, top, slant ? across : null);
    });
  }

  #axes(context, focus) {
    const { left, top, across, down, width, height } = this.frame;
    const { rows, columns, colours, apart, firstRow = 0 } = this.scene;
    const beside = this.scene.brackets?.length ? 12 : 0;
    context.font = `11px ${SANS_FONT}`;
    context.textBaseline = "middle";
    const along = (count, room, apart, here, draw) => {
      const step = roundStep(count, room, apart);
      for (let i = 0; i < count; i++) {
        const on = here === i;
        const crowded = here !== null && here !== undefined && !on && Math.abs(here - i) < 0.7 * step;
        if (!on && (i % step || crowded)) continue;
        context.fillStyle = on ? colours.accent : colours.quiet;
        draw(i);
      }
    };
    context.textAlign = "right";
    along(rows, height, 26, focus?.row, (i) => context.fillText(String(firstRow + i), left - 6 - beside, top + (i + 0.5) * down));
    context.textAlign = "center";
    along(columns, width, 34, focus?.column, (i) => context.fillText(apart && i === columns - 1 ? this.scene.columnNames[i] : String(i), this.#left(i) + 0.5 * across, top - 9));
  }

  #titles(context) {
    const { rowTitle, columnTitle, colours } = this.scene;
    const { left, top, width, height } = this.frame;
    context.font = `11px ${SANS_FONT}`;
    context.fillStyle = colours.quiet;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    if (columnTitle) context.fillText(columnTitle, left, 10, Math.max(width, 120));
    if (!rowTitle) return;
    context.save();
    context.translate(10, top + height);
    context.rotate(-Math.PI / 2);
    context.fillText(rowTitle, 0, 0, height);
    context.restore();
  }

  #brackets(context) {
    const { left, top, down } = this.frame;
    for (const { from, to, colour } of this.scene.brackets ?? []) {
      context.fillStyle = colour;
      context.fillRect(left - 9, top + from * down, 5, Math.max(2, (to - from) * down - 1));
    }
  }

  #outline(context, cell, thick) {
    const { left, top, across, down, width, height } = this.frame;
    const x = cell.column === null ? left : this.#left(cell.column);
    const y = cell.row === null ? top : top + cell.row * down;
    context.strokeStyle = this.scene.colours.accent;
    context.lineWidth = thick;
    context.strokeRect(x, y, cell.column === null ? width : Math.max(across, 4), cell.row === null ? height : Math.max(down, 4));
    context.lineWidth = 1;
  }
}
