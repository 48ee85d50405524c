// A sum as a waterfall: each part starts where the previous one ended; the last bar is the sum.

import { entry } from "../shared/colours.js";
import { niceTicks, numberText, ruledLines } from "../shared/ticks.js";
import { hearPointer, sizedContext } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { fixed } from "../shared/messages.js";
import { sayWhy } from "./cell.js";

/**
 * Parts in descending order, each with the start and end of its bar.
 * @param {ArrayLike<number>} values
 * @returns {{index: number, value: number, from: number, to: number}[]}
 */
export function fallingParts(values) {
  const order = Array.from({ length: values.length }, (_, i) => i).sort(
    (a, b) => values[b] - values[a] || a - b,
  );
  let sum = 0;
  return order.map((index) => {
    const from = sum;
    sum += values[index];
    return { index, value: values[index], from, to: sum };
  });
}

/** A diverging colour that always contrasts with the background. */
export function partColour(table, value, most) {
  const place = Math.sign(value) * (0.3 + (0.7 * Math.abs(value)) / (most || 1));
  return entry(table, linearShade(Math.max(-1, Math.min(1, place)), -1, 1));
}

export class Waterfall {
  /** @param {HTMLCanvasElement} canvas @param {(index: number | null) => void} hover index in descending order @param {AbortSignal} signal */
  constructor(canvas, hover, signal) {
    this.canvas = canvas;
    this.parts = [];
    hearPointer(
      canvas,
      signal,
      (x) => {
        const place = Math.floor((x - this.left) / this.step);
        return place >= 0 && place < this.parts.length ? place : null;
      },
      { hover },
    );
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {object} scene
   * @param {ArrayLike<number>} scene.values
   * @param {Uint8ClampedArray} scene.table diverging
   * @param {any} scene.colours of the theme
   * @param {string} scene.unit what a bar is
   */
  show(width, height, scene) {
    this.scene = scene;
    this.width = width;
    this.height = height;
    this.parts = fallingParts(scene.values);
    this.total = this.parts.length ? this.parts[this.parts.length - 1].to : 0;
    this.mark(null);
  }

  /** @param {number | null} place index in descending order */
  mark(place) {
    const { scene, parts, width, height, total } = this;
    if (!scene) return;
    const context = sizedContext(this.canvas, width, height);
    context.font = "11px system-ui, sans-serif";
    const ends = [0, total, ...parts.map((p) => p.to)];
    const [low, most] = [Math.min(...ends), Math.max(...ends)];
    const high = most + 0.1 * (most - low || 1);
    const ticks = niceTicks(low, high, Math.max(2, height / 45)).filter(
      (tick) => tick <= high && tick >= low,
    );
    const tickText = (tick) => numberText(tick, ticks[1] - ticks[0] || 1);
    this.left = 12 + Math.max(...ticks.map((tick) => context.measureText(tickText(tick)).width));
    const sumRoom = 56;
    const bottom = height - 34;
    this.step = (width - this.left - sumRoom) / Math.max(1, parts.length);
    const y = (value) => 14 + (1 - (value - low) / (high - low || 1)) * (bottom - 14);
    ruledLines(context, ticks, {
      y,
      text: tickText,
      left: this.left,
      right: width,
      inks: scene.colours,
    });
    const largestPart = Math.max(...parts.map((p) => Math.abs(p.value)), 1e-9);
    const thick = Math.max(1, this.step - (this.step > 4 ? 1 : 0));
    parts.forEach((part, i) => {
      const x = this.left + i * this.step;
      context.fillStyle = partColour(scene.table, part.value, largestPart);
      context.fillRect(
        x,
        Math.min(y(part.from), y(part.to)),
        thick,
        Math.max(1, Math.abs(y(part.to) - y(part.from))),
      );
      if (i !== place) return;
      context.strokeStyle = scene.colours.accent;
      context.lineWidth = 2;
      context.strokeRect(
        x,
        Math.min(y(part.from), y(part.to)),
        thick,
        Math.max(2, Math.abs(y(part.to) - y(part.from))),
      );
      context.lineWidth = 1;
    });
    this.#names(context, bottom, place);
    this.#sum(context, y, width - sumRoom + 10, sumRoom - 18);
    Object.assign(this.canvas.dataset, { left: String(this.left), step: String(this.step) });
  }

  #names(context, bottom, place) {
    const { colours, unit } = this.scene;
    context.textAlign = "center";
    const every = Math.max(1, Math.ceil(20 / this.step));
    this.parts.forEach(({ index }, i) => {
      const crowded = place !== null && i !== place && Math.abs(i - place) < every;
      if ((i % every && i !== place) || crowded) return;
      context.fillStyle = i === place ? colours.accent : colours.quiet;
      context.fillText(String(index), this.left + (i + 0.5) * this.step, bottom + 10);
    });
    context.fillStyle = colours.quiet;
    context.textAlign = "left";
    context.fillText(sayWhy("largest_first", { unit }), this.left, bottom + 26);
  }

  #sum(context, y, x, width) {
    const { colours } = this.scene;
    context.fillStyle = colours.ink;
    context.fillRect(
      x,
      Math.min(y(0), y(this.total)),
      width,
      Math.max(1, Math.abs(y(0) - y(this.total))),
    );
    context.textAlign = "center";
    context.font = "bold 12px system-ui, sans-serif";
    context.fillText(fixed(this.total), x + width / 2, Math.min(y(0), y(this.total)) - 8);
  }
}
