import assert from "node:assert/strict";
import { test } from "node:test";

import { initialWeights } from "../../../transformer_lab/views/learning/initial.js";
import { School } from "../../../transformer_lab/views/learning/school.js";
import { config, tensors } from "./tiny_model.mjs";

const shapes = Object.fromEntries([...tensors()].map(([name, { shape }]) => [name, shape]));
const tokenizer = { kind: "char", vocabulary: ["a", "b"] };

/** Texts a b a b …, of which the next letter is asked; the last are never trained on. */
function lesson(more = {}) {
  const [rows, length] = [40, 6];
  const [tokens, targets] = [new Int16Array(rows * length), new Int16Array(rows * length)];
  for (let i = 0; i < tokens.length; i++) {
    tokens[i] = 5 + ((i + Math.floor(i / length)) % 2);
    targets[i] = i % length ? 11 - tokens[i] : -100;
  }
  const recipe = { steps: 120, lr: 0.05 };
  return { config, shapes, tokenizer, names: ["<pad>", "<s>", "</s>", "<unk>", "<mask>", "a", "b"], recipe, batch: 8, tokens, targets, rows, heldOut: 10, seed: 3, text: "ababab", ...more };
}

/** All that is told on the way, and what comes of it. */
function ended(steps) {
  const parts = [];
  for (;;) {
    const { done, value } = steps.next();
    if (done) return { parts, value };
    if (value !== null) parts.push(value);
  }
}

test("weights are drawn as a model's are", () => {
  const large = { ...config, d_model: 64, n_layers: 2 };
  const names = {
    "embedding.weight": [500, 64], "positions.weight": [500, 64], "decoder.blocks.0.attention.query.weight": [64, 64],
    "decoder.blocks.0.attention.out.weight": [64, 64], "decoder.blocks.0.norm1.weight": [64], "decoder.blocks.0.norm1.bias": [64], "head.weight": [500, 64],
  };
  const [one, same, other] = [0, 0, 1].map((seed) => initialWeights(large, names, seed));
  const spread = (name, from = one) => Math.sqrt(from.get(name).data.reduce((sum, x) => sum + x * x, 0) / from.get(name).data.length);
  const near = (a, b) => assert.ok(Math.abs(a / b - 1) < 0.03, `${a} is not ${b}`);
  near(spread("embedding.weight"), 0.02);
  near(spread("positions.weight"), 0.02);
  near(spread("embedding.weight", initialWeights({ ...large, scale_embedding: true }, names, 0)), 1 / 8);
  near(spread("decoder.blocks.0.attention.query.weight"), Math.sqrt(2 / 128));
  near(spread("decoder.blocks.0.attention.out.weight"), Math.sqrt(2 / 128) / 2);
  const zero = initialWeights({ ...large, zero_init: true }, names, 0);
  assert.equal(spread("decoder.blocks.0.attention.out.weight", zero) + spread("head.weight", zero), 0);
  assert.ok(one.get("decoder.blocks.0.norm1.weight").data.every((x) => x === 1) && one.get("decoder.blocks.0.norm1.bias").data.every((x) => x === 0));
  assert.deepEqual(one.get("head.weight").data, same.get("head.weight").data);
  assert.notDeepEqual(one.get("head.weight").data, other.get("head.weight").data);
});

test("a model learns, tells of it on the way, and the same seed learns the same", () => {
  const runs = [0, 1].map(() => {
    const school = new School();
    const before = ended(school.answer({ ask: "begin", ...lesson() })).value;
    assert.deepEqual(before.answers.map(({ asked }) => asked), [false, true, true, true, true, true]);
    return { school, ...ended(school.answer({ ask: "train", every: 40 })) };
  });
  const [{ school, parts, value }, again] = runs;
  assert.deepEqual(parts.map(({ step, losses }) => [step, losses.length]), [[40, 40], [80, 40], [120, 40]]);
  assert.equal(value.step, 120);
  assert.ok(parts[2].right > 0.95 && parts[2].losses[39] < 0.3 * parts[0].losses[0]);
  assert.deepEqual(parts.map(({ losses }) => losses), again.parts.map(({ losses }) => losses));
  const off = ended(school.answer({ ask: "look", text: "baba", off: [{ layer: 0, head: 1 }] })).value;
  const on = ended(school.answer({ ask: "look", text: "baba", off: [] })).value;
  assert.deepEqual(on.tokens, ["b", "a", "b", "a"]);
  assert.notEqual(off.answers[3].chance, on.answers[3].chance);
  assert.equal(on.answers[3].name, "b");
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

test("what cannot be is a sentence", () => {
  const school = new School();
  assert.throws(() => school.answer({ ask: "train", every: 1 }), /no model has been made/);
  assert.throws(() => ended(school.answer({ ask: "begin", ...lesson({ seed: 0.5 }) })), /seed must be a whole number, got 0.5/);
  assert.throws(() => ended(school.answer({ ask: "begin", ...lesson({ config: { ...config, dropout: 0.1 } }) })), /cannot be trained in a page: dropout=0.1/);
  ended(school.answer({ ask: "begin", ...lesson() }));
  assert.throws(() => ended(school.answer({ ask: "look", text: " ".repeat(0), off: [] })), /text is empty/);
  assert.throws(() => ended(school.answer({ ask: "look", text: "a".repeat(9), off: [] })), /text has 9 tokens but this model reads at most 8/);
});
