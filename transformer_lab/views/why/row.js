// The row that a score competes in, and its way from a dot product to a weight.

import { largest } from "../shared/attention.js";
import { barPart, element, tableParts, tokenElement } from "../shared/dom.js";
import { fixed, short, withSign } from "../shared/messages.js";
import { sayWhy } from "./cell.js";

const COMPETITORS = 8;

export class RowPanel {
  /** @param {{choose: (query: number, key: number) => void, hover: (spot: {query: number, key: number} | null) => void}} on */
  constructor(on) {
    this.on = on;
    this.row = element("table", { class: "tl-blocks tl-rivals", "data-part": "row" });
    this.ledger = element("table", { class: "tl-blocks tl-ledger", "data-part": "ledger" });
    this.hint = element("span", { class: "tl-quiet", "data-part": "row-hint" });
  }

  /** @param {import("./cell.js").WhyCell} cell @param {string} query the query's token @param {string[]} keys */
  show(cell, query, keys) {
    this.cell = cell;
    this.hint.replaceChildren("what “", tokenElement(query), `” (${cell.info.query}) looks at; choose a key`);
    this.#drawRow(keys);
    this.#drawLedger();
  }

  /** Another view points at a key. @param {{query: number | null, key: number | null} | null} spot */
  point(spot) {
    const here = spot && (spot.query === null || spot.query === this.cell.info.query) ? spot.key : null;
    for (const key of this.row.querySelectorAll("[data-key]")) key.classList.toggle("tl-pointed", Number(key.dataset.key) === here);
  }

  #drawRow(names) {
    const { cell, on } = this;
    const { query, key } = cell.info;
    const best = largest(cell.weights, COMPETITORS).map(({ index }) => index);
    if (!best.includes(key)) best.splice(Math.min(best.length, COMPETITORS - 1), 1, key);
    const most = Math.max(...best.map((k) => cell.weights[k]), 1e-9);
    const lines = best.map((k) => {
      const chosen = k === key;
      const choose = element("button", { type: "button", class: "tl-key", "data-key": k, "aria-pressed": String(chosen) }, tokenElement(names[k]), ` ${k}`);
      choose.addEventListener("click", () => on.choose(query, k));
      choose.addEventListener("pointerenter", () => on.hover({ query, key: k }));
      choose.addEventListener("pointerleave", () => on.hover(null));
      return element(
        "tr",
        { class: chosen ? "tl-on" : "" },
        element("th", { scope: "row" }, choose),
        element("td", {}, Number.isFinite(cell.scores[k]) ? fixed(cell.scores[k]) : sayWhy("masked")),
        element("td", {}, barPart(cell.weights[k] / most, chosen ? "tl-chosen" : "tl-plain"), short(cell.weights[k], 4)),
      );
    });
    this.row.replaceChildren(
      element("caption", { class: "tl-hint" }, "The largest weights of the row"),
      ...tableParts(["key", "score", "weight"], lines),
    );
  }

  #drawLedger() {
    const { dot, scale, scaled, softcap, capped, bias, score, weight, mean } = this.cell.info;
    const line = (name, value, note) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value), element("td", { class: "tl-quiet" }, note));
    const masked = "masked: the query may not look here";
    const lines = [
      line("query · key", fixed(dot, 3), "the dot product"),
      line("× scale", fixed(scaled, 3), `times ${scale.toFixed(4)}`),
    ];
    if (softcap !== null) lines.push(line("softcap", fixed(capped, 3), `squeezed to ±${softcap}`));
    if (bias === null) lines.push(line("+ bias", "−∞", masked));
    else if (bias !== 0) lines.push(line("+ bias", withSign(bias, 3), "position bias or mask"));
    lines.push(
      line("= score", score === null ? "−∞" : fixed(score, 3), mean === null ? "" : `the row’s mean before biases: ${fixed(mean, 3)}`),
      line("softmax", weight.toFixed(4), "its share among the row’s keys"),
    );
    this.ledger.replaceChildren(element("caption", { class: "tl-hint" }, "From dot product to weight"), element("tbody", {}, ...lines));
  }
}
