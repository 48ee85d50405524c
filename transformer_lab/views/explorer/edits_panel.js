// The reader's edits as chips, with undo and redo, and as Python; and what a click does.

import { button, menu, radioGroup, removeAll } from "../shared/controls.js";
import { copyText, element } from "../shared/dom.js";
import { editsCode, headOff } from "./edits.js";

/**
 * @typedef {object} DoesEdits
 * @property {(which: "undo" | "redo") => void} step
 * @property {(edits: import("./edits.js").Edit[]) => void} change
 * @property {(position: number) => void} unmask
 * @property {(code: string) => void} copied
 */

/**
 * What can be done, in one sentence; "" for what is seen.
 * @param {boolean} live @param {boolean} effects @param {boolean} edited @param {boolean} told what needs a kernel, beside the reason
 */
export const lead = (live, effects, edited, told) => {
  if (edited) return live || told ? "" : "Continuing the text needs a live kernel.";
  const can =
    live || effects
      ? ["None yet. Switch a head off to see if it matters."]
      : told
        ? ["None yet."]
        : [];
  if (live || told) return can.join("");
  return [
    ...can,
    `${effects ? "Cutting" : "None yet. Switching heads off, cutting"} edges, continuing the text, or another text needs a live kernel.`,
  ].join(" ");
};

/** A button that says it cannot be pressed, and keeps the focus. @param {HTMLElement} made @param {boolean} on */
const usable = (made, on) => made.setAttribute("aria-disabled", String(!on));

export class EditsPanel {
  /** @param {import("./state.js").ExplorerState} state @param {boolean} live @param {DoesEdits} does */
  constructor(state, live, does) {
    this.state = state;
    this.live = live;
    this.does = does;
    /** @type {import("./edits.js").Edit[]} */
    this.edits = [];
    this.undo = button("↶", "undo", "Undo the last change (Z)", () => does.step("undo"));
    this.redo = button("↷", "redo", "Redo (Y)", () => does.step("redo"));
    this.reset = removeAll(() => does.change([]));
    this.copyEdits = button(
      "copy",
      "copy-edits",
      "Copy the edits, and a run without and with them, as Python",
      () => this.#copyEdits(),
    );
    this.copyEdits.className = "tl-link";
    this.chips = element("ul.tl-chips#edits");
    this.lead = element("p.tl-hint#lead");
    this.copiedEdits = element("span.tl-quiet#copied-edits", { role: "status" });
    this.root = element(
      "section.tl-edits",
      { "aria-label": "Edits" },
      element(
        "p.tl-heading",
        element("b", "Edits"),
        " ",
        element("span.tl-push"),
        this.copyEdits,
        this.reset,
        element("span.tl-undo", this.undo, this.redo),
      ),
      this.chips,
      this.lead,
      this.copiedEdits,
    );
  }

  /** @param {import("./edits.js").Edit[]} edits @param {import("./edits.js").Steps} steps */
  show(edits, steps) {
    this.edits = edits;
    const { model, about } = this.state;
    const chips = edits.map((edit, i) => {
      const { words } = edit;
      const remove = button("×", "remove-edit", `Remove: ${words}`, () =>
        this.does.change(edits.filter((_, at) => at !== i)),
      );
      // Of one head: an edge that is cut in several is not cut in vain.
      const idle =
        edit.does === "cut" &&
        edit.layer !== null &&
        edit.head !== null &&
        headOff(edits, /** @type {any} */ (edit));
      const why = idle
        ? [
            element(
              "small#idle",
              { title: "The head is switched off, so what it attends to changes nothing." },
              "no effect: head is off",
            ),
          ]
        : [];
      return element("li.tl-edit-chip", element("span", element("bdi", words), why), remove);
    });
    const masks = model.get("_masked").map((position) => {
      const token = about.tokens[position];
      const take = () => this.does.unmask(position);
      return element(
        "li.tl-edit-chip",
        element("bdi", `token ${position} behind ${token}`),
        button("×", "remove-mask", `Show token ${position} again`, take),
      );
    });
    this.chips.replaceChildren(...masks, ...chips);
    this.lead.textContent = lead(
      this.live,
      Boolean(about.effects),
      chips.length + masks.length > 0,
      Boolean(model.get("_carried")?.stays),
    );
    this.lead.hidden = !this.lead.textContent;
    usable(this.undo, steps.past.length > 0);
    usable(this.redo, steps.future.length > 0);
    this.copyEdits.hidden = this.reset.hidden = !edits.length;
    if (!edits.length) this.copiedEdits.textContent = "";
  }

  async #copyEdits() {
    const { position } = this.state.model.get("_outcome");
    const code = editsCode(this.edits, this.state.model.get("_outcome").code, position);
    const done = await copyText(code);
    this.does.copied(code);
    this.copiedEdits.textContent = done ? "Copied: paste it into a cell below." : code;
  }
}

const SCOPES = [
  { value: "head", text: "in this head" },
  { value: "layer", text: "in this layer" },
  { value: "all", text: "in all heads" },
];

export class Tools {
  /** @param {import("./state.js").ExplorerState} state */
  constructor(state) {
    this.state = state;
    this.tools = radioGroup({
      label: "A click",
      part: "tool",
      quiet: true,
      choices: [
        { value: "look", text: "look", name: "A click looks: it chooses a head, a token, a cell" },
        { value: "off", text: "switch off", name: "A click switches a head off, or on again" },
        {
          value: "cut",
          text: "✂ cut",
          name: "A click cuts an edge: click a cell, or a token and then another",
        },
      ],
      chosen: "look",
      choose: (value) => state.option({ tool: value }),
    });
    this.scope = menu("Where an edge is cut", "scope", SCOPES, (value) =>
      state.option({ scope: value }),
    );
    this.modes = radioGroup({
      label: "Weights",
      part: "map-mode",
      quiet: true,
      choices: [
        { value: "before", text: "before" },
        { value: "after", text: "after" },
        { value: "difference", text: "difference" },
      ],
      chosen: "after",
      choose: (value) => state.option({ map: value }),
    });
    this.keys = element("p.tl-hint#keys");
    this.keys.append(
      ...[
        ["arrows", "next head, token or cell"],
        ["X", "switch the head off or on; cut the locked cell"],
        ["Shift-click", "several heads"],
        ["P", "pin the head beside others, or unpin it"],
        ["Z, Y", "undo, redo"],
        ["Enter", "lock"],
        ["Esc", "free; leave Present"],
        ["+, −, 0", "zoom the map, and all of it"],
        ["Shift with a drag or arrows", "mark a part of the map, from A to B"],
      ].map(([key, does]) => element("span", element("kbd", key), ` ${does}`)),
    );
  }

  /** @param {boolean} edited whether there are other weights than those before */
  show(edited) {
    const { options, tool, cutting } = this.state;
    this.tools.set(tool);
    this.scope.set(options.scope ?? "head");
    this.scope.root.hidden = !cutting;
    this.modes.root.hidden = !edited;
    this.modes.set(options.map ?? "after");
  }
}
