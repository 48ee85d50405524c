// The headline of an Explorer: an invitation until something is edited, then what the edits do; below it
// what the head attends to.

import { button } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { prose } from "../shared/prose.js";
import { sayExplorer } from "./prose.js";

const DISTANCE = /^(.*\S) (Overall change: [^.]*\(KL [^)]+\))\.( .*)?$/s; // as in messages.json

/** Split a sentence on an effect: the statement, the distance after it, and the rest. @param {string} sentence @returns {{said: string, distance: string, rest: string}} */
export function withoutDistance(sentence) {
  const found = sentence.match(DISTANCE);
  return found
    ? { said: found[1], distance: found[2], rest: found[3] ?? "" }
    : { said: sentence, distance: "", rest: "" };
}

export class Answer {
  /**
   * @param {HTMLElement} sentence what the chosen head attends to
   * @param {(needed: boolean) => void} guessed called when the reader has answered the headline's question
   */
  constructor(sentence, guessed) {
    this.effect = element("p.tl-first#effect", { role: "status", "aria-live": "polite" });
    this.guess = element(
      "span.tl-guess#guess",
      { role: "group", "aria-label": sayExplorer("your_guess"), hidden: true },
      element("span.tl-quiet", { "aria-hidden": "true" }, sayExplorer("your_guess")),
      [true, false].map((needed) =>
        button(
          sayExplorer("guess", { needed }),
          `guess-${needed ? "yes" : "no"}`,
          sayExplorer("then_see"),
          () => guessed(needed),
        ),
      ),
    );
    this.root = element("div.tl-answer", this.effect, this.guess, sentence);
    this.effect.hidden = true;
  }

  /** @param {string} text @param {import("../shared/prose.js").HeadPlace} here the chosen head @param {string} verdict before it: whether the prediction needs the head @param {boolean} asks whether the text is a question */
  show(text, here, verdict, asks) {
    this.guess.hidden = !asks;
    const key = JSON.stringify([text, here]);
    if (this.key !== key) {
      this.key = key;
      const { said, distance, rest } = withoutDistance(text);
      const small = element("small.tl-quiet", element("span#kl", prose(distance)), ".");
      this.effect.replaceChildren(
        ...prose(said, here),
        ...(distance ? [" ", small] : []),
        ...prose(rest),
      );
    }
    this.effect.hidden = !text;
    if (verdict) this.effect.dataset.verdict = verdict;
    else delete this.effect.dataset.verdict;
    this.root.classList.toggle("tl-two-answers", Boolean(text));
  }
}
