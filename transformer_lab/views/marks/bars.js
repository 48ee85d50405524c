// Horizontal bars on a canvas, the first on top; draw_matplotlib.py and draw_plotly.py draw the same mark.

import { fitText, sizedContext } from "../shared/dom.js";

const ROW = 24;
const BAR_NAMES = 110; // room for the name of a bar, and the number at its end
const END = 50;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{names: string[], values: number[], text: string[], colour: string}} mark values: at
 *   least 0
 * @param {any} inks of the theme
 * @param {number} width CSS pixels
 */
export function drawBars(canvas, { names, values, text, colour }, inks, width) {
  const context = sizedContext(canvas, width, ROW * names.length);
  const most = Math.max(...values, 1e-9);
  context.font = "12px ui-monospace, monospace";
  context.textBaseline = "middle";
  names.forEach((name, i) => {
    const y = (i + 0.5) * ROW;
    const long = ((width - BAR_NAMES - END) * values[i]) / most;
    context.fillStyle = colour;
    context.fillRect(BAR_NAMES, y - 7, long, 14);
    context.fillStyle = inks.ink;
    context.fillText(fitText(context, name, BAR_NAMES - 8), 0, y);
    context.fillText(text[i], BAR_NAMES + long + 5, y);
  });
}
