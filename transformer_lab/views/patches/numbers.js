// What a position gives to every other as numbers for a file, named as Python names them (exported.py).

import { weightOf } from "../shared/codecs.js";
import { single } from "../shared/files.js";

/**
 * @param {ArrayLike<number>} codes
 * @param {any} grid
 * @returns {import("../shared/files.js").Numbers}
 */
export function patchNumbers(codes, { labels, start, rows, columns }) {
  const inside = (at) => at >= start && at < start + rows * columns;
  const places = labels.map((_, at) => at);
  const found = {
    weight: places.map((at) => single(weightOf(codes[at]))),
    row: places.map((at) => (inside(at) ? Math.floor((at - start) / columns) : null)),
    column: places.map((at) => (inside(at) ? (at - start) % columns : null)),
  };
  const of = (name, means) => ({ axes: ["key"], means, values: found[name] });
  return {
    arrays: {
      weight: of("weight", "attention weight of the chosen position, rounded as it is shown"),
      row: of("row", "of patches, counted from the top; NaN beside the picture"),
      column: of("column", "of patches, counted from the left"),
    },
    axes: { key: labels },
    table: { header: ["key", "key_token", "row", "column", "weight"], rows: places.map((at) => [at, labels[at], found.row[at], found.column[at], found.weight[at]]) },
  };
}
