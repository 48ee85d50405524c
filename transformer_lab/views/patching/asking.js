// Other prompts, or another metric, where they are words and Python is there to be asked.

import { button, popover } from "../shared/controls.js";
import { element } from "../shared/dom.js";

export class Asking {
  /** @param {any} model @param {import("../shared/shell.js").Shell} shell @param {import("../shared/requests.js").Waiting} waiting */
  constructor(model, shell, waiting) {
    this.model = model;
    this.shell = shell;
    this.waiting = waiting;
    const field = (label, name, prompt = false) => {
      const input = element(prompt ? "textarea" : "input", {
        type: prompt ? null : "text",
        rows: prompt ? 2 : null,
        "data-part": name,
        spellcheck: "false",
        autocomplete: "off",
      });
      return { input, root: element("label", element("span", label), input) };
    };
    this.fields = [
      field("Clean prompt", "clean", true),
      field("Corrupted prompt", "corrupted", true),
      field("The logit of", "answer"),
      field("less that of (empty: its log-probability)", "wrong"),
    ];
    const words = element(
      "label.tl-check",
      element("input#align", { type: "checkbox" }),
      "pair the last tokens of words, where lengths differ",
    );
    this.align = words.querySelector("input");
    this.why = element("p.tl-message#refused", { role: "alert", hidden: true });
    const go = button("Compare", "compare", () => this.#ask());
    const hint = element(
      "p.tl-hint",
      "Leave both tokens empty to compare what is most likely after each prompt. A space before a word is part of its token.",
    );
    this.root = popover(
      "Prompts and metric",
      "ask",
      "Ask about other prompts, or by another metric",
      ...this.fields.map(({ root }) => root),
      words,
      hint,
      this.why,
      go,
    );
    this.root.classList.add("tl-asking");
    this.root.addEventListener("toggle", () => this.#fill());
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && /** @type {HTMLElement} */ (event.target).tagName === "INPUT")
        this.#ask();
    });
  }

  draw() {
    this.root.hidden = Boolean(this.model.get("_saved")) || !this.model.get("_asked").metric;
  }

  /** @param {string} text */
  #refuse(text) {
    this.why.textContent = text;
    this.why.hidden = !text;
  }

  #fill() {
    this.#refuse("");
    const { clean = "", corrupted = "", metric = [] } = this.model.get("_asked");
    [clean, corrupted, metric[0] ?? "", metric[1] ?? ""].forEach(
      (text, i) => (this.fields[i].input.value = text),
    );
  }

  async #ask() {
    const [clean, corrupted, answer, wrong] = this.fields.map(({ input }) => input.value);
    const done = this.waiting.begin(
      "Running both prompts …",
      "Still at it: two passes forward and one back.",
    );
    try {
      await this.shell.requests.ask(
        {
          type: "compare",
          clean,
          corrupted,
          metric: [answer, wrong],
          align: this.align.checked ? "words" : null,
        },
        false,
      );
      this.shell.say("");
      if (this.root.contains(document.activeElement)) this.root.querySelector("summary").focus();
      this.root.open = false;
    } catch (error) {
      this.#refuse(error.message);
    } finally {
      done();
      this.waiting.say("");
    }
  }
}
