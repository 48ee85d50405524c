import assert from "node:assert/strict";
import { test } from "node:test";

import { HeadStore } from "../../../transformer_lab/views/heads/store.js";

const KINDS = { decoder: { layers: 1, heads: 2, queries: 2, keys: 2, has_norms: true, maps: 0, norms: 0, causal: true } };
const bytes = (type, numbers) => new DataView(type.from(numbers).buffer);
const maps = bytes(Uint16Array, [60000, 0, 30000, 30000, 60000, 0, 15000, 45000]);
const norms = bytes(Float32Array, [1, 2, 3, 4]);

function storeOf(traits) {
  const all = { _kinds: KINDS, _options: {}, _after_first: {}, _after_maps: maps, _after_norms: null, ...traits };
  const asked = [];
  const requests = {
    ask: async ({ name }) => {
      asked.push(name);
      return { message: { info: { encoding: "weights", error: 0 } }, buffers: [new Uint8Array(maps.buffer, 8, 8), new Uint8Array(norms.buffer, 8, 8)] };
    },
  };
  return { all, asked, store: new HeadStore({ get: (name) => all[name] }, requests, true) };
}

test("a map that came without value norms is asked for once weights count by them", async () => {
  const { all, asked, store } = storeOf({});
  assert.equal((await store.get("decoder", 0, 1)).norms, null);
  assert.deepEqual(asked, []);
  all._options = { weights: "value" };
  const found = await store.get("decoder", 0, 1);
  assert.deepEqual([...found.norms], [3, 4]);
  assert.deepEqual(await store.get("decoder", 0, 1), found);
  assert.deepEqual(asked, ["after/decoder/0/1"], "once");
});

test("norms that are here need no asking", async () => {
  const { asked, store } = storeOf({ _options: { weights: "value" }, _after_norms: norms });
  assert.deepEqual([...(await store.get("decoder", 0, 1)).norms], [3, 4]);
  assert.deepEqual(asked, []);
});
