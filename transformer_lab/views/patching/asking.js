// Fields to enter other prompts, or another metric, if they are words and Python is available.

import { button, popover } from "../shared/controls.js";
import { element, say as write } from "../shared/dom.js";
import { fieldText } from "../pages/ask_row.js";
import { view } from "./scene.js";

const { say } = view;

export class Asking {
  /** @param {any} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    const enter = (event) => event.key === "Enter" && this.#ask();
    const common = { spellcheck: "false", autocomplete: "off" };
    const prompt = (name) => element(`textarea#${name}`, { rows: 2, ...common });
    const word = (name) => element(`input#${name}`, { type: "text", keydown: enter, ...common });
    this.fields = [prompt("clean"), prompt("corrupted"), word("answer"), word("wrong")];
    const labels = [
      say("clean_prompt"),
      say("corrupted_prompt"),
      say("the_logit_of"),
      say("less_that_of_empty"),
    ];
    this.align = element("input#align", { type: "checkbox" });
    this.why = element("p.tl-message#refused", { role: "alert", hidden: true });
    this.root = popover(
      say("prompts_and_metric"),
      "ask",
      say("ask_about_other_prompts"),
      ...labels.map((label, i) => element("label", element("span", label), this.fields[i])),
      element("label.tl-check", this.align, say("pair_the_last_tokens")),
      element("p.tl-hint", say("leave_both_tokens_empty")),
      this.why,
      button(say("compare"), "compare", () => this.#ask()),
    );
    this.root.classList.add("tl-asking");
    this.root.addEventListener("toggle", () => this.#fill());
  }

  /** The prompts and the two words of the metric; none if the prompts are no texts. @returns {string[]} */
  get #asked() {
    return this.viewer.model.get("_asked");
  }

  draw() {
    this.root.hidden = this.viewer.state.saved || !this.#asked.length;
  }

  /** @param {string} text */
  #refuse(text) {
    write(this.why, text);
    this.why.hidden = !text;
  }

  #fill() {
    this.#refuse("");
    this.#asked.forEach((text, i) => (this.fields[i].value = text));
  }

  async #ask() {
    const { answers, shell } = this.viewer;
    const was = this.#asked;
    const [clean, corrupted, ...metric] = this.fields.map((field, i) => fieldText(field, was[i]));
    const align = this.align.checked ? "words" : null;
    const question = { type: "compare", clean, corrupted, metric, align };
    const asked = shell.requests.ask(question, false);
    try {
      await answers.waiting.during(asked, say("running_both_prompts"), say("still_at_it_two"));
      shell.say("");
      if (this.root.contains(document.activeElement)) this.root.querySelector("summary").focus();
      this.root.open = false;
    } catch (error) {
      this.#refuse(error.message);
    }
  }
}
