// Every head, small: layers down, heads across, each painted by its view; and weights over a picture.

import { hearPointer, moveOf, sizedContext } from "./dom.js";
import { colourTable, shade } from "./colours.js";
import { short } from "./messages.js";

const NAMES = 18; // room for the numbers of layers and heads
const GAP = 3;
const TALLEST = 640;

export class SmallHeads {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{heads: number[], aspect: number, widest: number}} grid how many each layer has; width of a
   *   small picture over its height, and at most
   * @param {{chosen: () => {layer: number, head: number}, choose: (layer: number, head: number) => void}} does
   * @param {AbortSignal} signal
   */
  constructor(canvas, grid, { chosen, choose }, signal) {
    this.canvas = canvas;
    this.grid = grid;
    this.chosen = chosen;
    this.choose = choose;
    this.layers = grid.heads.length;
    this.columns = Math.max(...grid.heads);
    this.pitch = { x: 40, y: 40 };
    const at = (x, y) => ({ head: Math.floor((x - NAMES) / this.pitch.x), layer: Math.floor((y - NAMES) / this.pitch.y) });
    hearPointer(canvas, at, { pick: ({ layer, head }) => head >= 0 && head < (grid.heads[layer] ?? 0) && choose(layer, head) }, signal);
    canvas.addEventListener("keydown", (event) => {
      const step = moveOf(event);
      if (step) this.#move(...step);
    }, { signal });
  }

  #move(down, across) {
    const { heads } = this.grid;
    const at = this.chosen();
    let layer = at.layer + Math.sign(down);
    while (layer >= 0 && layer < this.layers && !heads[layer]) layer += Math.sign(down);
    if (layer < 0 || layer >= this.layers) return;
    const head = Math.min(heads[layer] - 1, Math.max(0, at.head + across));
    this.choose(layer, head);
  }

  /**
   * @param {object} shown
   * @param {(context: CanvasRenderingContext2D, layer: number, head: number, box: import("./small_heads.js").Box) => void} shown.paint
   * @param {number} shown.room
   * @param {(layer: number, head: number) => boolean} shown.marked whether it is among what is chosen
   * @param {(layer: number, head: number) => boolean} shown.off whether it is switched off
   * @param {(number | null)[][]} shown.every sizes of what each changes, where they are known
   * @param {any} shown.inks
   */
  draw({ paint, room, marked, off, every, inks }) {
    const { grid, layers, columns } = this;
    const told = every.length ? 16 : 0;
    // All layers are seen at once, where that leaves something to see.
    const tall = Math.floor((TALLEST - NAMES) / layers) - GAP - told;
    const byHeight = Math.max(28, Math.floor(tall * grid.aspect));
    const width = Math.max(22, Math.min(grid.widest, byHeight, Math.floor((room - NAMES) / columns) - GAP));
    const height = Math.round(width / grid.aspect);
    this.pitch = { x: width + GAP, y: height + GAP + told };
    const context = sizedContext(this.canvas, NAMES + columns * this.pitch.x, NAMES + layers * this.pitch.y);
    context.textBaseline = "middle";
    context.font = "11px system-ui, sans-serif";
    const most = Math.max(...every.flat().map((x) => Math.abs(x ?? 0)), 0);
    const write = (text, x, y, align, on) => {
      context.textAlign = align;
      context.fillStyle = on ? inks.accent : inks.quiet;
      context.fillText(text, x, y);
    };
    const all = (n) => Array.from({ length: n }, (_, i) => i);
    const columnOn = (head) => all(layers).some((layer) => head < grid.heads[layer] && marked(layer, head));
    for (let head = 0; head < columns; head++) write(String(head), NAMES + head * this.pitch.x + width / 2, 8, "center", columnOn(head));
    for (let layer = 0; layer < layers; layer++) {
      const y = NAMES + layer * this.pitch.y;
      write(String(layer), NAMES - 5, y + height / 2, "right", all(grid.heads[layer]).some((head) => marked(layer, head)));
      for (let head = 0; head < grid.heads[layer]; head++) {
        const x = NAMES + head * this.pitch.x;
        paint(context, layer, head, { x, y, w: width, h: height });
        const size = every[layer]?.[head];
        if (told && typeof size === "number") {
          context.fillStyle = inks.line;
          context.fillRect(x, y + height + 13, width, 2);
          context.fillStyle = inks.ink;
          context.fillRect(x, y + height + 13, most ? (width * Math.abs(size)) / most : 0, 2);
          if (width >= 30) {
            context.textAlign = "left";
            context.font = "10px system-ui, sans-serif";
            context.fillText(sizeOf(size, decimalsOf(most)), x + 1, y + height + 7, width);
            context.font = "11px system-ui, sans-serif";
          }
        }
        if (off(layer, head)) twoLines(context, [[inks.ground, 5], [inks.edited, 2]], () => {
          context.beginPath();
          context.moveTo(x, y);
          context.lineTo(x + width, y + height);
          context.stroke();
        });
        if (marked(layer, head)) {
          context.strokeStyle = inks.accent;
          context.lineWidth = 2;
          context.strokeRect(x, y, width, height);
        }
      }
    }
  }
}

const OVER = 0.75; // opacity of the largest weight, where the picture is wholly faded

/** The colours of weights on a picture: the same in both themes, since the picture is. */
export const pictureTable = () => colourTable("viridis", "light");

/** @typedef {{x: number, y: number, w: number, h: number}} Box */

/** Weights as a small canvas, a pixel each: where no weight is, what lies below is seen. @param {ArrayLike<number>} weights @param {number} columns @param {Uint8ClampedArray} table */
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

/** Stroke twice: one of two lines is seen on whatever lies below. @param {CanvasRenderingContext2D} context @param {[string, number][]} lines colours and widths @param {() => void} stroke */
export function twoLines(context, lines, stroke) {
  for (const [colour, thick] of lines) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    stroke();
  }
}

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

/** Decimals for changes beside each other, of which this is the largest: two digits of it. @param {number} most */
export const decimalsOf = (most) => (most >= 0.1 ? 2 : most >= 0.01 ? 3 : 4);

/** A change among others. @param {number} size @param {number} decimals of all of them */
export function sizeOf(size, decimals) {
  const text = short(Math.abs(size), decimals);
  return Number(text) ? (size < 0 ? "−" : "") + text : "0";
}
