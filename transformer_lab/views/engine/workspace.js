// The tensors of a graph in one heap of numbers, with strides: views share their numbers, and
// numbers without a holder are freed.

import { NumberHeap } from "./kernel.js";
import { countOf, eachRow, isWhole, stridesAs, stridesOf } from "./strided.js";
import { matrix } from "./tensors.js";

/**
 * @typedef {import("./strided.js").Tensor} Tensor
 * @typedef {import("./tensors.js").Matrix} Matrix
 *
 * @typedef {object} Weight the numbers of a weight: 32 bits, or 8 with a scale for each row
 * @property {Float32Array | Int8Array} data
 * @property {Float32Array} [scale]
 */

const MOST = 2 ** 31; // numbers of a view

/** Tensors of one heap; those that an operation creates but does not return are freed after it. */
export class Workspace {
  constructor(wasm = true) {
    this.heap = new NumberHeap(wasm);
    /** @type {Tensor[]} created since the last `settle` */
    this.made = [];
    /** @type {Map<string, Tensor>} transposed weights by offset and shape */
    this.turnedWeights = new Map();
  }

  /** @param {number[]} shape @param {any} [type] @returns {Tensor} */
  tensor(shape, type = "float") {
    const size = Math.max(1, countOf(shape));
    const at = this.heap.take(size);
    return this.#made({ store: { at, size, uses: 1 }, at, shape, strides: stridesOf(shape), type });
  }

  #made(t) {
    this.made.push(t);
    return t;
  }

  /** The same numbers with another shape. @param {Tensor} x @param {number[]} shape @param {number[]} strides @param {number} [at] @returns {Tensor} */
  view(x, shape, strides, at = x.at) {
    if (!(countOf(shape) <= MOST))
      throw new Error(`a graph of this page reads a tensor of [${shape}], which is too large`);
    x.store.uses++;
    return this.#made({ ...x, at, shape, strides });
  }

  /** A contiguous tensor: x itself, or a copy. @param {Tensor} x */
  whole(x) {
    return isWhole(x) ? x : this.fresh(x);
  }

  /** @param {Tensor} x */
  fresh(x) {
    const y = this.tensor(x.shape, x.type);
    this.copy(x, y);
    return y;
  }

  /** @param {Tensor} from @param {Tensor} to */
  copy(from, to) {
    const strides = [stridesAs(from, to.shape), to.strides];
    const [s, t] = strides.map((list) => list[to.shape.length - 1] ?? 0);
    const { f } = this.heap;
    eachRow(to.shape, strides, [from.at, to.at], ([a, b], n) => {
      if (s === 1 && t === 1) f.copyWithin(b, a, a + n);
      else for (let j = 0; j < n; j++) f[b + j * t] = f[a + j * s];
    });
  }

  /** @param {number[]} shape @param {number} value @param {any} [type] */
  filled(shape, value, type = "float") {
    const y = this.tensor(shape, type);
    this.heap.f.fill(value, y.at, y.at + countOf(shape));
    return y;
  }

  /** @param {number[]} shape @param {ArrayLike<number>} values @param {any} [type] */
  of(shape, values, type = "float") {
    const y = this.tensor(shape, type);
    this.heap.f.set(values, y.at);
    return y;
  }

  /** A copy of the numbers of a contiguous tensor. @param {Tensor} x */
  numbers(x) {
    return this.heap.f.slice(x.at, x.at + countOf(x.shape));
  }

  /** @param {Tensor} x */
  release({ store }) {
    if (--store.uses === 0) this.heap.give(store.at, store.size);
  }

  /** After an operation, free what it created and does not return. @param {any} result */
  settle(result) {
    const several = Array.isArray(result);
    for (const t of this.made) if (several ? !result.includes(t) : t !== result) this.release(t);
    this.made = [];
  }

  /** Put a weight into the heap for good. @param {number[]} shape @param {Weight} weight @returns {Tensor} */
  constant(shape, { data, scale }) {
    const at = this.heap.take(Math.ceil(data.byteLength / 4));
    new Int8Array(this.heap.f.buffer).set(
      new Int8Array(data.buffer, data.byteOffset, data.byteLength),
      at * 4,
    );
    const store = { at, size: 0, uses: Infinity, scale: 0 };
    if (scale) {
      store.scale = this.heap.take(scale.length);
      this.heap.f.set(scale, store.scale);
    }
    return { store, at, shape, strides: stridesOf(shape), type: "float" };
  }

  /** An 8-bit matrix widened to 32 bits. @param {Tensor} x */
  widened(x) {
    const y = this.tensor(x.shape);
    for (let i = 0; i < x.shape[0]; i++) this.row(x, i, y.at + i * x.shape[1]);
    return y;
  }

  /** w [k, m] with contiguous columns; cached for weights. @param {Tensor} w @returns {Tensor} */
  turned(w) {
    const [k, m] = w.shape;
    const name = `${w.at}/${k}/${m}`;
    const known = this.turnedWeights.get(name);
    if (known) return known;
    const y = this.tensor([m, k]);
    this.copy({ ...w, shape: [m, k], strides: [w.strides[1], w.strides[0]] }, y);
    const turned = { ...y, shape: w.shape, strides: [1, k] };
    if (w.store.uses !== Infinity) return turned;
    y.store.uses = Infinity;
    this.turnedWeights.set(name, turned);
    return turned;
  }

  /** Drop the transposed copies, after weights have changed. */
  forgetTurned() {
    for (const { store } of this.turnedWeights.values()) this.heap.give(store.at, store.size);
    this.turnedWeights.clear();
  }

  /** Copy a row of a table of embeddings to an offset. @param {Tensor} table @param {number} row @param {number} to */
  row(table, row, to) {
    const d = table.shape[1];
    const { f } = this.heap;
    const { scale } = table.store;
    if (scale) {
      const bytes = new Int8Array(f.buffer, table.at * 4 + row * d, d);
      for (let k = 0; k < d; k++) f[to + k] = bytes[k] * f[scale + row];
    } else if (table.strides[1] === 1)
      f.copyWithin(to, table.at + row * table.strides[0], table.at + row * table.strides[0] + d);
    else
      for (let k = 0; k < d; k++)
        f[to + k] = f[table.at + row * table.strides[0] + k * table.strides[1]];
  }

  /** [batch of one, head, position, d] as a matrix [position, head · d]. @param {Tensor} x @returns {Matrix} */
  rows(x) {
    const [, heads, n, d] = x.shape;
    const [, ofHead, ofRow, ofNumber] = x.strides;
    const y = this.whole(this.view(x, [n, heads, d], [ofRow, ofHead, ofNumber]));
    return matrix(n, heads * d, this.numbers(y));
  }
}

/** The weights of a model, put into the heap once; 8-bit weights stay 8-bit. */
export class Weights {
  /** @param {Map<string, Weight & {shape: number[]}>} tensors @param {Workspace} [on] */
  constructor(tensors, on = new Workspace()) {
    this.on = on;
    /** @type {Map<string, Tensor>} */
    this.known = new Map(
      [...tensors].map(([name, weight]) => [name, on.constant(weight.shape, weight)]),
    );
    /** @type {Map<string, Tensor>} 32-bit copies of 8-bit weights that are read in 32 bits too */
    this.wide = new Map();
  }

  /** @param {string} name */
  at(name) {
    return /** @type {Tensor} */ (this.known.get(name));
  }

  /** The weight in 32 bits. @param {string} name */
  wideAt(name) {
    const t = this.at(name);
    if (!t.store.scale) return t;
    if (!this.wide.has(name)) {
      const wide = this.on.widened(t);
      wide.store.uses = Infinity;
      this.on.made = this.on.made.filter((one) => one !== wide);
      this.wide.set(name, wide);
    }
    return /** @type {Tensor} */ (this.wide.get(name));
  }
}
