// For a model with experts, or with a dictionary in place of a feed-forward layer: the expert that
// each token goes to, or its largest feature, in each layer; and what is skipped.

import { headColour } from "../shared/colours.js";
import { element, moveOf, tokenElement } from "../shared/dom.js";
import { sayExplorer } from "./prose.js";
import { listedAround } from "./strip.js";

/** Experts (or active features) of each token and their gates, [layer][token], the largest first; null for a layer without any. @typedef {([number, number][][] | null)[]} Routing */

export class ExpertsPanel {
  /** @param {(layer: number, expert: number) => void} toggle */
  constructor(toggle) {
    this.toggle = toggle;
    this.routing = /** @type {Routing | null} */ (null);
    this.around = 0;
    this.unit = "expert";
    this.why = ""; // cells cannot be clicked
    this.at = [0, 0]; // row and token of the one Tab stop
    this.table = element("table#experts", {
      click: ({ target }) => this.#choose(target.closest("button")),
      keydown: (event) => this.#key(event),
    });
    this.hint = element("p.tl-hint");
    this.root = element(
      "section.tl-experts",
      { hidden: true },
      this.hint,
      element("div", this.table),
    );
  }

  /** @param {Routing | null} routing @param {import("./state.js").ExplorerState} state @param {number} around */
  show(routing, state, around) {
    const { tokens, unit } = state.about;
    const why = state.whyNot("other");
    this.root.hidden = !routing;
    if (!routing || (routing === this.routing && around === this.around && why === this.why))
      return;
    const focused = this.table.contains(document.activeElement);
    Object.assign(this, { routing, around, unit, why });
    this.root.ariaLabel = sayExplorer("experts", { unit });
    this.hint.textContent = sayExplorer("experts_hint", { unit, why: why || null });
    const [from, to] = listedAround(tokens.length, around);
    const rows = routing.flatMap((row, layer) => (row ? [{ row, layer }] : []));
    this.at = [Math.min(this.at[0], rows.length - 1), Math.max(from, Math.min(to - 1, this.at[1]))];
    const words = tokens.slice(from, to);
    this.table.replaceChildren(
      element(
        "tr",
        element("td"),
        words.map((token) => element("th", { scope: "col" }, tokenElement(token))),
      ),
      ...rows.map(({ row, layer }, number) => {
        const most = Math.max(1, ...row.flat().map(([, gate]) => gate)); // activations of features can exceed 1
        return element(
          "tr",
          element("th", { scope: "row" }, sayExplorer("layer", { layer })),
          words.map((token, i) =>
            this.#cell(row[from + i], { layer, number, index: from + i, token, most }),
          ),
        );
      }),
    );
    if (focused) this.#focus();
  }

  #cell(gates, { layer, number, index, token, most }) {
    const [[expert, gate] = [null, 0], [second, other] = [null, 0]] = gates;
    const title = sayExplorer("expert", {
      token,
      layer,
      unit: this.unit,
      expert,
      gate,
      second,
      other,
    });
    const look =
      expert === null
        ? ""
        : `background: color-mix(in srgb, ${headColour(expert)} ${Math.round(15 + (45 * gate) / most)}%, transparent)`;
    const button = element(
      "button",
      {
        title,
        "aria-label": title,
        "aria-disabled": String(Boolean(this.why)),
        style: look,
        tabindex: this.at[0] === number && this.at[1] === index ? 0 : -1,
        "data-row": number,
        "data-layer": layer,
        "data-index": index,
        "data-expert": expert,
      },
      expert === null ? "–" : String(expert),
    );
    return element("td", button);
  }

  #choose(button) {
    if (!button) return;
    const { row, layer, index, expert } = button.dataset;
    this.at = [Number(row), Number(index)];
    if (expert !== undefined) this.toggle(Number(layer), Number(expert));
  }

  #key(event) {
    const move = moveOf(event);
    if (!move) return;
    const [row, index] = [this.at[0] + move[0], this.at[1] + move[1]];
    if (!this.table.querySelector(`[data-row="${row}"][data-index="${index}"]`)) return;
    this.#stop(-1);
    this.at = [row, index];
    this.#focus();
  }

  #stop(tabindex) {
    const [row, index] = this.at;
    const here = this.table.querySelector(`[data-row="${row}"][data-index="${index}"]`);
    here?.setAttribute("tabindex", String(tabindex));
    return here;
  }

  #focus() {
    this.#stop(0)?.focus();
  }
}
