// Pure functions of the residual and the why view.

import assert from "node:assert/strict";
import { test } from "node:test";

import { medianOf, view as residual } from "../../../transformer_lab/views/residual/scene.js";
import { lensColumns } from "../../../transformer_lab/views/residual/lens.js";
import { answerOf } from "../../../transformer_lab/views/shared/scene.js";
import { partColour } from "../../../transformer_lab/views/why/waterfall.js";
import { fallingParts, largestBySize, WhyCell } from "../../../transformer_lab/views/why/cell.js";

test("the median of an even number is the lower one, as torch's", () => {
  assert.equal(medianOf([4, 1, 3, 2]), 2);
  assert.equal(medianOf([10, 9, 1]), 9);
});

test("a block of the lens is read in the order it was packed", () => {
  const info = { rows: 1, count: 2, k: 1, names: ["a", "b"] };
  const bytes = new Uint8Array(Float32Array.of(1, 0, 0.5, 0.25, 1, 1, 0.5, 0.125).buffer);
  const columns = answerOf(residual, info, bytes, "lens/16", {});
  const read = columns.map(({ top, answer, odds, own, settled }) => [top(0), answer, odds(0), own, settled]);
  assert.deepEqual(read, [[[{ name: "b", probability: 0.5 }], "b", 0.5, [true], 0], [[{ name: "a", probability: 0.25 }], "b", 0.125, [false], 1]]);
  assert.ok(lensColumns(1240, 100) >= 16 && lensColumns(376, 100) >= 4 && lensColumns(9999, 7) === 7 && lensColumns(9999, 1) === 1);
});

test("a waterfall falls in order and ends at the sum", () => {
  const parts = fallingParts([0.5, -2, 3, 0.5]);
  assert.deepEqual(parts.map(({ index }) => index), [2, 0, 3, 1]);
  assert.deepEqual(parts.map(({ from: begin, to }) => [begin, to]), [[0, 3], [3, 3.5], [3.5, 4], [4, 2]]);
  const table = Uint8ClampedArray.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  const red = (colour) => Number(colour.match(/\d+/)[0]);
  assert.equal(red(partColour(table, -1, 1)), 0);
  assert.equal(red(partColour(table, 1, 1)), 255);
  assert.ok(red(partColour(table, 0.001, 1)) > 160 && red(partColour(table, -0.001, 1)) < 95);
});

test("a score's numbers are read in the order they were packed", () => {
  const info = {
    d: 2, pairs: [0, 0], keys: 2, mean: 0, names: [], splits: { score: { rows: [0], columns: [0], shape: [1, 2], total: 5 } },
    sources: { query: { names: ["a"] }, key: { names: ["b", "c"] } },
  };
  const flat = Float32Array.from([1, 2, 3, 4, 5, -6, 7, 8, 0.25, 0.75, 9, 10, 11, 12, 13, 14, -15, 16, 17]);
  const cell = new WhyCell(info, new Uint8Array(flat.buffer));
  assert.deepEqual([...cell.q, ...cell.k, ...cell.products, ...cell.scores, ...cell.weights], [...flat.slice(0, 10)]);
  assert.deepEqual([...cell.aboveK, ...cell.aboveProducts], [9, 10, 11, 12]);
  assert.deepEqual([...cell.splits.score.query, ...cell.splits.score.key, ...cell.splits.score.table], [13, 14, -15, 16, 17]);
  assert.deepEqual(cell.best("key", false), ["c", -15]);
  assert.deepEqual(cell.best("key", true), [null, null]);
  assert.deepEqual([...cell.byPair(false)], [-1]);
  assert.deepEqual(cell.pairs, [[0, 1]]);
  const alone = new WhyCell({ ...info, pairs: [1, 0] }, new Uint8Array(flat.buffer)); // neither is rotated
  assert.deepEqual([...alone.byPair(false)], [-6, 5]);
  assert.equal(largestBySize([1, -3, 2]), 1);
});
