// The vectors that test_messages.py reads too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { messages } from "../../../transformer_lab/views/shared/messages.js";

const vectors = JSON.parse(readFileSync(new URL("../messages.json", import.meta.url), "utf8"));

test("what a template says is what it says in Python", () => {
  assert.ok(vectors.length > 50);
  for (const { template, values = {}, is, error } of vectors) {
    const revived = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value === "NaN" ? NaN : value]));
    const say = () => messages({ m: template })("m", revived);
    if (error === undefined) assert.equal(say(), is, template);
    else assert.throws(say, (/** @type {Error} */ thrown) => (assert.equal(thrown.message, error), true));
  }
});
