// Both prompts, and the sites to choose from, each with a thumbnail of its grid.

import { entry } from "../shared/colours.js";
import { radioGroup } from "../shared/controls.js";
import { element, sizedContext, tokenElement } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { sayPatching } from "./grids.js";
import { quoted } from "../shared/messages.js";

const [WIDTH, HEIGHT] = [132, 56];

export class Sites {
  /** @param {import("./grids.js").Grids} grids @param {string} chosen @param {(site: string) => void} choose */
  constructor(grids, chosen, choose) {
    this.grids = grids;
    this.names = grids.sites.map(({ site }) => site);
    this.chips = radioGroup({
      label: sayPatching("site_label"),
      part: "site",
      quiet: true,
      chosen,
      choose,
      choices: this.names.map((site) => ({
        value: site,
        text: sayPatching("site", { site }),
        name: `${sayPatching("site", { site })}: ${sayPatching("hint", { site })}`,
      })),
    });
    this.root = this.chips.root;
    this.root.classList.add("tl-sites");
    this.small = [...this.root.querySelectorAll(".tl-chip")].map((chip) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const count = element("span.tl-quiet");
      const name = element("span.tl-site-name", element("span", chip.textContent ?? ""), count);
      chip.replaceChildren(canvas, name);
      return { canvas, count };
    });
  }

  /** @param {string} chosen @param {(cell: any) => number} share −1 … 1 @param {Uint8ClampedArray} table @param {any} inks */
  draw(chosen, share, table, inks) {
    this.chips.set(chosen);
    this.grids.sites.forEach(({ site, places, there }, i) => {
      const { canvas, count } = this.small[i];
      const context = sizedContext(canvas, WIDTH, HEIGHT);
      context.fillStyle = inks.blocked;
      context.fillRect(0, 0, WIDTH, HEIGHT);
      const [across, down] = [WIDTH / places, HEIGHT / there.length];
      const cells = this.grids.cells([site]);
      let measured = 0;
      for (const cell of cells) {
        if (this.grids.exact(cell) !== null) measured++;
        const value = share(cell);
        if (Number.isNaN(value)) continue;
        context.fillStyle = entry(table, linearShade(value, -1, 1));
        context.fillRect(
          cell.place * across,
          cell.layer * down,
          Math.ceil(across),
          Math.ceil(down),
        );
      }
      count.textContent = measured
        ? sayPatching("of_measured", { measured, cells: cells.length })
        : sayPatching("estimates", { cells: cells.length });
    });
  }
}

export class Prompts {
  /** @param {(place: number) => void} choose called with a position of the clean prompt */
  constructor(choose) {
    this.root = element("div.tl-prompts#prompts", { role: "group", tabindex: 0 });
    this.root.addEventListener("click", (event) => {
      const at = /** @type {HTMLElement | null} */ (
        /** @type {HTMLElement} */ (event.target).closest("[data-place]")
      );
      if (at) choose(Number(at.dataset.place));
    });
    this.shown = null;
  }

  /** @param {any} pair */
  show(pair) {
    if (this.shown === pair) return;
    this.shown = pair;
    const { clean, corrupted, columns } = pair;
    const differ = columns.filter(([, , differs]) => differs).length;
    this.root.ariaLabel = sayPatching("the_clean_prompt_above", {
      aligned: pair.aligned,
      differ,
      columns: columns.length,
    });
    const token = (words, at) =>
      at === null ? element("span.tl-quiet", "∅") : tokenElement(words[at]);
    const named = (words, at) => (at === null ? "nothing" : `${quoted(words[at])} (${at})`);
    this.root.replaceChildren(
      element(
        "div.tl-prompt-names.tl-quiet",
        element("span", sayPatching("clean")),
        element("span", sayPatching("corrupted")),
      ),
      ...columns.map(([a, b, differs]) =>
        element(
          "div",
          {
            class: `tl-prompt-pair${differs ? " tl-differs" : ""}`,
            "data-place": a !== null && b !== null ? a : null,
            title: sayPatching("clean_corrupted", {
              clean: named(clean, a),
              corrupted: named(corrupted, b),
            }),
          },
          token(clean, a),
          token(corrupted, b),
        ),
      ),
    );
  }

  /** @param {number | null} place */
  mark(place) {
    for (const at of this.root.querySelectorAll("[data-place]"))
      at.classList.toggle("tl-on", place !== null && at.dataset.place === String(place));
  }
}
