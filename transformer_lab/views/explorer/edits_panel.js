// The reader's edits as chips, with undo and redo, and as Python; and what a click does.

import { button, menu, radioGroup, removeAll } from "../shared/controls.js";
import { copyText, element } from "../shared/dom.js";
import { editsCode, headOff } from "./edits.js";
import { sayExplorer } from "./prose.js";

/**
 * @typedef {object} DoesEdits
 * @property {(which: "undo" | "redo") => void} step
 * @property {(edits: import("./edits.js").Edit[]) => void} change
 * @property {(position: number) => void} unmask
 * @property {(code: string) => void} copied
 * @property {() => void} left called when the control that had the focus is gone
 */

/** The button that removes a chip. @param {string} part @param {string} title @param {string} why it cannot be pressed, or "" @param {() => void} press */
const remover = (part, title, why, press) =>
  Object.assign(button("×", part, title, press), { disabled: Boolean(why), title: why || title });

/** Mark a button as disabled, or not, without losing the focus. @param {HTMLElement} made @param {boolean} on */
const usable = (made, on) => made.setAttribute("aria-disabled", String(!on));

export class EditsPanel {
  /** @param {import("./state.js").ExplorerState} state @param {DoesEdits} does */
  constructor(state, does) {
    this.state = state;
    this.does = does;
    /** @type {import("./edits.js").Edit[]} */
    this.edits = [];
    this.undo = button("↶", "undo", () => does.step("undo"));
    this.redo = button("↷", "redo", sayExplorer("redo_y"), () => does.step("redo"));
    this.reset = removeAll(() => does.change([]));
    this.copyEdits = button(
      sayExplorer("copy"),
      "copy-edits",
      sayExplorer("copy_the_edits_and"),
      () => this.#copyEdits(),
    );
    this.copyEdits.className = "tl-link";
    this.chips = element("ul.tl-chips#edits");
    this.lead = element("p.tl-hint#lead");
    this.copiedEdits = element("span.tl-quiet#copied-edits", { role: "status" });
    this.root = element(
      "section.tl-edits",
      { "aria-label": sayExplorer("edits") },
      element(
        "p.tl-heading",
        element("b", sayExplorer("edits")),
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

  /** @param {import("./runner.js").Runner} runner @param {import("./edits.js").Steps} steps @param {boolean} text whether an undo brings another text back */
  show(runner, steps, text) {
    const { edits } = runner;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const here = this.root.contains(focused);
    this.edits = edits;
    const { model, about } = this.state;
    const chips = edits.map((edit, i) => {
      const { words } = edit;
      const others = edits.filter((_, at) => at !== i);
      const title = sayExplorer("remove", { words });
      const remove = remover("remove-edit", title, runner.whyNot(others), () =>
        this.does.change(others),
      );
      // Only a cut in a single head can be idle: one in several heads acts in the others.
      const idle =
        edit.does === "cut" &&
        edit.layer !== null &&
        edit.head !== null &&
        headOff(edits, /** @type {any} */ (edit));
      const why = idle
        ? [
            element(
              "small#idle",
              { title: sayExplorer("the_head_is_switched") },
              sayExplorer("no_effect_head_is"),
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
        element("bdi", sayExplorer("token_behind", { position, token })),
        remover(
          "remove-mask",
          sayExplorer("show_token_again", { position }),
          this.state.whyNot("mask"),
          take,
        ),
      );
    });
    this.chips.replaceChildren(...masks, ...chips);
    const edited = chips.length + masks.length > 0;
    const able = !this.state.whyNot("off");
    const stored = this.state.live || model.get("_carried")?.stays; // another line says what needs a kernel
    this.lead.textContent = [
      !edited && sayExplorer(able ? "none_yet_switch_a" : "none_yet"),
      !stored && sayExplorer("more_needs", { edited, able }),
    ]
      .filter(Boolean)
      .join(" ");
    this.lead.hidden = !this.lead.textContent;
    this.undo.textContent = text ? sayExplorer("undo_text") : "↶";
    this.undo.title = sayExplorer("undo", { text });
    this.undo.ariaLabel = text ? null : this.undo.title;
    usable(this.undo, steps.past.length > 0);
    usable(this.redo, steps.future.length > 0);
    this.copyEdits.hidden = this.reset.hidden = !edits.length;
    if (!edits.length) this.copiedEdits.textContent = "";
    if (here && !(focused?.isConnected && focused.checkVisibility())) this.does.left();
  }

  async #copyEdits() {
    const { position } = this.state.model.get("_outcome");
    const code = editsCode(this.edits, this.state.model.get("_outcome").code, position);
    const done = await copyText(code);
    this.does.copied(code);
    this.copiedEdits.textContent = done ? sayExplorer("copied_paste_it_into") : code;
  }
}

const SCOPES = [
  { value: "head", text: sayExplorer("in_this_head") },
  { value: "layer", text: sayExplorer("in_this_layer") },
  { value: "all", text: sayExplorer("in_all_heads") },
];

export class Tools {
  /** @param {import("./state.js").ExplorerState} state */
  constructor(state) {
    this.state = state;
    this.tools = radioGroup({
      label: sayExplorer("a_click"),
      part: "tool",
      quiet: true,
      choices: [
        { value: "look", text: sayExplorer("look"), name: sayExplorer("a_click_looks_it") },
        {
          value: "off",
          text: sayExplorer("switch_off"),
          short: sayExplorer("switch_off_short"),
          name: sayExplorer("a_click_switches_a"),
        },
        { value: "cut", text: sayExplorer("cut"), name: sayExplorer("a_click_cuts_an") },
      ],
      chosen: "look",
      choose: (value) => state.option({ tool: value }),
    });
    this.scope = menu(sayExplorer("where_an_edge_is"), "scope", SCOPES, (value) =>
      state.option({ scope: value }),
    );
    this.modes = radioGroup({
      label: sayExplorer("weights"),
      part: "map-mode",
      quiet: true,
      choices: [
        { value: "before", text: sayExplorer("before") },
        { value: "after", text: sayExplorer("after") },
        {
          value: "difference",
          text: sayExplorer("difference_word"),
          short: sayExplorer("difference_short"),
        },
      ],
      chosen: "after",
      choose: (value) => state.option({ map: value }),
    });
    this.keys = element("p.tl-hint#keys");
    this.keys.append(
      ...[
        ["arrows", sayExplorer("next_head_token_or")],
        ["X", sayExplorer("switch_the_head_off")],
        ["Shift-click", sayExplorer("several_heads")],
        ["P", sayExplorer("pin_the_head_beside")],
        ["Z, Y", sayExplorer("undo_redo")],
        ["Enter", "lock"],
        [sayExplorer("esc"), sayExplorer("free_leave_present")],
        ["+, −, 0", sayExplorer("zoom_the_map_and")],
        [sayExplorer("shift_with_a_drag"), sayExplorer("mark_a_part_of")],
      ].map(([key, does]) => element("span", element("kbd", key), ` ${does}`)),
    );
  }

  /** @param {boolean} edited whether edits have changed the weights */
  show(edited) {
    const { options, tool, cutting } = this.state;
    this.tools.set(tool);
    this.scope.set(options.scope ?? "head");
    this.scope.root.hidden = !cutting;
    this.modes.root.hidden = !edited;
    for (const what of /** @type {const} */ (["off", "cut"]))
      this.tools.able(what, this.state.whyNot(what));
    this.modes.set(options.map ?? "after");
  }
}
