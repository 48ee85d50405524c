// Numbers on view as named arrays, for files; exports.py has the same in Python.

/**
 * @typedef {object} Named numbers with a name for each axis; null: no number
 * @property {string[]} axes
 * @property {string} means
 * @property {any[]} values
 *
 * @typedef {object} Numbers
 * @property {Record<string, Named>} arrays the first and all others with its axes form the table
 * @property {Record<string, (string | number)[]>} axes labels along each axis; an axis without
 *   labels is numbered from 0
 * @property {{header: string[], rows: any[][]}} [table] another table for the CSV file
 * @property {Record<string, any>} [chosen] the choices, where they differ from the view's traits
 */

/** The shortest decimal with the same 32-bit value; null for a value that is not finite. @param {number} value */
export function single(value) {
  if (!Number.isFinite(value)) return null;
  const kept = Math.fround(value);
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(kept.toPrecision(digits));
    if (Math.fround(short) === kept) return short;
  }
  return Number(kept.toPrecision(9));
}

/** Nested lists of these sizes. @param {number[]} sizes @param {(...places: number[]) => any} value @returns {any[]} */
export const nested = ([size, ...more], value) =>
  Array.from({ length: size }, (_, i) =>
    more.length ? nested(more, (...places) => value(i, ...places)) : value(i),
  );

/**
 * The sizes of an array, and its value at given indices.
 * @param {Numbers["axes"]} axes @param {string[]} names of its axes
 * @param {ArrayLike<any> | ((...places: number[]) => any)} values
 */
export function sizesOf(axes, names, values) {
  const known = names.map((axis) => axes[axis]?.length);
  const sizes = known.map(
    (size) => size ?? values.length / known.reduce((a, b) => a * (b ?? 1), 1),
  );
  const at =
    typeof values === "function"
      ? values
      : (...places) => values[places.reduce((sum, place, i) => sum * sizes[i] + place, 0)];
  return { sizes, at };
}

/**
 * Numbers for a file, from a view's arrays.
 * @param {Numbers["axes"]} axes labels along them
 * @param {Record<string, [string[], ArrayLike<any> | ((...places: number[]) => any), string]>} arrays
 *   axes, values (flat, or a function of the indices) and meaning of each
 * @param {Partial<Numbers>} [more]
 * @returns {Numbers}
 */
export function numbersOf(axes, arrays, more = {}) {
  const whole = ([names, values, means]) => {
    const { sizes, at } = sizesOf(axes, names, values);
    const plain = (value) => (typeof value === "number" ? single(value) : (value ?? null));
    return { axes: names, means, values: nested(sizes, (...places) => plain(at(...places))) };
  };
  return {
    axes,
    arrays: Object.fromEntries(Object.entries(arrays).map(([name, one]) => [name, whole(one)])),
    ...more,
  };
}
