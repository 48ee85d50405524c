// The header of a view: its title, copying and saving, and messages.

import { button } from "./controls.js";
import { copyText, element, taken, tokenElement, listen } from "./dom.js";
import { SaveMenu } from "./files.js";
import { Presentation } from "./present.js";
import { chosenOf, hasAddress, linkTo } from "../pages/link.js";
import { sayShared } from "./messages.js";
import { restoringLine } from "./restoring.js";

/**
 * @typedef {object} HeaderDoes
 * @property {() => Promise<Blob | null>} png
 * @property {() => string} code
 * @property {string} [title] instead of the model's own
 * @property {string} [copies] what is copied, as a hint
 * @property {() => string} [part] the part of the view that is shown, for a file's name
 * @property {boolean} [within] whether it is inside another view, which copies and saves everything
 * @property {() => import("./files.js").Numbers | Promise<import("./files.js").Numbers>} [numbers]
 *   on view, named as in Python's files
 * @property {() => string} [sentence] the sentence on view, if it is spread over several parts
 * @property {() => Record<string, any>} [linked] what a link restores besides the choices
 * @property {any} [given] for a view that reads other texts if its page carries its model: what was
 *   passed as its model
 */

export class Header {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal @param {import("./requests.js").Requests} requests @param {HeaderDoes} does @param {() => void} redraw */
  constructor(model, root, signal, requests, does, redraw) {
    this.model = model;
    this.root = root;
    this.requests = requests;
    this.does = does;
    this.subtitle = element("span.tl-quiet");
    this.copied = element("span.tl-quiet", { role: "status" });
    this.message = element("p.tl-message#message", { role: "alert", hidden: true });
    const copies = [
      button(
        sayShared("copy_as_python"),
        "copy",
        does.copies ?? sayShared("copy_what_makes_this"),
        () => this.#copy(this.does.code(), "copied"),
      ),
    ];
    if (hasAddress(model))
      copies.push(
        button(sayShared("copy_link"), "link", sayShared("copy_an_address_that"), () =>
          this.#link(),
        ),
      );
    copies.push(
      button(sayShared("copy_state"), "state", sayShared("copy_a_line_that"), () =>
        this.#copy(this.restoring, "restoring"),
      ),
    );
    const actions = { ...does, say: (/** @type {string} */ text) => this.say(text) };
    this.save = new SaveMenu(model, root, requests, actions, copies, this.copied);
    this.presentation = new Presentation(root, redraw);
    const present = button(sayShared("present"), "present", sayShared("larger_text_and_one"), () =>
      this.#present(present),
    );
    this.present = present;
    present.setAttribute("aria-pressed", "false");
    const leave = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !this.presentation.on || event.defaultPrevented) return;
      taken(event);
      this.#present(present);
    };
    listen(root, "keydown", signal, leave);
    listen(window, "keydown", signal, leave);
    this.actions = element(
      "div.tl-actions",
      { hidden: Boolean(does.within) },
      present,
      this.save.element,
    );
    this.element = element(
      "header.tl-top",
      element(
        model.get("_saved") && !does.within ? "h1" : "div",
        { class: "tl-title" },
        element("b", tokenElement(does.title ?? model.get("_title"))),
        " ",
        this.subtitle,
      ),
      this.actions,
    );
  }

  /** @param {string} text */
  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  #present(made) {
    this.presentation.toggle();
    made.setAttribute("aria-pressed", String(this.presentation.on));
    made.textContent = this.presentation.on ? sayShared("stop_presenting") : sayShared("present");
    for (const open of this.root.querySelectorAll("details[open]"))
      /** @type {HTMLDetailsElement} */ (open).open = false;
  }

  async #link() {
    try {
      const link = linkTo(this.model, this.does.linked?.() ?? {});
      this.copied.textContent = (await copyText(link)) ? sayShared("link_copied") : link;
      this.root.dataset.link = link;
    } catch (error) {
      this.say(sayShared("there_is_no_link", { why: error.message }));
    }
  }

  /** A line of Python that restores what is on view. */
  get restoring() {
    const { model } = this;
    const { text, target, masked, position, edits, sides } = this.does.linked?.() ?? {};
    const { _options: options, ...choices } = chosenOf(model);
    const words = text === undefined ? {} : { text, target, masked, position };
    const chosen = { ...words, ...choices, ...(options && { options }) };
    return restoringLine(chosen, model.get("_defaults"), edits ?? model.get("_edits"), sides);
  }

  /** @param {string} code @param {string} mark for scripts and tests */
  async #copy(code, mark) {
    this.copied.textContent = (await copyText(code)) ? sayShared("copied", { code }) : code;
    this.root.dataset[mark] = code;
  }
}
