import assert from "node:assert/strict";
import { test } from "node:test";

import { Requests, Superseded } from "../../../transformer_lab/views/shared/requests.js";

/** A model whose answers the test sends. */
function fakeModel() {
  const sent = [];
  const handlers = [];
  return {
    sent,
    send: (message) => sent.push(message),
    on: (_name, handler) => handlers.push(handler),
    off: () => {},
    answer: (message, buffers) => handlers.forEach((handler) => handler(message, buffers)),
  };
}
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

test("a later click wins over one that waits", async () => {
  const model = fakeModel();
  const requests = new Requests(model, new AbortController().signal);
  const first = requests.ask({ name: "a" });
  const second = requests.ask({ name: "b" });
  const third = requests.ask({ name: "c" });
  await assert.rejects(second, Superseded);
  model.answer({ request: model.sent[0].request, type: "block" }, [new DataView(new ArrayBuffer(2))]);
  assert.equal((await first).buffers[0].byteLength, 2);
  await settled();
  assert.deepEqual(model.sent.map((m) => m.name), ["a", "c"]);
  model.answer({ request: model.sent[1].request, type: "error", message: "no such head" });
  await assert.rejects(third, /no such head/);
});

test("answers to nobody are left alone, and an urgent question overtakes the rest", async () => {
  const model = fakeModel();
  const requests = new Requests(model, new AbortController().signal);
  model.answer({ request: 99 });
  model.answer(undefined);
  const background = [requests.ask({ name: 1 }, false), requests.ask({ name: 2 }, false)];
  const urgent = requests.ask({ name: 3 });
  for (let i = 0; i < 3; i++) {
    model.answer({ request: model.sent[i].request });
    await settled();
  }
  await Promise.all([...background, urgent]);
  assert.deepEqual(model.sent.map((m) => m.name), [1, 3, 2]);
});

test("two that ask one model hear their own answers only", async () => {
  const model = fakeModel();
  const [one, other] = [0, 1].map(() => new Requests(model, new AbortController().signal));
  const asked = [one.ask({ name: "a" }), other.ask({ name: "b" })];
  for (const { request, name } of model.sent.reverse()) model.answer({ request, name });
  assert.deepEqual((await Promise.all(asked)).map(({ message }) => message.name), ["a", "b"]);
});
