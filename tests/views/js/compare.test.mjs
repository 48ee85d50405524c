import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { compareSentence } from "../../../transformer_lab/views/compare/words.js";

// Written by tests/views/compare/test_view.py.
if (process.env.TL_COMPARE) {
  test("what differs is said as Python says it", () => {
    const cases = JSON.parse(readFileSync(process.env.TL_COMPARE, "utf8"));
    assert.ok(cases.length >= 40);
    for (const { it, query, key, sentence } of cases) {
      const numbers = (values) => Float32Array.from(values, (v) => (v === null ? NaN : v));
      const told = { ...it, first: numbers(it.first), second: numbers(it.second), moved: numbers(it.moved) };
      assert.equal(compareSentence(told, query, key), sentence);
    }
  });
}

test("alike is said", () => {
  const same = Float32Array.of(1, 0, 0.5, 0.5);
  const it = { kind: "decoder", several: false, layer: 0, head: 0, names: ["A", "B"], queries: ["x", "y"], keys: ["x", "y"], causal: true, first: same, second: same, moved: Float32Array.of(0), heads: 1 };
  assert.equal(compareSentence(it, null, null), "A and B are alike: no head’s attention lies elsewhere.");
  assert.equal(compareSentence(it, 1, 0), "Layer 0, head 0: “y” → “x” is .50 in A and .50 in B.");
  assert.equal(compareSentence(it, 0, 1), "Layer 0, head 0: “x” cannot look at “y”, which comes later.");
});
