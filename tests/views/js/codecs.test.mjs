import assert from "node:assert/strict";
import { test } from "node:test";

import { bytesOf, halfToNumber, halvesToFloats, typed, weightOf } from "../../../transformer_lab/views/shared/codecs.js";

test("half precision: known patterns", () => {
  const known = [[0x3c00, 1], [0xc000, -2], [0x0001, 2 ** -24], [0x7bff, 65504], [0x0000, 0], [0x3555, 0.333251953125]];
  for (const [bits, value] of known) assert.equal(halfToNumber(bits), value);
  assert.equal(halfToNumber(0x7c00), Infinity);
  assert.ok(Number.isNaN(halfToNumber(0x7e00)));
  assert.deepEqual([...halvesToFloats(Uint16Array.of(0x3c00, 0xc000))], [1, -2]);
});

test("a weight's code rounds to every number of decimals as the weight itself does", () => {
  for (let i = 1; i < 4000; i++) {
    const weight = ((i * 0.6180339887498949) % 1) * (i % 3 ? 1 : 0.02);
    const decoded = Math.fround(weightOf(Math.floor(weight * 60000)));
    for (const decimals of [1, 2, 3, 4]) assert.equal(decoded.toFixed(decimals), weight.toFixed(decimals));
  }
  assert.equal(weightOf(0), 0);
  assert.equal(weightOf(60000), 1);
});

test("bytes and typed arrays from any alignment", () => {
  const buffer = new ArrayBuffer(9);
  new DataView(buffer).setFloat32(1, 1.5, true);
  assert.equal(typed(Float32Array, bytesOf(new DataView(buffer, 1, 4)))[0], 1.5);
  assert.equal(bytesOf(null).length, 0);
});
