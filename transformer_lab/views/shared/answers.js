// Answers that a view requests from Python by name: cached, and shown unless a later choice has
// replaced the request.

import { joined } from "./codecs.js";
import { element, hearChanges, onceAFrame } from "./dom.js";
import { Superseded, Waiting } from "./requests.js";

/** @template T */
export class Answers {
  /**
   * @param {import("./shell.js").Shell} shell
   * @param {{ most: number, working: string, read: (info: any, bytes: any, name: string) => T, here?: (name: string) => T | null, names: (found: T) => string[], show: (found: T) => void, failed: (name: string, error: Error) => string }} how
   *   most: how many answers are cached; working: message while Python works; here: answers that
   *   came with the page; names: further names of an answer.
   */
  constructor(shell, how) {
    this.shell = shell;
    this.how = how;
    this.busy = element("p.tl-hint#busy", { role: "status", hidden: true });
    this.waiting = new Waiting(this.busy);
    /** @type {Map<string, T>} */
    this.known = new Map();
    /** @type {Map<string, Promise<T>>} requests in progress */
    this.asked = new Map();
    this.turn = 0;
  }

  /** Request the missing ones of these, each once, and wait for them. @param {string[]} names @returns {Promise<boolean>} whether any has come */
  async fetch(names) {
    const missing = names.filter((name) => !this.known.has(name));
    for (const name of missing) await this.#get(name);
    return missing.length > 0;
  }

  /** @param {string} name @returns {Promise<T>} */
  #get(name) {
    const get = async () => {
      const { message, buffers } = await this.shell.requests.ask({ type: "block", name });
      return this.keep(this.how.read(message.info, joined(buffers), name), name);
    };
    const asked = this.asked.get(name) ?? get().finally(() => this.asked.delete(name));
    this.asked.set(name, asked);
    return asked;
  }

  /** @param {T} found */
  keep(found, ...more) {
    if (this.known.size > this.how.most) this.known.delete(this.known.keys().next().value);
    for (const name of [...this.how.names(found), ...more]) this.known.set(name, found);
    return found;
  }

  /** Request `wanted()` whenever one of these traits changes. @param {string[]} traits @param {() => string} wanted */
  follow(traits, wanted) {
    hearChanges(
      this.shell.model,
      traits,
      this.shell.signal,
      onceAFrame(() => this.ask(wanted())),
    );
  }

  /** Draw what came with the page, and request the chosen answer if it is another: in a page that was saved again after another choice. @param {string} name */
  open(name) {
    this.shell.draw();
    if (!this.known.has(name)) this.ask(name);
  }

  /** @param {string | undefined} name nothing is requested for undefined: by a view without answers */
  async ask(name) {
    if (name === undefined) return;
    const turn = ++this.turn;
    const known = this.known.get(name) ?? this.how.here?.(name);
    if (known) return this.#show(known);
    const ended = this.waiting.begin(this.how.working);
    try {
      const found = await this.#get(name);
      if (turn === this.turn && !this.shell.signal.aborted) this.#show(found); // otherwise a later choice has replaced it
    } catch (error) {
      if (error instanceof Superseded || turn !== this.turn) return;
      this.waiting.say("");
      this.shell.say(this.how.failed(name, error));
    } finally {
      ended();
    }
  }

  /** @param {T} found */
  #show(found) {
    this.how.show(found);
    this.waiting.say("");
    this.shell.say("");
    this.shell.draw();
  }
}
