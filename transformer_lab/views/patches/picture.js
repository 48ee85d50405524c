// The picture with weights over it, large or small, and the patch under the pointer.

import { shade } from "../shared/colours.js";
import { hearPointer, moveOf, sizedContext, taken } from "../shared/dom.js";
import { blend, pictureTable } from "../shared/overlay.js";
import { PALETTE } from "../shared/palette.js";

/**
 * @typedef {object} Grid
 * @property {number} rows
 * @property {number} columns
 * @property {number} start
 * @property {string[]} labels
 * @property {number[]} heads
 * @property {number} even
 * @property {number} first the position that looks where none is chosen
 * @property {number[]} padded layers whose windows may reach beyond the picture
 * @property {string | null} others what the positions are called that are no patches
 */

/**
 * The weights of patches as a small canvas, one pixel a patch: where no weight is, the picture is seen.
 * @param {Uint16Array} codes of a row
 * @param {Grid} grid
 * @param {Uint8ClampedArray} table
 */
export function patchPixels(codes, { rows, columns, start }, table) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(columns, rows);
  const largest = largestPatch(codes, { rows, columns, start });
  for (let i = 0; i < rows * columns; i++) {
    const strength = shade(codes[start + i], largest);
    image.data.set([...table.subarray(3 * strength, 3 * strength + 3), strength], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** @param {Uint16Array} codes @param {{rows: number, columns: number, start: number}} grid */
export function largestPatch(codes, { rows, columns, start }) {
  let largest = 0;
  for (let i = 0; i < rows * columns; i++) largest = Math.max(largest, codes[start + i]);
  return largest;
}

/** A picture without its colours. @param {ImageBitmap} picture @param {number} [most] pixels a side */
export function greyed(picture, most = Infinity) {
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((n) => Math.max(1, Math.round(n * scale)));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(picture, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    const value = 0.2126 * data[i] + 0.7152 * data[i + 1] + 0.0722 * data[i + 2];
    data[i] = data[i + 1] = data[i + 2] = value;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The large picture: draws, and tells which patch is meant. */
export class PatchPicture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Grid} grid
   * @param {{hover: (position: number | null) => void, pick: (position: number) => void, move: (rows: number, columns: number) => void, free: () => boolean}} does
   * @param {AbortSignal} signal
   */
  constructor(canvas, grid, does, signal) {
    this.canvas = canvas;
    this.grid = grid;
    this.size = { width: 0, height: 0 };
    hearPointer(canvas, (x, y) => this.positionAt(x / canvas.clientWidth, y / canvas.clientHeight), { hover: does.hover, pick: does.pick }, signal);
    canvas.addEventListener("keydown", (event) => {
      const step = moveOf(event);
      if (step) does.move(...step);
      else if (event.key === "Escape" && does.free()) taken(event); // it leaves the view where nothing is freed
    }, { signal });
  }

  /** @param {number} across share of the width @param {number} down */
  positionAt(across, down) {
    const { rows, columns, start } = this.grid;
    const [row, column] = [Math.floor(down * rows), Math.floor(across * columns)];
    return row >= 0 && row < rows && column >= 0 && column < columns ? start + row * columns + column : null;
  }

  /**
   * @param {object} shown
   * @param {ImageBitmap} shown.picture
   * @param {HTMLCanvasElement} shown.grey
   * @param {Uint16Array} shown.codes
   * @param {number} shown.fade
   * @param {number} shown.room width that there is
   * @param {number | null} shown.query
   * @param {number[]} shown.cut positions to which an edge is cut
   * @param {any} shown.inks
   */
  draw({ picture, grey, codes, fade, room, query, cut, inks }) {
    const { rows, columns } = this.grid;
    const cell = Math.max(1, Math.min(room / columns, 448 / rows, 96));
    const [width, height] = [cell * columns, cell * rows];
    this.size = { width, height };
    const context = sizedContext(this.canvas, width, height);
    blend(context, picture, grey, patchPixels(codes, this.grid, pictureTable()), fade, { x: 0, y: 0, w: width, h: height });
    for (const position of cut) {
      const at = this.#cell(position, cell);
      if (!at) continue;
      context.strokeStyle = inks.ground;
      context.lineWidth = 5;
      const cross = () => {
        context.beginPath();
        context.moveTo(at.x + 3, at.y + 3);
        context.lineTo(at.x + cell - 3, at.y + cell - 3);
        context.moveTo(at.x + cell - 3, at.y + 3);
        context.lineTo(at.x + 3, at.y + cell - 3);
        context.stroke();
      };
      cross();
      context.strokeStyle = inks.edited;
      context.lineWidth = 2.5;
      cross();
    }
    const at = query === null ? null : this.#cell(query, cell);
    if (!at) return;
    // Two lines: one of them is seen on whatever lies below.
    context.strokeStyle = PALETTE.light.paper;
    context.lineWidth = 5;
    context.strokeRect(at.x, at.y, cell, cell);
    context.strokeStyle = PALETTE.light.accent;
    context.lineWidth = 2.5;
    context.strokeRect(at.x, at.y, cell, cell);
  }

  #cell(position, cell) {
    const { rows, columns, start } = this.grid;
    const i = position - start;
    if (i < 0 || i >= rows * columns) return null;
    return { x: cell * (i % columns), y: cell * Math.floor(i / columns) };
  }
}
