// Stands before the model of a live view. What is asked goes to Python; where Python does not answer, since
// it is busy with a cell or gone, the page's own engine does where it can, and one line says so. When Python
// answers again it is told what has been changed meanwhile, and the view is its own again.

import { Engine } from "../engine/client.js";
import { hearChanges, hearOf } from "../shared/dom.js";
import { Overlay } from "./overlay.js";
import { Requests } from "../shared/requests.js";
import { sayShared } from "../shared/messages.js";

const WAITS = 4000; // ms in which Python answers
const IDLE = 2000; // ms after which the model is fetched, for the case
const CLOSES = 100; // ms after which a connection that was told of is closed
const MODELS_KEPT = 3; // models of a page
const BUSY = sayShared("the_kernel_is_busy");
const GONE = sayShared("the_kernel_is_gone");
const BY_ITSELF = sayShared("the_kernel_is_gone_from");
const LATER = sayShared("the_kernel_is_busy_or");
const LOST = sayShared("the_kernel_stopped_or");
const STILL_WORKS = sayShared("what_is_on_the");
const LONG = ["write", "sweep"]; // which Python itself may need more time for
const UNAWAITED = ["facts", "labels"]; // which no reader has asked for

/** Models that views of this page have fetched, by their marks: as blobs, which the browser keeps outside of it. */
const modelsHere = () => (globalThis.transformerLabModels ??= new Map());

/**
 * @typedef {object} Substitute what answers in Python's place
 * @property {new (page: any, signal: AbortSignal) => any} Kernel
 * @property {(message: any) => boolean} answers which questions
 * @property {() => boolean} [wanted] whether such questions may come: else the model need not be fetched
 * @property {(kernel: any, over: Overlay) => Record<string, any>} [state] all that decides what is on view, where
 *   the page may change it: Python is told of it
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
    /** @type {Map<number, {message: any, timer: any}>} what Python has been asked */
    this.open = new Map();
    /** @type {Set<number>} … to which it has not answered in time */
    this.late = new Set();
    /** @type {Set<number>} … and the page has answered */
    this.answered = new Set();
    this.kernel = null;
    this.says = "";
    this.training = ""; // what Python said of the last run, where a cell trains the model
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
      // Nobody is there to be told; what was chosen is chosen here.
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

  /** Whether the page can answer it. */
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
    if (this.kernel && message?.type === "effects") return; // of what is not on view
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

  /** Nobody answers on this connection any more. */
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

  /** Why the page cannot go on, where it would. */
  get #why() {
    const { why } = this.#about;
    return why ? sayShared("the_page_cannot_go", { why }) : "";
  }

  // ---- the page in its place ----------------------------------------------------------------------------

  /** What Python has told of the model. @returns {any} */
  get #about() {
    return this.widget.get("_standby") ?? this.found ?? {};
  }

  /** The mark of the model, where it is here and is the one on view. */
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
    this.asked = why === BUSY ? JSON.stringify(message) : ""; // Python hears of it yet
    for (const [request, { message: waiting, timer }] of [...this.open]) {
      if (!this.#ours(waiting)) continue; // Python's, when it is there
      clearTimeout(timer);
      this.open.delete(request);
      this.late.delete(request);
      this.answered.add(request);
      if (waiting !== message) this.#here(waiting);
    }
    this.#here(message);
  }

  /** What stands for a saved page, which would know more of its text. */
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
      send() {}, // it holds nothing beside what is on view
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
      // Python is not there.
    }
    this.kernel.send(message);
  }

  /** See whether Python is there, where it was asked nothing that it might answer. */
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

  /** Python has answered what it was asked before: it is told what has been changed since. */
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
      await this.kernel.turn; // what the page was asked it answers
      this.kernel = null;
      this.answered.clear();
      this.over.lift();
      this.#say("");
      // What the page answered is not in force there, and a reader who saw it has to know why.
      if (this.training) this.over.fire("training", this.training);
      this.training = "";
    } catch {
      this.changed = true; // it is asked again when it answers the next time
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

  /** From now on the model may be fetched, once a page, when nothing else is asked. */
  fetch() {
    this.fetches = true;
    this.#fetchSoon();
  }

  /** Python shows something else. */
  #moved() {
    if (this.widget.get("_standby") !== undefined) return; // which tells of it
    this.found = undefined;
    if (this.kernel) {
      this.kernel = null; // it knows another text
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
      if (model.info.later) return; // it is exported, and Python tells of the end
      models.set(mark, { engine: await ask("engine"), model });
      while (models.size > MODELS_KEPT) models.delete(models.keys().next().value);
    } catch {
      // It cannot be had now; with other weights it is asked for again.
    }
  }
}
