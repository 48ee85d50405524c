import assert from "node:assert/strict";
import { test } from "node:test";

import { EditedMaps } from "../../../transformer_lab/views/explorer/maps.js";

const cut = { made: { edit: "knock_out", layer: 0, head: 0, key: 1 }, code: "", what: "" };

/** Maps of two layers with two heads, whose rows are all equal, with an edit not yet computed. */
function maps(place, edits = [cut]) {
  const model = { get: (name) => ({ _edits: edits, _outcome: { edits_of_maps: [] }, _kinds: { decoder: { queries: 1, query_tokens: [], key_tokens: [] } } })[name], on() {}, off() {} };
  const found = new EditedMaps(model, { place, options: {} }, { edits }, {});
  const store = { row: () => Float32Array.from([0.5, 0.25, 0.25]), nothing: () => 0, error: 0, norms: null };
  found.before = { at: () => store, get: async () => store };
  return found;
}

test("a cut changes the head that it names, whichever is chosen", async () => {
  for (const place of [{ kind: "decoder", layer: 0, head: 0 }, { kind: "decoder", layer: 0, head: 1 }, { kind: "decoder", layer: 1, head: 0 }]) {
    const shown = maps(place);
    for (const of of [(...at) => shown.at(...at), (...at) => shown.get(...at)]) {
      const rows = [];
      for (const at of [[0, 0], [0, 1]]) rows.push([...(await of("decoder", ...at)).row(0)]);
      assert.deepEqual(rows[0].map((w) => +w.toFixed(4)), [0.6667, 0, 0.3333]);
      assert.deepEqual(rows[1], [0.5, 0.25, 0.25]);
    }
  }
});

test("a cut row is as far off as its weights, scaled up with them", () => {
  const shown = maps({ kind: "decoder", layer: 0, head: 0 }, [{ ...cut, made: { ...cut.made, key: 0 } }]);
  const found = shown.at("decoder", 0, 0);
  assert.ok(Math.abs(found.error - 2 * (0.5 / 60000)) < 1e-9, `${found.error}`);
});
