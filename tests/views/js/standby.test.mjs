import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Standby } from "../../../transformer_lab/views/pages/standby.js";

const TRAINING = "training…: a cell is training this model; try again when it has ended";
const soon = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** A widget whose kernel answers on demand, with the model in the page. */
function fakeWidget() {
  const traits = { _standby: { mark: "m", given: null, first: 0, wished: null }, _edits: [], _text: "a text" };
  const handlers = new Map();
  globalThis.transformerLabModels = new Map([["m", {}]]);
  return {
    sent: [],
    get: (name) => traits[name],
    set: (name, value) => (traits[name] = value),
    save_changes() {},
    send(message) {
      this.sent.push(message);
    },
    on: (name, handler) => handlers.set(name, [...(handlers.get(name) ?? []), handler]),
    off() {},
    answer: (message) => handlers.get("msg:custom").forEach((handler) => handler(message, [])),
  };
}

/** The page's kernel: requested edits apply at once. */
class FakeKernel {
  constructor(page) {
    this.page = page;
    this.turn = Promise.resolve();
    this.reading = { text: "a text", target: null, masked: [], given: null };
    this.wished = null;
    this.isBoth = false;
  }

  on(_name, handler) {
    this.tell = handler;
  }

  send({ request, edits }) {
    if (edits) this.page.set("_edits", edits);
    this.tell({ type: "done", asked: "run", request }, []);
  }
}

/** A view whose page answered a click for Python, after four seconds. */
function answeredInPage(t) {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const widget = fakeWidget();
  const view = new Standby(widget, new AbortController().signal);
  view.substitute({ Kernel: FakeKernel, answers: () => true, state: (_kernel, over) => ({ edits: over.get("_edits") }) });
  const told = [];
  view.on("training", (text) => told.push(text));
  view.send({ type: "run", request: 1, edits: ["off"] });
  mock.timers.tick(4000);
  assert.deepEqual(view.get("_edits"), ["off"], "the page has answered");
  return { widget, view, told };
}

test("Python that comes back and trains says so, though the page has answered before", async (t) => {
  const { widget, view, told } = answeredInPage(t);
  widget.answer({ type: "done", asked: "run", request: 1, training: TRAINING });
  await soon();
  assert.deepEqual(told, [TRAINING]);
  assert.deepEqual(view.get("_edits"), [], "what is on view is Python's");
});

test("so does Python that is told what was changed meanwhile", async (t) => {
  const { widget, view, told } = answeredInPage(t);
  view.send({ type: "run", request: 2, edits: ["off", "another"] });
  widget.answer({ type: "done", asked: "run", request: 1 });
  await soon();
  const again = widget.sent.at(-1);
  assert.deepEqual([again.type, again.edits], ["run", ["off", "another"]]);
  assert.deepEqual(told, []);
  widget.answer({ type: "done", asked: "run", request: again.request, training: TRAINING });
  await soon();
  assert.deepEqual(told, [TRAINING]);
});

test("Python that comes back and trains nothing says nothing", async (t) => {
  const { widget, told } = answeredInPage(t);
  widget.answer({ type: "done", asked: "run", request: 1 });
  await soon();
  assert.deepEqual(told, []);
});

test("a model that is exported first is asked for again when Python tells of the end", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const widget = fakeWidget();
  globalThis.transformerLabModels.clear();
  const view = new Standby(widget, new AbortController().signal);
  view.substitute({ Kernel: FakeKernel, answers: () => true });
  const answered = async (info) => {
    mock.timers.tick(2000);
    await soon();
    const { part, request } = widget.sent.at(-1);
    widget.answer({ type: "standby", request, info: { mark: "m", ...info } });
    await soon();
    return part;
  };
  view.fetch();
  assert.equal(await answered({ later: true }), "model");
  mock.timers.tick(60_000);
  await soon();
  assert.equal(widget.sent.length, 1, "it is not asked for at fixed times");
  assert.equal(view.mark, "");
  widget.answer({ type: "standby" });
  assert.equal(await answered({}), "model");
  assert.equal(await answered({}), "engine");
  assert.equal(view.mark, "m");
});
