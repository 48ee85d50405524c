import assert from "node:assert/strict";
import { test } from "node:test";

import { WEIGHT_SCALE } from "../../../transformer_lab/views/shared/codecs.js";
import { shade } from "../../../transformer_lab/views/shared/colours.js";
import { partOf, wholeWindow, windowWithin, zoomedWindow } from "../../../transformer_lab/views/heads/map_panel.js";
import { cellsSeen, levelFor, Pyramid, tilesHolding } from "../../../transformer_lab/views/heads/pyramid.js";

/** A seeded random generator. */
function chance(seed) {
  let state = seed;
  return () => (state = (state * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

const needles = (size, count, random) => Array.from({ length: count }, () => ({
  query: Math.floor(random() * size.queries), key: Math.floor(random() * size.keys), weight: 0.05 + 0.9 * random(),
}));

const bounds = ({ queries, keys }) => [[0, queries], [0, keys]];

/** A pyramid with all tiles except some. */
function pyramidOf(bits, size, lacks) {
  let most = { values: bits, rows: size.queries, columns: size.keys };
  const levels = [most];
  while (Math.max(most.rows, most.columns) > size.tile) {
    const [rows, columns] = [Math.ceil(most.rows / 2), Math.ceil(most.columns / 2)];
    const values = new Uint16Array(rows * columns);
    most.values.forEach((code, i) => {
      const at = (Math.floor(i / most.columns) >> 1) * columns + ((i % most.columns) >> 1);
      values[at] = Math.max(values[at], code);
    });
    levels.push((most = { values, rows, columns }));
  }
  const top = levels.length - 1;
  const bytes = new Uint8Array(most.values.buffer);
  const pyramid = new Pyramid("decoder/0/0", "", { level: top, base: 0, scale: 1 }, [bytes, bytes], size, {});
  pyramid.tile = (level, row, column) => {
    const { values, rows, columns } = levels[level];
    if (level < top && lacks()) return null;
    const [tall, wide] = [Math.min(size.tile, rows - row * size.tile), Math.min(size.tile, columns - column * size.tile)];
    const cut = Uint16Array.from({ length: tall * wide }, (_, i) => values[(row * size.tile + Math.floor(i / wide)) * columns + column * size.tile + (i % wide)]);
    return { most: cut, share: cut, rows: tall, columns: wide };
  };
  return pyramid;
}

test("no weight of a twentieth or more vanishes at any zoom, in any window, on any screen", () => {
  const random = chance(7);
  for (let turn = 0; turn < 60; turn++) {
    const size = { queries: 40 + Math.floor(random() * 400), keys: 40 + Math.floor(random() * 400), tile: 16 };
    const bits = new Uint16Array(size.queries * size.keys);
    const some = needles(size, 8, random);
    for (const { query, key, weight } of some) bits[query * size.keys + key] = Math.floor(weight * WEIGHT_SCALE);
    // Some tiles are missing, and a coarser one replaces each.
    const pyramid = pyramidOf(bits, size, () => random() < 0.3);
    const at = some[turn % some.length];
    const whole = wholeWindow(bounds(size));
    const part = partOf(turn % 3 ? zoomedWindow(whole, 2 ** (-5 * random()), { query: at.query + 0.5, key: at.key + 0.5 }, bounds(size)) : whole, bounds(size));
    const per = (30 + Math.floor(random() * 300)) / Math.max(part.queries, part.keys);
    const [width, height] = [part.keys, part.queries].map((count) => Math.max(1, Math.round(count * per)));
    const { values, level } = pyramid.pixels(part, width, height);
    for (const { query, key, weight } of some) {
      const [y, x] = [((query + 0.5 - part.query) * height) / part.queries, ((key + 0.5 - part.key) * width) / part.keys];
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      const seen = values[Math.floor(y) * width + Math.floor(x)];
      assert.ok(seen >= weight - 2 / WEIGHT_SCALE, `${JSON.stringify({ turn, part, level, seen, weight })}`);
      assert.ok(shade(seen, 1) > 50);
    }
  }
});

test("what is zoomed about stays where it is, and the window stays in the map, or in the block that is marked", () => {
  const all = bounds({ queries: 16384, keys: 12000 });
  let window = wholeWindow(all);
  const at = { query: 9000, key: 3000 };
  const place = ({ query, tokens }) => (at.query - query) / tokens;
  const before = place(window);
  for (let i = 0; i < 8; i++) {
    window = zoomedWindow(window, 0.5, at, all);
    assert.ok(Math.abs(place(window) - before) < 1e-9);
  }
  assert.equal(window.tokens, 64);
  for (let i = 0; i < 9; i++) window = zoomedWindow(window, 2, at, all);
  assert.deepEqual(window, wholeWindow(all));
  assert.equal(zoomedWindow(window, 1e-9, at, all).tokens, 8);
  assert.deepEqual(windowWithin({ query: 99999, key: -5, tokens: 1000 }, all), { query: 15384, key: 0, tokens: 1000 });
  assert.deepEqual(windowWithin({ query: 3, key: 3, tokens: 100 }, bounds({ queries: 5, keys: 200 })), { query: 0, key: 3, tokens: 100 });
  const block = [[300, 340], [20, 60]];
  assert.deepEqual(partOf(wholeWindow(block), block), { query: 300, key: 20, queries: 40, keys: 40 });
  assert.deepEqual(partOf(windowWithin({ query: 339.6, key: 0, tokens: 9.4 }, block), block), { query: 331, key: 20, queries: 9, keys: 9 });
});

test("the level is the finest whose cells are a pixel wide", () => {
  assert.equal(levelFor(16384, 500, 0, 6), 6);
  assert.equal(levelFor(16384, 1024, 0, 6), 4);
  assert.equal(levelFor(400, 500, 0, 6), 0);
  assert.equal(levelFor(400, 500, 4, 6), 4); // in a saved page, which has no finer level
  assert.deepEqual(cellsSeen({ query: 100, key: 17, queries: 50, keys: 64 }, 4), { rows: [6, 10], columns: [1, 6] });
  const tiles = tilesHolding({ rows: [0, 3 * 16], columns: [16, 4 * 16] }, 16);
  assert.equal(tiles.length, 9);
  assert.deepEqual(tiles[0], [1, 2]); // the middle first
});

test("tiles are asked for one by one, the latest wish counts, and what is not there is asked for once", async () => {
  const asked = [];
  const requests = {
    ask: async ({ name }) => {
      asked.push(name);
      if (name.endsWith("tile/1/0/1")) throw new Error("this page does not hold it");
      const bytes = new Uint8Array(new Uint16Array(16 * 16).fill(WEIGHT_SCALE).buffer);
      return { message: { info: { nothing: 0.25 } }, buffers: [bytes, bytes] };
    },
  };
  const overview = new Uint8Array(new Uint16Array(16 * 16).buffer);
  const pyramid = new Pyramid("decoder/0/1", "f", { level: 2, base: 0, scale: 2 }, [overview, overview], { queries: 64, keys: 64, tile: 16 }, requests);
  let arrived = 0;
  const part = (query, key, queries, keys) => ({ query, key, queries, keys });
  assert.ok(pyramid.want(part(0, 0, 64, 64), 1, () => arrived++)); // the first of four is requested
  pyramid.want(part(0, 32, 32, 32), 1, () => arrived++);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(asked, ["decoder/0/1|f|tile/1/0/0", "decoder/0/1|f|tile/1/0/1"]);
  assert.equal(arrived, 2);
  assert.equal(pyramid.tile(1, 0, 0).most.length, 256);
  assert.ok(!pyramid.want(part(0, 0, 32, 64), 1, () => {})); // one is here, the other unavailable
  assert.ok(Number.isNaN(pyramid.value(5, 3)));
  await pyramid.bring({ query: 5, key: 3 });
  assert.equal(pyramid.row(5)[3], 2); // times the scale
  assert.equal(pyramid.value(5, 3), 2);
  assert.equal(pyramid.nothing(5), 0.25);
  assert.equal(pyramid.bring({ query: 5, key: 9 }), null);
});
