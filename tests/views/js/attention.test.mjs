import assert from "node:assert/strict";
import { test } from "node:test";

import { rowsWithin, shareFound } from "../../../transformer_lab/views/heads/between.js";
import { lineScene, strongestScene } from "../../../transformer_lab/views/heads/lines.js";

import { pooled } from "../../../transformer_lab/views/marks/matrix.js";
import { HeadWeights, largest, shownRow, softmaxRow, strongestEdges } from "../../../transformer_lab/views/shared/attention.js";

const close = (a, b, tolerance = 1e-6) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("softmaxRow equals exp over sum, and gives unseen keys nothing", () => {
  const q = Float32Array.of(1, -2, 0.5, 3);
  const k = Float32Array.of(1, 0, 0, 1, 2, -1);
  const row = softmaxRow(q, k, 2, 1, 2, new Float32Array(3));
  const scores = [0.5, 3].map(Math.exp);
  close(row[0], scores[0] / (scores[0] + scores[1]));
  close(row[1], scores[1] / (scores[0] + scores[1]));
  assert.equal(row[2], 0);
});

test("softmaxRow survives large scores", () => {
  const row = softmaxRow(Float32Array.of(1e4), Float32Array.of(1, 0.999), 1, 0, 2, new Float32Array(2));
  assert.ok(row.every(Number.isFinite));
  close(row[0] + row[1], 1);
});

test("a causal head with more keys than queries counts from the ends of both", () => {
  const info = { encoding: "scores32", error: 1e-6, d: 1 };
  const bytes = new Uint8Array(Float32Array.of(0, 0, 0, 0, 0).buffer);
  const head = new HeadWeights(info, [bytes], { queries: 2, keys: 3, causal: true });
  assert.deepEqual([...head.row(0)], [0.5, 0.5, 0]);
  close(head.row(1)[2], 1 / 3);
});

test("hiding keys rescales the rest to the row's own sum", () => {
  const row = Float32Array.of(0.6, 0.3, 0.1);
  const shown = shownRow(row, Uint8Array.of(1, 0, 0), null);
  close(shown[1], 0.75);
  close(shown[0] + shown[1] + shown[2], 1);
  assert.deepEqual([...shownRow(Float32Array.of(1, 0), Uint8Array.of(1, 0), null)], [0, 0]);
  assert.equal(shownRow(row, null, null), row);
});

test("value-weighting multiplies after the rescaling", () => {
  const shown = shownRow(Float32Array.of(0.5, 0.5), Uint8Array.of(1, 0), Float32Array.of(3, 2));
  assert.deepEqual([...shown], [0, 2]);
});

test("largest sorts, keeps ties in order, and drops what is too small", () => {
  const found = largest([0.1, 0.4, 0.4, 0.05], 3, 0.06);
  assert.deepEqual(found.map((f) => f.index), [1, 2, 0]);
  assert.deepEqual(largest([0, 0], 3), []);
});

test("strongestEdges takes each row's strongest edge, then the fewest that carry the share", () => {
  const rows = [
    { query: 0, head: 0, row: Float32Array.of(0.9, 0.1) },
    { query: 1, head: 0, row: Float32Array.of(0.5, 0.5) },
  ];
  const { edges, covered } = strongestEdges(rows, 0.7, 100);
  assert.deepEqual(edges.map((e) => [e.query, e.key]), [[0, 0], [1, 0]]);
  close(covered, 0.7);
  assert.equal(strongestEdges(rows, 0.7, 1).edges.length, 2);
  assert.deepEqual(strongestEdges(rows, 0.8, 100).edges.map((e) => [e.query, e.key]), [[0, 0], [1, 0], [1, 1]]);
  assert.equal(strongestEdges([{ query: 0, head: 0, row: new Float32Array(2) }], 0.7, 5).covered, 0);
});

/** Random maps of a few shapes: [head][query] -> row, and its attention to nothing. */
function* randomMaps(count) {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let i = 0; i < count; i++) {
    const [queries, sharpness, causal, sinks] = [2 + Math.floor(62 * random()), 0.5 + 12 * random(), i % 2 === 0, i % 5 === 0];
    const keys = causal ? queries : 2 + Math.floor(62 * random());
    const rowsOf = () => Array.from({ length: queries }, (_, query) => {
      const seen = causal ? query + 1 : keys;
      const scores = Float32Array.from({ length: keys + 1 }, (_, key) => (key < seen || (sinks && key === keys) ? Math.exp(sharpness * (random() + random() - 1)) : 0));
      const total = scores.reduce((sum, score) => sum + score, 0);
      return scores.map((score) => score / total);
    });
    yield { kind: { queries, keys, heads: 3 }, maps: i % 3 ? [rowsOf()] : [rowsOf(), rowsOf(), rowsOf()], sinks };
  }
}

test("no token of 50 random maps is without its strongest line, and the lines carry 70% of the weight", () => {
  let strong = 0;
  for (const { kind, maps, sinks } of randomMaps(50)) {
    const rows = maps.map((map, head) => ({
      head, rowOf: (query) => map[query].subarray(0, kind.keys), nothing: sinks ? (query) => map[query][kind.keys] : null,
    }));
    const { edges, note } = lineScene({ kind, focus: null, long: false, rows, layerMode: maps.length > 1, end: 1, valueWeighted: false });
    let [drawn, total] = [0, 0];
    for (const edge of edges) drawn += edge.weight;
    for (const [head, map] of maps.entries()) {
      for (const [query, row] of map.entries()) {
        const most = Math.max(...row);
        const own = edges.filter((edge) => edge.query === query && edge.head === head);
        assert.equal(Math.max(...own.map((edge) => edge.weight)), most, `query ${query} of ${kind.queries}`);
        if (most > 0.5) strong++;
        total += row.reduce((sum, weight) => sum + weight, 0);
      }
    }
    assert.equal(new Set(edges.map(({ head, query, key }) => `${head}/${query}/${key}`)).size, edges.length);
    assert.ok(drawn > 0.699 * total || edges.length === 400, note);
    assert.ok(note.includes(`${Math.round((100 * drawn) / total)}% of the weight (${edges.length} line`), note);
  }
  assert.ok(strong > 500);
});

test("of a long text, as many lines as before; of few queries each one's strongest too", () => {
  const strongest = Array.from({ length: 64 }, (_, i) => [i < 40 ? 0 : i, i, 1 - i / 100]);
  const lines = (edges, queries) => strongestScene({ edges, whose: "of this head", kind: { queries }, head: 0, block: null });
  const places = (edges, queries) => lines(edges, queries).edges.map(({ query, key, weight }) => [query, key, weight]);
  assert.deepEqual(places(strongest, 5000), strongest.slice(0, 20));
  assert.deepEqual(places(strongest, 60), [strongest[0], ...strongest.slice(40)]);
  assert.deepEqual(places(strongest.slice(0, 45), 60).length, 20);
  assert.equal(lines([], 5000).note, "Lines: none lies in this head. Choose a cell to see what its token attends to.");
});

test("where a token spreads over thousands, its strongest lines are drawn all the same", () => {
  const row = Float32Array.from({ length: 4000 }, (_, key) => (key % 100 === 7 ? 0.0009 : 0.0002));
  const kind = { queries: 4000, keys: 4000, query_tokens: Array(4000).fill("a"), key_tokens: Array(4000).fill("a") };
  const given = { kind, focus: null, long: true, layerMode: false, end: 1, valueWeighted: false };
  const { edges, note } = lineScene({ ...given, rows: [{ head: 0, rowOf: () => row, nothing: null }] });
  assert.deepEqual(edges.map(({ key }) => key), Array.from({ length: 20 }, (_, i) => 100 * i + 7));
  assert.equal(note, "Lines: what the last token, “a”, attends to, the strongest, each below 1%; 2% of its weight.");
});

test("pooled keeps the largest weight of every pixel", () => {
  const rows = Array.from({ length: 6 }, (_, q) => Float32Array.from({ length: 6 }, (_, k) => q * 6 + k));
  const part = { query: 0, key: 0, queries: 6, keys: 6 };
  const small = pooled((q) => rows[q], part, 2, 3, 10);
  assert.deepEqual([...small.values], [8, 11, 20, 23, 32, 35]);
  const cut = pooled((q) => rows[q], { query: 2, key: 3, queries: 2, keys: 2 }, 9, 9, 10);
  assert.deepEqual([...cut.values], [15, 16, 21, 22]);
});

test("a head tells the most that it will hold, however many rows are looked at", () => {
  const bytes = new Uint8Array(new Uint16Array(3 * 3).buffer);
  const small = new HeadWeights({ encoding: "weights", error: 0 }, [bytes], { queries: 3, keys: 3, causal: true });
  assert.equal(small.bytes, 2 * 9 + 4 * 9);
  const n = 1100;
  const long = new HeadWeights({ encoding: "scores32", error: 0, d: 1 }, [new Uint8Array(4 * 2 * n)], { queries: n, keys: n, causal: true });
  for (let query = 0; query < n; query++) long.row(query);
  const held = [...long.rows.values()].reduce((sum, row) => sum + row.byteLength, 0);
  assert.equal(long.bytes, 8 * n + held);
  assert.ok(held < 0.1 * 4 * n * n);
});

test("a map with sinks has one more column, which is no key", () => {
  const bits = Uint16Array.of(30000, 0, 29999, 15000, 15000, 29999);
  const shape = { queries: 2, keys: 2, causal: true, sinks: [0] };
  const head = new HeadWeights({ encoding: "weights", error: 0 }, [new Uint8Array(bits.buffer)], shape);
  assert.deepEqual([head.row(0), head.row(1)].map((row) => [...row].map((w) => +w.toFixed(3))), [[0.5, 0], [0.25, 0.25]]);
  for (const query of [0, 1]) close(head.nothing(query), 0.5, 1e-5);
});

test("an edge to nothing is one of the strongest where it is strong", () => {
  const rows = [{ query: 0, head: 0, row: Float32Array.of(0.1, 0.2), nothing: 0.7 }];
  const { edges, covered } = strongestEdges(rows, 0.7, 100);
  assert.deepEqual(edges.map((e) => [e.query, e.key]), [[0, null]]);
  close(covered, 0.7);
});

test("what goes from A to B, of a page's weights", () => {
  const rows = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.2, 0.3, 0.5, 0], [0.1, 0.2, 0.3, 0.4]].map((row) => Float32Array.from(row));
  const weights = { row: (query) => rows[query], error: 0 };
  const block = { a: [2, 4], b: [0, 2] };
  const near = (found, wanted) => assert.ok(Math.abs(found - wanted) < 1e-6, `${found} ${wanted}`);
  const { share, even, about } = shareFound(weights, block, null);
  near(share, (0.5 + 0.3) / 2);
  near(even, (2 / 3 + 2 / 4) / 2);
  assert.equal(about, false);
  // Without key 0, the rest of each row is rescaled to its sum.
  const left = shareFound(weights, block, Uint8Array.of(1, 0, 0, 0));
  near(left.share, (0.3 / 0.8 + 0.2 / 0.9) / 2);
  near(left.even, (1 / 2 + 1 / 3) / 2);
  assert.equal(left.about, true);
  // .395 is .39 or .40: the page's weights are too coarse to tell.
  const edge = { row: () => Float32Array.of(0.39499, 0.60501), error: 0 };
  assert.equal(shareFound(edge, { a: [0, 1], b: [0, 1] }, null).about, true);
  assert.deepEqual([...rowsWithin((query) => rows[query], block, 4)(3)], [...Float32Array.of(0.1, 0.2, 0, 0)]);
  assert.deepEqual([...rowsWithin((query) => rows[query], block, 4)(1)], [0, 0, 0, 0]);
});
