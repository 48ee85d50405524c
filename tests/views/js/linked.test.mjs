import assert from "node:assert/strict";
import test from "node:test";
import { fits } from "../../../transformer_lab/views/shared/linked.js";

const kinds = { decoder: { layers: 2, heads: 4, queries: 5, keys: 5 } };
const told = (changes) => ({ kind: "decoder", layer: 1, head: 3, selected: [4, null], ...changes });

test("a selection within the sizes fits", () => {
  assert.equal(fits(kinds, told({})), true);
  assert.equal(fits(kinds, told({ selected: null })), true);
});

test("anything else that a page may be told is left alone", () => {
  const wrong = [
    { kind: "encoder" }, { kind: "__proto__" }, { layer: 2 }, { layer: -1 }, { head: "0" }, { head: 1.5 },
    { selected: [5, 0] }, { selected: [0] }, { selected: "12" }, { selected: undefined }, { selected: [0, NaN] },
  ];
  for (const changes of wrong) assert.equal(fits(kinds, told(changes)), false, JSON.stringify(changes));
  assert.equal(fits(kinds, null), false);
  assert.equal(fits(undefined, told({})), false);
});
