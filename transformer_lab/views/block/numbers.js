// A walk through a block as numbers for a file, named as Python names them (exported.py).

import { single } from "../shared/files.js";

/**
 * Every vector once, in the order in which it is made, and every table of keys.
 * @param {any} walk
 * @param {string[]} tokens
 * @returns {import("../shared/files.js").Numbers}
 */
export function walkNumbers(walk, tokens) {
  const { stages, shown } = walk.info;
  /** @type {import("../shared/files.js").Numbers["arrays"]} */
  const arrays = {};
  const named = (name, values, means, axis) => {
    let unique = name;
    for (let count = 2; unique in arrays; count++) unique = `${name} (${count})`;
    arrays[unique] = { axes: [axis ?? `number of ${unique}`], means, values: Array.from(values, single) };
  };
  const rows = [];
  const seen = [];
  for (const { tab, vectors } of stages) {
    for (const { name, at, n } of vectors) {
      const values = walk.vector(at, n);
      if (seen.some((other) => other.length === n && values.every((value, i) => value === other[i]))) continue;
      seen.push(values);
      named(`${tab}: ${name}`, values, `${tab}: ${name}, a vector`);
      values.forEach((value, i) => rows.push([tab, name, i, single(value)]));
    }
  }
  for (const { tab, formula, keys } of stages) {
    keys?.columns.forEach((name, i) => named(`${tab}, ${name}`, keys.numbers[i].map((x) => x ?? NaN), formula, "key"));
  }
  return { arrays, axes: { key: shown.map((key) => tokens[key]) }, table: { header: ["step", "vector", "number", "value"], rows } };
}
