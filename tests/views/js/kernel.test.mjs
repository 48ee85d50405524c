// The compiled products give what those in JavaScript give, for every size near a tile's.

import assert from "node:assert/strict";
import test from "node:test";

import { NumberHeap } from "../../../transformer_lab/views/engine/kernel.js";

const heaps = [new NumberHeap(true), new NumberHeap(false)];

/** y from both heaps for the same numbers; rows of y have two numbers between them. @param {"linear" | "linear8" | "product"} which */
function products(rows, dIn, dOut, which, bias) {
  return heaps.map((heap) => {
    const [x, w, s, b, y] = [rows * dIn, dIn * dOut, dOut, dOut, rows * (dOut + 2)].map((n) => heap.take(n + 8));
    const { f } = heap;
    const put = (at, n, from) => { for (let i = 0; i < n; i++) f[at + i] = Math.sin(from + 1.7 * i); };
    [[x, rows * dIn], [s, dOut], [b, dOut]].forEach(([at, n], i) => put(at, n, i));
    if (which === "linear8") new Int8Array(f.buffer, w * 4, dIn * dOut).forEach((_, i, bytes) => (bytes[i] = 127 * Math.sin(i)));
    else put(w, dIn * dOut, 4);
    f.fill(-5, y, y + rows * (dOut + 2));
    const from = { linear: [x, dIn, w, dIn], linear8: [x, dIn, w, s], product: [x, dIn, 1, w, dOut] }[which];
    heap.products[which](...from, bias ? b : 0, y, dOut + 2, rows, dIn, dOut);
    return heap.f.slice(y, y + rows * (dOut + 2));
  });
}

test("products of every size", () => {
  assert.ok(heaps[0].compiled && !heaps[1].compiled);
  for (const rows of [1, 2, 3, 4, 5, 7, 8, 30]) for (const dIn of rows === 5 ? [3, 9000] : [0, 1, 4, 17, 64]) for (const dOut of [1, 2, 5, 9]) for (const which of /** @type {const} */ (["linear", "linear8", "product"])) for (const bias of [true, false]) {
    const [found, wanted] = products(rows, dIn, dOut, which, bias);
    const size = Math.max(1, ...wanted.map(Math.abs));
    found.forEach((v, i) => assert.ok(Math.abs(v - wanted[i]) < 1e-4 * size, `${[rows, dIn, dOut, which, bias]}: ${v} for ${wanted[i]}`));
  }
});

test("runs of every length", () => {
  const { f, products: { runs, soften, norm } } = heaps[0];
  const [x, y, z, means, scales] = Array.from({ length: 5 }, () => heaps[0].take(64));
  for (let n = 1; n < 12; n++) {
    for (let i = 0; i < 3 * n; i++) f[x + i] = 5 * Math.sin(1.7 * i);
    f.fill(-Infinity, x + 2 * n, x + 3 * n);
    const rows = [0, 1, 2].map((row) => Array.from(f.subarray(x + row * n, x + (row + 1) * n)));
    const near = (at, wanted, what) => wanted.forEach((v, i) => assert.ok(Object.is(f[at + i], v) || Math.abs(f[at + i] - v) < 1e-5 * (1 + Math.abs(v)), `${what} of ${n}: ${f[at + i]} for ${v}`));
    const sum = (row, of) => row.reduce((s, v) => s + of(v), 0);
    [(row) => sum(row, (v) => v), (row) => sum(row, (v) => v * v), (row) => Math.max(...row)].forEach((of, what) => {
      runs(what, x, y, 3, n);
      near(y, rows.map(of), `run ${what}`);
    });
    const whole = rows.map((row) => sum(row, Math.exp));
    [(v, s) => Math.exp(v) / s, (v, s) => (s ? Math.exp(v) / s : 0), (v, s) => v - Math.log(s)].forEach((of, what) => {
      soften(what, x, y, 3, n);
      near(y, rows.flatMap((row, i) => row.map((v) => of(v, whole[i]))), `softmax ${what}`);
    });
    norm(x, 0, 0, y, means, scales, 2, n, 0.5);
    norm(x, x, x + n, z, means, scales, 2, n, 0.5);
    const normed = rows.slice(0, 2).flatMap((row) => {
      const mean = sum(row, (v) => v) / n;
      return row.map((v) => (v - mean) / Math.sqrt(sum(row, (u) => (u - mean) ** 2) / n + 0.5));
    });
    near(y, normed, "norm");
    near(z, normed.map((v, i) => v * rows[0][i % n] + rows[1][i % n]), "norm with weights");
  }
});

test("freed neighbours are one", () => {
  const heap = new NumberHeap(true);
  const places = Array.from({ length: 100 }, () => heap.take(1000));
  const { length } = heap.f;
  for (const at of places) heap.give(at, 1000);
  for (let i = 0; i < 10; i++) heap.take(9000);
  assert.equal(heap.f.length, length);
});

test("a model that needs more memory than there is", () => {
  const heap = new NumberHeap(true);
  /** @type {any} */ (heap.memory).grow = () => {
    throw new RangeError("WebAssembly.Memory.grow(): Maximum memory size exceeded");
  };
  assert.throws(() => new NumberHeap(true).take(1e12), /^Error: this model needs 3814698 MiB, more than this browser gives a page$/);
  assert.throws(() => heap.take(2 ** 26), /^Error: this model needs 257 MiB, more than this browser gives a page$/);
});
