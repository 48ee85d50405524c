// Round numbers along an axis, and the point of a curve nearest to a step.

/** The first of 1, 2, 5, 10, 20, … that is not below `least`. @param {number} least */
export function roundUp(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((m) => m * power).find((one) => one >= least * (1 - 1e-9)) ?? 10 * power;
}

/** Round steps for an axis with numbers, at least `apart` pixels from one another. @param {number} count @param {number} room in pixels @param {number} [apart] */
export const roundStep = (count, room, apart = 34) =>
  roundUp(Math.max(1, (count * apart) / Math.max(room, 1)));

/** Round numbers that cover a range. @param {number} low @param {number} high @param {number} count roughly how many */
export function niceTicks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const step = roundUp(span / Math.max(1, count));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++)
    ticks.push(i * step + 0);
  return ticks;
}

/** The point of a curve nearest to a step. @param {Float32Array} points [step, value, step, value, …], steps ascending @param {number} step */
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

/**
 * Draw lines across a picture, each with its number at the left.
 * @param {CanvasRenderingContext2D} context
 * @param {number[]} ticks
 * @param {{y: (tick: number) => number, text: (tick: number) => string, left: number, right: number, inks: any}} how
 */
export function ruledLines(context, ticks, { y, text, left, right, inks }) {
  context.strokeStyle = inks.line;
  context.fillStyle = inks.quiet;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const tick of ticks) {
    context.globalAlpha = Math.abs(tick) < 1e-9 ? 1 : 0.6;
    context.beginPath();
    context.moveTo(left, y(tick));
    context.lineTo(right, y(tick));
    context.stroke();
    context.globalAlpha = 1;
    context.fillText(text(tick), left - 6, y(tick));
  }
}

/** The index of the stop nearest to a value. @param {number[]} stops @param {number} value */
export function nearestStop(stops, value) {
  let best = 0;
  stops.forEach((stop, i) => {
    if (Math.abs(stop - value) < Math.abs(stops[best] - value)) best = i;
  });
  return best;
}
