// Curves on a canvas, each named at its end.

import { niceTicks, numberText, ruledLines } from "./ticks.js";
import { hearPointer, sizedContext } from "./dom.js";
import { headColour, readable } from "./colours.js";
import { sayShared } from "./messages.js";

const NAME_HEIGHT = 13; // px

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {string} colour
 * @property {ArrayLike<number>} x ascending
 * @property {ArrayLike<number>} y
 * @property {number} [thick]
 * @property {boolean} [dots] whether every point has a dot
 * @property {{low: ArrayLike<number>, high: ArrayLike<number>}} [band]
 */

/**
 * Move heights apart, in their order, so that labels do not overlap, as far as there is room.
 * @param {number[]} wanted
 * @param {number} apart
 * @param {number} lowest
 * @param {number} highest
 */
export function spread(wanted, apart, lowest, highest) {
  const order = wanted.map((y, i) => ({ y, i })).sort((a, b) => a.y - b.y);
  for (let k = 0; k < order.length; k++)
    order[k].y = Math.max(order[k].y, k ? order[k - 1].y + apart : lowest);
  let limit = highest;
  for (let k = order.length - 1; k >= 0; k--) {
    order[k].y = Math.min(order[k].y, limit);
    limit = order[k].y - apart;
  }
  const placed = new Array(wanted.length);
  for (const { y, i } of order) placed[i] = y;
  return placed;
}

/**
 * The curves whose names have room at their ends: those that are thick, then those that end highest.
 * @param {Series[]} series
 * @param {number} most
 * @returns {Series[]} in the order given
 */
export function namedCurves(series, most) {
  const shown = series.filter((s) => s.name && s.y.length);
  if (shown.length <= most) return shown;
  const rank = (s) => [s.thick ? 1 : 0, lastFinite(s.y)];
  const order = [...shown].sort((a, b) => rank(b)[0] - rank(a)[0] || rank(b)[1] - rank(a)[1]);
  const kept = new Set(order.slice(0, Math.max(1, most)));
  return shown.filter((s) => kept.has(s));
}

export class Plot {
  /** @param {HTMLCanvasElement} canvas @param {AbortSignal} signal @param {{hover?: (x: number | null) => void, pick?: (x: number) => void}} on */
  constructor(canvas, signal, on) {
    this.canvas = canvas;
    /** @type {any} */
    this.scale = null;
    hearPointer(
      canvas,
      signal,
      (x) => {
        if (!this.scale) return null;
        const { left, width, from, to } = this.scale;
        return x < left - 12 || x > left + width + 12
          ? null
          : Math.max(from, Math.min(to, from + ((x - left) / width) * (to - from)));
      },
      on,
    );
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {object} scene
   * @param {Series[]} scene.series
   * @param {string} scene.xTitle
   * @param {string} scene.yTitle
   * @param {boolean} [scene.whole] whether x is a count: no tick between whole numbers
   * @param {any} scene.colours of the theme
   * @param {[number, number]} [scene.xRange]
   * @param {[number, number]} [scene.yRange]
   * @param {number | null} [scene.at] where a line is drawn, and a dot on each curve
   * @param {boolean} [scene.lock] whether that x is chosen, not only pointed at
   * @param {boolean} [scene.dots] whether every point has a dot
   */
  show(width, height, scene) {
    const { series } = scene;
    const context = sizedContext(this.canvas, width, height);
    context.font = "11px system-ui, sans-serif";
    const names = series.filter((s) => s.name);
    const right = names.length
      ? Math.min(
          0.32 * width,
          12 + Math.max(...names.map((s) => context.measureText(s.name).width)),
        )
      : 10;
    const values = series
      .flatMap((s) => [
        ...Array.from(s.y),
        ...(s.band ? [...Array.from(s.band.low), ...Array.from(s.band.high)] : []),
      ])
      .filter(Number.isFinite);
    const xs = series.flatMap((s) => [s.x[0], s.x[s.x.length - 1]]).filter(Number.isFinite);
    const [from, to] = scene.xRange ?? [Math.min(...xs), Math.max(...xs)];
    let [low, high] = scene.yRange ?? [Math.min(...values), Math.max(...values)];
    if (!scene.yRange) {
      if (!values.length) [low, high] = [0, 1];
      const pad = 0.06 * (high - low || Math.abs(high) || 1);
      [low, high] = [low - pad, high + pad];
    }
    const rows = niceTicks(low, high, Math.max(2, height / 45));
    const step = rows[1] - rows[0] || 1;
    const left =
      24 + Math.max(...rows.map((tick) => context.measureText(numberText(tick, step)).width));
    const room = { width: Math.max(20, width - left - right), height: height - 42 };
    this.scale = { from, to: to === from ? from + 1 : to, left, width: room.width };
    const x = (value) => left + ((value - from) / (this.scale.to - from)) * room.width;
    const y = (value) => 8 + (1 - (value - low) / (high - low)) * room.height;
    this.#axes(context, { scene, rows, step, x, y, left, room, height });
    for (const one of series) this.#line(context, one, x, y, one.dots ?? scene.dots);
    this.#marker(context, scene, x, y, room);
    const shown = namedCurves(series, Math.floor((room.height - 2) / NAME_HEIGHT) + 1);
    const heights = spread(
      shown.map((s) => y(lastFinite(s.y))),
      NAME_HEIGHT,
      10,
      8 + room.height,
    );
    context.textAlign = "left";
    context.textBaseline = "middle";
    shown.forEach((one, i) => {
      context.fillStyle = readable(one.colour, scene.colours.ground);
      context.font = `${one.thick ? "bold " : ""}11px system-ui, sans-serif`;
      context.fillText(one.name, left + room.width + 6, heights[i], right - 6);
    });
    // For scripts and tests: where values of x are, in CSS pixels.
    Object.assign(this.canvas.dataset, {
      left: String(left),
      width: String(room.width),
      from: String(from),
      to: String(this.scale.to),
    });
  }

  #axes(context, { scene, rows, step, x, y, left, room, height }) {
    const { colours } = scene;
    ruledLines(context, rows, {
      y,
      text: (tick) => numberText(tick, step),
      left,
      right: left + room.width,
      inks: colours,
    });
    context.textAlign = "center";
    const ticks = niceTicks(this.scale.from, this.scale.to, Math.max(2, room.width / 70)).filter(
      (tick) => !scene.whole || Number.isInteger(tick),
    );
    for (const tick of ticks)
      context.fillText(numberText(tick, ticks[1] - ticks[0] || 1), x(tick), 8 + room.height + 11);
    context.fillText(scene.xTitle, left + room.width / 2, height - 8);
    context.save();
    context.translate(8, 8 + room.height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(scene.yTitle, 0, 0, room.height + 8);
    context.restore();
  }

  #line(context, one, x, y, dots) {
    if (one.band) {
      context.fillStyle = one.colour;
      context.globalAlpha = 0.18;
      context.beginPath();
      for (let i = 0; i < one.x.length; i++) context.lineTo(x(one.x[i]), y(one.band.high[i]));
      for (let i = one.x.length - 1; i >= 0; i--) context.lineTo(x(one.x[i]), y(one.band.low[i]));
      context.fill();
      context.globalAlpha = 1;
    }
    context.strokeStyle = context.fillStyle = one.colour;
    context.lineWidth = one.thick ?? 1.5;
    context.lineJoin = "round";
    context.beginPath();
    let pen = false;
    for (let i = 0; i < one.x.length; i++) {
      if (!Number.isFinite(one.y[i])) {
        pen = false;
        continue;
      }
      if (pen) context.lineTo(x(one.x[i]), y(one.y[i]));
      else context.moveTo(x(one.x[i]), y(one.y[i]));
      pen = true;
    }
    context.stroke();
    context.lineWidth = 1;
    if (!dots) return;
    for (let i = 0; i < one.x.length; i++) {
      context.beginPath();
      context.arc(x(one.x[i]), y(one.y[i]), 2.2, 0, 7);
      context.fill();
    }
  }

  #marker(context, scene, x, y, room) {
    const { at, series, colours } = scene;
    if (at === null || at === undefined) return;
    context.strokeStyle = colours.accent;
    context.lineWidth = scene.lock ? 2 : 1;
    context.beginPath();
    context.moveTo(x(at), 8);
    context.lineTo(x(at), 8 + room.height);
    context.stroke();
    context.lineWidth = 1;
    for (const one of series) {
      const i = nearestIndex(one.x, at);
      if (i < 0 || !Number.isFinite(one.y[i])) continue;
      context.beginPath();
      context.arc(x(one.x[i]), y(one.y[i]), 3.5, 0, 7);
      context.fillStyle = one.colour;
      context.fill();
      context.strokeStyle = colours.ground;
      context.stroke();
    }
  }
}

/** The loss over the steps, and that of held-out texts. @param {Float32Array} train [step, value, step, value, …] @param {Float32Array} held @returns {Series[]} */
export const lossSeries = (train, held) =>
  [train, held]
    .map((of, i) => ({
      name: held.length ? ["training", sayShared("held_out")][i] : "",
      colour: headColour(i),
      thick: 1.6,
      dots: i === 1,
      x: of.filter((_, at) => at % 2 === 0),
      y: of.filter((_, at) => at % 2 === 1),
    }))
    .filter(({ x }) => x.length);

/** The index of the number nearest to a value, −1 if there is none. @param {ArrayLike<number>} numbers @param {number} value */
export function nearestIndex(numbers, value) {
  let best = -1;
  for (let i = 0; i < numbers.length; i++) {
    if (best < 0 || Math.abs(numbers[i] - value) < Math.abs(numbers[best] - value)) best = i;
  }
  return best;
}

/** @param {ArrayLike<number>} values */
function lastFinite(values) {
  for (let i = values.length - 1; i >= 0; i--) if (Number.isFinite(values[i])) return values[i];
  return 0;
}
