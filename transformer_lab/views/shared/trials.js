// Trial edits: what is switched off or cut, what that changes, and what each head alone changes.

import { button, removeAll } from "./controls.js";
import { element, rowPart, tableParts } from "./dom.js";
import { digitsApart, percentText, sayShared, short } from "./messages.js";
import { effectSentence } from "./overlaid.js";
import { sameEdit } from "./scene.js";
import { Task } from "./task.js";

/** Decimals for a list of changes: enough for two digits of the largest. @param {number} most */
export const decimalsOf = (most) => (most >= 0.1 ? 2 : most >= 0.01 ? 3 : 4);

/** A change as text. @param {number} size @param {number} decimals of all changes in its list */
export function sizeOf(size, decimals) {
  const text = short(Math.abs(size), decimals);
  return Number(text) ? (size < 0 ? "−" : "") + text : "0";
}

/**
 * @typedef {object} Trial of a scene
 * @property {Record<string, any>} place where an edit of the current choice acts, for Python
 * @property {string} name of that place, inside a sentence
 * @property {{edited?: string, rows?: [string, number, number][]}} effect of the edits, as far as
 *   it is known, and their words
 * @property {number[]} heads how many each layer has
 * @property {(number | null)[][]} every size of each head's effect, [layer][head], or empty
 * @property {number | null} [size] of the chosen head's effect, among `every`; null if it is not
 *   there
 * @property {string} unit of these
 * @property {string} needs message on what a saved page does not hold
 */

export class Trials {
  /** @param {any} viewer whose scene has `trials` */
  constructor(viewer) {
    this.viewer = viewer;
    this.model = viewer.model;
    this.shell = viewer.shell;
    this.off = button("", "off", () => this.toggle([{ edit: "ablate", ...this.does.place }]));
    this.undo = removeAll(() => this.#edit([]));
    this.try = button(
      sayShared("measure_every_head"),
      "try",
      sayShared("switch_off_every_head"),
      () => {},
    );
    this.task = new Task(
      this.try,
      (goes) => this.#try(goes),
      () => this.draw(),
    );
    this.effect = element("div.tl-changed#effect", {
      role: "status",
      "aria-live": "polite",
      hidden: true,
    });
    this.tried = element("p.tl-hint#tried");
  }

  /** @returns {Trial} */
  get does() {
    return this.viewer.shown.trials;
  }

  /** @type {object[]} */
  get edits() {
    return this.model.get("_edits");
  }

  /** Whether all of these edits are in force. @param {object[]} some */
  made(some) {
    return some.length > 0 && some.every((one) => this.edits.some((other) => sameEdit(one, other)));
  }

  /** Whether a head is switched off. @param {number} layer @param {number} head */
  isOff(layer, head) {
    const { kind } = this.does.place;
    return this.edits.some(
      (/** @type {any} */ edit) =>
        edit.edit === "ablate" &&
        (kind === undefined || edit.kind === kind) &&
        (edit.layer ?? layer) === layer &&
        (edit.head ?? head) === head,
    );
  }

  /** Add edits, or remove them if all of them are in force. @param {object[]} some */
  toggle(some) {
    const others = this.edits.filter((edit) => !some.some((one) => sameEdit(one, edit)));
    this.#edit(this.made(some) ? others : [...others, ...some]);
  }

  async #edit(edits) {
    const { model, shell } = this;
    const before = [model.get("_edits"), model.get("_effect")];
    const then = JSON.stringify(edits);
    const still = () => JSON.stringify(model.get("_edits")) === then;
    shell.set({ _edits: edits, _effect: {} });
    shell.say("");
    if (!edits.length) return;
    const [one] = edits;
    const alone =
      edits.length === 1 && one.edit === "ablate" && one.layer != null && one.head != null;
    const name = alone ? `effect/${one.layer}.${one.head}` : "effect/several";
    const asked = shell.requests.ask({ type: "block", name, edits }, false);
    try {
      const { waiting } = this.viewer.answers;
      const { message } = await waiting.during(asked, sayShared("running_the_model_without"));
      if (still()) shell.set({ _effect: message.info });
    } catch (error) {
      if (!still()) return;
      shell.set({ _edits: before[0], _effect: before[1] });
      shell.say(
        model.get("_live") || alone
          ? sayShared("that_cannot_be_tried", { why: error.message })
          : this.does.needs,
      );
    }
  }

  /** @param {import("./task.js").Goes} goes */
  async #try(goes) {
    const { heads } = this.does;
    try {
      for (const layer of this.#untried()) {
        if (!this.#untried().includes(layer)) continue;
        const words = sayShared("switching_off_the_heads", { layer, heads: heads.length });
        if (!goes(words, layer, heads.length)) return;
        const name = this.model.get("_live") ? `every/${layer}` : "every"; // a page holds all of them together
        const { message } = await this.shell.requests.ask({ type: "block", name }, false);
        if (!goes(words, layer + 1, heads.length)) return;
        this.shell.set({ _every: message.info.values });
      }
    } catch (error) {
      this.shell.say(sayShared("the_heads_cannot_be", { why: error.message }));
    }
  }

  /** Layers without any measured head. */
  #untried() {
    const { every } = this.does;
    return [...this.does.heads.keys()].filter(
      (layer) => this.does.heads[layer] && !every[layer]?.some((x) => typeof x === "number"),
    );
  }

  draw() {
    const { does, edits } = this;
    this.off.textContent = sayShared("switch_this_head", {
      part: this.made([{ edit: "ablate", ...does.place }])
        ? sayShared("on_again")
        : sayShared("off"),
    });
    this.off.title = does.name;
    this.undo.hidden = !edits.length;
    this.effect.hidden = !edits.length;
    if (edits.length) this.#drawEffect(does.effect);
    const known = does.every
      .flat()
      .filter((x) => typeof x === "number")
      .map(Math.abs)
      .sort((a, b) => a - b);
    const { runs } = this.task;
    this.try.hidden = !runs && !this.#untried().length;
    this.task.label(
      known.length ? sayShared("measure_the_other_heads") : sayShared("measure_every_head"),
    );
    this.tried.hidden = runs || !known.length;
    if (runs || !known.length) return;
    const { size = null } = does;
    const decimals = decimalsOf(known[known.length - 1]);
    const rank = known.filter((x) => x > Math.abs(size ?? 0)).length + 1;
    this.tried.textContent = sayShared("under_each_head", {
      unit: does.unit,
      size: size === null ? null : sizeOf(size, decimals),
      rank,
      known: known.length,
      middle: sizeOf(known[Math.floor(known.length / 2)], decimals),
    });
  }

  /** @param {Trial["effect"]} effect */
  #drawEffect({ edited = "", ...effect }) {
    const { rows } = effect;
    const line = ([name, before, after]) => {
      const digits = digitsApart(before, after);
      return rowPart(name, percentText(before, digits), percentText(after, digits));
    };
    const table = () =>
      element(
        "table.tl-table",
        tableParts(
          ["", sayShared("before"), sayShared("after")],
          /** @type {any[]} */ (rows).map(line),
        ),
      );
    this.effect.replaceChildren(
      element("b", edited),
      rows?.length ? table() : element("span", rows ? effectSentence(effect) : "…"),
    );
  }
}
