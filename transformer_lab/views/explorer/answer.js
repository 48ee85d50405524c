// The answer of an Explorer, in words: what the edits do, or what happens without the chosen head; and
// below it what the head looks at.

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
  /** @param {HTMLElement} sentence what the chosen head looks at */
  constructor(sentence) {
    this.sentence = sentence;
    const line = (part) => element("p", { class: "tl-first", role: "status", "aria-live": "polite", "data-part": part });
    this.effect = line("effect");
    this.matter = line("head-effect");
    this.help = popover("?", "what-kl-is", "What KL is", element("p", {}, sayExplorer("what_kl")));
    this.root = element("div", { class: "tl-answer" }, element("div", { class: "tl-told" }, this.effect, this.matter, this.help), sentence);
    this.matters("");
    this.edits("", false);
  }

  /** What the edits in force do. @param {string} text @param {boolean} edited */
  edits(text, edited) {
    this.edited = edited;
    this.#say(this.effect, text, "kl");
    this.#choose();
  }

  /** What happens without the chosen head alone. @param {string} text */
  matters(text) {
    this.#say(this.matter, text, "head-kl");
    this.#choose();
  }

  #say(place, text, part) {
    if (place.textContent === text) return;
    const { said, distance, rest } = withoutDistance(text);
    place.replaceChildren(said, ...(distance ? [" ", element("small", { class: "tl-quiet" }, element("span", { "data-part": part }, distance), ".")] : []), rest);
  }

  /** The edits say more than the head alone; without either, what it looks at is the answer. */
  #choose() {
    this.matter.hidden = this.edited || !this.matter.textContent;
    this.effect.hidden = !this.effect.textContent;
    const first = [this.effect, this.matter].find((place) => !place.hidden);
    this.help.hidden = !first?.querySelector("small");
    this.root.classList.toggle("tl-two-answers", Boolean(first));
  }
}
