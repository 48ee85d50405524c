// That an answer is awaited: said after a moment, and another thing of what takes its time. That Python does
// not answer says pages/standby.js.

const SAID_AFTER = 200; // ms
const SLOW_FROM = 4000;

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
   * @param {string} [late]
   * @returns {() => void} to call when the answer is here; what was said stays until something else is
   */
  begin(soon, late) {
    const timers = [setTimeout(() => this.say(soon), SAID_AFTER)];
    if (late) timers.push(setTimeout(() => this.say(late), SLOW_FROM));
    return () => timers.forEach(clearTimeout);
  }
}
