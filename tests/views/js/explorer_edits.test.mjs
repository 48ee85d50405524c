import assert from "node:assert/strict";
import { test } from "node:test";

import {
  cutRow, cutsOf, cutsReachOnly, editCode, editsCode, editWords, headOff, headTouched, sameEdits, Steps, toggleCut, toggleHeads,
} from "../../../transformer_lab/views/static/explorer_edits.js";

const place = (layer, head, kind = "decoder") => ({ kind, layer, head });

test("heads go off and on, alone and together", () => {
  let edits = toggleHeads([], [place(1, 2)], "decoder");
  assert.deepEqual(edits, [{ edit: "ablate", layer: 1, head: 2 }]);
  assert.ok(headOff(edits, place(1, 2), "decoder"));
  assert.ok(!headOff(edits, place(1, 2, "cross"), "decoder"));
  edits = toggleHeads(edits, [place(1, 2), place(0, 0)], "decoder");
  assert.equal(edits.length, 2, "those that are on go off");
  assert.deepEqual(toggleHeads(edits, [place(1, 2), place(0, 0)], "decoder"), []);
  const cross = toggleHeads([], [place(0, 1, "cross")], "decoder");
  assert.equal(cross[0].kind, "cross");
  assert.ok(headOff([{ edit: "ablate", layer: 1 }], place(1, 7), "decoder"), "a whole layer is off");
});

test("edges are cut where they are meant, and mended", () => {
  const edge = { query: 5, key: 3 };
  for (const [scope, keys] of [["head", ["edit", "head", "key", "layer", "query"]], ["layer", ["edit", "key", "layer", "query"]], ["all", ["edit", "key", "query"]]]) {
    const edits = toggleCut([], place(1, 2), edge, scope, "decoder");
    assert.deepEqual(Object.keys(edits[0]).sort(), keys);
    assert.deepEqual(cutsOf(edits, place(1, 2), "decoder"), [edge]);
    assert.equal(cutsOf(edits, place(1, 3), "decoder").length, scope === "head" ? 0 : 1);
    assert.equal(cutsOf(edits, place(0, 2), "decoder").length, scope === "all" ? 1 : 0);
    assert.ok(headTouched(edits, place(1, 2), "decoder"));
    assert.deepEqual(toggleCut(edits, place(1, 2), edge, scope, "decoder"), []);
  }
});

test("edits in words and in Python", () => {
  const kinds = { decoder: { query_tokens: ["<b>", "it"], key_tokens: ["<b>", "it"] } };
  const cut = { edit: "knock_out", layer: 1, head: 0, query: 1, key: 0 };
  assert.equal(editWords(cut, kinds), "“it” → “<b>” cut in layer 1, head 0");
  assert.equal(editWords({ edit: "ablate", layer: 1, head: 2 }, kinds), "layer 1, head 2 off");
  assert.equal(editCode(cut), "tl.knock_out(layer=1, head=0, query=1, key=0)");
  assert.equal(editCode({ edit: "ablate", kind: "cross", head: 1, layer: 0 }), 'tl.ablate(layer=0, head=1, kind="cross")');
  assert.equal(editsCode([], "run", 3), "edits = []");
  assert.equal(editsCode([cut], "run", null), `edits = [\n    ${editCode(cut)},\n]\nrun`);
  assert.equal(editsCode([cut], "run", 3).split("\n").at(-1), 'print(before.predictions(3), after.predictions(3), sep="\\n")');
  const both = { decoder: kinds.decoder, cross: kinds.decoder };
  assert.equal(editWords({ edit: "knock_out", key: 0, kind: "cross" }, both), "every token → “<b>” cut in every cross layer, all heads");
  assert.ok(sameEdits([{ edit: "ablate", layer: 0 }], [{ layer: 0, edit: "ablate", head: undefined }]));
});

test("steps go back and forth, and are bounded", () => {
  const steps = new Steps(3);
  let now = 0;
  for (const next of [1, 2, 3, 4, 5]) {
    steps.push(now);
    now = next;
  }
  assert.deepEqual(steps.past, [2, 3, 4]);
  now = steps.undo(now);
  assert.equal(now, 4);
  now = steps.redo(now);
  assert.equal(now, 5);
  assert.equal(steps.redo(now), undefined);
  steps.undo(now);
  steps.push(4);
  assert.deepEqual(steps.future, []);
});

test("a cut row takes up the weight of its cut edges", () => {
  const row = Float32Array.of(0.5, 0.25, 0.25, 0);
  assert.deepEqual([...cutRow(row, 2, [{ query: 2, key: 0 }])], [0, 0.5, 0.5, 0]);
  assert.deepEqual([...cutRow(row, 2, [{ query: null, key: 1 }])].map((w) => Math.round(1e6 * w)), [666667, 0, 333333, 0]);
  assert.equal(cutRow(row, 2, [{ query: 1, key: 0 }]), row, "another row");
  assert.deepEqual([...cutRow(row, 2, [{ query: 2, key: null }])], [0, 0, 0, 0]);
  const cut = { edit: "knock_out", layer: 1, query: 2, key: 0 };
  assert.ok(cutsReachOnly([cut], place(1, 3), "decoder"));
  assert.ok(!cutsReachOnly([cut], place(2, 3), "decoder"), "it changes what later layers are given");
  assert.ok(!cutsReachOnly([{ ...cut, layer: undefined }], place(0, 3), "decoder"));
});
