// Both prompts; the chosen site's grid, with what measures its cells; and every site, to choose from.

import { colourCells } from "../marks/matrix.js";
import { inPageLine } from "../pages/in_page_line.js";
import { colourTable } from "../shared/colours.js";
import { button, radioGroup } from "../shared/controls.js";
import { element, panelPart, say as write, sizedContext, tokenElement } from "../shared/dom.js";
import { MatrixPanel } from "../shared/matrix_panel.js";
import { quoted } from "../shared/messages.js";
import { linearShade } from "../shared/number_map.js";
import { Asking } from "./asking.js";
import { Measuring } from "./measuring.js";
import { view } from "./scene.js";

const { say } = view;
const [WIDTH, HEIGHT] = [132, 56]; // of a thumbnail

/** Whether a cell is pointed at, and not the name of a row or column. */
const isCell = (at) => at && at.row !== null && at.column !== null;

export class GridPanel extends MatrixPanel {
  /** @param {any} viewer @param {any} panel @param {import("../shared/panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, { ...does, enter: () => (this.measuring.one(), {}) });
    this.root.ariaLabel = say("the_grid_of_the");
    this.legend.dataset.part = "legend";
    this.line.dataset.part = "readout";
    this.root.append(inPageLine(viewer.model, viewer.signal));
  }

  get box() {
    const { viewer } = this;
    const measuring = (this.measuring = new Measuring(viewer));
    this.cell = button(say("measure_this_cell"), "measure", say("patch_the_chosen_cell"), () =>
      measuring.one(),
    );
    this.site = button("", "measure-site", () => measuring.all(viewer.state.site));
    this.every = button(
      say("measure_every_site"),
      "measure-all",
      say("measure_every_cell_of"),
      () => measuring.all(),
    );
    this.stop = button(say("stop"), "stop", say("stop_measuring_what_was"), () => measuring.stop());
    this.progress = element("progress#progress", { "aria-label": say("cells_that_are_measured") });
    this.count = element("span.tl-quiet#count");
    return element(
      "div",
      element("div.tl-trials", this.cell, this.site, this.every),
      element("div.tl-task.tl-measured", this.count, this.progress, this.stop),
      super.box,
    );
  }

  pick(at) {
    if (!isCell(at)) return;
    super.pick(at);
    this.measuring.one();
  }

  point(at) {
    super.point(isCell(at) ? at : null);
  }

  draw(panel) {
    super.draw(panel);
    const { measuring } = this;
    const { all, left, here } = panel;
    this.cell.hidden = this.site.hidden = this.every.hidden = !measuring.can;
    this.cell.disabled = !panel.free;
    this.site.disabled = measuring.runs || !here;
    this.every.disabled = measuring.runs || !left;
    write(this.site, say("measure_all_of", { site: panel.title }));
    this.stop.hidden = this.progress.hidden = !measuring.runs;
    Object.assign(this.progress, { max: all, value: all - left });
    write(this.count, say("of_cells_measured", { all: all - left, all2: all }));
  }
}

export class SitesPanel {
  /** @param {any} viewer @param {any} panel @param {import("../shared/panels.js").Does} does */
  constructor(viewer, { title, hint }, does) {
    this.viewer = viewer;
    this.does = does;
    this.box = element("div");
    this.root = panelPart("sites", title, hint, this.box);
  }

  #build(sites) {
    const { shell } = this.viewer;
    this.chips = radioGroup({
      label: say("site_label"),
      part: "site",
      quiet: true,
      chosen: "",
      choose: (site) => shell.set(this.does.pick(this.viewer.state, site)),
      choices: sites.map(({ site, name, hint }) => ({
        value: site,
        text: name,
        name: `${name}: ${hint}`,
      })),
    });
    this.chips.root.classList.add("tl-sites");
    this.small = [...this.chips.root.querySelectorAll(".tl-chip")].map((chip, i) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const count = element("span.tl-quiet");
      const { name } = sites[i];
      chip.replaceChildren(canvas, element("span.tl-site-name", element("span", name), count));
      return { canvas, count, title: name };
    });
    this.box.replaceChildren(this.chips.root);
  }

  /** @param {any} panel */
  show({ sites, site }) {
    const { theme, inks } = this.viewer.shell;
    const names = sites.map((one) => one.site).join();
    if (names !== this.names) this.#build(sites);
    this.names = names;
    this.chips.set(site);
    sites.forEach(({ shape: [height, width], shares, count }, i) => {
      const cells = document.createElement("canvas");
      const place = (cell) => linearShade(shares[cell], -1, 1);
      colourCells(cells, { width, height }, colourTable("diverging", theme), place);
      const context = sizedContext(this.small[i].canvas, WIDTH, HEIGHT);
      context.fillStyle = inks.blocked;
      context.fillRect(0, 0, WIDTH, HEIGHT);
      context.imageSmoothingEnabled = false;
      context.drawImage(cells, 0, 0, WIDTH, HEIGHT);
      write(this.small[i].count, count);
    });
  }

  get pictures() {
    return this.small;
  }
}

export class PromptsPanel {
  pictures = [];

  /** @param {any} viewer @param {any} _ @param {import("../shared/panels.js").Does} does */
  constructor(viewer, _, { pick }) {
    const click = ({ target }) => {
      const { place } = target.closest("[data-place]")?.dataset ?? {};
      if (place) viewer.shell.set(pick(viewer.state, Number(place)));
    };
    this.prompts = element("div.tl-prompts#prompts", { role: "group", tabindex: 0, click });
    this.asking = new Asking(viewer);
    this.root = element("div.tl-panel-prompts", this.prompts, this.asking.root);
  }

  #fill({ clean, corrupted, columns, aligned }) {
    const differ = columns.filter(([, , differs]) => differs).length;
    this.prompts.ariaLabel = say("the_clean_prompt_above", {
      aligned,
      differ,
      columns: columns.length,
    });
    const token = (words, at) =>
      at === null ? element("span.tl-quiet", "∅") : tokenElement(words[at]);
    const named = (words, at) => (at === null ? say("nothing") : `${quoted(words[at])} (${at})`);
    const column = ([a, b, differs]) =>
      element(
        `div.tl-prompt-pair${differs ? ".tl-differs" : ""}`,
        {
          "data-place": b === null ? null : a,
          title: say("clean_corrupted", { clean: named(clean, a), corrupted: named(corrupted, b) }),
        },
        token(clean, a),
        token(corrupted, b),
      );
    const names = [say("clean"), say("corrupted")].map((name) => element("span", name));
    this.prompts.replaceChildren(
      element("div.tl-prompt-names.tl-quiet", names),
      ...columns.map(column),
    );
  }

  /** @param {any} panel */
  show({ pair, on }) {
    if (pair !== this.pair) this.#fill((this.pair = pair));
    for (const at of this.prompts.querySelectorAll("[data-place]"))
      at.classList.toggle("tl-on", at.dataset.place === String(on));
    this.asking.draw();
  }
}
