import assert from "node:assert/strict";
import { test } from "node:test";

import { paintsOf } from "../../../transformer_lab/views/embeddings/panel.js";
import { pointOf, tokenOf, view } from "../../../transformer_lab/views/embeddings/scene.js";
import { extent, turned } from "../../../transformer_lab/views/embeddings/space.js";
import { placedNames } from "../../../transformer_lab/views/marks/points.js";

const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

const WHERE = ["start", "end"];
const POINTS = { tokens: ["a", "b", "a"], positions: [1, 2, 5], where: WHERE, sample: "", text: [], label: [] };
const state = (more = {}) => ({ kind: "decoder", selected: null, row: 0, shows: "layer", colour: "token", points: POINTS, hover: {}, ...more });
const SHARES = [[0.5, 0.2, 0.1], [0.3, 0.2, 0.2]];

/** The answer of a state: each number encodes its place: 10 × row + point, and a tenth for the column. */
function found(s) {
  const rows = s.shows === "paths" ? [0, 1] : [s.row];
  const numbers = rows.flatMap((row) => [0, 1, 2].flatMap((point) => [0, 1, 2, 3, 4].map((column) => 10 * row + point + column / 10)));
  const [name] = view.needs(s);
  const lone = s.shows === "layer" && s.row === 1 ? [2, 0.9] : null;
  return new Map([[name, view.read({ info: { shares: SHARES, lone }, numbers }, name, s)]]);
}
const shown = (more) => view.scene(state(more), found(state(more)));

test("numbers are read in the order in which they are sent", () => {
  assert.deepEqual(view.needs(state({ row: 1 })), ["layer/1"]);
  assert.deepEqual(view.needs(state({ row: 1, shows: "paths" })), ["paths/0"]);
  const { places, every } = found(state({ row: 1 })).get("layer/1");
  close(places(0)[6], 12);
  close(every(0, 4)[2], 12.4);
  const { mark } = shown({ shows: "paths", row: 1 }).panels[0][0];
  assert.deepEqual(mark.paths.shape, [2, 3, 3]);
  close(mark.paths.values[17], 12.2);
  assert.deepEqual(mark.places.values, mark.paths.values.slice(9));
  const { arrays } = shown({ row: 1 });
  close(arrays.kept[1][2], 12.3);
  close(arrays.length[1][2], 12.4);
  close(arrays.component_3[1][0], 10.2);
  assert.match(arrays.component_1[2], / 0\.5$/);
  assert.match(shown({ shows: "random" }).arrays.component_1[2], / 0\.3$/);
  assert.match(shown({ row: 1 }).sentence, /“a” \(5\) alone accounts for 90%/);
  assert.doesNotMatch(shown({ row: 0 }).sentence, /alone/);
  assert.deepEqual(shown().panels[0][0].table.rows[1].slice(1), ["30%", "20%", "20%", "70%"]);
});

test("a selection of tokens is one of points, tokens left out are none", () => {
  const s = state();
  assert.equal(pointOf(s, [5, null]), 2);
  assert.equal(pointOf(s, [0, null]), null);
  assert.equal(pointOf(s, [null, 2]), 1);
  assert.equal(pointOf(state({ kind: "cross" }), [null, 2]), null);
  assert.equal(pointOf(s, null), null);
  assert.equal(pointOf(state({ kind: "points" }), [2, null]), 2);
  assert.equal(pointOf(state({ kind: "points" }), [3, null]), null);
  assert.equal(tokenOf(s, 2), 5);
  assert.deepEqual(view.spot(state({ hover: { cloud: 2 } })), { query: 5, key: null });
  assert.deepEqual(view.pointed(s, { query: 5, key: null }), { cloud: 2 });
  assert.deepEqual(view.pointed(s, { query: 0, key: null }), {});
});

test("equal tokens have one colour, and numbers a scale", () => {
  const colours = (more) => shown(more).panels[0][0].mark.colours;
  const paints = paintsOf(colours());
  assert.equal(paints[0], paints[2]);
  assert.notEqual(paints[0], paints[1]);
  assert.deepEqual(colours({ colour: "length", row: 1 }), [10.4, 11.4, 12.4]);
  const table = Uint8ClampedArray.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  assert.deepEqual(paintsOf([4, 5, 6], table), ["rgb(0,0,0)", "rgb(128,128,128)", "rgb(255,255,255)"]);
  assert.deepEqual(paintsOf([7, 7], table), ["rgb(0,0,0)", "rgb(0,0,0)"]);
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
