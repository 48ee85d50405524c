// That an answer is awaited: said after a moment, and again when it is late.

import { ANSWER_LATE } from "./files.js";

const SAID_AFTER = 200; // ms

export class Waiting {
  /** @param {HTMLElement} place where it is said */
  constructor(place) {
    this.place = place;
  }

  /** @param {string} text */
  say(text) {
    this.place.textContent = text;
    this.place.hidden = !text;
  }

  /**
   * @param {string} soon
   * @param {string} late
   * @returns {() => void} to call when the answer is here; what was said stays until something else is
   */
  begin(soon, late) {
    const timers = [setTimeout(() => this.say(soon), SAID_AFTER), setTimeout(() => this.say(late), ANSWER_LATE)];
    return () => timers.forEach(clearTimeout);
  }
}
