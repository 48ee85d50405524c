// Weights drawn over a picture.

import { colourTable, shade } from "./colours.js";

const OVER = 0.75; // opacity of the largest weight when the picture is fully faded

/**
 * Colours of weights over a picture: the dark theme's, which stand out, in both themes, since the
 * picture is the same in both.
 */
export const pictureTable = () => colourTable("default", "dark");

/** @typedef {{x: number, y: number, w: number, h: number}} Box */

/** Weights as a small canvas, a pixel each; a weight of 0 is transparent. @param {ArrayLike<number>} weights @param {number} columns @param {Uint8ClampedArray} table */
export function weightPixels(weights, columns, table) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = weights.length / columns;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(columns, canvas.height);
  const largest = largestOf(weights);
  for (let i = 0; i < weights.length; i++) {
    const strength = shade(weights[i], largest);
    image.data.set([...table.subarray(3 * strength, 3 * strength + 3), strength], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** @param {ArrayLike<number>} weights */
export const largestOf = (weights) => Array.from(weights).reduce((a, b) => Math.max(a, b), 0);

/** Stroke twice, so that one of the two lines is visible on any background. @param {CanvasRenderingContext2D} context @param {[string, number][]} lines colours and widths @param {() => void} stroke */
export function twoLines(context, lines, stroke) {
  for (const [colour, thick] of lines) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    stroke();
  }
}

/**
 * Draw a picture, faded to grey, and weights over it.
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} picture
 * @param {CanvasImageSource | null} grey the same in greyscale, if it has colours
 * @param {HTMLCanvasElement} weights
 * @param {number} fade
 * @param {Box} box of the weights
 * @param {Box} [under] of the picture, if different
 */
export function blend(context, picture, grey, weights, fade, box, under = box) {
  context.globalAlpha = 1;
  context.imageSmoothingEnabled = true;
  context.drawImage(picture, under.x, under.y, under.w, under.h);
  if (grey) {
    context.globalAlpha = fade;
    context.drawImage(grey, under.x, under.y, under.w, under.h);
  }
  context.globalAlpha = OVER * fade;
  context.imageSmoothingEnabled = false;
  context.drawImage(weights, box.x, box.y, box.w, box.h);
  context.globalAlpha = 1;
}
