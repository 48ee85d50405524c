// The cells of a matrix on a canvas: their colours, and the lines between them.

import { packedPalette } from "../shared/colours.js";

/**
 * Colour a canvas, a pixel for each cell, row by row.
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number}} size
 * @param {Uint8ClampedArray} table
 * @param {(cell: number) => number} place on the table, 0 … 255; NaN is left clear
 */
export function colourCells(canvas, { width, height }, table, place) {
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const palette = packedPalette(table);
  for (let i = 0; i < pixels.length; i++) pixels[i] = palette[place(i)] ?? 0;
  context.putImageData(image, 0, 0);
  return context;
}

/**
 * Lines between cells, and where `from` is 0, around them.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {{left: number, top: number, width: number, height: number}} frame
 * @param {{across: number, down: number, columns: number, rows: number, from?: number}} cells
 */
export function ruleCells(context, colour, { left, top, width, height }, { across, down, columns, rows, from = 0 }) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.globalAlpha = 0.5;
  context.beginPath();
  for (let i = from; i <= columns - from; i++) {
    context.moveTo(left + i * across, top);
    context.lineTo(left + i * across, top + height);
  }
  for (let i = from; i <= rows - from; i++) {
    context.moveTo(left, top + i * down);
    context.lineTo(left + width, top + i * down);
  }
  context.stroke();
  context.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} context @param {string} colour @param {number} x @param {number} y @param {number} width @param {number} height */
export function dashedBox(context, colour, x, y, width, height) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
}
