import assert from "node:assert/strict";
import { test } from "node:test";

import { Room } from "../../../transformer_lab/views/shared/screen.js";

/** A box in a panel with sizes set by the test, and a listener for changes. */
function boxOf(width, height) {
  let tell = () => {};
  globalThis.ResizeObserver = class {
    constructor(heard) {
      tell = heard;
    }

    observe(part) {
      if (part === box) looked.push("anew");
    }

    unobserve() {}
  };
  const size = { width, height };
  const box = { style: {}, get clientWidth() { return size.width; }, get clientHeight() { return size.height; } };
  const panel = { getBoundingClientRect: () => ({ ...size }) };
  const [asked, looked] = [[], []];
  const room = new Room(/** @type {any} */ (box), /** @type {any} */ ([panel]), new AbortController().signal, () => asked.push("draw"));
  return { room, asked, looked, become: (...to) => { [size.width, size.height] = to; tell(); } };
}

test("a box that is hidden for a moment has the room that it had, and is measured when it is seen", () => {
  const { room, asked, become } = boxOf(400, 300);
  assert.deepEqual(room.of(true, "wide"), { width: 400, height: 300 });
  become(0, 0); // as when a host changes its theme
  assert.deepEqual(asked, ["draw"]);
  assert.deepEqual(room.of(true, "wide"), { width: 400, height: 300 });
  become(500, 320);
  assert.deepEqual(asked, ["draw", "draw"]);
  assert.deepEqual(room.of(true, "wide"), { width: 500, height: 320 });
});

test("one that was hidden within a frame, of which nobody tells, is looked at anew", () => {
  const { room, asked, looked, become } = boxOf(400, 300);
  room.of(true, "wide");
  assert.deepEqual(looked, []);
  become(0, 0);
  room.of(true, "wide");
  assert.deepEqual(looked, ["anew"]); // so that an unchanged size is reported again
  assert.deepEqual(asked, ["draw"]);
  become(0, 0); // nothing more while it is hidden
  assert.deepEqual(asked, ["draw"]);
  become(400, 300);
  assert.deepEqual(asked, ["draw", "draw"]);
});

test("one that was never seen has none", () => {
  const { room, asked, become } = boxOf(0, 0);
  assert.deepEqual(room.of(true, "wide"), { width: 0, height: 0 });
  become(200, 100);
  assert.deepEqual(asked, ["draw"]);
  assert.deepEqual(room.of(true, "wide"), { width: 200, height: 100 });
});
