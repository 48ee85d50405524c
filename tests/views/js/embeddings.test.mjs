import assert from "node:assert/strict";
import { test } from "node:test";

import { CloudData, extent, scaled, turned } from "../../../transformer_lab/views/embeddings/cloud.js";
import { placedNames } from "../../../transformer_lab/views/marks/points.js";

const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

/** Two rows of three points; each number encodes its place: 100 × way + 10 × row + point, and a tenth for the axis. */
function data(told = {}) {
  const numbers = [];
  for (const way of [0, 1, 2]) for (const row of [0, 1]) for (const point of [0, 1, 2]) for (const axis of [0, 1, 2, 3]) numbers.push(100 * way + 10 * row + point + axis / 10);
  const state = {
    _points: { tokens: ["a", "b", "a"], positions: [1, 2, 5], texts: [0, 0, 0], labels: [], where: ["start", "end"], sample: "", own: false, ...told },
    _coordinates: new DataView(Float32Array.from(numbers).buffer), _norms: new DataView(Float32Array.of(1, 2, 3, 4, 5, 6).buffer),
    _shares: { layer: [[1], [2]], random: [[3], [4]], paths: [[5], [6]], lone: [null, [2, 0.9]] },
  };
  return new CloudData({ get: (name) => state[name] });
}

test("numbers are read in the order in which they are sent", () => {
  const cloud = data();
  close(cloud.at("layer", 0, 2, 0), 2);
  assert.equal(Math.round(10 * cloud.at("random", 1, 1, 2)), 1112);
  assert.equal(Math.round(10 * cloud.at("paths", 1, 2, 3)), 2123);
  assert.equal(cloud.norm(1, 2), 6);
  assert.deepEqual(cloud.explained("layer", 1), [[2], [4]]);
  assert.deepEqual(cloud.explained("paths", 0), [[5], [6]]);
  assert.deepEqual(cloud.lone(1), ["a", 5, 0.9]);
  assert.equal(cloud.lone(0), null);
});

test("a selection of tokens is one of points, tokens left out are none", () => {
  const cloud = data();
  assert.equal(cloud.pointOf([5, null], "decoder"), 2);
  assert.equal(cloud.pointOf([0, null], "decoder"), null);
  assert.equal(cloud.pointOf([null, 2], "decoder"), 1);
  assert.equal(cloud.pointOf([null, 2], "cross"), null);
  assert.equal(cloud.pointOf(null, "decoder"), null);
  assert.equal(data({ own: true }).pointOf([2, null], "points"), 2);
  assert.equal(cloud.tokenOf(2), 5);
});

test("equal tokens have one colour, and numbers a scale", () => {
  const cloud = data();
  assert.deepEqual(cloud.painted("token", 0).places, [0, 1, 0]);
  assert.deepEqual(cloud.painted("length", 1).numbers, [4, 5, 6]);
  const table = Uint8ClampedArray.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  assert.deepEqual(scaled([4, 5, 6], table), ["rgb(0,0,0)", "rgb(128,128,128)", "rgb(255,255,255)"]);
  assert.deepEqual(scaled([7, 7], table), ["rgb(0,0,0)", "rgb(0,0,0)"]);
  assert.deepEqual(extent([3, -1, 2]), [-1, 3]);
});

test("turning keeps the distance, and never turns over", () => {
  let eye = { x: 1.4, y: 1.4, z: 0.8 };
  const far = Math.hypot(eye.x, eye.y, eye.z);
  for (let i = 0; i < 50; i++) {
    eye = turned(eye, 0.15, 0.15);
    close(Math.hypot(eye.x, eye.y, eye.z), far);
  }
  assert.ok(Math.hypot(eye.x, eye.y) > 0.01 && eye.z > 0);
  close(Math.hypot(...Object.values(turned(eye, 0, 0, 0.5))), far / 2);
  const round = turned({ x: 1, y: 0, z: 0 }, Math.PI / 2, 0);
  close(round.x, 0);
  close(round.y, 1);
});

test("names of points lie on no other name and no other point, or are left to the pointer", () => {
  const spots = [[50, 50], [60, 50], [52, 53], [200, 50], [55, 51], [56, 52]];
  const placed = placedNames(spots, spots.map(() => 40), 12, 230);
  assert.equal(placed[3].side, "middle left"); // the figure ends to its right
  assert.ok(placed.some((one) => one === null));
  const boxes = placed.filter(Boolean).map(({ at: [x, y] }) => [x - 20, y - 6, x + 20, y + 6]);
  const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  boxes.forEach((a, i) => boxes.forEach((b, j) => assert.ok(i === j || !meet(a, b))));
  assert.deepEqual(placedNames([[1, 1]], [0], 12), [null]);
});
