// Wraps the model of a view on a page that carries its model: questions to Python go to the page's
// engine, and everything else goes to the page's own model.

import { Engine } from "../engine/client.js";
import { RUNS_IN_PAGE } from "./in_page_line.js";
import { afterPaint } from "../shared/dom.js";
import { asSentence, sayShared } from "../shared/messages.js";
import { Requests } from "../shared/requests.js";

/** Whether a view is on a page that carries its model. @param {any} model */
export const carriesModel = (model) =>
  Boolean(model.get("_saved") && model.get("_carried")?.travels);

/** @param {Uint8Array | Float32Array} bytes */
export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Many numbers as one buffer. @param {Iterable<ArrayLike<number>>} parts */
export const floatsView = (parts) =>
  viewOf(Float32Array.from(Array.from(parts, (part) => Array.from(part)).flat()));

/** Every head of a kind of attention. @param {string} kind @param {{layers: number, heads: number}} size */
export const everyHead = (kind, { layers, heads }) =>
  Array.from({ length: layers * heads }, (_, i) => ({
    kind,
    layer: Math.floor(i / heads),
    head: i % heads,
  }));

export class PageModel {
  /**
   * @param {any} page
   * @param {AbortSignal} signal
   * @param {Record<string, (own: any, message: any) => Promise<any>>} answers by the type of the message
   */
  constructor(page, signal, answers) {
    this.page = page;
    this.signal = signal;
    this.answers = answers;
    this.heard = new Set(); // handlers of messages
    this.turn = Promise.resolve(); // requests run one after the other
    this.saved = new Requests(page, signal);
    this.lost = false; // whether the engine could not be started, or the model is damaged or wrong
    if (!page.engine) afterPaint().then(() => void (signal.aborted || this.engine)); // it compares itself with PyTorch
  }

  // ---- as a model of a view ---------------------------------------------------------------------------

  get(name) {
    return name === "_live" ? !this.lost : this.page.get(name);
  }

  set(...given) {
    this.page.set(...given);
  }

  save_changes() {
    this.page.save_changes();
  }

  on(names, handler) {
    this.page.on(names, handler);
    if (names.split(" ").includes("msg:custom")) this.heard.add(handler);
  }

  off(names, handler) {
    this.page.off(names, handler);
    if (names.split(" ").includes("msg:custom")) this.heard.delete(handler);
  }

  send(message) {
    if (message.type === "stop")
      return void this.started?.then(({ engine }) => engine.stopReading()).catch(() => {});
    if (!Object.hasOwn(this.answers, message.type)) return this.page.send(message);
    const { request } = message;
    this.inTurn(() => this.answers[message.type](this, message)).then(
      ({ buffers = [], ...answer } = {}) =>
        this.tell({ type: "done", asked: message.type, ...answer, request }, buffers),
      (error) => this.tell({ type: "error", message: error.message, request }),
    );
  }

  tell(message, buffers = []) {
    for (const handler of [...this.heard]) handler(message, buffers);
  }

  /** Run requests one after the other. @param {() => Promise<any>} work */
  inTurn(work) {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {}); // failures are reported already
    return done;
  }

  /** A saved block; null if the page does not hold it. @param {string} name */
  async savedBlock(name) {
    try {
      const { message, buffers } = await this.saved.ask({ type: "block", name }, false);
      return { type: "block", info: message.info, buffers };
    } catch {
      return null;
    }
  }

  // ---- the engine -------------------------------------------------------------------------------------

  /** The engine, started on first use. */
  get engine() {
    if (!this.started) {
      this.started = this.page.engine
        ? this.page.engine()
        : Engine.ofPage(new Requests(this.page, this.signal), this.signal);
      this.started.then(
        ({ engine }) => engine.inPage && this.tell({ type: RUNS_IN_PAGE }),
        (error) => this.#lose(error),
      ); // the error goes to those who asked
    }
    return this.started;
  }

  #lose(error) {
    if (this.signal.aborted) return;
    this.lost = true;
    const lost = sayShared("lost", { sentence: asSentence(error) });
    this.page.set("_carried", { ...this.page.get("_carried"), travels: false, lost });
  }

  /** @param {Record<string, any>} question @param {Parameters<Engine["ask"]>[1]} [how] */
  async ask(question, how) {
    return (await this.engine).engine.ask(question, how);
  }
}
