import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Metric, patchingSentence } from "../../../transformer_lab/views/patching/words.js";

// Written by tests/views/patching/test_words.py: what Python says of the same numbers.
const given = process.env.TL_PATCHING ? JSON.parse(readFileSync(process.env.TL_PATCHING, "utf-8")) : null;

test("sentences are Python's", { skip: !given }, () => {
  assert.ok(given.length > 200);
  for (const [{ told, direction, into, source }, spot, sentence] of given) {
    assert.equal(patchingSentence(new Metric(told, direction, into, source), spot), sentence);
  }
});
