// A curve over steps on a canvas: training and held-out loss.

import { sizedContext } from "./dom.js";

const HEIGHT = 200;
const LEFT = 46;
const BOTTOM = 34;

/**
 * Round numbers that cover a range.
 * @param {number} low
 * @param {number} high
 * @param {number} count about so many
 */
export function niceTicks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? 10 * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++) ticks.push(i * step + 0);
  return ticks;
}

/**
 * The point of a curve nearest to a step.
 * @param {Float32Array} points [step, value, step, value, …], steps rising
 * @param {number} step
 */
export function nearest(points, step) {
  let best = -1;
  for (let i = 0; i < points.length / 2; i++) {
    if (best < 0 || Math.abs(points[2 * i] - step) < Math.abs(points[2 * best] - step)) best = i;
  }
  return best < 0 ? null : { step: points[2 * best], value: points[2 * best + 1] };
}

/** @param {number} value @param {number} step between ticks */
export const numberText = (value, step) =>
  value.toFixed(step >= 1 ? 0 : Math.min(4, Math.ceil(-Math.log10(step) - 1e-9))).replace("-", "−");

export class Curve {
  /** @param {HTMLCanvasElement} canvas @param {(step: number | null) => void} hover @param {AbortSignal} signal */
  constructor(canvas, hover, signal) {
    this.canvas = canvas;
    canvas.addEventListener("pointermove", (event) => {
      if (!this.scale) return;
      const x = event.clientX - canvas.getBoundingClientRect().left;
      const { from, to, width } = this.scale;
      hover(from + ((x - LEFT) / width) * (to - from));
    }, { signal });
    canvas.addEventListener("pointerleave", () => hover(null), { signal });
  }

  /**
   * @param {Float32Array} train
   * @param {Float32Array} held
   * @param {number} steps
   * @param {{ink: string, quiet: string, line: string}} inks
   * @param {[string, string]} colours
   * @param {number} width
   */
  draw(train, held, steps, inks, colours, width) {
    const context = sizedContext(this.canvas, width, HEIGHT);
    const values = [];
    for (const points of [train, held]) {
      for (let i = 1; i < points.length; i += 2) if (Number.isFinite(points[i])) values.push(points[i]);
    }
    const low = values.length ? Math.min(...values) : 0;
    const high = values.length ? Math.max(...values) : 1;
    const pad = 0.06 * (high - low || 1);
    const room = { width: width - LEFT - 70, height: HEIGHT - BOTTOM - 10 };
    this.scale = { from: 0, to: Math.max(steps, 1), width: room.width };
    const x = (step) => LEFT + (step / Math.max(steps, 1)) * room.width;
    const y = (value) => 10 + (1 - (value - low + pad) / (high - low + 2 * pad)) * room.height;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const rows = niceTicks(low, high, 4);
    context.strokeStyle = inks.line;
    context.fillStyle = inks.quiet;
    context.textAlign = "right";
    for (const tick of values.length ? rows : []) {
      context.beginPath();
      context.moveTo(LEFT, y(tick));
      context.lineTo(LEFT + room.width, y(tick));
      context.stroke();
      context.fillText(numberText(tick, rows[1] - rows[0] || 1), LEFT - 6, y(tick));
    }
    context.textAlign = "center";
    for (const tick of niceTicks(0, Math.max(steps, 1), Math.max(2, room.width / 90))) {
      context.fillText(String(Math.round(tick)), x(tick), HEIGHT - BOTTOM + 12);
    }
    context.fillText("step", LEFT + room.width / 2, HEIGHT - 8);
    context.save();
    context.translate(9, 10 + room.height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("loss (nats a token)", 0, 0);
    context.restore();
    this.#line(context, train, x, y, colours[0], 1.6);
    this.#line(context, held, x, y, colours[1], 2);
    for (let i = 0; i < held.length; i += 2) {
      context.beginPath();
      context.arc(x(held[i]), y(held[i + 1]), 3, 0, 7);
      context.fillStyle = colours[1];
      context.fill();
    }
    // Each curve is named at its end; the names keep apart.
    context.textAlign = "left";
    const ends = /** @type {[Float32Array, string, string][]} */ ([[train, "training", colours[0]], [held, "held out", colours[1]]])
      .filter(([points]) => points.length)
      .map(([points, name, colour]) => ({ name, colour, x: x(points[points.length - 2]), y: y(points[points.length - 1]) }));
    if (ends.length === 2 && Math.abs(ends[0].y - ends[1].y) < 14) {
      const upper = ends[0].y < ends[1].y ? 0 : 1;
      const middle = (ends[0].y + ends[1].y) / 2;
      ends[upper].y = middle - 7;
      ends[1 - upper].y = middle + 7;
    }
    for (const end of ends) {
      context.fillStyle = end.colour;
      context.fillText(end.name, Math.min(end.x + 8, width - 56), end.y);
    }
  }

  #line(context, points, x, y, colour, thick) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.lineJoin = "round";
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) context.lineTo(x(points[i]), y(points[i + 1]));
    context.stroke();
    context.lineWidth = 1;
  }
}
