// What each block adds to a token's stream, as a table with bars: length beside the stream's own,
// coloured by direction.

import { entry } from "../shared/colours.js";
import { barPart, element, tableParts, tokenElement } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { around, cosineText, sizeText, SLOT } from "../shared/messages.js";

export class BlockTable {
  /**
   * @param {{hover: (row: number | null) => void, pick: (row: number) => void}} on
   * @param {AbortSignal} signal
   * @param {import("../shared/messages.js").Say} say
   */
  constructor(on, signal, say) {
    this.say = say;
    this.table = element("table", { class: "tl-blocks", "data-part": "blocks" });
    const at = (event) => {
      const line = event.target.closest?.("tr[data-row]");
      return line ? Number(line.dataset.row) : null;
    };
    this.table.addEventListener("pointerover", (event) => on.hover(at(event)), { signal });
    this.table.addEventListener("pointerleave", () => on.hover(null), { signal });
    this.table.addEventListener("click", (event) => {
      const row = at(event);
      if (row !== null) on.pick(row);
    }, { signal });
  }

  /**
   * @param {object} scene
   * @param {import("./view.js").Profile} scene.profile
   * @param {number} scene.longest the length that fills a bar
   * @param {number} scene.largest the share that fills a bar; larger ones are marked
   * @param {string[]} scene.rows names
   * @param {Uint8ClampedArray} scene.diverging
   * @param {string | null} scene.token null: the typical one
   */
  show({ profile, longest, largest, rows, diverging, token }) {
    const { norms, parts, shares, cosines } = profile;
    const { say } = this;
    const body = rows.map((row, i) =>
      element(
        "tr",
        { "data-row": i },
        element("th", { scope: "row" }, row),
        element("td", {}, barPart(norms[i] / longest, "tl-plain"), element("span", { class: "tl-count" }, sizeText(norms[i]))),
        ...parts.map((_, p) => (i === 0 ? element("td", {}) : addedCell(shares[p][i - 1], cosines[p][i - 1], largest, diverging, say("cosine")))),
      ),
    );
    this.table.replaceChildren(
      element("caption", { class: "tl-hint" }, ...around(say("bars", { token: token === null ? null : SLOT }), tokenElement(token ?? ""))),
      ...tableParts([say("after"), say("size"), ...parts.map((part) => say("adds", { part }))], body),
    );
  }

  /** @param {number | null} row */
  mark(row) {
    for (const line of this.table.querySelectorAll("tr[data-row]")) {
      line.classList.toggle("tl-on", Number(line.dataset.row) === row);
    }
  }
}

function addedCell(share, cosine, largest, diverging, means) {
  const colour = entry(diverging, linearShade(cosine, -1, 1));
  return element(
    "td",
    {},
    barPart(share / largest, share > 1.0001 * largest ? "tl-over" : "", colour),
    element("span", { class: "tl-count" }, `× ${sizeText(share)}`),
    element("span", { class: "tl-count tl-quiet", title: means }, cosineText(cosine)),
  );
}
