import assert from "node:assert/strict";
import { test } from "node:test";

import { Answers } from "../../../transformer_lab/views/shared/answers.js";

const COLUMNS = 16; // tokens in one answer

/** Answers whose requests the test answers; `fetch` those of some tokens. */
function storeOf() {
  const open = [];
  const ask = ({ name }) => new Promise((resolve, reject) => open.push({ name, come: () => resolve({ message: { info: name }, buffers: [] }), fail: reject }));
  globalThis.document = { createElement: () => ({ dataset: {}, setAttribute() {}, append() {} }) };
  const answers = new Answers({ requests: { ask } }, { most: 9, names: () => [], read: (info) => info });
  const fetch = (from, to) => {
    const names = [];
    for (let first = from - (from % COLUMNS); first < to; first += COLUMNS) names.push(`lens/${first}`);
    return answers.fetch(names);
  };
  return { open, store: { fetch, known: answers.known } };
}

test("whoever turns on before an answer has come waits for it too", async () => {
  const { open, store } = storeOf();
  const first = store.fetch(2, 15);
  const second = store.fetch(0, 13); // the same tokens in another window are requested once
  assert.deepEqual(open.map(({ name }) => name), ["lens/0"]);
  open[0].come();
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
  assert.equal(store.known.get("lens/0"), "lens/0");
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
  assert.deepEqual(open.map(({ name }) => name), ["lens/0", `lens/${COLUMNS}`]);
  open[1].come();
  assert.equal(await whole, true);
});
