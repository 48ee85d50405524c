import assert from "node:assert/strict";
import { test } from "node:test";

import { niceTicks, nearest } from "../../../transformer_lab/views/shared/ticks.js";
import { scaleEnd } from "../../../transformer_lab/views/heads/scale.js";
import { cellAt, frameOf, leaning, leaningHeight, textOf, tilesOf } from "../../../transformer_lab/views/shared/map_frame.js";
import { cellOfHead, gridSize, headAtCell } from "../../../transformer_lab/views/shared/thumbnails.js";
import { roundStep } from "../../../transformer_lab/views/shared/ticks.js";
import { besides, columnLines, withGaps } from "../../../transformer_lab/views/heads/lines.js";

test("lines between the same two tokens lie side by side, within their row", () => {
  for (const count of [1, 2, 4, 16]) {
    const edges = Array.from({ length: count }, (_, head) => ({ query: 3, key: 1, head }));
    const aside = besides([...edges, { query: 4, key: 1, head: 0 }], 20);
    const places = edges.map((edge) => aside.get(edge));
    assert.equal(new Set(places).size, count);
    assert.ok(Math.max(...places) - Math.min(...places) <= 16);
    assert.ok(Math.abs(places.reduce((a, b) => a + b)) < 1e-9);
  }
});

test("names above columns never lie on one another, at any width", () => {
  for (let pitch = 10.5; pitch < 60; pitch += 0.25) {
    const { angle, size } = leaning(pitch);
    assert.ok(pitch * Math.sin(angle) >= size - 0.51, `${pitch}: ${angle}, ${size}`);
    assert.ok(textOf(pitch) <= pitch && size >= 9);
    assert.ok(leaningHeight(50, pitch) >= 50 * Math.sin(angle));
  }
  assert.equal(leaning(20).size, 12);
});

test("every cell's middle leads back to the cell, at every size", () => {
  for (const count of [1, 7, 64, 512]) {
    const part = { query: 3, key: 5, queries: count, keys: count };
    const frame = frameOf(part, { width: 500, height: 470, rowLabel: 70, columnLabel: 70 });
    assert.ok(frame.left + frame.width <= 500);
    for (const step of [0, count - 1, Math.floor(count / 2)]) {
      const x = frame.left + (step + 0.5) * frame.cell;
      const y = frame.top + (step + 0.5) * frame.cell;
      assert.deepEqual(cellAt(x, y, frame, part), { query: 3 + step, key: 5 + step });
      assert.deepEqual(cellAt(frame.left - 3, y, frame, part), { query: 3 + step, key: null });
      assert.deepEqual(cellAt(x, frame.top - 3, frame, part), { query: null, key: 5 + step });
    }
    assert.equal(cellAt(frame.left + frame.width + 1, frame.top + frame.height + 1, frame, part), null);
  }
});

test("the column of what goes to nothing lies beside the keys, on the canvas, and is no key", () => {
  for (const count of [1, 7, 24, 64, 512]) {
    const part = { query: 3, key: 5, queries: count, keys: count };
    const frame = frameOf(part, { width: 460, height: 470, rowLabel: 70, columnLabel: 70, lastLabel: 70, nothing: 62 });
    const { beside } = frame;
    assert.ok(beside.left > frame.left + frame.width && beside.width >= Math.max(frame.cell, 8));
    assert.ok(beside.left + beside.width / 2 + 31 <= 460, "its label too");
    const y = frame.top + 0.5 * frame.cell;
    assert.deepEqual(cellAt(beside.left + 1, y, frame, part), { query: 3, key: null, nothing: true });
    assert.equal(cellAt(beside.left - 2, y, frame, part), null, "the gap");
    assert.equal(cellAt(beside.left + 1, frame.top - 3, frame, part), null);
  }
});

test("the last slanted label leans no further than the canvas reaches", () => {
  const part = { query: 0, key: 0, queries: 21, keys: 21 };
  const room = { width: 460, height: 470, rowLabel: 60, columnLabel: 70 };
  const short = frameOf(part, { ...room, lastLabel: 8 });
  const long = frameOf(part, { ...room, lastLabel: 70 });
  const leans = (frame) => frame.left + frame.width - frame.cell / 2 + 70 / 2;
  assert.ok(short.slant && long.slant);
  assert.ok(leans(short) > room.width);
  assert.ok(leans(long) <= room.width);
});

test("axis steps leave room for their numbers", () => {
  assert.equal(roundStep(512, 470), 50);
  assert.equal(roundStep(4096, 470), 500);
});

test("the end of the scale is 1, or a round number just above the largest weight", () => {
  assert.equal(scaleEnd(0.9, true), 1);
  assert.equal(scaleEnd(0.12, true), 0.2);
  assert.equal(scaleEnd(0.05, true), 0.05);
  assert.equal(scaleEnd(3.4, false), 5);
  assert.equal(scaleEnd(0, true), 1);
});

test("columns list everything of a short text, and say what is left out of a long one", () => {
  assert.equal(columnLines(64, null, [3]).length, 64);
  assert.deepEqual(withGaps([5, 2, 5], 8), [{ gap: 2 }, { index: 2 }, { gap: 2 }, { index: 5 }, { gap: 2 }]);
  const lines = columnLines(500, 499, []);
  assert.deepEqual(lines[0], { gap: 479 });
  assert.deepEqual(lines.at(-1), { index: 499 });
});

test("curve helpers", () => {
  assert.deepEqual(niceTicks(0, 3, 3), [0, 1, 2, 3]);
  assert.deepEqual(nearest(Float32Array.of(1, 10, 5, 20), 4), { step: 5, value: 20 });
  assert.equal(nearest(new Float32Array(0), 4), null);
});

test("many layers of few heads stand side by side, and every cell leads back to its head", () => {
  const room = { width: 310, height: 580 };
  assert.equal(gridSize({ layers: 60, heads: 2 }, room).perRow, 8);
  assert.ok(gridSize({ layers: 60, heads: 2 }, room).down > 30);
  assert.equal(gridSize({ layers: 30, heads: 9 }, { width: 238, height: 560 }).perRow, 9);
  for (const [layers, heads] of [[60, 2], [1, 1], [1, 16], [4, 4], [61, 1], [30, 9]]) {
    const size = gridSize({ layers, heads }, room);
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const { column, row } = cellOfHead(layer, head, heads, size);
        assert.ok(row < size.rows && column < size.perRow);
        assert.deepEqual(headAtCell(column, row, { layers, heads }, size), { layer, head });
      }
    }
  }
});

test("maps side by side have cells of one size, in line, within the room that there is", () => {
  const room = { rowLabel: 60, columnLabel: 60, lastLabel: 30 };
  for (const tokens of [1, 7, 14, 40, 300]) {
    for (const [width, height] of [[390, 300], [430, 380], [800, 420], [366, 640]]) {
      for (const nothing of [0, 60]) {
        for (let count = 2; count <= 5; count++) {
          const part = { query: 0, key: 0, queries: tokens, keys: tokens };
          const told = `${tokens} ${width} ${nothing} ${count}`;
          const { columns, tiles, height: high } = tilesOf(part, { ...room, width, height, nothing }, count);
          assert.equal(tiles.length, count);
          assert.ok(high <= height + 1, told);
          const [{ frame: first }] = tiles;
          assert.ok(tiles.every(({ frame }) => frame.cell === first.cell && frame.cell > 0), told);
          for (let from = 0; from < count; from += columns) {
            const row = tiles.slice(from, from + columns);
            assert.ok(row.every(({ frame }) => frame.top === row[0].frame.top) && row[0].frame.left === first.left, told);
            const across = row.slice(0, -1).reduce((sum, one) => sum + one.width, 0);
            const { frame } = row.at(-1);
            const right = frame.beside ? frame.beside.left + frame.beside.width : frame.left + frame.width;
            assert.ok(across + right <= width + 1, `${told}: ${across + right}`);
          }
        }
      }
    }
  }
});

test("a wide room takes maps in a row, a high one in a column", () => {
  const part = { query: 0, key: 0, queries: 14, keys: 14 };
  const columns = (width, height) => tilesOf(part, { width, height, rowLabel: 40, columnLabel: 40, lastLabel: 30 }, 3).columns;
  assert.equal(columns(900, 300), 3);
  assert.equal(columns(300, 900), 1);
});
