// A picture of what a model was given, under the colours of what it looks at.

import { colourTable } from "./colours.js";

const OVER = 0.75; // opacity of the largest weight, where the picture is wholly faded

/** The colours of weights on a picture: the same in both themes, since the picture is. */
export const pictureTable = () => colourTable("viridis", "light");

/** @typedef {{x: number, y: number, w: number, h: number}} Box */

/**
 * A picture under the colours of weights.
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} picture
 * @param {CanvasImageSource | null} grey the same without its colours, where it has some
 * @param {HTMLCanvasElement} weights
 * @param {number} fade
 * @param {Box} box of the weights
 * @param {Box} [under] of the picture, where that is another
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
