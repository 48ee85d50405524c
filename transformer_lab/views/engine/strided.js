// Tensors as views of a heap: an offset, a shape and strides. Reshaping copies only where it must.

/**
 * @typedef {object} Store the numbers under one or more tensors
 * @property {number} at
 * @property {number} size
 * @property {number} uses how many tensors hold it; Infinity for weights
 * @property {number} [scale] of an 8-bit weight: offset of the scales of its rows
 *
 * @typedef {object} Tensor
 * @property {Store} store
 * @property {number} at offset of its first number
 * @property {number[]} shape
 * @property {number[]} strides
 * @property {"float" | "int" | "bool"} type what its numbers mean
 */

/** @param {number[]} shape */
export const countOf = (shape) => shape.reduce((a, b) => a * b, 1);

/** Strides of contiguous numbers, row by row. @param {number[]} shape */
export function stridesOf(shape) {
  const strides = Array(shape.length);
  for (let i = shape.length - 1, n = 1; i >= 0; n *= shape[i--]) strides[i] = n;
  return strides;
}

/** Whether its numbers are contiguous. @param {Tensor} t */
export function isWhole(t) {
  for (let i = t.shape.length - 1, n = 1; i >= 0; n *= t.shape[i--])
    if (t.shape[i] !== 1 && t.strides[i] !== n) return false;
  return true;
}

/** @param {number} axis @param {number} rank */
export const axisOf = (axis, rank) => (axis < 0 ? axis + rank : axis);

/** The shape that two shapes broadcast to. @param {number[]} a @param {number[]} b */
export function broadcast(a, b) {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1];
    return x === 1 ? y : x;
  });
}

/** Strides that broadcast a tensor to a larger shape. @param {Tensor} t @param {number[]} shape */
export function stridesAs(t, shape) {
  const missing = shape.length - t.shape.length;
  return shape.map((_, i) =>
    i < missing || t.shape[i - missing] === 1 ? 0 : t.strides[i - missing],
  );
}

/** Visit the rows of views that share a shape: `row(places, length)`. A row is a run along the last axis, and along those before it that are contiguous with it. @param {number[]} shape @param {number[][]} strides @param {number[]} places @param {(places: number[], n: number) => void} row */
export function eachRow(shape, strides, places, row) {
  if (countOf(shape) === 0) return;
  let rank = Math.max(0, shape.length - 1); // of the axes before the row
  let n = shape[rank] ?? 1;
  while (rank && strides.every((s) => s[rank - 1] === s[shape.length - 1] * n)) n *= shape[--rank];
  const at = places.slice();
  const index = Array(rank).fill(0);
  for (;;) {
    row(at, n);
    let axis = rank - 1;
    for (; axis >= 0; axis--) {
      for (let t = 0; t < at.length; t++) at[t] += strides[t][axis];
      if (++index[axis] < shape[axis]) break;
      for (let t = 0; t < at.length; t++) at[t] -= strides[t][axis] * shape[axis];
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

export const isTensor = (x) => x !== null && typeof x === "object" && "strides" in x;
const TYPES = { bool: "bool", int64: "int", int32: "int", long: "int", int: "int" };
export const typeOf = (dtype, otherwise) =>
  dtype === undefined || dtype === null ? otherwise : (TYPES[dtype] ?? "float");
