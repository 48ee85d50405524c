// What the heads of a short and of a long text have in common: how the panels stand, and what is noted.

import { element, say } from "../shared/dom.js";
import { Waiting } from "../shared/requests.js";
import { headStepper, viewControls } from "./controls.js";
import { HeadsPanel, SharedPlace } from "./heads_panel.js";
import { Readout } from "./readout.js";

export class HeadsBase {
  /** @param {import("../shared/shell.js").Shell} shell whose `draw` calls this one's @param {import("./state.js").HeadState} state */
  constructor(shell, state) {
    const { model, root, signal } = shell;
    this.shell = shell;
    this.state = state;
    this.model = model;
    this.root = root;
    this.signal = signal;
    this.turn = 0;
    /** @type {boolean | undefined} whether the room is given, and not what the panels need */
    this.fixed = undefined;
    this.readout = new Readout();
    this.flag = element("p", { class: "tl-flag", "data-part": "flag", hidden: true });
    this.note = element("p", { class: "tl-hint", "data-part": "note" });
    this.stepper = headStepper(state, (layer, head) => state.set({ layer, head }));
    this.viewControls = viewControls(state);
    this.answer = element("div", { class: "tl-answer" }, this.readout.sentence);
  }

  /** @param {import("./thumbnails.js").Thumbnails} thumbnails @param {import("./lines_panel.js").LinesPanel} lines @param {any} map */
  place(thumbnails, lines, map) {
    const { state, readout } = this;
    this.waiting = new Waiting(map.busy);
    this.headsPanel = new HeadsPanel(state, thumbnails, this.shell);
    map.foot.append(readout.numbers, readout.details);
    map.said.prepend(this.flag);
    this.panels = element("div", { class: "tl-panels" }, this.headsPanel.root, lines.root, map.root);
    this.sharedPlace = new SharedPlace(state, lines, map, this.panels, this.headsPanel);
    let height = 0; // of the room, which what is said above it may change
    const observer = new ResizeObserver(([{ contentRect }]) => {
      const other = Math.abs(contentRect.height - height) > 1;
      height = contentRect.height;
      if (other && this.fixed) this.shell.redraw();
    });
    observer.observe(this.panels);
    this.signal.addEventListener("abort", () => observer.disconnect());
  }

  /** @param {(string | undefined)[]} notes */
  showNotes(notes) {
    this.note.textContent = notes.filter(Boolean).join(" ");
    this.note.hidden = !this.note.textContent;
  }

  /** That the numbers were changed here. @param {string[]} [more] */
  showFlags(more = []) {
    const { options, kind, valueWeighted } = this.state;
    const left = [options.hide_first && "the first token", options.hide_special && kind.special.length && "special tokens"].filter(Boolean);
    const notes = left.length ? [`Without ${left.join(" and ")}: what is left of each row is scaled up to the row’s sum.`] : [];
    if (valueWeighted) notes.push(`Each weight is multiplied by the length of what its key adds, ${kind.value_note}: these numbers are not shares.`);
    notes.push(...more);
    say(this.flag, notes.join(" "));
    this.flag.hidden = !notes.length;
  }

  /** What is selected, and what is marked, for style sheets, scripts and tests. @param {string} between */
  showSelected(between) {
    const { selected } = this.state;
    this.root.classList.toggle("tl-locked", Boolean(selected));
    this.root.dataset.between = between;
    this.root.dataset.selected = selected ? `${selected.query ?? ""},${selected.key ?? ""}` : "";
  }
}
