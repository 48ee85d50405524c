// Work that a reader starts, watches and stops.

import { element } from "./dom.js";
import { sayShared } from "./messages.js";

const SEEN_AFTER = 400; // ms

/** @typedef {(words: string, done?: number, of?: number) => boolean} Goes reports progress; returns whether to go on */

export class Task {
  /**
   * @param {HTMLButtonElement} button starts it, and stops it
   * @param {(goes: Goes, stopped: AbortSignal) => Promise<void>} work `stopped` by the reader
   * @param {() => void} changed called when it starts or ends
   */
  constructor(button, work, changed) {
    this.button = button;
    this.work = work;
    this.changed = changed;
    /** @type {AbortController | null} */
    this.turn = null;
    this.bar = element("progress#progress", { "aria-label": sayShared("progress") });
    this.words = element("span", { role: "status" });
    this.root = element("p.tl-hint.tl-task", { hidden: true }, this.bar, this.words);
    button.addEventListener("click", () => {
      const { turn } = this;
      if (turn) this.stop();
      else this.start();
      turn?.abort();
    });
  }

  get runs() {
    return this.turn !== null;
  }

  async start() {
    const mine = (this.turn = new AbortController());
    const goes = (words, done = 0, of = 0) => {
      if (this.turn !== mine) return false;
      this.words.textContent = words;
      if (of) Object.assign(this.bar, { max: of, value: done });
      else this.bar.removeAttribute("value");
      return true;
    };
    const seen = setTimeout(() => (this.root.hidden = this.turn !== mine), SEEN_AFTER);
    this.changed();
    try {
      await this.work(goes, mine.signal);
    } finally {
      clearTimeout(seen);
      if (this.turn === mine) this.stop();
    }
  }

  stop() {
    this.turn = null;
    this.root.hidden = true;
    this.changed();
  }

  /** Set the button's text. @param {string} text while nothing runs */
  label(text) {
    this.button.textContent = this.runs ? sayShared("stop") : text;
    this.button.ariaLabel = this.runs ? sayShared("stop_of", { title: this.button.title }) : null;
  }
}
