// Controls to enter other prompts, or another metric, if they are words and Python is available.

import { button, popover } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { fieldText } from "../pages/ask_row.js";
import { sayPatching } from "./grids.js";

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
      field(sayPatching("clean_prompt"), "clean", true),
      field(sayPatching("corrupted_prompt"), "corrupted", true),
      field(sayPatching("the_logit_of"), "answer"),
      field(sayPatching("less_that_of_empty"), "wrong"),
    ];
    const words = element(
      "label.tl-check",
      element("input#align", { type: "checkbox" }),
      sayPatching("pair_the_last_tokens"),
    );
    this.align = words.querySelector("input");
    this.why = element("p.tl-message#refused", { role: "alert", hidden: true });
    const go = button(sayPatching("compare"), "compare", () => this.#ask());
    const hint = element("p.tl-hint", sayPatching("leave_both_tokens_empty"));
    this.root = popover(
      sayPatching("prompts_and_metric"),
      "ask",
      sayPatching("ask_about_other_prompts"),
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
    const asked = this.model.get("_asked");
    const was = [asked.clean ?? "", asked.corrupted ?? ""];
    const [clean, corrupted, answer, wrong] = this.fields.map(({ input }, i) =>
      fieldText(input, was[i] ?? ""),
    );
    const done = this.waiting.begin(
      sayPatching("running_both_prompts"),
      sayPatching("still_at_it_two"),
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
