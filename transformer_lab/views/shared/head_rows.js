// What one position looks at in every head: kept, or asked for where it is not here.

import { bytesOf, typed } from "./codecs.js";
import { Superseded } from "./requests.js";

const ROWS_KEPT = 96;

export class HeadRows {
  /**
   * @param {any} model
   * @param {{new (buffer: ArrayBufferLike, offset?: number, length?: number): any, BYTES_PER_ELEMENT: number}} type of a weight
   * @param {import("./shell.js").Shell} shell
   * @param {import("./requests.js").Waiting} waiting
   */
  constructor(model, type, shell, waiting) {
    this.model = model;
    this.type = type;
    this.shell = shell;
    this.waiting = waiting;
    /** @type {Map<number, any>} */
    this.known = new Map();
  }

  /** Weights [layer, head, key] of a position, or null where they are yet to come. @param {number} position */
  here(position) {
    if (position === this.model.get("_rows_of")) return typed(this.type, bytesOf(this.model.get("_rows")));
    return this.known.get(position) ?? null;
  }

  /**
   * The same, asked for where they are not here.
   * @param {number} position
   * @param {(why: string) => void} failed
   * @returns {Promise<any>} null where they did not come, or something newer is asked for
   */
  async ask(position, failed) {
    const here = this.here(position);
    if (here) return here;
    const done = this.waiting.begin("Reading what it looks at …");
    try {
      const { buffers } = await this.shell.requests.ask({ type: "block", name: `rows/${position}` });
      const rows = typed(this.type, buffers[0]);
      if (this.known.size >= ROWS_KEPT) this.known.delete(this.known.keys().next().value);
      this.known.set(position, rows);
      this.shell.say("");
      return rows;
    } catch (error) {
      if (!(error instanceof Superseded)) failed(error.message);
      return null;
    } finally {
      done();
      this.waiting.say("");
    }
  }
}
