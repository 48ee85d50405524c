// Operations that only move numbers: shapes, joining and cutting, reading and writing by index.

import {
  axisOf,
  broadcast,
  countOf,
  eachRow,
  isTensor,
  isWhole,
  stridesAs,
  stridesOf,
  typeOf,
} from "./strided.js";

/** @typedef {import("./operations.js").Operation} Operation */

// ---- shapes -------------------------------------------------------------------------------------------

/** @type {Operation} */
export function reshaped(on, [x, wanted]) {
  const size = countOf(x.shape);
  const rest = size / countOf(wanted.filter((n) => n !== -1));
  const shape = wanted.map((n) => (n === -1 ? rest : n));
  if (String(shape) === String(x.shape)) return on.view(x, shape, x.strides);
  const whole = on.whole(x);
  return on.view(whole, shape, stridesOf(shape));
}

/** @type {Operation} */
export function expanded(on, [x, wanted]) {
  const missing = wanted.length - x.shape.length;
  const shape = wanted.map((n, i) => (n === -1 ? x.shape[i - missing] : n));
  return on.view(x, shape, stridesAs(x, shape));
}

/** @type {Operation} */
export function sliced(on, [x, axis = 0, from = null, to = null, step = 1]) {
  const d = axisOf(axis, x.shape.length);
  const n = x.shape[d];
  const clamp = (i) => Math.min(n, Math.max(0, i < 0 ? i + n : i));
  const [start, end] = [clamp(from ?? 0), clamp(to ?? n)];
  return on.view(
    x,
    x.shape.with(d, Math.max(0, Math.ceil((end - start) / step))),
    x.strides.with(d, x.strides[d] * step),
    x.at + start * x.strides[d],
  );
}

/** @type {Operation} */
export function chosen(on, [x, axis, index]) {
  const d = axisOf(axis, x.shape.length);
  const at = x.at + (index < 0 ? index + x.shape[d] : index) * x.strides[d];
  return on.view(x, x.shape.toSpliced(d, 1), x.strides.toSpliced(d, 1), at);
}

/** @type {Operation} */
export function catenated(on, [parts, axis = 0]) {
  const some = parts.filter((t) => !(t.shape.length === 1 && t.shape[0] === 0));
  const d = axisOf(axis, some[0].shape.length);
  const y = on.tensor(
    some[0].shape.with(
      d,
      some.reduce((n, t) => n + t.shape[d], 0),
    ),
    some[0].type,
  );
  let at = y.at;
  for (const t of some) {
    on.copy(t, { ...y, at, shape: t.shape });
    at += t.shape[d] * y.strides[d];
  }
  return y;
}

/** @type {Operation} */
export function split(on, [x, sizes, axis = 0]) {
  const d = axisOf(axis, x.shape.length);
  const each =
    typeof sizes === "number"
      ? Array.from({ length: Math.ceil(x.shape[d] / sizes) }, (_, i) =>
          Math.min(sizes, x.shape[d] - i * sizes),
        )
      : sizes;
  let at = x.at;
  return each.map((n) => {
    const part = on.view(x, x.shape.with(d, n), x.strides, at);
    at += n * x.strides[d];
    return part;
  });
}

/** Remove axes of size 1. @type {Operation} */
export function squeezed(on, [x, axes = null]) {
  const gone =
    axes === null ? [...x.shape.keys()] : [axes].flat().map((axis) => axisOf(axis, x.shape.length));
  const left = [...x.shape.keys()].filter((i) => !(gone.includes(i) && x.shape[i] === 1));
  return on.view(
    x,
    left.map((i) => x.shape[i]),
    left.map((i) => x.strides[i]),
  );
}

// ---- by index -----------------------------------------------------------------------------------------

/** @type {Operation} */
export function embedded(on, [table, ids]) {
  const rows = on.whole(ids);
  const d = table.shape[1];
  const y = on.tensor([...ids.shape, d]);
  for (let i = 0, n = countOf(ids.shape); i < n; i++) {
    const id = on.heap.f[rows.at + i];
    if (!(id >= 0 && id < table.shape[0]))
      throw new Error(`${id} is outside the ${table.shape[0]} rows of an embedding of this model`);
    on.row(table, id, y.at + i * d);
  }
  return y;
}

function noMask(indices) {
  if (indices.some((index) => index?.type === "bool"))
    throw new Error("the engine of this page selects by no mask");
}

/** x[i, j, …] with tensors of indices for some axes. @type {Operation} */
export function indexed(on, [x, indices]) {
  const given = indices
    .map((index, axis) => ({ index, axis }))
    .filter(({ index }) => index !== null);
  noMask(indices);
  const shape = given.reduce(
    (s, { index }) => broadcast(s, index.shape),
    /** @type {number[]} */ ([]),
  );
  const axes = given.map(({ axis }) => axis);
  const together = axes.every((axis, i) => !i || axis === axes[i - 1] + 1);
  const rest = [...x.shape.keys()].filter((i) => !axes.includes(i));
  const before = together ? rest.filter((i) => i < axes[0]) : [];
  const after = rest.filter((i) => !before.includes(i));
  const sizes = (list) => list.map((i) => x.shape[i]);
  const y = on.tensor([...sizes(before), ...shape, ...sizes(after)], x.type);
  const places = given.map(({ index, axis }) => ({
    index: on.whole(on.view(index, shape, stridesAs(index, shape))),
    size: x.shape[axis],
    stride: x.strides[axis],
  }));
  const f = on.heap.f;
  const first = new Int32Array(countOf(shape));
  for (const { index, size, stride } of places)
    for (let i = 0; i < first.length; i++) first[i] += ((f[index.at + i] + size) % size) * stride;
  const [outer, inner] = [before, after].map((list) =>
    offsetsOf(
      sizes(list),
      list.map((i) => x.strides[i]),
    ),
  );
  const run = isWhole({ ...x, shape: sizes(after), strides: after.map((i) => x.strides[i]) })
    ? inner.length
    : 1;
  let to = y.at;
  for (let a = 0; a < outer.length; a++)
    for (let i = 0; i < first.length; i++)
      for (let k = 0; k < inner.length; k += run, to += run) {
        const from = x.at + outer[a] + first[i] + inner[k];
        if (run > 1) f.copyWithin(to, from, from + run);
        else f[to] = f[from];
      }
  return y;
}

/** Offsets of the numbers of a shape, row by row. @param {number[]} shape @param {number[]} strides */
function offsetsOf(shape, strides) {
  const offsets = new Int32Array(countOf(shape));
  let n = Math.min(1, offsets.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    for (let i = n; i < n * shape[axis]; i++) offsets[i] = offsets[i - n] + strides[axis];
    n *= shape[axis];
  }
  return offsets;
}

/** @type {Operation} */
export function gathered(on, [x, axis, index]) {
  const d = axisOf(axis, x.shape.length);
  const places = on.whole(index);
  const y = on.tensor(index.shape, x.type);
  const strides = x.strides.with(d, 0);
  const f = on.heap.f;
  let i = 0;
  const step = strides[strides.length - 1] ?? 0;
  eachRow(index.shape, [strides], [x.at], ([at], n) => {
    for (let j = 0; j < n; j++, i++)
      f[y.at + i] = f[at + j * step + f[places.at + i] * x.strides[d]];
  });
  return y;
}

/** Put numbers at indices along an axis. @type {Operation} */
export function scattered(on, [x, axis, index, source]) {
  const d = axisOf(axis, x.shape.length);
  const y = on.fresh(x);
  const places = on.whole(index);
  const values = isTensor(source) ? on.whole(on.view(source, index.shape, source.strides)) : null;
  const strides = y.strides.with(d, 0);
  const step = strides[strides.length - 1] ?? 0;
  const f = on.heap.f;
  let i = 0;
  eachRow(index.shape, [strides], [y.at], ([at], n) => {
    for (let j = 0; j < n; j++, i++)
      f[at + j * step + f[places.at + i] * y.strides[d]] = values
        ? f[values.at + i]
        : Number(source);
  });
  return y;
}

/** x with a part along an axis replaced. @type {Operation} */
export function slicePut(on, [x, part, axis = 0, from = null, to = null, step = 1]) {
  const y = on.fresh(x);
  on.copy(part, sliced(on, [y, axis, from, to, step], {}));
  return y;
}

/** x with values at indices of its first axes. @type {Operation} */
export function indexPut(on, [x, indices, values, accumulate = false]) {
  const [mask] = indices;
  if (mask?.type === "bool" && indices.length === 1 && countOf(values.shape) === 1) {
    const at = (list, other) => x.shape.map((_, i) => list[i] ?? other);
    return where(on, [on.view(mask, at(mask.shape, 1), at(mask.strides, 0)), values, x], {});
  }
  noMask(indices);
  const y = on.fresh(x);
  const shape = indices.reduce(
    (s, index) => broadcast(s, index.shape),
    /** @type {number[]} */ ([]),
  );
  const rest = x.shape.slice(indices.length);
  const size = countOf(rest);
  const places = indices.map((index) => on.whole(on.view(index, shape, stridesAs(index, shape))));
  const whole = [...shape, ...rest];
  const given = on.whole(on.view(values, whole, stridesAs(values, whole)));
  const f = on.heap.f;
  for (let i = 0, n = countOf(shape); i < n; i++) {
    const at = places.reduce(
      (sum, index, axis) =>
        sum + ((f[index.at + i] + x.shape[axis]) % x.shape[axis]) * y.strides[axis],
      y.at,
    );
    for (let k = 0; k < size; k++)
      f[at + k] = (accumulate ? f[at + k] : 0) + f[given.at + i * size + k];
  }
  return y;
}

/** Histogram: how many numbers fall into each bin. @type {Operation} */
export function counted(on, [x, bins = 100, low = 0, high = 0]) {
  const y = on.filled([bins], 0);
  const from = on.whole(x);
  const f = on.heap.f;
  const numbers = f.subarray(from.at, from.at + countOf(x.shape));
  if (low === high)
    [low, high] = [
      numbers.reduce((a, b) => Math.min(a, b)),
      numbers.reduce((a, b) => Math.max(a, b)),
    ];
  if (low === high) [low, high] = [low - 1, high + 1];
  for (const v of numbers) {
    if (v >= low && v <= high)
      f[y.at + Math.min(bins - 1, Math.floor(((v - low) / (high - low)) * bins))]++;
  }
  return y;
}

/** @type {Operation} */
export function where(on, [condition, a, b]) {
  const shape = [condition, a, b]
    .filter(isTensor)
    .reduce((s, t) => broadcast(s, t.shape), /** @type {number[]} */ ([]));
  const [c, x, y] = [condition, a, b].map((t) => (isTensor(t) ? t : on.filled([1], t)));
  const z = on.tensor(shape, x.type === "float" ? "float" : y.type);
  const strides = [...[c, x, y].map((t) => stridesAs(t, shape)), z.strides];
  const [i, j, k] = strides.map((s) => s[shape.length - 1] ?? 0);
  const f = on.heap.f;
  eachRow(shape, strides, [c.at, x.at, y.at, z.at], ([p, q, r, to], n) => {
    for (let at = 0; at < n; at++) f[to + at] = f[p + at * i] ? f[q + at * j] : f[r + at * k];
  });
  return z;
}

/** Keep a triangle of every matrix and set the rest to 0. @param {(row: number, column: number, k: number) => boolean} keeps @returns {Operation} */
export const triangle =
  (keeps) =>
  (on, [x, k = 0]) => {
    const y = on.fresh(x);
    const [rows, columns] = x.shape.slice(-2);
    for (let i = 0, n = countOf(x.shape); i < n; i++)
      if (!keeps(Math.floor(i / columns) % rows, i % columns, k)) on.heap.f[y.at + i] = 0;
    return y;
  };

export const range = (on, from, to, step = 1, { dtype } = /** @type {any} */ ({})) => {
  const n = Math.max(0, Math.ceil((to - from) / step));
  const y = on.tensor(
    [n],
    typeOf(dtype, Number.isInteger(from) && Number.isInteger(step) ? "int" : "float"),
  );
  for (let i = 0; i < n; i++) on.heap.f[y.at + i] = from + i * step;
  return y;
};
