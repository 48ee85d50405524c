// The compiled products give what those in JavaScript give, for every size near a tile's.

import assert from "node:assert/strict";
import test from "node:test";

import { NumberHeap } from "../../../transformer_lab/views/engine/kernel.js";

const heaps = [new NumberHeap(true), new NumberHeap(false)];

/** y of both, after the same numbers were put everywhere. */
function products(rows, dIn, dOut, bits, bias) {
  return heaps.map((heap) => {
    const [x, w, s, b, y] = [rows * dIn, dIn * dOut, dOut, dOut, rows * dOut].map((n) => heap.take(n + 8));
    const { f } = heap;
    const put = (at, n, from) => { for (let i = 0; i < n; i++) f[at + i] = Math.sin(from + 1.7 * i); };
    [[x, rows * dIn], [s, dOut], [b, dOut]].forEach(([at, n], i) => put(at, n, i));
    if (bits === 8) new Int8Array(f.buffer, w * 4, dIn * dOut).forEach((_, i, bytes) => (bytes[i] = 127 * Math.sin(i)));
    else put(w, dIn * dOut, 4);
    f.fill(NaN, y, y + rows * dOut);
    if (bits === 8) heap.products.linear8(x, w, s, bias ? b : 0, y, rows, dIn, dOut);
    else heap.products.linear(x, w, bias ? b : 0, y, rows, dIn, dOut);
    return heap.f.slice(y, y + rows * dOut);
  });
}

test("products of every size", () => {
  assert.ok(heaps[0].compiled && !heaps[1].compiled);
  for (const rows of [1, 2, 3, 4, 5, 7, 8, 30]) for (const dIn of rows === 5 ? [3, 9000] : [0, 1, 4, 17, 64]) for (const dOut of [1, 2, 5]) for (const bits of [32, 8]) for (const bias of [true, false]) {
    const [found, wanted] = products(rows, dIn, dOut, bits, bias);
    const size = Math.max(1, ...wanted.map(Math.abs));
    found.forEach((v, i) => assert.ok(Math.abs(v - wanted[i]) < 1e-4 * size, `${[rows, dIn, dOut, bits, bias]}: ${v} for ${wanted[i]}`));
  }
});

test("a model that needs more memory than there is", () => {
  const heap = new NumberHeap(true);
  /** @type {any} */ (heap.memory).grow = () => {
    throw new RangeError("WebAssembly.Memory.grow(): Maximum memory size exceeded");
  };
  assert.throws(() => heap.take(2 ** 26), /^Error: this model needs 257 MiB, more than this browser gives a page$/);
});
