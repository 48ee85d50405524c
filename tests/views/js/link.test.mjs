import assert from "node:assert/strict";
import test from "node:test";
import { chosenHere, linkTo, readLink } from "../../../transformer_lab/views/pages/link.js";

globalThis.location = /** @type {any} */ ({ href: "file:///page.html" });
const traits = {
  _title: "small", _how: { view: "HeadView" }, _chosen: ["layer", "head", "kind", "selected", "a", "b", "pins", "cuts", "text", "token", "threshold", "step", "colour"],
  _choices: { colour: ["token", "label"] }, colour: "token",
  _kinds: { decoder: { layers: 2, heads: 4, queries: 5, keys: 5 } },
  layer: 0, head: 0, kind: "decoder", selected: null, a: null, b: null, pins: [], cuts: [], text: 0, token: null, threshold: 0.05, step: "stream", _options: {},
};
const page = (changes = {}) => ({ get: (name) => ({ ...traits, ...changes })[name] });
/** What a page reads from a link made by another page with these choices. */
const sent = (changes, more = {}) => readLink(page(), new URL(linkTo(page(changes), more)).hash);
const refused = /^Error: this link names what is not in this page$/;

test("what was chosen comes back", () => {
  const chosen = { layer: 1, head: 3, selected: [4, null], a: [0, 2], pins: [[0, 1], [1, 3]], cuts: [[1, 2, 4, 0]], token: 7, threshold: 0.5, step: "mlp", colour: "label", _options: { map: "scores" } };
  assert.deepEqual(sent(chosen, { sides: [] }), { chosen: { ...Object.fromEntries(traits._chosen.map((name) => [name, traits[name]])), ...chosen }, more: { sides: [] } });
});

test("a mean of texts comes back, where the page was saved with one of them", () => {
  for (const text of ["mean", "spread"]) assert.equal(sent({ text })?.chosen.text, text);
  assert.throws(() => sent({ text: "<b>" }), refused);
  assert.throws(() => sent({ text: 1 }), refused); // the page has one
});

test("a link that somebody wrote by hand is refused in one sentence", () => {
  const wrong = [
    { layer: 2 }, { layer: -1 }, { head: 0.5 }, { head: "0" }, { kind: "__proto__" }, { kind: "encoder" },
    { selected: "<img src=x onerror=alert(1)>" }, { selected: { query: 1 } }, { selected: [1] }, { selected: [0, -1] }, { selected: [null, null] }, { selected: 3 },
    { a: [3, 1] }, { b: [0] }, { a: "all" }, { pins: [5] }, { pins: [[0]] }, { pins: {} }, { cuts: "all" }, { cuts: [[0, 0]] }, { cuts: [[0, 0, -1, 0]] },
    { token: "x" }, { token: {} }, { threshold: "0" }, { threshold: [0] }, { step: 4 }, { colour: "text" }, { colour: 1 }, { _options: "x" }, { _options: null }, { _options: [1] },
  ];
  for (const changes of wrong) assert.throws(() => sent(changes), refused, JSON.stringify(changes));
  for (const more of [null, [], "x", 5]) assert.throws(() => sent({}, /** @type {any} */ (more)), refused, JSON.stringify(more));
  const others = page({ _chosen: ["_esm"], _esm: "alert(1)" });
  assert.throws(() => readLink(page(), new URL(linkTo(others, {})).hash), refused);
});

test("tokens that the text of a link has not are not chosen", () => {
  const chosen = { layer: 1, selected: [5, 0], a: [2, 4], b: [3, 5] };
  assert.deepEqual(chosenHere(page(), chosen), { ...chosen, selected: null, b: null });
  const there = { selected: [4, null], a: null };
  assert.deepEqual(chosenHere(page(), there), there);
  assert.deepEqual(chosenHere(page({ _kinds: undefined }), chosen), chosen);
});
