import assert from "node:assert/strict";
import { test } from "node:test";

import { lookSentence } from "../../../transformer_lab/views/patches/words.js";

const look = { layer: 0, head: 1, query: 0, labels: ["patch 1,1", "patch 1,2"], start: 0, n: 2, codes: Uint16Array.of(30000, 15000) };

test("what goes beyond the picture is told where windows reach there", () => {
  const told = "Layer 0, head 1: patch 1,1 looks most at patch 1,1 (.50) and patch 1,2 (.25)";
  assert.equal(lookSentence(look, null, 1), `${told}.`);
  assert.equal(lookSentence({ ...look, padded: true }, null, 1), `${told}; .25 goes to the padding beyond the picture.`);
  const whole = { ...look, codes: Uint16Array.of(30000, 29999), padded: true };
  assert.ok(!lookSentence(whole, null, 1).includes("padding"));
});
