import assert from "node:assert/strict";
import { test } from "node:test";

import { csvFile, fileName, jsonFile } from "../../../transformer_lab/views/shared/files.js";
import { nested, numbersOf, single } from "../../../transformer_lab/views/shared/numbers.js";

const numbers = {
  arrays: {
    weight: { axes: ["query", "key"], means: "weights", values: [[1, null], [0.25, 0.75]] },
    moved: { axes: ["step"], means: "another table", values: [3, 4] },
  },
  axes: { query: ['a"', "b,\n"], key: [0, 5], step: [1, 2] },
  chosen: { layer: 1 },
};

test("a file's name says view, model, head and text, in any script", () => {
  const told = { view: "HeadView", model: "org/gpt2", part: "layer-1-head-2", text: "·für ··キー/../x" };
  assert.equal(fileName(told), "headview-org-gpt2-layer-1-head-2-für-キー-x");
  assert.equal(fileName({ text: "…/.." }), "view");
  assert.ok(fileName({ text: "x".repeat(999) }).length <= 40);
});

test("a table has a row for each place that holds something, and says at its end how", () => {
  const [header, first, ...rest] = csvFile(numbers, { view: "HeadView" }).split(/\n(?=\d|$)/);
  assert.equal(header, "query,query_token,key,weight,about");
  assert.ok(first.startsWith('0,"a""",0,1,"{""view"":""HeadView""'));
  assert.deepEqual(rest, ['1,"b,\n",0,0.25,', '1,"b,\n",5,0.75,', ""]);
});

test("a cell that a spreadsheet would run as a formula begins with an apostrophe, a number does not", () => {
  const words = ["=1+1", "+a", "-", "@x", "\t=1", "a=1"];
  const cells = { arrays: { weight: { axes: ["key"], means: "", values: [-1, -1, -1, -1, -1, -1] } }, axes: { key: words } };
  const column = csvFile(cells, {}).split("\n").slice(1, -1).map((row) => row.split(",").slice(1, 3));
  assert.deepEqual(column, ["'=1+1", "'+a", "'-", "'@x", "'\t=1", "a=1"].map((word) => [word, "-1"]));
});

test("JSON holds every array, and a table of nothing still says how", () => {
  const told = JSON.parse(jsonFile(numbers, { view: "HeadView" }));
  assert.deepEqual(told.arrays.weight.values, [[1, null], [0.25, 0.75]]);
  assert.deepEqual([told.view, told.chosen], ["HeadView", { layer: 1 }]);
  const empty = { ...numbers, arrays: { weight: { axes: ["query"], means: "", values: [null, null] } } };
  assert.match(csvFile(empty, { view: "x" }), /^query,query_token,weight,about\n,,,"\{""view""/);
});

test("arrays are given flat, or by their places; an axis that is not named has the size that is left", () => {
  const { arrays } = numbersOf({ row: ["a", "b"] }, {
    flat: [["row", "column"], Float32Array.of(0.1, 1, 2, NaN, 4, 5), "numbers"],
    words: [["row"], (row) => ["=1", undefined][row], "words"],
  });
  assert.deepEqual(arrays.flat, { axes: ["row", "column"], means: "numbers", values: [[0.1, 1, 2], [null, 4, 5]] });
  assert.deepEqual(arrays.words.values, ["=1", null]);
});

test("a number of 32 bits is written as short as gives it back", () => {
  const values = [0.1, 1 / 3, 16777217, 1e-40, -2.5, 123456.789].map(Math.fround);
  assert.deepEqual(values.map((value) => Math.fround(single(value))), values);
  assert.deepEqual([single(Math.fround(0.1)), single(Math.fround(1 / 3)), single(NaN), single(-Infinity)], [0.1, 0.33333334, null, null]);
});

test("an axis that nobody named is counted, one that nothing uses is left out, and a table may be another", () => {
  const values = nested([2, 1, 3], (i, _, k) => 10 * i + k);
  assert.deepEqual(values, [[[0, 1, 2]], [[10, 11, 12]]]);
  const found = { arrays: { a: { axes: ["x", "y", "z"], means: "", values } }, axes: { y: ["only"], w: [1] }, chosen: {}, table: { header: ["n"], rows: [[7]] } };
  assert.deepEqual(JSON.parse(jsonFile(found, {})).axes, { x: [0, 1], y: ["only"], z: [0, 1, 2] });
  assert.match(csvFile(found, {}), /^n,about\n7,/);
});
