import assert from "node:assert/strict";
import { test } from "node:test";

import { niceTicks, nearest } from "../../../transformer_lab/views/static/curve.js";
import { scaleEnd, windowFrom } from "../../../transformer_lab/views/static/head_viewer.js";
import { axisStep, cellAt, frameOf } from "../../../transformer_lab/views/static/heat_map.js";
import { columnLines, withGaps } from "../../../transformer_lab/views/static/lines.js";

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
  assert.equal(axisStep(512, 470), 50);
  assert.equal(axisStep(4096, 470), 500);
});

test("the end of the scale is 1, or a round number just above the largest weight", () => {
  assert.equal(scaleEnd(0.9, true), 1);
  assert.equal(scaleEnd(0.12, true), 0.2);
  assert.equal(scaleEnd(0.05, true), 0.05);
  assert.equal(scaleEnd(3.4, false), 5);
  assert.equal(scaleEnd(0, true), 1);
});

test("a window stays where it is while the cursor is inside, and inside the text", () => {
  assert.equal(windowFrom(100, 32, 50, undefined), 34);
  assert.equal(windowFrom(100, 32, 60, 34), 34);
  assert.equal(windowFrom(100, 32, 99, 34), 68);
  assert.equal(windowFrom(20, 32, 10, undefined), 0);
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
