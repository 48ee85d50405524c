import assert from "node:assert/strict";
import { test } from "node:test";

import { StepModel } from "../../../transformer_lab/views/runs/panels.js";
import { passedHalf, scoresFrom } from "../../../transformer_lab/views/runs/scene.js";
import { nearestStop } from "../../../transformer_lab/views/shared/ticks.js";

test("where scores stand in their bytes", () => {
  const measures = { encoder: ["a", "b"], decoder: ["b", "c"] };
  const kinds = { encoder: { layers: 2, heads: 3 }, decoder: { layers: 1, heads: 4 } };
  assert.equal(scoresFrom(measures, kinds, 5, "encoder", "b"), 30);
  assert.equal(scoresFrom(measures, kinds, 5, "decoder", "b"), 60);
  assert.equal(scoresFrom(measures, kinds, 5, "decoder", "c"), 80);
  assert.equal(scoresFrom(measures, kinds, 5, "decoder", "a"), -1);
});

test("half is passed once, and only by what grew", () => {
  assert.equal(passedHalf([0, 0.1, 0.5, 0.6, 1]), 2);
  assert.equal(passedHalf([0.5, 0.55]), -1);
  assert.equal(nearestStop([0, 10, 30], 19), 1);
});

test("the stand-in shows another step and passes all else on", () => {
  const state = { _maps: "last", layer: 3 };
  const heard = [];
  const handlers = {};
  const model = new StepModel({
    get: (name) => state[name], set: (name, value) => (state[name] = value), save_changes() {},
    on: (names, handler) => (handlers[names] = handler), off: (names) => delete handlers[names],
  });
  const listen = () => heard.push(model.get("_maps"));
  model.on("change:_thumbs", listen);
  assert.equal(model.get("_maps"), "last");
  model.show({ _maps: "step 5" });
  assert.deepEqual(heard, ["step 5"]);
  model.set("layer", 1);
  assert.equal(state.layer, 1);
  assert.ok(handlers["change:_thumbs"]);
  model.off("change:_thumbs", listen);
  model.show({});
  assert.deepEqual([heard.length, model.get("_maps"), Object.keys(handlers).length], [1, "last", 0]);
});
