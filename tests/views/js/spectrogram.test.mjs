import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { weightColumns } from "../../../transformer_lab/views/spectrogram/sound.js";
import { editsCode, editsWords, listenSentence } from "../../../transformer_lab/views/spectrogram/listening.js";

// Written by tests/views/spectrogram/test_words.py: what Python says of the same numbers.
const given = process.env.TL_SOUNDS ? JSON.parse(readFileSync(process.env.TL_SOUNDS, "utf-8")) : null;

test("sentences are Python's", { skip: !given }, () => {
  assert.ok(given.sentences.length > 30);
  for (const [seen, sentence] of given.sentences) assert.equal(listenSentence(seen), sentence);
});

test("edits are told as Python tells them", { skip: !given }, () => {
  for (const [edits, words] of given.edits) assert.equal(editsWords(edits, ["<s>", "one", "·two"], 0.02, 10), words);
});

test("edits are copied as the Python that makes them", { skip: !given }, () => {
  for (const [edits, , codes] of given.edits) {
    // What stands for several is written out again.
    const code = editsCode(edits).slice(1, -1).replace(/\*\((tl\.\w+\([^)]*\)) for k in range\((\d+), (\d+)\)\)/g, (_, call, from, to) =>
      Array.from({ length: to - from }, (_, i) => call.replace("key=k", `key=${Number(from) + i}`)).join(", "));
    const sorted = (text) => text.split(/(?<=\)), /).map((call) => call.match(/[\w"]+=[\w".]+|tl\.\w+/g).sort().join());
    assert.deepEqual(sorted(code), sorted(codes.join(", ")));
  }
});

test("columns show the largest weight of their time", { skip: !given }, () => {
  for (const [shown, width, columns] of given.columns) assert.deepEqual([...weightColumns(given.weights, shown, 0.02, width)], columns);
});
