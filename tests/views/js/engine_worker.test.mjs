import assert from "node:assert/strict";
import { test } from "node:test";

import { Engine, packedOf } from "../../../transformer_lab/views/engine/client.js";
import { Desk } from "../../../transformer_lab/views/engine/desk.js";
import { EditError } from "../../../transformer_lab/views/engine/edit_values.js";
import { crc32, DamagedModel } from "../../../transformer_lab/views/engine/safetensors.js";
import { TextModel } from "../../../transformer_lab/views/engine/text_model.js";
import { Scheduler } from "../../../transformer_lab/views/engine/scheduler.js";
import { Superseded } from "../../../transformer_lab/views/shared/requests.js";
import { letters, packed } from "./tiny_model.mjs";

/** A worker in the same thread, run step by step. */
function stepped(answer, slice) {
  const [posted, turns] = [[], []];
  const scheduler = new Scheduler(answer, (message) => posted.push(message), (run) => turns.push(run), slice);
  const finish = () => {
    let slices = 0;
    for (; turns.length; slices++) turns.shift()();
    return slices;
  };
  return { scheduler, posted, finish };
}

/** A worker as a page has one, in the same thread. */
function local() {
  const desk = new Desk();
  const worker = { terminate() {} };
  const clone = (message) => structuredClone(message);
  const scheduler = new Scheduler((question) => desk.answer(question), (message) => worker.onmessage({ data: clone(message) }), setImmediate);
  worker.postMessage = (message) => scheduler.take(clone(message));
  return new Engine(worker);
}

function* counted(n) {
  for (let i = 0; i < n; i++) yield i % 2 ? i : null;
  return n;
}

test("a newer question of a lane replaces the older, and others go on", () => {
  const { scheduler, posted, finish } = stepped(({ n }) => counted(n));
  scheduler.take({ id: 1, lane: "map", question: { n: 9 } });
  scheduler.take({ id: 2, lane: "other", question: { n: 2 } });
  scheduler.take({ id: 3, lane: "map", question: { n: 1 } });
  assert.deepEqual(posted, [{ id: 1, replaced: true }]);
  finish();
  assert.deepEqual(posted.slice(1), [{ id: 2, part: 1 }, { id: 2, value: 2 }, { id: 3, value: 1 }]);
});

test("what a replaced question holds is given back", () => {
  let held = 0;
  const { scheduler } = stepped(function* () {
    held++;
    try {
      for (;;) yield null;
    } finally {
      held--;
    }
  });
  scheduler.take({ id: 1, lane: "map", question: {} });
  scheduler.step(scheduler.jobs[0]);
  assert.equal(held, 1);
  scheduler.take({ id: 2, lane: "map", question: {} });
  assert.equal(held, 0);
});

test("what waits in the background lets others go first, and a new text ends it", () => {
  const { scheduler, posted, finish } = stepped(({ n }) => counted(n));
  scheduler.take({ id: 1, background: true, question: { n: 4 } });
  scheduler.step(scheduler.jobs[0]);
  scheduler.take({ id: 2, question: { n: 0 } });
  finish();
  assert.deepEqual(posted.map(({ id }) => id), [2, 1, 1, 1]);
  scheduler.take({ id: 3, background: true, question: { n: 4 } });
  scheduler.take({ id: 4, question: { ask: "read", of: "another", n: 0 } });
  assert.equal(posted.length, 4);
  scheduler.take({ id: 5, question: { ask: "read", n: 0 } });
  assert.deepEqual(posted.pop(), { id: 3, replaced: true });
});

test("it looks up between slices, and what goes wrong is a sentence", () => {
  const { scheduler, posted, finish } = stepped(({ n }) => {
    if (n < 0) throw new Error("no such head");
    return counted(n);
  }, 0);
  scheduler.take({ id: 1, question: { n: 2 } });
  scheduler.take({ id: 2, question: { n: -1 } });
  scheduler.take({ id: 3, question: { n: Infinity }, lane: "long" });
  scheduler.run();
  scheduler.run();
  scheduler.take({ id: 4, question: { n: 0 }, lane: "long" });
  assert.ok(finish() > 1);
  assert.deepEqual(posted, [{ id: 2, error: "no such head" }, { id: 1, part: 1 }, { id: 3, replaced: true }, { id: 1, value: 2 }, { id: 4, value: 0 }]);
});

test("an answer that fails on its way is a sentence too", () => {
  const { scheduler, posted, finish } = stepped(function* () {
    yield null;
    throw new Error("no such token");
  });
  scheduler.take({ id: 1, question: {} });
  finish();
  assert.deepEqual(posted, [{ id: 1, error: "no such token" }]);
});

test("a page asks, and is answered", async () => {
  const engine = local();
  await assert.rejects(engine.ask({ ask: "read", text: "ab" }), /no model has been loaded/);
  const loaded = await engine.ask({ ask: "load", ...packed() });
  assert.deepEqual(loaded, { kind: "decoder", longest: 8, head: true, kinds: [{ kind: "decoder", layers: 1, heads: 2 }] });
  await assert.rejects(engine.ask({ ask: "predict", position: 0 }), /no text has been read/);
  await assert.rejects(engine.ask({ ask: "toString" }), /does not know the question/);
  const text = await engine.ask({ ask: "read", text: "abba" });
  assert.deepEqual(text.ids, [5, 6, 6, 5]);
  const parts = [];
  const places = [0, 1].map((head) => ({ kind: "decoder", layer: 0, head }));
  const effects = await engine.ask({ ask: "effects", places, position: 3 }, { background: true, part: (one) => parts.push(one) });
  assert.deepEqual(parts, effects);
  const off = { edit: "ablate", layer: 0, head: 1, kind: "decoder" };
  const told = await engine.ask({ ask: "predict", edits: [off], position: 3 });
  assert.ok(told.kl > 0 && Math.abs(told.kl - effects[1].kl) < 1e-6);
  const mapOf = (place, of = "") => engine.ask({ ask: "named", of: [of], name: `map/${place}/[]` });
  const { numbers } = await mapOf("decoder/0/0");
  assert.equal(numbers.length, 16);
  assert.ok(Math.abs(numbers.slice(12).reduce((a, b) => a + b) - 1) < 1e-6);
  const refused = [
    [{ ask: "predict", position: 4 }, /position=4 is outside the 4 tokens \(0 … 3\)/],
    [{ ask: "predict", position: 0.5 }, /position=0.5 is outside/],
    [{ ask: "named", name: "cell/decoder/0/0/9/-", about: {} }, /query=9 is outside/],
    [{ ask: "named", name: "anything/9", about: {} }, /this page does not hold it/],
    [{ ask: "named", name: "likely/9/[]" }, /position=9 is outside/],
    [{ ask: "named", name: "map/cross/0/0/[]" }, /kind='cross' is not in this model; it has decoder/],
    [{ ask: "named", name: "map/decoder/1/0/[]" }, /layer=1 is outside 0 … 0/],
    [{ ask: "named", name: "map/decoder/0/2/[]" }, /head=2 is outside 0 … 1/],
    [{ ask: "read", text: 3 }, /text must be a string, got a number/],
    [{ ask: "predict", position: 0, of: "other" }, /no text has been read/],
  ];
  for (const [question, why] of refused) await assert.rejects(engine.ask(question), why);
  await engine.ask({ ask: "read", of: "other", text: "b" });
  assert.equal((await mapOf("decoder/0/0", "other")).numbers.length, 1);
  assert.equal((await mapOf("decoder/0/0")).numbers.length, 16);
  const asked = [1, 2].map(() => engine.ask({ ask: "write", n: 3 }, { lane: "write" }));
  await assert.rejects(asked[0], Superseded);
  assert.equal((await asked[1]).plain.length, 3);
});

test("the engine of a page that is gone, or that could not be started, answers nobody", async () => {
  const engine = local();
  const waiting = engine.ask({ ask: "load", ...packed() });
  engine.worker.onerror({ message: "out of memory" });
  await assert.rejects(waiting, /the engine of this page stopped: out of memory/);
  await assert.rejects(engine.ask({ ask: "read", text: "a" }), /stopped/);
});

test("what a page says of its model is checked too", () => {
  const { weights, checksum, ...rest } = packed();
  const about = new TextEncoder().encode(JSON.stringify(rest));
  const checksums = [crc32(about), checksum];
  const check = { inputs: {}, places: null, ids: [], chances: [] };
  assert.deepEqual(packedOf({ checksums, check }, [about, weights]), { ...packed(), check });
  const changed = Uint8Array.from(about, (byte, i) => (i === 9 ? byte ^ 1 : byte));
  for (const [info, buffers] of [[{ checksums }, [changed, weights]], [{ checksums }, [weights, about]], [{ checksums }, [about]], [{}, [about, weights]]]) {
    assert.throws(() => packedOf(info, buffers), { constructor: DamagedModel, message: /its checksum differs/ });
  }
});

test("a model that was damaged on its way is one sentence", async () => {
  const engine = local();
  const damaged = packed();
  damaged.weights[damaged.weights.length - 1] ^= 1;
  await assert.rejects(engine.ask({ ask: "load", ...damaged }), /not as it was written: its checksum differs/);
  const other = { ...packed(), tokenizer: letters("a", "b", "c") };
  await assert.rejects(engine.ask({ ask: "load", ...other }), /tokenizer has 8 tokens but the embedding of the model tiny has 7 rows/);
});

test("a model of which a part is missing or of another kind is one sentence", async () => {
  const whole = packed();
  const weights = Object.fromEntries(Object.keys(whole.graph.weights).map((name) => [name, null]));
  const changes = [
    { graph: { ...whole.graph, weights } }, { graph: { ...whole.graph, nodes: [5] } }, { graph: null }, { config: null },
    { tokenizer: { model: { type: "none" } } }, { tokenizer: 5 },
  ];
  for (const change of changes)
    await assert.rejects(local().ask({ ask: "load", ...packed(), ...change }), /not as it was written/, JSON.stringify(change).slice(0, 80));
});

test("a tensor that no memory holds is refused", async () => {
  const { graph, ...rest } = packed();
  const [[name, result]] = Object.entries(graph.results);
  for (const nodes of [
    [["expand", "wide", [{ n: result }, [1000000, 1000000, 1, 1, 1]], {}]],
    [["full", "wide", [[1000000, 1000000], 1], {}]],
  ]) {
    const engine = local();
    const asked = { ...rest, graph: { ...graph, nodes: [...graph.nodes, ...nodes], tail: "", growth: null, results: { [name]: "wide" } } };
    await engine.ask({ ask: "load", ...asked });
    await assert.rejects(engine.ask({ ask: "read", text: "a" }), /which is too large|more than this browser gives/);
  }
});

test("edits that fit nothing are named", () => {
  const { model } = new TextModel(packed());
  const source = { tokens: [5, 6] };
  const read = (text) => model.run(text);
  const refused = [
    ["off", /^edit does not fit/],
    [{ edit: "melt" }, /^edit does not fit in this model's edit {"edit":"melt"}; make the edit in Python/],
    [{ edit: "ablate", by: 2 }, /^by does not fit/],
    [{ edit: "ablate", layer: 7 }, /^layer does not fit/],
    [{ edit: "ablate", head: -1 }, /^head does not fit/],
    [{ edit: "ablate", value: "most" }, /^value does not fit/],
    [{ edit: "skip", part: "norm" }, /^part does not fit/],
    [{ edit: "knock_out", layer: 0 }, /^query does not fit/],
    [{ edit: "scale", by: "2" }, /^by does not fit/],
    [{ edit: "scale" }, /^by does not fit/],
    [{ edit: "ablate", kind: "cross" }, /^kind does not fit/],
    [{ edit: "patch", layer: 0 }, /^source does not fit/],
    [{ edit: "patch", source, head: 0, what: "resid_pre" }, /^head does not fit/],
    [{ edit: "knock_out", query: 99 }, /query=99 is outside the 3 tokens/],
    [{ edit: "patch", source }, /source_trace has 2 tokens and this text has 3/],
    [{ edit: "patch", source, position: 2 }, /position=2 is outside the 2 tokens of source_trace/],
    [{ edit: "patch", source, position: "1" }, /^position does not fit/],
  ];
  for (const [edit, why] of refused) assert.throws(() => model.run({ tokens: [5, 6, 5] }, [edit], { read }), { constructor: EditError, message: why });
  for (const [tokens, why] of [[[], /empty/], [[7], /outside the vocabulary of 7/], [Array(9).fill(5), /9 tokens but this model reads at most 8/]]) {
    assert.throws(() => model.run({ tokens }), why);
  }
});

test("a text and its target have limits of their own", () => {
  const about = packed();
  const graph = { ...about.graph, lengths: { tokens: [8, 8], target: [6, 6] } };
  const { model } = new TextModel({ ...about, graph, config: { ...about.config, kind: "encoder-decoder", n_ctx: 6 } });
  model.check(Array(8).fill(5), "encoder");
  model.check(Array(6).fill(5), "decoder");
  assert.throws(() => model.check(Array(6).fill(5), "encoder"), /has 6 tokens, and in this page the model reads exactly 8/);
  assert.throws(() => model.check(Array(8).fill(5), "decoder"), /has 8 tokens, and in this page the model reads exactly 6/);
});

test("without a known vocabulary, ids are refused by the embedding alone", () => {
  const about = packed();
  const { model } = new TextModel({ ...about, config: { ...about.config, vocab_size: null } });
  const known = new TextModel(about).model;
  assert.deepEqual(model.run({ tokens: [5, 6] }).answer, known.run({ tokens: [5, 6] }).answer);
  assert.throws(() => model.run({ tokens: [5, 7] }), /^Error: 7 is outside the 7 rows of an embedding of this model$/);
});
