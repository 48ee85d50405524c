// Two prompts beside each other, token by token, with what differs marked.

import { element, tokenElement } from "../shared/dom.js";
import { quoted } from "../shared/messages.js";

export class Prompts {
  /** @param {(place: number) => void} choose a place of the clean prompt */
  constructor(choose) {
    this.root = element("div", { class: "tl-prompts", role: "group", tabindex: 0, "data-part": "prompts" });
    this.root.addEventListener("click", (event) => {
      const at = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-place]"));
      if (at) choose(Number(at.dataset.place));
    });
    this.shown = null;
  }

  /** @param {any} pair */
  show(pair) {
    if (this.shown === pair) return;
    this.shown = pair;
    const { clean, corrupted, columns } = pair;
    const differ = columns.filter(([, , differs]) => differs).length;
    this.root.setAttribute("aria-label", `The clean prompt above the corrupted one, paired ${pair.aligned}; ${differ} of ${columns.length} places differ`);
    const token = (words, at) => (at === null ? element("span", { class: "tl-quiet" }, "∅") : tokenElement(words[at]));
    const told = (words, at) => (at === null ? "nothing" : `${quoted(words[at])} (${at})`);
    this.root.replaceChildren(
      element("div", { class: "tl-prompt-names tl-quiet" }, element("span", {}, "clean"), element("span", {}, "corrupted")),
      ...columns.map(([a, b, differs]) =>
        element("div", { class: `tl-prompt-pair${differs ? " tl-differs" : ""}`, "data-place": a !== null && b !== null ? a : null, title: `clean: ${told(clean, a)}, corrupted: ${told(corrupted, b)}` }, token(clean, a), token(corrupted, b)),
      ),
    );
  }

  /** @param {number | null} place */
  mark(place) {
    for (const at of this.root.querySelectorAll("[data-place]")) at.classList.toggle("tl-on", place !== null && at.dataset.place === String(place));
  }
}
