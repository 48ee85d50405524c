// The headline of an Explorer: an invitation until something is edited, then what the edits do; below it
// what the head attends to.

import { popover } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { sayExplorer } from "./prose.js";

const DISTANCE = /^(.*\S) (Overall change: [^.]*\(KL [^)]+\))\.( .*)?$/s; // as messages.json has it

/** A sentence on an effect, apart from the distance that ends it. @param {string} sentence @returns {{said: string, distance: string, rest: string}} */
export function withoutDistance(sentence) {
  const found = sentence.match(DISTANCE);
  return found ? { said: found[1], distance: found[2], rest: found[3] ?? "" } : { said: sentence, distance: "", rest: "" };
}

export class Answer {
  /** @param {HTMLElement} sentence what the chosen head attends to */
  constructor(sentence) {
    this.effect = element("p", { class: "tl-first", role: "status", "aria-live": "polite", "data-part": "effect" });
    this.help = popover("?", "what-kl-is", "What KL is", element("p", {}, sayExplorer("what_kl")));
    this.root = element("div", { class: "tl-answer" }, element("div", { class: "tl-told" }, this.effect, this.help), sentence);
    this.show("");
  }

  /** @param {string} text */
  show(text) {
    if (this.text !== text) {
      this.text = text;
      const { said, distance, rest } = withoutDistance(text);
      const small = element("small", { class: "tl-quiet" }, element("span", { "data-part": "kl" }, distance), ".");
      this.effect.replaceChildren(said, ...(distance ? [" ", small] : []), rest);
    }
    this.effect.hidden = !text;
    this.help.hidden = !this.effect.querySelector("small");
    this.root.classList.toggle("tl-two-answers", Boolean(text));
  }
}
