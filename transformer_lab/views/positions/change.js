// What changes when the sentence is moved or its words are shuffled: the weights before and after.

import { colourTable } from "../shared/colours.js";
import { element, legendPart, moveOf, picturePart, tokenElement, taken } from "../shared/dom.js";
import { Pointed } from "../shared/linked.js";
import { NumberMap } from "../shared/number_map.js";
import { four, numberLine } from "./parts.js";
import { linearLegend } from "../shared/shell.js";
import { short } from "../shared/messages.js";
import { sayPositions } from "./scheme.js";

export class ChangePanel {
  /** @param {import("../shared/shell.js").Shell} shell @param {AbortSignal} signal */
  constructor(shell, signal) {
    this.shell = shell;
    this.model = shell.model;
    this.pointed = new Pointed(this.model, signal, () => shell.redraw());
    this.title = element("b", {});
    this.lines = { change: numberLine("change-line"), pair: numberLine("pair-line") };
    this.legends = { weight: legendPart("weight-legend"), difference: legendPart("difference-legend") };
    this.pictures = ["before", "after", "difference"].map((part) => {
      const canvas = picturePart(part, "tl-map");
      const map = new NumberMap(canvas, { hover: (at) => this.pointed.at(at && { query: at.row, key: at.column }), pick: (at) => this.#pick(at) }, signal);
      return { part, canvas, map, caption: element("figcaption", {}) };
    });
    this.said = element("div", { class: "tl-said" }, this.lines.change, this.lines.pair, this.legends.weight, this.legends.difference);
    this.pairBox = element("div", { class: "tl-pairs" }, ...this.pictures.map(({ canvas, caption }) => element("figure", {}, caption, canvas)), this.said);
    for (const { canvas } of this.pictures) canvas.addEventListener("keydown", (event) => this.#movePair(event), { signal });
  }

  get hover() {
    return this.pointed.spot;
  }

  #pick(at) {
    const now = this.model.get("selected");
    const same = now && now[0] === at.row && now[1] === at.column;
    this.shell.set({ selected: same ? null : [at.row, at.column] });
  }

  #movePair(event) {
    const now = this.model.get("selected");
    if (event.key === "Enter" || event.key === " ") {
      taken(event);
      this.shell.set({ selected: now ? null : [this.change.n - 1, 0] });
      return;
    }
    const move = moveOf(event);
    if (!move) return;
    this.pointed.spot = null;
    const within = (value) => Math.max(0, Math.min(this.change.n - 1, value));
    const [query, key] = now ? [(now[0] ?? 0) + move[0], (now[1] ?? 0) + move[1]] : [this.change.n - 1, 0];
    this.shell.set({ selected: [within(query), within(key)] });
  }

  /** @param {import("./view.js").Now} now */
  show({ change, facts, state }) {
    this.change = change;
    const { inks, theme } = this.shell;
    const [diverging, sequential] = [colourTable("diverging", theme), colourTable("default", theme)];
    const names = change.names;
    const moved = state.test === "move";
    this.title.textContent = facts.measured
      ? `What changes in layer ${Math.min(state.layer, state.given.layers - 1)}, head ${facts.head}`
      : "What changes in one head, with random q and k";
    const shuffled = change.order;
    const captions = {
      before: moved ? `positions 0–${change.n - 1}` : "as written",
      after: moved ? `positions ${change.shift}–${change.shift + change.n - 1}` : "shuffled, words put back",
      difference: "after − before",
    };
    const room = Math.max(200, this.pairBox.clientWidth);
    const columns = room >= 900 ? 4 : room >= 560 ? 3 : room >= 320 ? 2 : 1;
    const each = Math.floor((room - 16 * (columns - 1)) / columns);
    for (const child of this.pairBox.children) child.style.width = `${each}px`;
    this.said.classList.toggle("tl-under", columns === 3);
    if (columns === 3) this.said.style.width = "100%";
    const largest = Math.max(0.05, ...change.before, ...change.after);
    const end = largest > 0.5 ? 1 : Math.ceil(largest * 10) / 10;
    const extreme = change.difference.reduce((most, d) => Math.max(most, Math.abs(d)), 0);
    const scale = extreme > 0.5 ? 1 : extreme > 0.1 ? Math.ceil(extreme * 10) / 10 : 0.1;
    const selected = this.model.get("selected");
    const chosen = selected && { row: selected[0], column: selected[1] };
    const hover = this.hover && { row: this.hover.query, column: this.hover.key };
    for (const { part, canvas, map, caption } of this.pictures) {
      const values = change[part];
      const signs = part === "difference";
      caption.textContent = captions[part];
      map.show({
        rows: change.n, columns: change.n, square: true, rowNames: names, columnNames: names, colours: inks,
        value: (q, k) => (change.causal && k > q ? NaN : values[q * change.n + k]),
        low: signs ? -scale : 0, high: signs ? scale : end, table: signs ? diverging : sequential,
        write: (value) => (Math.abs(value) < 0.005 ? "" : (value < 0 ? "−" : "") + short(Math.abs(value))),
      }, each, 300);
      map.mark(hover, chosen);
      canvas.setAttribute("aria-label", `Weights, ${caption.textContent}. ${this.#pairText()} Arrow keys move, Enter locks, Escape frees.`);
    }
    const order = shuffled ? [" Order: ", ...shuffled.flatMap((i, at) => [at ? " " : "", tokenElement(names[i])])] : [];
    const more = change.everywhere === null ? [] : [`; of any head: ${sayPositions("largest", { largest: change.everywhere })}`, ...(typeof change.output === "number" ? [`; of a logit: ${change.output < 5e-5 ? sayPositions("largest", { largest: change.output }) : change.output.toFixed(2)}`] : [])];
    this.lines.change.replaceChildren("Largest change of a weight: ", element("b", { "data-part": "largest" }, sayPositions("largest", change)), ...more, ".", ...order);
    this.lines.pair.replaceChildren(...this.#pairWords());
    this.legends.weight.replaceChildren(...linearLegend(sequential, 0, end, "attention weight", (v) => short(v)));
    this.legends.difference.replaceChildren(...linearLegend(diverging, -scale, scale, "difference", (v) => (v < 0 ? `−${short(-v)}` : short(v))));
  }

  #pair() {
    const selected = this.model.get("selected");
    const spot = this.hover ?? (selected && { query: selected[0], key: selected[1] });
    if (!spot || spot.query === null || spot.key === null || spot.query >= this.change.n || spot.key >= this.change.n) return null;
    return spot;
  }

  #pairWords() {
    const spot = this.#pair();
    if (!spot) return [element("span", { class: "tl-quiet" }, "Hover over a cell for its numbers; click to lock it.")];
    const { change } = this;
    const at = spot.query * change.n + spot.key;
    const number = (part, value) => element("b", { "data-part": part }, four(value));
    return [
      tokenElement(change.names[spot.query]), " → ", tokenElement(change.names[spot.key]), ": ",
      number("number-before", change.before[at]), " before, ", number("number-after", change.after[at]), " after",
    ];
  }

  #pairText() {
    const spot = this.#pair();
    if (!spot) return "";
    const { change } = this;
    const at = spot.query * change.n + spot.key;
    return `${change.names[spot.query]} to ${change.names[spot.key]}: ${four(change.before[at])} before, ${four(change.after[at])} after.`;
  }
}
