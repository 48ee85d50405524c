import assert from "node:assert/strict";
import { test } from "node:test";

import { readFileSync } from "node:fs";

import {
  cutRow, cutsOf, cutsReachOnly, editsCode, headOff, headTouched, sameEdits, Steps, toggleCut, toggleExpert, toggleHeads,
} from "../../../transformer_lab/views/explorer/edits.js";
import { dotRadius } from "../../../transformer_lab/views/explorer/grid.js";
import { effectsOf } from "../../../transformer_lab/views/explorer/head_card.js";

// Written by tests/views/explorer/test_edits.py: two kinds of attention, and each edit as Python sends it.
const given = process.env.TL_EDITS ? JSON.parse(readFileSync(process.env.TL_EDITS, "utf-8")) : null;
const shown = (edits) => edits.map(({ what: _, ...edit }) => edit); // Python describes all, the page only what it has no words for
const place = (layer, head, kind = "decoder") => ({ kind, layer, head });

test("edits made by hand are those that Python would send", { skip: !given }, () => {
  const { kinds, heads, cuts, expert } = given;
  assert.deepEqual(shown(toggleExpert([], expert.at, kinds)), shown([expert.sent]));
  assert.deepEqual(toggleExpert([expert.sent], expert.at, kinds), []);
  for (const { at, sent } of heads) assert.deepEqual(shown(toggleHeads([], [at], kinds)), shown([sent]));
  for (const { at, edge, scope, sent } of cuts) assert.deepEqual(shown(toggleCut([], at, edge, scope, kinds)), shown([sent]));
  assert.ok(heads.length >= 2 && cuts.length >= 18);
});

test("heads go off and on, alone and together", { skip: !given }, () => {
  const { kinds } = given;
  let edits = toggleHeads([], [place(1, 2)], kinds);
  assert.ok(headOff(edits, place(1, 2)));
  assert.ok(!headOff(edits, place(1, 2, "cross")));
  edits = toggleHeads(edits, [place(1, 2), place(0, 0)], kinds);
  assert.equal(edits.length, 2, "those that are on go off");
  assert.deepEqual(toggleHeads(edits, [place(1, 2), place(0, 0)], kinds), []);
  const cross = toggleHeads([], [place(0, 1, "cross")], kinds);
  assert.equal(cross[0].kind, "cross");
  assert.ok(headOff([{ does: "off", kind: "decoder", layer: 1, head: null }], place(1, 7)), "a whole layer is off");
});

test("edges are cut where they are meant, and mended", { skip: !given }, () => {
  const { kinds } = given;
  const edge = { query: 1, key: 0 };
  for (const scope of ["head", "layer", "all"]) {
    const cut = (edits) => toggleCut(edits, place(1, 2), edge, scope, kinds);
    const edits = cut([]);
    assert.deepEqual(cutsOf(edits, place(1, 2)), [edge]);
    assert.equal(cutsOf(edits, place(1, 3)).length, scope === "head" ? 0 : 1);
    assert.equal(cutsOf(edits, place(0, 2)).length, scope === "all" ? 1 : 0);
    assert.ok(headTouched(edits, place(1, 2)));
    assert.deepEqual(cut(edits), []);
  }
});

test("edits in Python, and which are the same", () => {
  const toy = { id: "a", code: "tl.toy(strength=2)" };
  assert.equal(editsCode([], "run", 3), "edits = []");
  assert.equal(editsCode([toy], "run", null), "edits = [\n    tl.toy(strength=2),\n]\nrun");
  assert.equal(editsCode([toy], "run", 3).split("\n").at(-1), 'print(before.predictions(3), after.predictions(3), sep="\\n")');
  assert.ok(sameEdits([toy], [{ ...toy, words: "…" }]));
  assert.ok(!sameEdits([toy], [{ ...toy, id: "b" }]));
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
  assert.deepEqual([...cutRow(row, 2, [{ query: 2, key: 0 }]).row], [0, 0.5, 0.5, 0]);
  assert.deepEqual([...cutRow(row, 2, [{ query: null, key: 1 }]).row].map((w) => Math.round(1e6 * w)), [666667, 0, 333333, 0]);
  assert.equal(cutRow(row, 2, [{ query: 1, key: 0 }]).row, row, "another row");
  assert.deepEqual([...cutRow(row, 2, [{ query: 2, key: null }]).row], [0, 0, 0, 0]);
  const cut = { does: "cut", kind: "decoder", layer: 1, head: null, query: 2, key: 0 };
  assert.ok(cutsReachOnly([cut], place(1, 3)));
  assert.ok(!cutsReachOnly([cut], place(2, 3)), "it changes what later layers are given");
  assert.ok(!cutsReachOnly([{ ...cut, layer: null }], place(0, 3)));
});

test("what goes to nothing takes its part of a cut row, and all of one that is cut whole", () => {
  const row = Float32Array.of(0.5, 0.25, 0);
  assert.deepEqual(cutRow(row, 2, [{ query: 2, key: 0 }], 0.25), { row: Float32Array.of(0, 0.5, 0), nothing: 0.5, factor: 2 });
  assert.deepEqual(cutRow(row, 2, [{ query: 2, key: null }], 0.25), { row: new Float32Array(3), nothing: 1, factor: 4 });
});

test("no dot is large where no head matters", () => {
  const radius = (size) => {
    const effects = { "decoder/0/0": { mean: size }, "decoder/0/1": { mean: -size / 2 } };
    const { changes, scale } = effectsOf({ facts: { effects }, kindName: "decoder", kind: { layers: 1, heads: 2 } });
    return dotRadius(changes.get("decoder/0/0") / scale, 40);
  };
  assert.equal(radius(0.3), radius(0.05));
  assert.ok(radius(0.009) < radius(0.3) / 2);
});

// Written by test_cut_rows.py: rows of a model before and with cuts, as Python computes them.
if (process.env.TL_CUTS) {
  test("cut rows are Python's", () => {
    for (const { cuts, before, after } of JSON.parse(readFileSync(process.env.TL_CUTS, "utf8"))) {
      before.rows.forEach((row, query) => {
        const found = cutRow(Float32Array.from(row), query, cuts, before.nothing[query]);
        const off = [...found.row].map((weight, key) => Math.abs(weight - after.rows[query][key]));
        assert.ok(Math.max(...off, Math.abs(found.nothing - after.nothing[query])) <= 1e-6, JSON.stringify({ cuts, query, off }));
      });
    }
  });
}
