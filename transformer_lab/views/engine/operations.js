// The operations of a graph: a table by PyTorch's names. Nothing here knows an architecture.

import { MAPS, RUNS, SCRATCH, SOFT, ZIPS } from "./kernel.js";
import { ACTIVATIONS, erf, likeliest } from "./tensors.js";
import {
  catenated,
  chosen,
  counted,
  embedded,
  expanded,
  gathered,
  indexPut,
  indexed,
  range,
  reshaped,
  scattered,
  slicePut,
  sliced,
  split,
  squeezed,
  triangle,
  where,
} from "./rearranging.js";
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

/**
 * @typedef {import("./strided.js").Tensor} Tensor
 * @typedef {import("./workspace.js").Workspace} Workspace
 * @typedef {(on: Workspace, args: any[], named: Record<string, any>) => any} Operation
 */

const MASKED = -1e30; // scores at most this large count for nothing

// ---- elementwise --------------------------------------------------------------------------------

/** @param {Workspace} on @param {Tensor} x @param {(v: number) => number} f @param {string} [type] @param {number} [compiled] of MAPS */
function eachNumber(on, x, f, type = x.type, compiled) {
  const y = on.tensor(x.shape, type);
  const { heap } = on;
  if (isWhole(x)) {
    if (compiled !== undefined && heap.products.map) {
      heap.products.map(compiled, x.at, y.at, countOf(x.shape));
      return y;
    }
    const { f: numbers } = heap;
    for (let i = 0, n = countOf(x.shape); i < n; i++) numbers[y.at + i] = f(numbers[x.at + i]);
    return y;
  }
  const step = x.strides[x.strides.length - 1] ?? 0;
  eachRow(x.shape, [x.strides, y.strides], [x.at, y.at], ([from, to], n) => {
    const { f: numbers } = heap;
    for (let j = 0; j < n; j++) numbers[to + j] = f(numbers[from + j * step]);
  });
  return y;
}

/** @param {Workspace} on @param {any} a @param {any} b @param {(a: number, b: number) => number} f @param {string} [type] @param {number} [compiled] of ZIPS */
function both(on, a, b, f, type, compiled) {
  if (!isTensor(a) && !isTensor(b)) return f(a, b);
  const { zip } = on.heap.products;
  if (compiled !== undefined && zip && isTensor(a) && isWhole(a) && !isTensor(b)) {
    const y = on.tensor(a.shape, type ?? mixed(a, b));
    on.heap.f[SCRATCH] = b;
    zip(compiled, a.at, SCRATCH, 0, y.at, countOf(a.shape));
    return y;
  }
  if (!isTensor(b)) return eachNumber(on, a, (v) => f(v, b), type ?? mixed(a, b));
  if (!isTensor(a)) return eachNumber(on, b, (v) => f(a, v), type ?? mixed(b, a));
  const shape = broadcast(a.shape, b.shape);
  const y = on.tensor(
    shape,
    type ??
      (a.type === "bool"
        ? b.type
        : a.type === "int"
          ? b.type === "float"
            ? "float"
            : "int"
          : a.type),
  );
  const strides = [stridesAs(a, shape), stridesAs(b, shape), y.strides];
  const [s, t] = [strides[0][shape.length - 1] ?? 0, strides[1][shape.length - 1] ?? 0];
  const numbers = on.heap.f;
  if (compiled !== undefined && zip) {
    const n = countOf(shape);
    const [wholeA, wholeB] = [a, b].map((x) => countOf(x.shape) === n && isWhole(x));
    if (wholeA && wholeB) {
      zip(compiled, a.at, b.at, 1, y.at, n);
      return y;
    }
    const turned = s === 0 && t === 1 && (compiled === ZIPS.add || compiled === ZIPS.mul); // one number per row
    if ((s === 1 && (t === 0 || t === 1)) || turned) {
      eachRow(shape, strides, [a.at, b.at, y.at], ([from, other, to], length) =>
        zip(compiled, turned ? other : from, turned ? from : other, turned ? 0 : t, to, length),
      );
      return y;
    }
  }
  eachRow(shape, strides, [a.at, b.at, y.at], ([from, other, to], n) => {
    for (let j = 0; j < n; j++) numbers[to + j] = f(numbers[from + j * s], numbers[other + j * t]);
  });
  return y;
}

const mixed = (tensor, number) =>
  tensor.type !== "float" && !Number.isInteger(number)
    ? "float"
    : tensor.type === "bool" && typeof number === "number"
      ? "int"
      : tensor.type;
/** @param {(v: number) => number} f @param {string} [type] @param {number} [compiled] @returns {Operation} */
const unaryBy =
  (f, type, compiled) =>
  (on, [x]) =>
    isTensor(x) ? eachNumber(on, x, f, type ?? "float", compiled) : f(x);
/** @param {(a: number, b: number) => number} f @param {string} [type] @param {number} [compiled] @returns {Operation} */
const binaryBy =
  (f, type, compiled) =>
  (on, [a, b]) =>
    both(on, a, b, f, type, compiled);
/** a ± alpha · b. @param {number} sign @returns {Operation} */
const sum =
  (sign) =>
  (on, [a, b], { alpha = 1 }) => {
    const by = sign * alpha;
    if (by === 1) return both(on, a, b, (x, y) => x + y, undefined, ZIPS.add);
    return both(on, a, b, (x, y) => x + by * y, undefined, by === -1 ? ZIPS.sub : undefined);
  };
const division = { trunc: (a, b) => Math.trunc(a / b), floor: (a, b) => Math.floor(a / b) };
const remainder = (a, b) => a - b * Math.floor(a / b);
/** @type {Operation} */
const gelu = (on, [x], { approximate = "none" }) =>
  approximate === "tanh"
    ? eachNumber(on, x, ACTIVATIONS.gelu_tanh, x.type, MAPS.gelu_tanh)
    : eachNumber(on, x, ACTIVATIONS.gelu, x.type, MAPS.gelu);

// ---- along axes ---------------------------------------------------------------------------------------

/** Reduces a run of n numbers to one. @typedef {{(numbers: Float32Array, at: number, n: number): number, compiled?: number}} OfRun compiled: its number in RUNS */

/** @param {Workspace} on @param {Tensor} x @param {any} axes @param {boolean} keep @param {OfRun} f @param {string} [type] */
function reduced(on, x, axes, keep, f, type = x.type) {
  const rank = x.shape.length;
  const chosen =
    axes === null || axes === undefined || axes.length === 0
      ? x.shape.map((_, i) => i)
      : [axes].flat().map((axis) => axisOf(axis, rank));
  const rest = x.shape.map((_, i) => i).filter((i) => !chosen.includes(i));
  const outer = rest.map((i) => x.shape[i]);
  const [n, rows] = [countOf(chosen.map((i) => x.shape[i])), countOf(outer)];
  const y = on.tensor(outer, type);
  if (f === total && rest.length && Math.min(...rest) === chosen.length && isWhole(x))
    sumOfRows(on, x.at, n, rows, y.at);
  else {
    const order = [...rest, ...chosen];
    const { at } = on.whole(
      on.view(
        x,
        order.map((i) => x.shape[i]),
        order.map((i) => x.strides[i]),
      ),
    );
    const { f: numbers } = on.heap;
    const { runs } = on.heap.products;
    if (runs && f.compiled !== undefined) runs(f.compiled, at, y.at, rows, n);
    else for (let i = 0; i < rows; i++) numbers[y.at + i] = f(numbers, at + i * n, n);
  }
  if (!keep) return y;
  const shape = x.shape.map((size, i) => (chosen.includes(i) ? 1 : size));
  return on.view(y, shape, stridesOf(shape));
}

/** Sum over the rows of x [n, m], as a product of ones with x. */
function sumOfRows(on, x, n, m, y) {
  on.heap.f[SCRATCH] = 1;
  on.heap.products.product(SCRATCH, 0, 0, x, m, 0, y, m, 1, n, m);
}

/** @type {OfRun} */
const total = (f, at, n) => {
  let s = 0;
  for (let i = 0; i < n; i++) s += f[at + i];
  return s;
};
total.compiled = RUNS.sum;
/** @type {OfRun} */
const squares = (f, at, n) => {
  let s = 0;
  for (let i = 0; i < n; i++) s += f[at + i] ** 2;
  return s;
};
squares.compiled = RUNS.squares;
/** @type {OfRun} */
const largestOf = (f, at, n) => {
  let top = -Infinity;
  for (let i = 0; i < n; i++) if (f[at + i] > top) top = f[at + i];
  return top;
};
largestOf.compiled = RUNS.largest;
const placeOfLargest = (f, at, n) => {
  const top = largestOf(f, at, n);
  let i = 0;
  while (i < n && f[at + i] !== top) i++;
  return i;
};
const smallest = (f, at, n) => {
  let low = Infinity;
  for (let i = 0; i < n; i++) if (f[at + i] < low) low = f[at + i];
  return low;
};
const anyOf = (f, at, n) => {
  for (let i = 0; i < n; i++) if (f[at + i]) return 1;
  return 0;
};

/**
 * Apply a function to every run along an axis.
 * @param {Workspace} on @param {Tensor} x @param {number} axis
 * @param {{(f: Float32Array, from: number, to: number, n: number): void, compiled?: number}} f from
 *   a contiguous run to another; compiled: its number in SOFT
 */
function alongAxis(on, x, axis, f, type = x.type) {
  const rank = x.shape.length;
  const last = axisOf(axis, rank);
  const order = [...x.shape.keys()].filter((i) => i !== last).concat(rank ? [last] : []);
  const from = on.whole(
    on.view(
      x,
      order.map((i) => x.shape[i]),
      order.map((i) => x.strides[i]),
    ),
  );
  const y = on.tensor(from.shape, type);
  const n = rank ? x.shape[last] : 1;
  const rows = countOf(x.shape) / Math.max(1, n);
  const { soften } = on.heap.products;
  if (soften && f.compiled !== undefined) soften(f.compiled, from.at, y.at, rows, n);
  else for (let i = 0; i < rows; i++) f(on.heap.f, from.at + i * n, y.at + i * n, n);
  const back = order.map((_, i) => order.indexOf(i));
  return on.view(
    y,
    back.map((i) => y.shape[i]),
    back.map((i) => y.strides[i]),
  );
}

function softmaxOfRun(f, from, to, n) {
  const top = largestOf(f, from, n);
  let s = 0;
  for (let j = 0; j < n; j++) s += f[to + j] = Math.exp(f[from + j] - top);
  for (let j = 0; j < n; j++) f[to + j] /= s;
}
softmaxOfRun.compiled = SOFT.softmax;

/** Softmax; 0 where every number is −∞. */
function safeSoftmax(f, from, to, n) {
  if (largestOf(f, from, n) === -Infinity) f.fill(0, to, to + n);
  else softmaxOfRun(f, from, to, n);
}
safeSoftmax.compiled = SOFT.safe;

function logSoftmax(f, from, to, n) {
  const top = largestOf(f, from, n);
  let s = 0;
  for (let j = 0; j < n; j++) s += Math.exp(f[from + j] - top);
  const log = top + Math.log(s);
  for (let j = 0; j < n; j++) f[to + j] = f[from + j] - log;
}
logSoftmax.compiled = SOFT.log;

function cumulative(f, from, to, n) {
  let s = 0;
  for (let j = 0; j < n; j++) f[to + j] = s += f[from + j];
}

/** The first k numbers of every run in an order, and their indices. @param {Workspace} on @param {Tensor} x @param {number} axis @param {number} k @param {(run: Float32Array) => number[]} order */
function ordered(on, x, axis, k, order) {
  const values = alongAxis(on, x, axis, (f, from, to, n) =>
    order(f.subarray(from, from + n)).forEach((i, j) => (f[to + j] = f[from + i])),
  );
  const places = alongAxis(
    on,
    x,
    axis,
    (f, from, to, n) => order(f.subarray(from, from + n)).forEach((i, j) => (f[to + j] = i)),
    "int",
  );
  return [values, places].map((t) =>
    on.view(t, t.shape.with(axisOf(axis, t.shape.length), k), t.strides),
  );
}

/** The indices of the k largest, if that does not depend on how equal numbers are ordered. @param {Float32Array} run @param {number} k */
function selected(run, k) {
  const best = likeliest(run, k);
  const least = run[best[k - 1]];
  if (least > MASKED && run.reduce((n, x) => n + Number(x >= least), 0) > k)
    throw new Error(
      `the model selects ${k} of several equal scores here, and PyTorch does not say which of them it takes`,
    );
  return best;
}

/** The indices of a run's numbers in order. @param {boolean} down */
const sorted = (down) => (run) =>
  Array.from(run.keys()).sort((a, b) => (down ? run[b] - run[a] : run[a] - run[b]) || a - b);

/** @type {Operation} */
function normOfRows(on, [x, shape, weight, bias, eps]) {
  const n = countOf(shape);
  const [{ at }, w, b] = [x, weight, bias].map((t) => (t ? on.whole(t) : { at: 0 }));
  const y = on.tensor(x.shape);
  const [means, scales] = [0, 1].map(() =>
    on.tensor([...x.shape.slice(0, x.shape.length - shape.length), ...shape.map(() => 1)]),
  );
  const rows = countOf(means.shape);
  const { f } = on.heap;
  const { norm } = on.heap.products;
  if (norm) norm(at, w.at, b.at, y.at, means.at, scales.at, rows, n, eps);
  else
    for (let row = 0; row < rows; row++) {
      const from = at + row * n;
      const mean = (f[means.at + row] = total(f, from, n) / n);
      let variance = 0;
      for (let k = 0; k < n; k++) variance += (f[from + k] - mean) ** 2;
      const scale = (f[scales.at + row] = 1 / Math.sqrt(variance / n + eps));
      for (let k = 0; k < n; k++)
        f[y.at + row * n + k] =
          (f[from + k] - mean) * scale * (w.at ? f[w.at + k] : 1) + (b.at ? f[b.at + k] : 0);
    }
  return [y, means, scales];
}

// ---- products -----------------------------------------------------------------------------------------

/**
 * Write x [n, k] · w [k, m] + b at an offset of the heap.
 * @param {Workspace} on @param {Tensor} x @param {Tensor} w @param {number} b offset of m numbers, or 0 @param {number} y
 */
export function multiply(on, x, w, b, y) {
  const { linear, linear8, product } = on.heap.products;
  const [[n, k], m] = [x.shape, w.shape[1]];
  const { uses, scale } = w.store;
  const forwards = !scale && w.strides[1] === 1 && k > 1 && (uses !== Infinity || k * m <= SMALL);
  if (forwards) return product(x.at, ...x.strides, w.at, w.strides[0], b, y, m, n, k, m);
  const rows = x.strides[1] === 1 || k === 1 ? x : on.fresh(x);
  if (scale) return linear8(rows.at, rows.strides[0], w.at, scale, b, y, m, n, k, m);
  const columns = w.strides[0] === 1 || k === 1 ? w : on.turned(w);
  linear(rows.at, rows.strides[0], columns.at, columns.strides[1], b, y, m, n, k, m);
}

const SMALL = 2 ** 14; // numbers in a weight; a larger one is transposed once, a smaller one is read as it is

/** @param {Workspace} on @param {Tensor} x @param {Tensor} w @param {Tensor | null} b */
function product(on, x, w, b = null) {
  const y = on.tensor([x.shape[0], w.shape[1]]);
  const added = b && countOf(b.shape) === w.shape[1] ? on.whole(b) : null;
  multiply(on, x, w, added?.at ?? 0, y.at);
  return b && !added ? both(on, y, b, (u, v) => u + v) : y;
}

/** Index i of the first axis, as a view. @param {Tensor} x @param {number} i @returns {Tensor} */
const nth = (x, i) => ({
  ...x,
  at: x.at + i * x.strides[0],
  shape: x.shape.slice(1),
  strides: x.strides.slice(1),
});

/** @type {Operation} */
function batched(on, [a, b]) {
  const [n, rows, m] = [a.shape[0], a.shape[1], b.shape[2]];
  const y = on.tensor([n, rows, m]);
  const [x, w] = [nth(a, 0), nth(b, 0)];
  for (let i = 0; i < n; i++, x.at += a.strides[0], w.at += b.strides[0])
    multiply(on, x, w, 0, y.at + i * rows * m);
  return y;
}

/** Multiply each row of x [row, k] by its group's matrix in w [group, k, m]; groups end at `ends`. @type {Operation} */
function grouped(on, [x, w, ends]) {
  const m = w.shape[2];
  const y = on.filled([x.shape[0], m], 0);
  for (let group = 0, from = 0; group < w.shape[0]; group++) {
    const to = on.heap.f[ends.at + group * ends.strides[0]];
    if (to > from)
      multiply(on, sliced(on, [x, 0, from, to], {}), nth(w, group), 0, y.at + from * m);
    from = to;
  }
  return y;
}

/** Convolve over one or two axes, as the product of every window with the weights. @type {Operation} */
function convolved(on, [x, weight, bias, stride, padding, dilation, transposed, _output, groups]) {
  if (transposed) throw new Error("the engine of this page computes no transposed convolution");
  const flat = x.shape.length === 3;
  const pair = (list) => (flat ? [1, list.at(-1)] : list.length === 1 ? [list[0], list[0]] : list);
  const [[sy, sx], [py, px], [dy, dx]] = [
    pair(stride),
    flat ? [0, padding.at(-1)] : pair(padding),
    pair(dilation),
  ];
  const [n, channels, height, width] = flat ? [x.shape[0], x.shape[1], 1, x.shape[2]] : x.shape;
  const [outputs, inside, kh, kw] = flat
    ? [weight.shape[0], weight.shape[1], 1, weight.shape[2]]
    : weight.shape;
  const rows = Math.floor((height + 2 * py - dy * (kh - 1) - 1) / sy) + 1;
  const columns = Math.floor((width + 2 * px - dx * (kw - 1) - 1) / sx) + 1;
  const size = inside * kh * kw;
  const [w, from] = [on.whole(weight), on.whole(x)];
  const windows = on.tensor([rows * columns, size]);
  const each = outputs / groups;
  const part = on.tensor([rows * columns, each]);
  const y = on.tensor(flat ? [n, outputs, columns] : [n, outputs, rows, columns]);
  const f = on.heap.f;
  for (let i = 0; i < n; i++)
    for (let group = 0; group < groups; group++) {
      let at = windows.at;
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++)
          for (let k = 0; k < inside; k++)
            for (let a = 0; a < kh; a++)
              for (let b = 0; b < kw; b++) {
                const [v, h] = [r * sy - py + a * dy, c * sx - px + b * dx];
                f[at++] =
                  v < 0 || h < 0 || v >= height || h >= width
                    ? 0
                    : f[from.at + ((i * channels + group * inside + k) * height + v) * width + h];
              }
      on.heap.products.linear(
        windows.at,
        size,
        w.at + group * each * size,
        size,
        bias ? bias.at + group * each : 0,
        part.at,
        each,
        rows * columns,
        size,
        each,
      );
      for (let o = 0; o < each; o++)
        for (let p = 0; p < rows * columns; p++)
          f[y.at + (i * outputs + group * each + o) * rows * columns + p] =
            f[part.at + p * each + o];
    }
  return y;
}

/** Pad the last axes with zeros or another number; negative pads cut. @type {Operation} */
function padded(on, [x, pads, value = 0]) {
  let inner = x;
  const before = x.shape.map(() => 0);
  const shape = x.shape.map((size, axis) => {
    const i = 2 * (x.shape.length - 1 - axis);
    const [first, last] = [pads[i] ?? 0, pads[i + 1] ?? 0];
    before[axis] = Math.max(0, first);
    inner = sliced(on, [inner, axis, Math.max(0, -first), size + Math.min(0, last)], {});
    return size + first + last;
  });
  const y = on.filled(shape, value, x.type);
  on.copy(inner, {
    ...y,
    at: y.at + before.reduce((at, n, axis) => at + n * y.strides[axis], 0),
    shape: inner.shape,
  });
  return y;
}

// ---- the table ----------------------------------------------------------------------------------------

/** @type {Operation} */
const not = (on, [x]) =>
  x.type === "bool" ? eachNumber(on, x, (v) => (v ? 0 : 1)) : eachNumber(on, x, (v) => ~v);
/** Bitwise on integers; on bools the numbers stay 0 and 1. @param {(a: number, b: number) => number} f @returns {Operation} */
const bits = (f) => binaryBy(f);
const unchanged = (on, [x]) => on.view(x, x.shape, x.strides);
/** @type {Operation} */
const cast = (on, [x], { dtype }) => {
  const type = typeOf(dtype, x.type);
  if (type === x.type || (type === "float" && x.type !== "float"))
    return Object.assign(on.view(x, x.shape, x.strides), { type });
  return eachNumber(on, x, type === "bool" ? (v) => (v ? 1 : 0) : Math.trunc, type);
};
const compared = {
  eq: (a, b) => +(a === b),
  ne: (a, b) => +(a !== b),
  lt: (a, b) => +(a < b),
  le: (a, b) => +(a <= b),
  gt: (a, b) => +(a > b),
  ge: (a, b) => +(a >= b),
};
const arithmetic = {
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
  pow: Math.pow,
  remainder,
  fmod: (a, b) => a % b,
};
const unary = {
  neg: (v) => -v,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (v) => 1 / Math.sqrt(v),
  reciprocal: (v) => 1 / v,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  relu: (v) => Math.max(0, v),
  silu: ACTIVATIONS.silu,
  erf,
  floor: Math.floor,
  ceil: Math.ceil,
  sign: Math.sign,
  expm1: Math.expm1,
  softplus: (v) => (v > 20 ? v : Math.log1p(Math.exp(v))),
};

/** @type {Operation} */
function clamped(on, [x, low = null, high = null]) {
  const above = low === null ? x : both(on, x, low, Math.max, x.type, ZIPS.maximum);
  return high === null ? above : both(on, above, high, Math.min, x.type, ZIPS.minimum);
}

/** @type {Record<string, Operation>} */
export const OPERATIONS = {
  ...Object.fromEntries(
    Object.entries(unary).map(([name, f]) => [name, unaryBy(f, undefined, MAPS[name])]),
  ),
  ...Object.fromEntries(
    Object.entries(compared).flatMap(([name, f]) => [
      [`${name}.Tensor`, binaryBy(f, "bool")],
      [`${name}.Scalar`, binaryBy(f, "bool")],
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(arithmetic).flatMap(([name, f]) =>
      ["", ".Tensor", ".Scalar", ".Tensor_Scalar", ".Tensor_Tensor"].map((end) => [
        name + end,
        binaryBy(f, name === "div" ? "float" : undefined, ZIPS[name]),
      ]),
    ),
  ),
  "pow.Tensor_Scalar": (on, [x, power]) =>
    power === 2
      ? eachNumber(on, x, (v) => v * v, x.type, MAPS.square)
      : both(on, x, power, Math.pow),
  ...Object.fromEntries(
    ["clone", "alias", "detach", "contiguous", "lift_fresh_copy"].map((name) => [name, unchanged]),
  ),
  "pow.Scalar": binaryBy(Math.pow, "float"),
  "add.Tensor": sum(1),
  "add.Scalar": sum(1),
  "sub.Tensor": sum(-1),
  "sub.Scalar": sum(-1),
  "rsub.Scalar": (on, [a, b], { alpha = 1 }) => both(on, a, b, (x, y) => y - alpha * x),
  "div.Tensor_mode": (on, [a, b], { rounding_mode: mode }) =>
    both(on, a, b, division[mode] ?? arithmetic.div),
  floor_divide: binaryBy(division.floor),
  neg: (on, [x]) => eachNumber(on, x, unary.neg, x.type, MAPS.neg),
  abs: (on, [x]) => eachNumber(on, x, Math.abs, x.type, MAPS.abs),
  relu: (on, [x]) => eachNumber(on, x, unary.relu, x.type, MAPS.relu),
  isnan: (on, [x]) => eachNumber(on, x, (v) => +Number.isNaN(v), "bool"),
  isinf: (on, [x]) => eachNumber(on, x, (v) => +(Math.abs(v) === Infinity), "bool"),
  round: (on, [x]) =>
    eachNumber(
      on,
      x,
      (v) => (v % 1 === 0.5 || v % 1 === -0.5 ? 2 * Math.round(v / 2) : Math.round(v)),
      x.type,
      MAPS.round,
    ), // rounds halves to even
  gelu,
  ...Object.fromEntries(["clamp", "clamp.Tensor"].map((name) => [name, clamped])),
  bitwise_not: not,
  logical_not: not,
  ...Object.fromEntries(
    ["bitwise_and.Tensor", "bitwise_and.Scalar", "logical_and"].map((name) => [
      name,
      bits((a, b) => a & b),
    ]),
  ),
  ...Object.fromEntries(
    ["bitwise_or.Tensor", "bitwise_or.Scalar", "logical_or"].map((name) => [
      name,
      bits((a, b) => a | b),
    ]),
  ),
  ...Object.fromEntries(
    ["bitwise_xor.Tensor", "logical_xor"].map((name) => [name, bits((a, b) => a ^ b)]),
  ),
  _to_copy: cast,

  "mean.dim": (on, [x, axes, keep = false]) => {
    const sums = reduced(on, x, axes, keep, total);
    return both(on, sums, countOf(x.shape) / countOf(sums.shape), arithmetic.div, x.type, ZIPS.div);
  },
  "sum.dim_IntList": (on, [x, axes, keep = false]) =>
    reduced(on, x, axes, keep, total, x.type === "bool" ? "int" : x.type),
  sum: (on, [x]) => reduced(on, x, null, false, total, x.type === "bool" ? "int" : x.type),
  amax: (on, [x, axes = null, keep = false]) => reduced(on, x, axes, keep, largestOf),
  amin: (on, [x, axes = null, keep = false]) => reduced(on, x, axes, keep, smallest),
  max: (on, [x]) => reduced(on, x, null, false, largestOf),
  "any.dim": (on, [x, axis, keep = false]) => reduced(on, x, [axis], keep, anyOf, "bool"),
  any: (on, [x]) => reduced(on, x, null, false, anyOf, "bool"),
  argmax: (on, [x, axis = null, keep = false]) =>
    reduced(on, x, axis === null ? null : [axis], keep, placeOfLargest, "int"),
  "max.dim": (on, [x, axis, keep = false]) => [
    reduced(on, x, [axis], keep, largestOf),
    reduced(on, x, [axis], keep, placeOfLargest, "int"),
  ],
  "var.correction": (on, [x, axes], { correction = 1, keepdim = false }) =>
    reduced(on, x, axes, keepdim, (f, at, n) => {
      const mean = total(f, at, n) / n;
      let s = 0;
      for (let i = 0; i < n; i++) s += (f[at + i] - mean) ** 2;
      return s / (n - correction);
    }),
  linalg_vector_norm: (on, [x, order = 2, axes = null, keep = false]) => {
    if (order !== 2) throw new Error("the engine of this page computes no norm but the Euclidean");
    return eachNumber(on, reduced(on, x, axes, keep, squares), Math.sqrt, x.type, MAPS.sqrt);
  },
  _softmax: (on, [x, axis]) => alongAxis(on, x, axis, softmaxOfRun),
  _safe_softmax: (on, [x, axis]) => alongAxis(on, x, axis, safeSoftmax),
  _log_softmax: (on, [x, axis]) => alongAxis(on, x, axis, logSoftmax),
  cumsum: (on, [x, axis]) => alongAxis(on, x, axis, cumulative, x.type === "bool" ? "int" : x.type),
  sort: (on, [x, axis = -1, down = false]) =>
    ordered(on, x, axis, x.shape[axisOf(axis, x.shape.length)], sorted(down)),
  topk: (on, [x, k, axis = -1]) => ordered(on, x, axis, k, (run) => likeliest(run, k)),
  "transformer_lab.topk": (on, [x, k, axis = -1]) =>
    ordered(on, x, axis, k, (run) => selected(run, k)),
  native_layer_norm: normOfRows,

  mm: (on, [x, w]) => product(on, x, w),
  addmm: (on, [b, x, w]) => product(on, x, w, b),
  bmm: batched,
  convolution: convolved,

  view: reshaped,
  reshape: reshaped,
  _unsafe_view: reshaped,
  permute: (on, [x, order]) => {
    const axes = order.map((i) => axisOf(i, order.length));
    return on.view(
      x,
      axes.map((i) => x.shape[i]),
      axes.map((i) => x.strides[i]),
    );
  },
  expand: expanded,
  unsqueeze: (on, [x, axis]) => {
    const d = axisOf(axis, x.shape.length + 1);
    return on.view(x, x.shape.toSpliced(d, 0, 1), x.strides.toSpliced(d, 0, 0));
  },
  "squeeze.dim": squeezed,
  "squeeze.dims": squeezed,
  squeeze: squeezed,
  "slice.Tensor": sliced,
  "select.int": chosen,
  cat: catenated,
  constant_pad_nd: padded,
  repeat: (on, [x, times]) => {
    const shape = [...Array(times.length - x.shape.length).fill(1), ...x.shape];
    const y = on.tensor(
      shape.map((n, i) => n * times[i]),
      x.type,
    );
    on.copy(
      on.view(
        x,
        shape.flatMap((n) => [1, n]),
        stridesAs(x, shape).flatMap((s) => [0, s]),
      ),
      {
        ...y,
        shape: shape.flatMap((n, i) => [times[i], n]),
        strides: shape.flatMap((n, i) => [n * y.strides[i], y.strides[i]]),
      },
    );
    return y;
  },
  split_with_sizes: split,
  "split.Tensor": split,
  getitem: (_, [list, index]) => list[index],
  "sym_size.int": (_, [x, axis]) => x.shape[axis],
  sym_numel: (_, [x]) => countOf(x.shape),

  embedding: embedded,
  "index.Tensor": indexed,
  index_select: (on, [x, axis, index]) =>
    indexed(on, [x, [...Array(axisOf(axis, x.shape.length)).fill(null), index]], {}),
  gather: gathered,
  "scatter.src": scattered,
  "scatter.value": scattered,
  slice_scatter: slicePut,
  index_put: indexPut,
  histc: counted,
  "transformers.grouped_mm_fallback": grouped,
  "where.self": where,
  "masked_fill.Scalar": (on, [x, mask, value]) => where(on, [mask, value, x], {}),
  tril: triangle((row, column, k) => column - row <= k),
  triu: triangle((row, column, k) => column - row >= k),

  "arange.start_step": (on, [from, to, step], named) => range(on, from, to, step, named),
  "arange.start": (on, [from, to], named) => range(on, from, to, 1, named),
  arange: (on, [to], named) => range(on, 0, to, 1, named),
  full: (on, [shape, value], { dtype }) =>
    on.filled(shape, Number(value), typeOf(dtype, typeof value === "boolean" ? "bool" : "float")),
  copy: (on, [x, from]) => on.view(from, x.shape, stridesAs(from, x.shape)),
  "empty.memory_format": (on, [shape], { dtype }) => on.filled(shape, 0, typeOf(dtype, "float")),
  empty_permuted: (on, [shape], { dtype }) => on.filled(shape, 0, typeOf(dtype, "float")),
  full_like: (on, [x, value]) => on.filled(x.shape, Number(value), x.type),
  zeros: (on, [shape], { dtype }) => on.filled(shape, 0, typeOf(dtype, "float")),
  ones: (on, [shape], { dtype }) => on.filled(shape, 1, typeOf(dtype, "float")),
  zeros_like: (on, [x]) => on.filled(x.shape, 0, x.type),
  ones_like: (on, [x]) => on.filled(x.shape, 1, x.type),
  scalar_tensor: (on, [value], { dtype }) => on.filled([], Number(value), typeOf(dtype, "float")),
  "number.add": (_, [a, b]) => a + b,
  "number.sub": (_, [a, b]) => a - b,
  "number.mul": (_, [a, b]) => a * b,
  "number.floordiv": (_, [a, b]) => Math.floor(a / b),
  "number.truediv": (_, [a, b]) => a / b,
  "number.mod": (_, [a, b]) => remainder(a, b),
  "number.neg": (_, [a]) => -a,
  "number.sym_max": (_, [a, b]) => Math.max(a, b),
  "number.sym_min": (_, [a, b]) => Math.min(a, b),
};
