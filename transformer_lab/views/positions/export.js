// What a PositionView shows as numbers for a file, named as Python names them (exported.py).

import { nested, single } from "../shared/files.js";

/**
 * A head's weights before and after the test; the curve by distance; the encoding.
 * @param {import("./viewer.js").Now} now
 * @param {string[]} titles of the two maps
 * @returns {import("../shared/files.js").Numbers}
 */
export function positionNumbers({ change, curve, facts, map, scheme }, titles) {
  const { n, names, causal } = change;
  const weights = (part, title) => ({
    axes: ["query", "key"], means: `attention weight, ${title}`,
    values: nested([n, n], (query, key) => (causal && key > query ? null : single(change[part][query * n + key]))),
  });
  const [first] = curve.series;
  const banded = Boolean(first?.band);
  const lines = banded ? [first.y, first.band.low, first.band.high] : curve.series.map(({ y }) => y);
  const arrays = {
    before: weights("before", titles[0]),
    after: weights("after", titles[1]),
    by_distance: {
      axes: [banded ? "line" : "head", "distance"], means: `${curve.what}, by key − query in tokens`,
      values: lines.map((line) => line.map(single)),
    },
  };
  if (map) {
    const [row, column] = map.what === "bias" ? ["query", "key"] : ["position", scheme.unit ?? "dimension"];
    arrays.encoding = {
      axes: [`encoding ${row}`, `encoding ${column}`], means: scheme.scale ?? scheme.title(facts),
      values: nested([map.rows, map.columns], (at, i) => single(map.value(at, i))),
    };
  }
  return { arrays, axes: { query: names, key: names, distance: curve.x, ...(banded ? { line: ["mean", "least", "most"] } : {}) } };
}
