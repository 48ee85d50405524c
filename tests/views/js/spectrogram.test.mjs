import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { weightColumns } from "../../../transformer_lab/views/spectrogram/sound.js";
import { listenSentence } from "../../../transformer_lab/views/spectrogram/listening.js";

// Written by tests/views/spectrogram/test_words.py: Python's sentences about the same numbers.
const given = process.env.TL_SOUNDS ? JSON.parse(readFileSync(process.env.TL_SOUNDS, "utf-8")) : null;

test("sentences are Python's", { skip: !given }, () => {
  assert.ok(given.sentences.length > 30);
  for (const [seen, sentence] of given.sentences) assert.equal(listenSentence(seen), sentence);
});

test("columns show the largest weight of their time", { skip: !given }, () => {
  for (const [shown, width, columns] of given.columns) assert.deepEqual([...weightColumns(given.weights, shown, 0.02, width)], columns);
});
