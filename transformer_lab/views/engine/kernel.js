// The memory of a model and its activations, and the products over it: in WebAssembly where the
// page may use it, else in JavaScript.

import { KERNEL } from "./kernel_binary.js";

const PAGE = 65536;
const RESERVED = 4096; // numbers, for the stack of the compiled code
export const SCRATCH = RESERVED - 8; // room for one number
const SLACK = 8; // numbers after the last tensor that are read but not used

/** The functions of kernel.c, with offsets instead of addresses; the optional ones only if compiled. @typedef {{linear: Function, linear8: Function, product: Function, map?: Function, zip?: Function, runs?: Function, soften?: Function, norm?: Function}} Products */

/** Numbers of functions, as in kernel.c. */
export const MAPS = {
  exp: 0,
  sigmoid: 1,
  tanh: 2,
  silu: 3,
  gelu: 4,
  gelu_tanh: 5,
  neg: 6,
  square: 7,
  relu: 8,
  erf: 9,
  sqrt: 10,
  floor: 11,
  round: 12,
  abs: 13,
};
export const RUNS = { sum: 0, squares: 1, largest: 2 };
export const SOFT = { softmax: 0, safe: 1, log: 2 };
export const ZIPS = { add: 0, sub: 1, mul: 2, div: 3, maximum: 4, minimum: 5 };

/** Up to a multiple of 16; n may be beyond 32 bits, in a graph that somebody has changed. */
const rounded = (n) => Math.ceil(n / 16) * 16;

/** A heap of 32-bit floats, addressed by offset; freed blocks are reused. */
export class NumberHeap {
  /** @param {boolean} [wasm] false: run as if WebAssembly were refused */
  constructor(wasm = true) {
    /** @type {Products} */
    this.products = inScript(this);
    this.memory = wasm ? started(this) : null;
    /** @type {Float32Array} */
    this.f = new Float32Array(this.memory?.buffer ?? new ArrayBuffer(PAGE));
    this.end = RESERVED; // offset 0 means "none"
    /** @type {Map<number, number[]>} by size */
    this.free = new Map();
    this.idle = 0; // numbers that are free
    this.room = { at: 0, size: 0 };
  }

  /** Whether products run in WebAssembly. */
  get compiled() {
    return this.memory !== null;
  }

  /** @param {number} n how many numbers @returns {number} offset of the first */
  take(n) {
    const size = rounded(n);
    const again = this.free.get(size)?.pop();
    if (again !== undefined) {
      this.idle -= size;
      return again;
    }
    const joined =
      this.end + size + SLACK > this.f.length && this.idle > this.end / 4 && this.#joined(size);
    if (joined) return joined;
    const at = this.end;
    this.end += size;
    if (this.end + SLACK > this.f.length) this.#grow();
    return at;
  }

  /** Merge neighbouring free blocks and take the smallest that fits; 0 if all are too small. @param {number} size */
  #joined(size) {
    const places = [...this.free]
      .flatMap(([size, list]) => list.map((at) => ({ at, size })))
      .sort((a, b) => a.at - b.at);
    this.free.clear();
    this.idle = 0;
    /** @type {{at: number, size: number}[]} */
    const joined = [];
    for (const one of places) {
      const last = joined[joined.length - 1];
      if (last && last.at + last.size === one.at) last.size += one.size;
      else joined.push(one);
    }
    const last = joined[joined.length - 1];
    if (last && last.at + last.size === this.end) this.end = /** @type {any} */ (joined.pop()).at;
    const best = joined.reduce((a, b) => (b.size >= size && b.size < a.size ? b : a), {
      at: 0,
      size: Infinity,
    });
    for (const one of joined) if (one !== best) this.give(one.at, one.size);
    if (best.at && best.size > size) this.give(best.at + size, best.size - size);
    return best.at;
  }

  /** Scratch space for n numbers, shared by all callers. @param {number} n */
  roomFor(n) {
    if (n > this.room.size) this.room = { at: this.take(n), size: n };
    return this.room.at;
  }

  /** @param {number} at @param {number} n */
  give(at, n) {
    const size = rounded(n);
    this.idle += size;
    const places = this.free.get(size);
    if (places) places.push(at);
    else this.free.set(size, [at]);
  }

  #grow() {
    const wanted = Math.ceil(Math.max((this.end + SLACK) * 4, this.f.byteLength * 1.25) / PAGE);
    try {
      if (this.memory) {
        this.memory.grow(wanted - this.f.byteLength / PAGE);
        this.f = new Float32Array(this.memory.buffer);
      } else {
        const more = new Float32Array((wanted * PAGE) / 4);
        more.set(this.f);
        this.f = more;
      }
    } catch {
      throw new Error(
        `this model needs ${Math.ceil((wanted * PAGE) / 2 ** 20)} MiB, more than this browser gives a page`,
      );
    }
  }
}

/** Start the compiled products and return their memory; null where WebAssembly is refused. @param {NumberHeap} heap */
function started(heap) {
  try {
    const binary = Uint8Array.from(atob(KERNEL), (letter) => letter.charCodeAt(0));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const { linear, linear8, product, map, zip, runs, soften, norm } =
      /** @type {Record<string, any>} */ (
        new WebAssembly.Instance(new WebAssembly.Module(binary), { env: { memory } }).exports
      );
    heap.products = {
      linear: (x, xs, w, ws, b, y, ys, rows, dIn, dOut) =>
        linear(4 * x, xs, 4 * w, ws, 4 * b, 4 * y, ys, rows, dIn, dOut),
      linear8: (x, xs, w, s, b, y, ys, rows, dIn, dOut) =>
        linear8(
          4 * x,
          xs,
          4 * w,
          4 * s,
          4 * b,
          4 * y,
          ys,
          rows,
          dIn,
          dOut,
          4 * heap.roomFor(4 * dIn),
        ),
      product: (x, row, column, w, ws, b, y, ys, rows, dIn, dOut) =>
        product(4 * x, row, column, 4 * w, ws, 4 * b, 4 * y, ys, rows, dIn, dOut),
      map: (what, x, y, n) => map(what, 4 * x, 4 * y, n),
      zip: (what, a, b, step, y, n) => zip(what, 4 * a, 4 * b, step, 4 * y, n),
      runs: (what, x, y, rows, n) => runs(what, 4 * x, 4 * y, rows, n),
      soften: (what, x, y, rows, n) => soften(what, 4 * x, 4 * y, rows, n),
      norm: (x, w, b, y, means, scales, rows, n, eps) =>
        norm(4 * x, 4 * w, 4 * b, 4 * y, 4 * means, 4 * scales, rows, n, eps),
    };
    return memory;
  } catch {
    return null;
  }
}

/** The products in JavaScript. @param {NumberHeap} heap @returns {Products} */
function inScript(heap) {
  const sums = (x, row, column, w, ofRow, ofColumn, of, scale, b, y, ys, rows, dIn, dOut) => {
    const { f } = heap;
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < dOut; o++) {
        let sum = 0;
        for (let k = 0; k < dIn; k++)
          sum += f[x + r * row + k * column] * of[w + k * ofRow + o * ofColumn];
        f[y + r * ys + o] = sum * (scale ? f[scale + o] : 1) + (b ? f[b + o] : 0);
      }
  };
  return {
    linear: (x, xs, w, ws, b, y, ys, rows, dIn, dOut) =>
      sums(x, xs, 1, w, 1, ws, heap.f, 0, b, y, ys, rows, dIn, dOut),
    linear8: (x, xs, w, s, b, y, ys, rows, dIn, dOut) =>
      sums(x, xs, 1, 4 * w, 1, dIn, new Int8Array(heap.f.buffer), s, b, y, ys, rows, dIn, dOut),
    product: (x, row, column, w, ws, b, y, ys, rows, dIn, dOut) =>
      sums(x, row, column, w, ws, 1, heap.f, 0, b, y, ys, rows, dIn, dOut),
  };
}
