// What a model that writes keeps of the tokens that it has read.

import { matrix, rowsOf } from "./tensors.js";

/** @typedef {import("./tensors.js").Matrix} Matrix */

/** Keys and values, so that each is computed once: those of the text, which grow, and a memory's. */
export class Cache {
  constructor() {
    this.length = 0;
    this.memory = /** @type {Matrix | null} */ (null);
    /** @type {Map<string, {key: Matrix, value: Matrix}>} */
    this.known = new Map();
  }

  /** All keys and values of a layer. @param {string} kind @param {number} layer @param {() => {key: Matrix, value: Matrix}} make those of the new tokens */
  keys(kind, layer, make) {
    const name = `${kind}/${layer}`;
    if (kind === "encoder") return make(); // read once, and then the memory stands for it
    if (kind === "cross") {
      if (!this.known.has(name)) this.known.set(name, make());
      return /** @type {{key: Matrix, value: Matrix}} */ (this.known.get(name));
    }
    const made = make();
    const before = this.known.get(name);
    const after = { key: this.grown(before?.key, made.key), value: this.grown(before?.value, made.value) };
    this.known.set(name, after);
    return { key: rowsOf(after.key, 0, this.length + made.key.rows), value: rowsOf(after.value, 0, this.length + made.value.rows) };
  }

  /** @param {Matrix | undefined} room @param {Matrix} x */
  grown(room, x) {
    const rows = this.length + x.rows;
    if (!room || room.rows < rows) {
      const larger = matrix(2 * rows, x.columns);
      if (room) larger.data.set(room.data);
      room = larger;
    }
    room.data.set(x.data, this.length * x.columns);
    return room;
  }
}
