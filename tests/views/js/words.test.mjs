import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { duration, figures } from "../../../transformer_lab/views/runs/scene.js";
import { lineScene } from "../../../transformer_lab/views/heads/lines.js";
import {
  followSegments,
  segmentsOfKind,
} from "../../../transformer_lab/views/explorer/segments.js";
import { whyNotBetween } from "../../../transformer_lab/views/heads/between.js";
import { hint } from "../../../transformer_lab/views/shared/dom.js";
import {
  headTag,
  short,
  changeText,
} from "../../../transformer_lab/views/shared/messages.js";
import {
  decimalsFor,
  differenceSentence,
} from "../../../transformer_lab/views/shared/map_sentences.js";

test("short numbers", () => {
  assert.deepEqual(
    [0.61, 1, 0, 0.004, 0.005, 12.3].map((w) => short(w)),
    ["0.61", "1.00", "0.00", "<0.01", "0.01", "12.30"],
  );
  assert.deepEqual([0, 1e-6, 2e-4, 2e-3].map(decimalsFor), [4, 4, 3, 2]);
});

test("a change too small for two decimals has three, and a head a name that is no number", () => {
  assert.deepEqual([0.003, -0.003, 0.0001, 0.2].map(changeText), [
    "+0.003",
    "−0.003",
    "0",
    "+0.20",
  ]); // not "+<0.01"
  assert.equal(headTag(1, 0), "L1H0"); // not "1.0", beside an axis that ends at 1.0
});

test("for a finger a hint names no keys, and stays a sentence", () => {
  globalThis.matchMedia = () => ({ matches: true });
  const words =
    "Drag to turn it, or use arrow keys, + and −. Click a token to choose it, or use Page Up and Page Down.";
  assert.equal(hint(words), "Drag to turn it. Tap a token to choose it.");
  assert.equal(hint("Hover over a cell; click to lock it."), "Tap a cell to lock it.");
  delete globalThis.matchMedia;
  assert.equal(hint(words), words);
});

test("one line is one", () => {
  const kind = { queries: 1, keys: 1, query_tokens: ["a"], key_tokens: ["a"] };
  const rows = [{ head: 0, rowOf: () => new Float32Array([1]), nothing: null }];
  const { note } = lineScene({
    kind,
    focus: null,
    long: false,
    rows,
    layerMode: false,
    end: 1,
    valueWeighted: false,
  });
  assert.match(note, /\(1 line\)\.$/);
});

test("of changes that are equal but for rounding, the first is named", () => {
  const seen = {
    kind: "cross",
    layer: 0,
    head: 1,
    several: false,
    queries: ["a"],
    keys: ["x", "y", "z"],
  };
  const told = differenceSentence(seen, () => new Float32Array([0.1, -0.39999, 0.40001]), null);
  assert.equal(told, "Layer 0, head 1: your edits change “a” → “y” most (−0.40).");
});

// Written by the Python test beside this one: both halves must agree.
if (process.env.TL_SENTENCES) {
  test("what goes from A to B is refused as Python does", () => {
    const { betweens } = JSON.parse(readFileSync(process.env.TL_SENTENCES, "utf8"));
    for (const { why, a, b, ...seen } of betweens) {
      const asReadersSay = why?.replace(/\b([ab])=\(\d+, \d+\)/g, (_, side) => side.toUpperCase());
      assert.equal(whyNotBetween(a, b, { ...seen, all_queries: 14, all_keys: 14 }), asReadersSay);
    }
  });

  test("the parts of a text follow it as in Python", () => {
    const { segments } = JSON.parse(readFileSync(process.env.TL_SENTENCES, "utf8"));
    const parts = [
      ["a", 0, 3],
      ["b", 3, 6],
      ["none", 6, 6],
    ];
    for (const [before, after, wanted] of segments)
      assert.deepEqual(followSegments(parts, before, after), wanted);
    assert.deepEqual(segmentsOfKind(parts, 5), {
      segments: [
        [0, 3],
        [3, 5],
      ],
      segment_names: ["a", "b"],
    });
  });
}

test("a status as figures", () => {
  assert.deepEqual(figures({ state: "training", step: 3, steps: 9, loss: 1.23456, left: 100 }), [
    ["step", "3 of 9"],
    ["loss", "1.235"],
    ["left, about", "2 min"],
  ]);
  assert.equal(duration(7300), "2.0 h");
});
