// Initial weights, from the page's own random generator.

/**
 * @typedef {object} Drawn how the numbers of a tensor are drawn: middle + normal · N(0, 1) + uniform · U(−1, 1)
 * @property {number[]} shape
 * @property {number} middle
 * @property {number} normal
 * @property {number} uniform
 */

/** @param {Record<string, Drawn>} table @param {() => number} random of 0 … 1 @returns {Map<string, {shape: number[], data: Float32Array}>} */
export function initialWeights(table, random) {
  const bell = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const number = ({ middle, normal, uniform }) =>
    middle + (normal ? normal * bell() : 0) + (uniform ? uniform * (2 * random() - 1) : 0);
  return new Map(
    Object.entries(table).map(([name, how]) => {
      const length = how.shape.reduce((a, b) => a * b, 1);
      return [name, { shape: how.shape, data: Float32Array.from({ length }, () => number(how)) }];
    }),
  );
}
