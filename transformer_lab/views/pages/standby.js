// Wraps the model of a live view. Questions go to Python; if Python does not answer, since it is
// busy with a cell or gone, the page's own engine answers where it can, and a line says so. When
// Python answers again, it receives what has changed meanwhile and takes over.

import { Engine } from "../engine/client.js";
import { hearChanges, hearOf } from "../shared/dom.js";
import { Overlay } from "./overlay.js";
import { Requests } from "../shared/requests.js";
import { sayShared } from "../shared/messages.js";

const WAITS = 4000; // ms to wait for Python
const IDLE = 2000; // ms of idleness before the model is fetched as a precaution
const CLOSES = 100; // ms until a connection whose loss was reported is closed
const MODELS_KEPT = 3; // most models per page
const BUSY = sayShared("the_kernel_is_busy");
const GONE = sayShared("the_kernel_is_gone");
const BY_ITSELF = sayShared("the_kernel_is_gone_from");
const LATER = sayShared("the_kernel_is_busy_or");
const LOST = sayShared("the_kernel_stopped_or");
const STILL_WORKS = sayShared("what_is_on_the");
const LONG = ["write", "sweep"]; // questions that may take Python itself longer
const UNAWAITED = ["facts", "labels"]; // questions that no reader waits for

/**
 * Models that views of this page have fetched, by mark; as blobs, which the browser keeps outside
 * the page.
 */
const modelsHere = () => (globalThis.transformerLabModels ??= new Map());

/**
 * @typedef {object} Substitute what answers in place of Python
 * @property {new (page: any, signal: AbortSignal) => any} Kernel
 * @property {(message: any) => boolean} answers whether it can answer a question
 * @property {() => boolean} [wanted] whether such questions may come; otherwise the model is not
 *   fetched
 * @property {(kernel: any, over: Overlay) => Record<string, any>} [state] everything that
 *   determines what is on view, if the page may change it; sent to Python when it is back
 */

export class Standby {
  /** @param {any} widget @param {AbortSignal} signal */
  constructor(widget, signal) {
    this.widget = widget;
    this.signal = signal;
    this.heard = new Set(); // handlers of messages
    this.over = new Overlay(widget, signal);
    this.requests = new Requests(widget, signal);
    /** @type {Substitute | null} */
    this.how = null;
    /** @type {Map<number, {message: any, timer: any}>} questions sent to Python */
    this.open = new Map();
    /** @type {Set<number>} questions that it has not answered in time */
    this.late = new Set();
    /** @type {Set<number>} questions that the page has answered instead */
    this.answered = new Set();
    this.kernel = null;
    this.says = "";
    this.training = ""; // Python's message on the last run, if a cell trains the model
    hearOf(widget, ["msg:custom"], signal, (message, buffers) => this.#hear(message, buffers));
    hearOf(widget, ["comm_live_update"], signal, () => setTimeout(() => this.#closed(), CLOSES));
    hearChanges(widget, ["_standby"], signal, () => this.#fetchSoon());
    hearChanges(widget, ["_how"], signal, () => this.#moved());
    signal.addEventListener("abort", () => {
      clearTimeout(this.timer);
      for (const { timer } of this.open.values()) clearTimeout(timer);
    });
  }

  /** @param {Substitute} how */
  substitute(how) {
    this.how = how;
  }

  // ---- as a model of a view -----------------------------------------------------------------------------

  get(name) {
    return this.over.get(name);
  }

  set(...given) {
    this.widget.set(...given);
  }

  save_changes() {
    try {
      this.widget.save_changes();
    } catch {
      // There is no Python; choices are made here.
    }
  }

  on(names, handler) {
    if (names === "msg:custom") this.heard.add(handler);
    else this.over.on(names, handler);
  }

  off(names, handler) {
    if (names === "msg:custom") this.heard.delete(handler);
    else this.over.off(names, handler);
  }

  tell(message, buffers = []) {
    for (const handler of [...this.heard]) handler(message, buffers);
  }

  send(message) {
    const ours = this.#ours(message);
    if (this.kernel && ours) return this.#here(message);
    try {
      this.widget.send(message);
    } catch (error) {
      if (ours && this.mark) return this.#goOn(message, GONE);
      this.#lost();
      throw error;
    }
    if (UNAWAITED.includes(message.type)) return;
    const timer = LONG.includes(message.type)
      ? null
      : setTimeout(() => this.#late(message.request), WAITS);
    this.open.set(message.request, { message, timer });
  }

  /** Whether the page can answer a message. */
  #ours(message) {
    return Boolean(this.how?.answers(message));
  }

  // ---- what Python says ---------------------------------------------------------------------------------

  #hear(message, buffers) {
    const { request } = message ?? {};
    if (message?.type === "standby" && request === undefined) return this.#fetchSoon(); // the model is ready
    clearTimeout(this.open.get(request)?.timer);
    this.open.delete(request);
    this.late.delete(request);
    if (request !== undefined && this.answered.delete(request)) {
      if (message.asked === "run") this.training = message.training ?? "";
      this.#back();
      return;
    }
    if (this.kernel && message?.type === "effects") return; // effects of a text that is not on view
    if (!this.kernel && !this.late.size) this.#say("");
    this.tell(message, buffers);
  }

  #late(request) {
    const waiting = this.open.get(request);
    if (!waiting || this.signal.aborted) return;
    if (this.mark && this.#ours(waiting.message)) this.#goOn(waiting.message, BUSY);
    else {
      this.late.add(request);
      if (!this.kernel) this.#say([LATER, this.#why, STILL_WORKS]);
    }
  }

  /** Nothing answers on this connection any more. */
  #closed() {
    if (this.signal.aborted || this.kernel) return;
    try {
      this.#knock();
    } catch {
      this.#lost();
    }
  }

  #lost() {
    const [first] = [...this.open.values()].filter(({ message }) => this.#ours(message));
    if (this.kernel) return;
    if (this.mark && first) this.#goOn(first.message, GONE);
    else this.#say(this.mark ? [BY_ITSELF] : [LOST, this.#why, STILL_WORKS]);
  }

  /** Why the page cannot continue without Python. */
  get #why() {
    const { why } = this.#about;
    return why ? sayShared("the_page_cannot_go", { why }) : "";
  }

  // ---- the page in its place ----------------------------------------------------------------------------

  /** Python's description of the model for the page. @returns {any} */
  get #about() {
    return this.widget.get("_standby") ?? this.found ?? {};
  }

  /** The mark of the model on view, if it has been fetched; otherwise "". */
  get mark() {
    const { mark } = this.#about;
    return mark && modelsHere().has(mark) ? mark : "";
  }

  /** @param {any} message @param {string} why */
  #goOn(message, why) {
    const { Kernel } = /** @type {Substitute} */ (this.how);
    this.kernel = new Kernel(this.#page(), this.signal);
    this.kernel.on("msg:custom", (message, buffers) => this.tell(message, buffers));
    this.#say([why]);
    this.asked = why === BUSY ? JSON.stringify(message) : ""; // Python will still read it
    for (const [request, { message: waiting, timer }] of [...this.open]) {
      if (!this.#ours(waiting)) continue; // for Python, when it is back
      clearTimeout(timer);
      this.open.delete(request);
      this.late.delete(request);
      this.answered.add(request);
      if (waiting !== message) this.#here(waiting);
    }
    this.#here(message);
  }

  /** A minimal saved page for the Kernel, without a saved text. */
  #page() {
    const { over } = this;
    const { mark: _, why: __, ...about } = this.#about;
    let carried = { travels: true, moved: true, ...about };
    return {
      get: (name) => (name === "_carried" ? carried : over.get(name)),
      set(name, value) {
        const { _carried, _how, ...shown } = typeof name === "object" ? name : { [name]: value };
        carried = _carried ?? carried;
        over.set(shown);
      },
      save_changes() {},
      on: (names, handler) => names === "msg:custom" || over.on(names, handler),
      off: (names, handler) => over.off(names, handler),
      send() {}, // it holds only what is on view
      engine: () => this.#engine(),
    };
  }

  #here(message) {
    const changes =
      message.type === "write" ||
      (message.type === "run" && JSON.stringify(message) !== this.asked);
    this.changed ||= changes;
    try {
      this.#knock();
    } catch {
      // Python is gone.
    }
    this.kernel.send(message);
  }

  /** Send Python a question if none is open, to see whether it answers. */
  #knock() {
    if (this.answered.size) return;
    const request = -Math.floor(Math.random() * 2 ** 52) - 1;
    this.widget.send({ type: "there", request });
    this.answered.add(request);
  }

  async #engine() {
    const { mark } = this;
    if (this.engineOf !== mark) {
      this.engineOf = mark;
      this.started = Engine.of(modelsHere().get(mark), this.signal);
    }
    return this.started;
  }

  /** Return to Python, which has answered an earlier question: send it what has changed since. */
  async #back() {
    if (!this.kernel) return this.#say("");
    if (this.coming) return;
    this.coming = true;
    try {
      while (this.changed) {
        this.changed = false;
        await this.kernel.turn;
        const { message } = await this.requests.ask({
          type: "run",
          ...this.how?.state?.(this.kernel, this.over),
        });
        this.training = message.training ?? "";
      }
      await this.kernel.turn; // the page answers what it was asked
      this.kernel = null;
      this.answered.clear();
      this.over.lift();
      this.#say("");
      // Python does not apply what the page answered, and a reader who saw that answer must learn
      // why.
      if (this.training) this.over.fire("training", this.training);
      this.training = "";
    } catch {
      this.changed = true; // try again when it next answers
    } finally {
      this.coming = false;
    }
  }

  /** @param {string | string[]} parts */
  #say(parts) {
    const text = [parts].flat().filter(Boolean).join(" ");
    if (text === this.says) return;
    this.says = text;
    this.over.fire("standby", text);
  }

  // ---- the model ----------------------------------------------------------------------------------------

  /** Allow the model to be fetched, once per page, when no question is open. */
  fetch() {
    this.fetches = true;
    this.#fetchSoon();
  }

  /** Python now shows something else. */
  #moved() {
    if (this.widget.get("_standby") !== undefined) return; // `_standby` reports it
    this.found = undefined;
    if (this.kernel) {
      this.kernel = null; // it has another text
      this.answered.clear();
      this.over.lift();
      this.#say("");
    }
    this.#fetchSoon();
  }

  get #fetched() {
    const { mark } = this.#about;
    return mark === "" || modelsHere().has(mark);
  }

  #fetchSoon() {
    clearTimeout(this.timer);
    if (
      !this.fetches ||
      !this.how ||
      this.signal.aborted ||
      this.how.wanted?.() === false ||
      this.#fetched
    )
      return;
    this.timer = setTimeout(() => (this.open.size ? this.#fetchSoon() : this.#fetch()), IDLE);
  }

  async #fetch() {
    const models = modelsHere();
    try {
      if (this.widget.get("_standby") === undefined) {
        this.found = (await this.requests.ask({ type: "standby" }, false)).message.about;
      }
      const { mark } = this.#about;
      if (!mark || models.has(mark)) return;
      const ask = async (part) => {
        const { message, buffers } = await this.requests.ask({ type: "standby", part }, false);
        if (message.info.mark !== mark) throw new Error("the model has learned since");
        return { info: message.info, parts: buffers.map((bytes) => new Blob([bytes])) };
      };
      const model = await ask("model");
      if (model.info.later) return; // it is being exported, and Python reports the end
      models.set(mark, { engine: await ask("engine"), model });
      while (models.size > MODELS_KEPT) models.delete(models.keys().next().value);
    } catch {
      // It is not available now; with other weights it is requested again.
    }
  }
}
