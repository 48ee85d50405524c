import assert from "node:assert/strict";
import { test } from "node:test";

import { LENS_COLUMNS, LensStore } from "../../../transformer_lab/views/residual/lens.js";

/** The answer to a request for some tokens: one row, and the likeliest token of each. */
const answerOf = (name) => {
  const info = { from: Number(name.split("/")[1]), rows: 1, count: LENS_COLUMNS, k: 1, names: ["x"], settled: Array(LENS_COLUMNS).fill(0) };
  return { message: { info }, buffers: [new Uint8Array(4 * 4 * LENS_COLUMNS)] };
};

/** A store whose requests the test answers. */
function storeOf() {
  const open = [];
  const ask = ({ name }) => new Promise((resolve, reject) => open.push({ name, come: () => resolve(answerOf(name)), fail: reject }));
  return { open, store: new LensStore({ get: () => [] }, { ask }) };
}

test("whoever turns on before an answer has come waits for it too", async () => {
  const { open, store } = storeOf();
  const first = store.fetch(2, 15);
  const second = store.fetch(0, 13); // the same tokens in another window are requested once
  assert.deepEqual(open.map(({ name }) => name), ["lens/0"]);
  open[0].come();
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
  assert.equal(store.answer(3).token, "x");
  assert.equal(await store.fetch(0, 13), false, "all of it is here");
});

test("what cannot be had is told to both, and asked for anew by the next", async () => {
  const { open, store } = storeOf();
  const both = [store.fetch(2, 15), store.fetch(0, 13)];
  open[0].fail(new Error("not here"));
  for (const one of both) await assert.rejects(one, /not here/);
  const again = store.fetch(0, 13);
  assert.equal(open.length, 2);
  open[1].come();
  assert.equal(await again, true);
});

test("a window over two parts has come when both have", async () => {
  const { open, store } = storeOf();
  const whole = store.fetch(10, 20);
  open[0].come();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(open.map(({ name }) => name), ["lens/0", `lens/${LENS_COLUMNS}`]);
  open[1].come();
  assert.equal(await whole, true);
});
