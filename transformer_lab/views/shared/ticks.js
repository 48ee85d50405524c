// Round numbers along an axis, and the point of a curve that is meant.

/** Round numbers that cover a range. @param {number} low @param {number} high @param {number} count about so many */
export function niceTicks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? 10 * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++) ticks.push(i * step + 0);
  return ticks;
}

/** The point of a curve nearest to a step. @param {Float32Array} points [step, value, step, value, …], steps rising @param {number} step */
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
