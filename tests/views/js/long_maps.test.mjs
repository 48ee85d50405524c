import assert from "node:assert/strict";
import { test } from "node:test";

import { WEIGHT_SCALE } from "../../../transformer_lab/views/shared/codecs.js";
import { shade } from "../../../transformer_lab/views/shared/colours.js";
import { Pyramid, SmallPyramid } from "../../../transformer_lab/views/heads/pyramid.js";
import { cellsSeen, gathered, levelFor, pixelsOf, sightWithin, tilesHolding, wholeSight, zoomedSight } from "../../../transformer_lab/views/heads/zoom.js";

/** The same numbers every time. */
function chance(seed) {
  let state = seed;
  return () => (state = (state * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

const needles = (size, count, random) => Array.from({ length: count }, () => ({
  query: Math.floor(random() * size.queries), key: Math.floor(random() * size.keys), weight: 0.05 + 0.9 * random(),
}));

test("no weight of a twentieth or more vanishes at any zoom, in any window, on any screen", () => {
  const random = chance(7);
  for (let turn = 0; turn < 60; turn++) {
    const size = { queries: 40 + Math.floor(random() * 400), keys: 40 + Math.floor(random() * 400), tile: 16 };
    const bits = new Uint16Array(size.queries * size.keys);
    const some = needles(size, 8, random);
    for (const { query, key, weight } of some) bits[query * size.keys + key] = Math.floor(weight * WEIGHT_SCALE);
    const pyramid = new SmallPyramid(bits, size, 1);
    const { level: top } = pyramid.info;
    const whole = wholeSight(size);
    const at = some[turn % some.length];
    let sight = turn % 3 ? zoomedSight(whole, 2 ** (-5 * random()), { query: at.query + 0.5, key: at.key + 0.5 }, size) : whole;
    sight = sightWithin(sight, size);
    const side = 30 + Math.floor(random() * 300);
    const level = levelFor(sight.tokens, side, 0, top);
    const cells = cellsSeen(sight, level, size);
    // Now and then a tile is not here yet, and a coarser one stands for it.
    const here = (l, r, c) => (l < top && random() < 0.3 ? null : pyramid.tile(l, r, c));
    const { values } = gathered(here, level, cells, size.tile, top);
    const per = side / sight.tokens;
    const width = Math.max(1, Math.round(Math.min(sight.tokens, size.keys - sight.key) * per));
    const height = Math.max(1, Math.round(Math.min(sight.tokens, size.queries - sight.query) * per));
    const pixels = pixelsOf(values, cells, level, sight, width, height, per);
    for (const { query, key, weight } of some) {
      const [y, x] = [(query + 0.5 - sight.query) * per, (key + 0.5 - sight.key) * per];
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      const seen = pixels[Math.floor(y) * width + Math.floor(x)];
      assert.ok(seen >= weight - 2 / WEIGHT_SCALE, `${JSON.stringify({ turn, sight, level, seen, weight })}`);
      assert.ok(shade(seen, 1) > 50);
    }
  }
});

test("what is zoomed about stays where it is, and the part stays in the map", () => {
  const size = { queries: 16384, keys: 12000 };
  let sight = wholeSight(size);
  const at = { query: 9000, key: 3000 };
  const place = ({ query, tokens }) => (at.query - query) / tokens;
  const before = place(sight);
  for (let i = 0; i < 8; i++) {
    sight = zoomedSight(sight, 0.5, at, size);
    assert.ok(Math.abs(place(sight) - before) < 1e-9);
  }
  assert.equal(sight.tokens, 64);
  for (let i = 0; i < 9; i++) sight = zoomedSight(sight, 2, at, size);
  assert.deepEqual(sight, wholeSight(size));
  assert.equal(zoomedSight(sight, 1e-9, at, size).tokens, 8);
  assert.deepEqual(sightWithin({ query: 99999, key: -5, tokens: 1000 }, size), { query: 15384, key: 0, tokens: 1000 });
  assert.deepEqual(sightWithin({ query: 3, key: 3, tokens: 100 }, { queries: 5, keys: 200 }), { query: 0, key: 3, tokens: 100 });
});

test("the level is the finest whose cells are a pixel wide", () => {
  assert.equal(levelFor(16384, 500, 0, 6), 6);
  assert.equal(levelFor(16384, 1024, 0, 6), 4);
  assert.equal(levelFor(400, 500, 0, 6), 0);
  assert.equal(levelFor(400, 500, 4, 6), 4); // of a saved page, which holds no finer
  assert.deepEqual(cellsSeen({ query: 100, key: 17, tokens: 64 }, 4, { queries: 150, keys: 999 }), { rows: [6, 10], columns: [1, 6] });
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
  assert.ok(pyramid.want([[1, 0, 0], [1, 0, 1], [1, 1, 1]], () => arrived++));
  pyramid.want([[1, 0, 1], [1, 1, 0]], () => arrived++);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(asked, ["decoder/0/1|f|tile/1/0/0", "decoder/0/1|f|tile/1/0/1", "decoder/0/1|f|tile/1/1/0"]);
  assert.equal(arrived, 3);
  assert.equal(pyramid.tile(1, 1, 0).most.length, 256);
  assert.equal(pyramid.tile(1, 1, 1), null);
  assert.ok(!pyramid.want([[1, 0, 1], [1, 0, 0]], () => {}));
  const { row, nothing } = await pyramid.row(5);
  assert.equal(row[3], 2); // times the scale
  assert.equal(nothing, 0.25);
  assert.equal(pyramid.row(5), pyramid.row(5));
});
