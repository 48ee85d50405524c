// Questions to Python, or to the saved page, which answers the same messages.

import { bytesOf } from "./codecs.js";
import { hearOf } from "./dom.js";

/**
 * Sends one question at a time. Of urgent questions only the newest waits, so that a later click
 * wins; other questions are queued.
 */
export class Requests {
  /** @param {{send: Function, on: Function, off: Function}} model @param {AbortSignal} signal */
  constructor(model, signal) {
    this.model = model;
    // Random, since others ask the same model: the view's own parts, a second display of it,
    // another window.
    this.number = Math.floor(Math.random() * 2 ** 52);
    /** @type {Map<number, {resolve: Function, reject: Function}>} */
    this.open = new Map();
    this.busy = false;
    this.urgent = null;
    /** @type {any[]} */
    this.later = [];
    const answered = (message, buffers) => {
      const waiting = this.open.get(message?.request);
      if (!waiting) return;
      this.open.delete(message.request);
      if (message.type === "error") waiting.reject(new Error(message.message));
      else
        waiting.resolve({
          message,
          buffers: (buffers ?? []).map((given) => (given instanceof Blob ? given : bytesOf(given))),
        });
    };
    hearOf(model, ["msg:custom"], signal, answered);
  }

  /** @param {object} question @param {boolean} [urgent] @returns {Promise<{message: any, buffers: Uint8Array<ArrayBuffer>[]}>} */
  ask(question, urgent = true) {
    return new Promise((resolve, reject) => {
      const waiting = { question, resolve, reject };
      if (urgent) {
        this.urgent?.reject(new Superseded());
        this.urgent = waiting;
      } else {
        this.later.push(waiting);
      }
      this.#next();
    });
  }

  /** Send a message that needs no answer. @param {object} statement @returns {boolean} whether it could be sent */
  tell(statement) {
    try {
      this.model.send({ ...statement, request: ++this.number });
      return true;
    } catch {
      return false;
    }
  }

  async #next() {
    if (this.busy) return;
    const waiting = this.urgent ?? this.later.shift();
    if (!waiting) return;
    if (waiting === this.urgent) this.urgent = null;
    this.busy = true;
    const request = ++this.number;
    try {
      const answer = new Promise((resolve, reject) => this.open.set(request, { resolve, reject }));
      try {
        this.model.send({ ...waiting.question, request });
      } catch (error) {
        this.open.delete(request);
        throw new NotSent(error.message);
      }
      waiting.resolve(await answer);
    } catch (error) {
      waiting.reject(error);
    } finally {
      this.busy = false;
      this.#next();
    }
  }
}

/** A question could not be sent. */
export class NotSent extends Error {}

/** A newer question replaced this one. */
export class Superseded extends Error {}

const SAID_AFTER = 200; // ms
const SLOW_FROM = 4000;

export class Waiting {
  /** @param {HTMLElement} place shows the messages */
  constructor(place) {
    this.place = place;
  }

  /** @param {string} text */
  say(text) {
    this.place.textContent = text;
    this.place.hidden = !text;
  }

  /** @param {string} soon @param {string} [late] @returns {() => void} to call when the answer has come; a message that is shown by then stays until the next one */
  begin(soon, late) {
    const timers = [setTimeout(() => this.say(soon), SAID_AFTER)];
    if (late) timers.push(setTimeout(() => this.say(late), SLOW_FROM));
    return () => timers.forEach(clearTimeout);
  }

  /** The same until a promise is settled. @template T @param {Promise<T>} work @param {string[]} said */
  during(work, ...said) {
    const ended = this.begin(said[0], said[1]);
    return work.finally(() => (ended(), this.say("")));
  }
}
