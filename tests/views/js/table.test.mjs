import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { asked, columnsOf, csvOf, effectText, fallsFirst, onThisText, rowsOf, searched, sorted, valueOf } from "../../../transformer_lab/views/explorer/table_rows.js";

// Written by tests/heads/test_table.py: a table, what Python finds in it, and its CSV.
const given = process.env.TL_TABLE ? JSON.parse(readFileSync(process.env.TL_TABLE, "utf-8")) : null;

test("a query finds what Python finds, or is wrong in the same words", { skip: !given }, () => {
  const { columns, rows, told, short } = given;
  assert.ok(Object.keys(told).length > 30);
  for (const [query, expected] of Object.entries(told)) {
    const comparable = columns.filter((name) => name !== "evidence");
    const find = () => {
      const holds = asked(query, [...comparable, "evidence"], (column) => short[column] ?? column);
      return rows.flatMap((row, i) => (holds((column) => row[column]) ? [i] : []));
    };
    if (typeof expected === "string") assert.throws(find, { message: expected }, query);
    else assert.deepEqual(find(), expected, query);
  }
});

const known = {
  kind: "decoder", layers: 3, heads: 2, headless: { 1: "convolution, no heads" }, names: ["induction", "entropy"],
  shares: ["induction"],
  scores: Float32Array.from([0.75, 0.25, NaN, NaN, 0.5, NaN, 1, 2, NaN, NaN, 3, NaN]),
  labelOf: (layer, head) => (layer === 0 && head === 0 ? { tag: "induction", sentence: "looks, there", score: 0.9 } : { tag: "", sentence: "" }),
  effectOf: (layer, head) => (layer === 0 && head === 1 ? { change: -0.75, estimated: false } : layer === 2 || head === 0 ? { change: layer ? 0.125 : -0.5, estimated: true } : null),
};

test("rows hold what is known of each head, and say whether its effect was measured", () => {
  const rows = rowsOf(known);
  assert.deepEqual(rows.map(({ layer, head }) => [layer, head]), [[0, 0], [0, 1], [2, 0]], "no layer without heads, no head that a layer has not");
  assert.deepEqual(rows.map((row) => [row.effect, row.estimated]), [[-0.5, true], [-0.75, false], [0.125, true]]);
  assert.equal(rows[0].evidence, "looks, there; on this text: induction 0.75");
  assert.equal(rows[1].evidence, "");
  const none = rowsOf({ ...known, names: [], scores: new Float32Array(), effectOf: () => null });
  assert.equal(none.length, 4, "before the scores are there, every head");
  assert.equal(none[0].effect, null);
  assert.equal(onThisText({ a: 0.6, b: 0.9, c: 0.5 }, ["a", "b", "c"]), "on this text: b 0.90, a 0.60");
});

test("rows are sorted by any column, those without a value last", () => {
  const rows = [...rowsOf(known), { ...rowsOf(known)[0], layer: 9, effect: null, label: "", scores: { induction: NaN, entropy: NaN } }];
  const order = (...how) => sorted(rows, ...how).map(({ layer, head }) => `${layer}.${head}`);
  assert.deepEqual(order("effect", true), ["0.1", "0.0", "2.0", "9.0"]);
  assert.deepEqual(order("effect", false), ["2.0", "0.0", "0.1", "9.0"]);
  assert.deepEqual(order("induction", true), ["0.0", "2.0", "0.1", "9.0"]);
  assert.deepEqual(order("layer", false), ["0.0", "0.1", "2.0", "9.0"]);
  assert.deepEqual(columnsOf(known.names).filter((name) => !fallsFirst(name)), ["layer", "head", "label"]);
  assert.equal(valueOf(rows[0], "entropy"), 1);
  assert.deepEqual(searched(rows, "entropy > 1.5 and effect > .1", columnsOf(known.names)).map(({ layer }) => layer), [0, 2]);
});

test("numbers are told shortly, and estimates as such", () => {
  assert.equal(effectText({ effect: -0.3126, estimated: false }), "−0.313");
  assert.equal(effectText({ effect: 0.02, estimated: true }), "≈ +0.020");
  assert.equal(effectText({ effect: 0.00001, estimated: true }), "≈ 0");
  assert.equal(effectText({ effect: null, estimated: false }), "");
});

test("a file holds every number, and what is written in it stays one cell", () => {
  const rows = rowsOf(known);
  rows[0].evidence = '=says "a, b"\nand more';
  const lines = csvOf(rows, columnsOf(known.names)).split("\n");
  assert.equal(lines[0], "kind,layer,head,effect,label,score,induction,entropy,effect is,evidence");
  assert.equal(lines[1], `decoder,0,0,-0.5,induction,0.9,0.75,1,an estimate,"'=says ""a, b""`);
  assert.equal(lines[3], "decoder,0,1,-0.75,,,0.25,2,measured,");
});
