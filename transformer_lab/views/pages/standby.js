// Stands before the model of a live view. What is asked goes to Python; where Python does not answer, since
// it is busy with a cell or gone, the page's own engine does, and one line says so. When Python answers
// again it is told what has been changed meanwhile, and the view is its own again.

import { Engine } from "../engine/client.js";
import { hearChanges, hearOf } from "../shared/hearing.js";
import { Overlay } from "../pages/overlay.js";
import { Requests } from "../shared/requests.js";

const WAITS = 4000; // ms in which Python answers
const IDLE = 2000; // ms after which the model is fetched, for the case
const MODELS_KEPT = 3; // models of a page
const BUSY = "The kernel is busy or gone: this was computed in the page.";
const GONE = "The kernel is gone: this was computed in the page.";
const LATER = "The kernel is busy or gone: it answers when it is free. Heads and maps that are here still work.";
const ANSWERED = ["run", "write", "sweep", "block"]; // by the page, where Python does not
const LONG = ["write", "sweep"]; // which Python itself may need more time for

/** Models that views of this page have fetched, by their marks: as blobs, which the browser keeps outside of it. */
const modelsHere = () => (globalThis.transformerLabModels ??= new Map());

export class Standby {
  /**
   * @param {any} widget
   * @param {AbortSignal} signal
   * @param {new (page: any, signal: AbortSignal) => any} Kernel what answers in Python's place
   */
  constructor(widget, signal, Kernel) {
    Object.assign(this, { widget, signal, Kernel });
    this.over = new Overlay(widget, signal);
    this.requests = new Requests(widget, signal);
    /** @type {Map<number, {message: any, timer: any}>} what Python has been asked */
    this.open = new Map();
    /** @type {Set<number>} … and the page has answered */
    this.answered = new Set();
    this.kernel = null;
    this.says = "";
    hearOf(widget, ["msg:custom"], (message, buffers) => this.#told(message, buffers), signal);
    hearChanges(widget, ["_standby"], () => this.#fetchSoon(), signal);
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
    if (names === "msg:custom") (this.heard ??= new Set()).add(handler);
    else this.over.on(names, handler);
  }

  off(names, handler) {
    if (names === "msg:custom") this.heard?.delete(handler);
    else this.over.off(names, handler);
  }

  tell(message, buffers = []) {
    for (const handler of [...(this.heard ?? [])]) handler(message, buffers);
  }

  send(message) {
    if (!ANSWERED.includes(message.type) || message.name === "engine" || message.name === "model") return this.widget.send(message);
    if (this.kernel) return this.#here(message);
    try {
      this.widget.send(message);
    } catch (error) {
      if (!this.mark) throw error;
      return this.#goOn(message, GONE);
    }
    const timer = LONG.includes(message.type) ? null : setTimeout(() => this.#late(message.request), WAITS);
    this.open.set(message.request, { message, timer });
  }

  // ---- what Python says ---------------------------------------------------------------------------------

  #told(message, buffers) {
    const { request } = message ?? {};
    clearTimeout(this.open.get(request)?.timer);
    this.open.delete(request);
    if (request !== undefined && this.answered.delete(request)) return this.#back();
    if (this.kernel && message?.type === "effects") return; // of what is not on view
    if (this.says === LATER) this.#say("");
    this.tell(message, buffers);
  }

  #late(request) {
    const waiting = this.open.get(request);
    if (!waiting || this.signal.aborted) return;
    if (this.mark) this.#goOn(waiting.message, BUSY);
    else if (waiting.message.type === "run") this.#say(LATER);
  }

  // ---- the page in its place ----------------------------------------------------------------------------

  /** The mark of the model, where it is here and is the one on view. */
  get mark() {
    const { mark } = this.widget.get("_standby");
    return mark && modelsHere().has(mark) ? mark : "";
  }

  /** @param {any} message @param {string} why */
  #goOn(message, why) {
    this.kernel = new this.Kernel(this.#page(), this.signal);
    this.kernel.on("msg:custom", (told, buffers) => this.tell(told, buffers));
    this.#say(why);
    this.asked = why === BUSY ? JSON.stringify(message) : ""; // Python hears of it yet
    for (const { message: waiting, timer } of this.open.values()) {
      clearTimeout(timer);
      this.answered.add(waiting.request);
      if (waiting !== message) this.#here(waiting);
    }
    this.open.clear();
    this.#here(message);
  }

  /** What stands for a saved page, which would know more of its text. */
  #page() {
    const { over } = this;
    const { given, first, wished } = this.widget.get("_standby");
    let carried = { travels: true, moved: true, given, first, wished };
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
    const changes = message.type === "write" || (message.type === "run" && JSON.stringify(message) !== this.asked);
    this.moved ||= changes;
    this.#knock();
    this.kernel.send(message);
  }

  /** See whether Python is there, where it was asked nothing that it might answer. */
  #knock() {
    if (this.answered.size) return;
    const request = -Math.floor(Math.random() * 2 ** 52) - 1;
    try {
      this.widget.send({ type: "there", request });
      this.answered.add(request);
    } catch {
      // It is not.
    }
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
    if (this.coming || !this.kernel) return;
    this.coming = true;
    try {
      while (this.moved) {
        this.moved = false;
        await this.kernel.turn;
        await this.requests.ask({ type: "run", ...this.#state() });
      }
      this.kernel = null;
      this.answered.clear();
      this.over.lift();
      this.#say("");
    } catch {
      this.moved = true; // it is asked again when it answers the next time
    } finally {
      this.coming = false;
    }
  }

  /** All that decides what is on view. */
  #state() {
    const { reading, wished, isBoth } = this.kernel;
    const { text, target, masked, given } = reading;
    const edits = this.over.get("_edits");
    return { text, ...(isBoth ? { target } : {}), masked, edits, position: wished, ...(given ? { ids: given } : {}) };
  }

  #say(text) {
    this.says = text;
    this.over.fire("standby", text);
  }

  // ---- the model ----------------------------------------------------------------------------------------

  /** From now on the model may be fetched, once a page, when nothing else is asked. */
  fetch() {
    this.fetches = true;
    this.#fetchSoon();
  }

  #fetchSoon() {
    clearTimeout(this.timer);
    const { mark } = this.widget.get("_standby");
    if (!this.fetches || !mark || modelsHere().has(mark) || this.signal.aborted) return;
    this.timer = setTimeout(() => (this.open.size ? this.#fetchSoon() : this.#fetch(mark)), IDLE);
  }

  async #fetch(mark) {
    const models = modelsHere();
    if (models.has(mark)) return;
    const ask = async (name) => {
      const { message, buffers } = await this.requests.ask({ type: "block", name }, false);
      if (message.info.mark !== mark) throw new Error("the model has learned since");
      return { info: message.info, parts: buffers.map((bytes) => new Blob([bytes])) };
    };
    try {
      const found = { engine: await ask("engine"), model: await ask("model") };
      models.set(mark, found);
      while (models.size > MODELS_KEPT) models.delete(models.keys().next().value);
    } catch {
      // It cannot be had now; with other weights it is asked for again.
    }
  }
}
