// One score as numbers for a file, named as Python names them (exported.py).

import { single } from "../shared/files.js";

/**
 * @param {import("./cell.js").WhyCell} cell
 * @param {string[]} keys
 * @returns {import("../shared/files.js").Numbers}
 */
export function whyNumbers(cell, keys) {
  const of = (axis, means, values) => ({ axes: [axis], means, values: Array.from(values, single) });
  const arrays = {
    q: of("dimension", "the query, as it is multiplied", cell.q),
    k: of("dimension", "the key, as it is multiplied", cell.k),
    product: of("dimension", "q · k of a dimension, scaled; they sum to the score", cell.products),
    score: of("key", "q · k of every key of the row, scaled; NaN: masked", cell.scores),
    weight: of("key", "softmax of the scores", cell.weights),
  };
  const axes = { key: keys.slice(0, cell.info.keys) };
  if (cell.info.mean !== null) arrays.product_above_mean = of("dimension", "the product, above the mean of the row", cell.aboveProducts);
  for (const [name, split] of Object.entries(cell.splits)) {
    for (const side of ["query", "key"]) {
      const axis = `${side}_source`;
      axes[axis] = cell.info.sources[side].names;
      arrays[`${name}_by_${axis}`] = of(axis, `${name}, by what wrote the ${side}'s stream`, split[side]);
    }
  }
  return { arrays, axes };
}
