import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { School } from "../../../transformer_lab/views/learning/school.js";

const folder = /** @type {string} */ (process.env.TL_COURSE);
const bytes = (name) => new Uint8Array(fs.readFileSync(path.join(folder, name)));
const whole = (name) => new Int16Array(bytes(name).buffer);
const held = { ...JSON.parse(fs.readFileSync(path.join(folder, "info.json"), "utf-8")), ...JSON.parse(fs.readFileSync(path.join(folder, "0"), "utf-8")) };

/** The course as view.js sends it. */
const lesson = (more = {}) => ({ ...structuredClone(held), constants: bytes("1"), tokens: whole("2"), targets: whole("3"), seed: 3, text: "ababab", ...more });

/** All intermediate messages, and the result. */
function ended(steps) {
  const parts = [];
  for (;;) {
    const { done, value } = steps.next();
    if (done) return { parts, value };
    if (value !== null) parts.push(value);
  }
}

test("a model learns, tells of it on the way, and the same seed learns the same", () => {
  const runs = [3, 3, 4].map((seed) => {
    const school = new School();
    const before = ended(school.answer({ ask: "begin", ...lesson({ seed }) })).value;
    assert.deepEqual(before.answers.map(({ asked }) => asked), [false, true, true, true, true, true]);
    return { school, before, ...ended(school.answer({ ask: "train", every: 40 })) };
  });
  const [{ school, before, parts, value }, again, other] = runs;
  assert.deepEqual(parts.map(({ step, losses }) => [step, losses.length]), [[40, 40], [80, 40], [120, 40]]);
  assert.equal(value.step, 120);
  assert.ok(parts[2].right > 0.95 && parts[2].losses[39] < 0.3 * parts[0].losses[0]);
  assert.deepEqual(parts.map(({ losses }) => losses), again.parts.map(({ losses }) => losses));
  assert.notDeepEqual(before.heads[0].map, other.before.heads[0].map);
  const off = ended(school.answer({ ask: "look", text: "baba", off: [{ layer: 0, head: 1 }] })).value;
  const on = ended(school.answer({ ask: "look", text: "baba", off: [] })).value;
  assert.deepEqual(on.tokens, ["b", "a", "b", "a"]);
  assert.notEqual(off.answers[3].chance, on.answers[3].chance);
  assert.equal(on.answers[3].name, "b");
  assert.ok(on.answers[3].chance > 0.9);
});

test("it stops where it is told to, and goes on from there", () => {
  const school = new School();
  ended(school.answer({ ask: "begin", ...lesson() }));
  const steps = school.answer({ ask: "train", every: 1 });
  while (!steps.next().value); // the first step
  ended(school.answer({ ask: "stop" }));
  const { value } = ended(steps);
  assert.ok(value.step <= 2);
  const { parts } = ended(school.answer({ ask: "train", every: 200 }));
  assert.equal(parts.at(-1).step, 120);
});

test("a loss that is not finite changes no weight", () => {
  const school = new School();
  ended(school.answer({ ask: "begin", ...lesson() }));
  const { loaded } = school.model.graph;
  ended(school.answer({ ask: "train", every: 200 }));
  const { f } = school.model.graph.on.heap;
  f[loaded.at("head.weight").at] = NaN;
  const before = f.slice();
  school.step = 0;
  assert.throws(() => ended(school.answer({ ask: "train", every: 1 })), /the loss is NaN at step 1; the weights are those of the step before/);
  for (const { at, shape } of loaded.known.values()) for (let i = at; i < at + shape.reduce((a, b) => a * b, 1); i++) assert.ok(Object.is(f[i], before[i]));
});

test("what cannot be is a sentence", () => {
  const school = new School();
  assert.throws(() => school.answer({ ask: "train", every: 1 }), /no model has been made/);
  assert.throws(() => ended(school.answer({ ask: "begin", ...lesson({ seed: 0.5 }) })), /seed must be a whole number, got 0.5/);
  ended(school.answer({ ask: "begin", ...lesson() }));
  assert.throws(() => ended(school.answer({ ask: "look", text: " ".repeat(0), off: [] })), /text is empty/);
  assert.throws(() => ended(school.answer({ ask: "look", text: "a".repeat(9), off: [] })), /text has 9 tokens but this model reads at most 8/);
});
