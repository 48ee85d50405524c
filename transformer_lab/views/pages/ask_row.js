// The row in which a reader types another text, on a page that carries its model.

import { asSentence, sayShared } from "../shared/messages.js";
import { button } from "../shared/controls.js";
import { element, hearChanges } from "../shared/dom.js";
import { inPageLine } from "./in_page_line.js";
import { Requests, Superseded } from "../shared/requests.js";
import { Task } from "../shared/task.js";

const LINE_HIGH = 18; // px

/** Make a field as high as its text, up to a number of lines. @param {HTMLTextAreaElement} area @param {number} lines */
export function growArea(area, lines) {
  if (!area.clientWidth) return;
  area.style.height = "auto";
  area.style.height = `${Math.min(lines * LINE_HIGH, area.scrollHeight)}px`;
}

/** A line on what narrow weights change, as measured before the page was written. @param {any} model */
export function weightsLine(model) {
  const { note } = model.get("_carried") ?? {};
  return note ? [element("p.tl-hint#narrow", note)] : [];
}

/** The text of a field; `was` exactly if it still shows that, since a textarea changes line ends. @param {{value: string}} area @param {string} was */
export const fieldText = (area, was) =>
  area.value === was.replace(/\r\n?/g, "\n") ? was : area.value;

/** Enter runs, Shift with Enter is a line break. @param {HTMLTextAreaElement} area @param {() => void} run */
export function runByEnter(area, run) {
  area.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    run();
  });
}

export class AskRow {
  /** @param {any} model @param {AbortSignal} signal */
  constructor(model, signal) {
    this.model = model;
    this.texts = 0;
    this.requests = new Requests(model, signal);
    this.both = model.get("_carried").kind === "encoder-decoder";
    this.sides = model.get("_carried").sides.map((side, i) => this.#side(side, i));
    this.run = button(sayShared("run"), "run", sayShared("run_the_model_on"), () => {});
    this.reading = new Task(
      this.run,
      (goes, stopped) => this.#run(goes, stopped),
      () => this.reading.label(sayShared("run")),
    );
    this.run.classList.add("tl-main");
    this.message = element("p.tl-message#ask-message", { role: "alert", hidden: true });
    this.unread = element("p.tl-hint#unread", { role: "status", hidden: true });
    this.root = element(
      "div.tl-ask-row#ask",
      element(
        "div.tl-ask",
        this.sides.map(({ root }) => root),
        this.run,
      ),
      this.message,
      this.reading.root,
      this.unread,
      inPageLine(model, signal),
      weightsLine(model),
    );
    hearChanges(model, ["_carried"], signal, () => this.#fill());
    new ResizeObserver(() => this.#grow()).observe(this.root);
    this.#fill();
  }

  #side({ name }, i) {
    const field = (label, part) => {
      const area = element(`textarea.tl-text#${part}`, {
        rows: 1,
        spellcheck: "false",
        "aria-label": label,
        maxlength: 100_000,
        title: sayShared("type_a_text_press"),
        input: () => this.#grow(),
      });
      runByEnter(area, () => this.reading.start());
      return area;
    };
    const number = i ? `-${i}` : "";
    const text = field(
      name ? sayShared("text", { name }) : sayShared("text_that_the_model"),
      `text${number}`,
    );
    const target = this.both
      ? field(
          name ? sayShared("what_writes_empty_its", { name }) : sayShared("what_it_writes_empty"),
          `target${number}`,
        )
      : null;
    const box = (area) => element("span.tl-box", area);
    const root = element(
      "span.tl-field",
      element("span.tl-quiet", name || sayShared("reads")),
      box(text),
      target && [element("span.tl-quiet", sayShared("writes")), box(target)],
    );
    return { name, text, target, root };
  }

  /** The typed target; null if it is still the model's own answer. */
  #targetOf({ target }, { target: was, written }) {
    if (!target?.value.trim()) return null;
    const text = fieldText(target, was ?? written ?? "");
    return was === null && text === written ? null : text;
  }

  /** @param {import("../shared/task.js").Goes} goes @param {AbortSignal} stopped */
  async #run(goes, stopped) {
    const kept = this.model.get("_carried").sides;
    const sides = this.sides.map((side, i) => ({
      name: side.name,
      text: fieldText(side.text, kept[i].text),
      target: this.#targetOf(side, kept[i]),
    }));
    goes("Reading …");
    stopped.addEventListener("abort", () => this.model.send({ type: "stop" }));
    try {
      await this.requests.ask({ type: "run", sides });
      this.#say("");
    } catch (error) {
      if (!stopped.aborted && !(error instanceof Superseded)) this.#say(asSentence(error));
    }
  }

  /** What a link restores: the texts, if they are not the saved ones. */
  get linked() {
    const { moved, sides } = this.model.get("_carried");
    return moved ? { sides: sides.map(({ name, text, target }) => ({ name, text, target })) } : {};
  }

  /** @param {Record<string, any>} more what a link holds */
  async follow({ sides }) {
    if (sides === undefined) return;
    const isSide = (side) =>
      typeof side?.text === "string" && typeof (side.target ?? "") === "string";
    if (!Array.isArray(sides) || sides.length !== this.sides.length || !sides.every(isSide))
      throw new Error("this link names what is not in this page");
    await this.requests.ask({ type: "run", sides });
  }

  #say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  #fill() {
    const { sides, unread = "", travels } = this.model.get("_carried");
    for (const { text, target } of this.sides)
      for (const area of [text, target]) if (area) area.readOnly = !travels;
    this.run.hidden = !travels; // the engine is switched off, which `inPageLine` reports
    /** @type {HTMLElement | null} */ (this.root.closest(".tl-view"))?.setAttribute(
      "data-texts",
      String(++this.texts),
    ); // for tests: how many texts were read
    this.sides.forEach(({ text, target }, i) => {
      text.value = sides[i].text;
      if (target) target.value = sides[i].target ?? sides[i].written ?? "";
    });
    this.unread.textContent = unread;
    this.unread.hidden = !unread;
    this.#grow();
  }

  #grow() {
    for (const { text, target } of this.sides)
      for (const area of [text, target]) if (area) growArea(area, 2);
  }
}
