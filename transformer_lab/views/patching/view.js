// Activation patching between two prompts: the chosen site's grid, thumbnails of every site, and
// the measuring of cells.

import { mounted } from "../shared/mounted.js";
import { colourTable } from "../shared/colours.js";
import { button, radioGroup } from "../shared/controls.js";
import {
  element,
  hint,
  legendPart,
  moveOf,
  onceAFrame,
  panelPart,
  picturePart,
  taken,
  within,
  listen,
} from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { NumberMap } from "../shared/number_map.js";
import { linearLegend } from "../shared/shell.js";
import { Waiting } from "../shared/requests.js";
import { Asking } from "./asking.js";
import { Grids, sayPatching } from "./grids.js";
import { Measuring } from "./measuring.js";
import { Prompts, Sites } from "./sites.js";
import { BaseViewer } from "../shared/viewer.js";

const SEEN = 0.02; // of the scale: below it a cell is white, so that hatching would be all one sees; as in scene.py
const LARGEST_HEAD = 58; // px, of a head's cell
const ALONE = sayPatching("this_page_has_no");
const HERE = () => hint(sayPatching("a_click_measures_a"));

export class PatchingViewer extends BaseViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(model, root, signal) {
    super(model, root, signal, {
      part: () => model.get("site"),
      copies: sayPatching("copy_the_python_that"),
    });
    this.grids = new Grids(model);
    /** @type {import("./measuring.js").Place | null} */
    this.pointed = null;
    this.grids.look();
    this.marks = onceAFrame(() => this.#follow());
    this.link = linked(model, signal, () => {});
    this.#build();
    this.shell.watch(
      ["_exact", "_estimates", "_runs", "_sites", "_pair", "_note", "_title", "direction"],
      () => this.grids.look(),
    );
    this.shell.watch(["site", "layer", "head", "selected"], () => (this.pointed = null));
  }

  // ---- state --------------------------------------------------------------------------------

  /** The chosen cell. @returns {import("./measuring.js").Place} */
  get chosen() {
    const { model, grids } = this;
    const site = model.get("site");
    const { places, there } = grids.size(site);
    const layer = within(model.get("layer"), there.length);
    if (grids.isOfHeads(site))
      return {
        site,
        layer,
        place: within(Math.floor(model.get("head") / grids.group(site)), places),
      };
    const query = model.get("selected")?.[0] ?? null;
    const found = model.get("_pair").places.findIndex(([clean]) => clean === query);
    return { site, layer, place: found < 0 ? places - 1 : found };
  }

  /** A cell with what is known about it. @param {import("./measuring.js").Place} cell */
  #spot(cell) {
    const { clean, places } = this.model.get("_pair");
    const known = { exact: this.grids.exact(cell), estimate: this.grids.estimate(cell) };
    if (this.grids.isOfHeads(cell.site))
      return { ...cell, label: "", shared: this.grids.group(cell.site) > 1, ...known };
    const place = places[cell.place][0];
    return { ...cell, place, label: clean[place], shared: false, ...known };
  }

  #tokens() {
    const { clean, places } = this.model.get("_pair");
    return places.map(([place]) => clean[place]);
  }

  /** A change toward the other run, as a share of the scale. @param {import("./measuring.js").Place} cell */
  #share(cell) {
    const { metric } = this.grids;
    return metric ? (this.grids.value(cell) * metric.sign) / this.end : NaN;
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { model, root, shell, signal } = this;
    this.prompts = new Prompts((place) => this.shell.set({ selected: [place, null] }));
    this.directions = radioGroup({
      label: sayPatching("put"),
      part: "direction",
      chosen: model.get("direction"),
      choices: [
        {
          value: "denoising",
          text: sayPatching("clean_corrupted_word"),
          name: sayPatching("the_clean_run_into"),
        },
        {
          value: "noising",
          text: sayPatching("corrupted_clean"),
          name: sayPatching("the_corrupted_run_into"),
        },
      ],
      choose: (direction) => shell.set({ direction }),
    });
    this.canvas = picturePart("map", "tl-map");
    this.map = new NumberMap(this.canvas, signal, {
      hover: (at) => this.#hover(at),
      pick: ({ row, column }) => row !== null && column !== null && this.#pick(row, column, true),
    });
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
    this.heading = element("b");
    this.hint = element("span.tl-quiet");
    this.legend = legendPart();
    this.readout = element("p.tl-hint.tl-pointed#readout");
    this.busy = element("p.tl-hint#busy", { role: "status", hidden: true });
    this.waiting = new Waiting(this.busy);
    this.measuring = new Measuring(model, this.grids, shell, this.waiting);
    this.asking = new Asking(model, shell, this.waiting);
    this.cell = button(
      sayPatching("measure_this_cell"),
      "measure",
      sayPatching("patch_the_chosen_cell"),
      () => this.measuring.one(this.chosen),
    );
    this.site = button("", "measure-site", () => this.measuring.all([this.chosen.site]));
    this.every = button(
      sayPatching("measure_every_site"),
      "measure-all",
      sayPatching("measure_every_cell_of"),
      () => this.measuring.all(this.grids.sites.map(({ site }) => site)),
    );
    this.stop = button(sayPatching("stop"), "stop", sayPatching("stop_measuring_what_was"), () =>
      this.measuring.stop(),
    );
    this.progress = element("progress#progress", {
      "aria-label": sayPatching("cells_that_are_measured"),
    });
    this.count = element("span.tl-quiet#count");
    this.tools = element("div.tl-trials", this.cell, this.site, this.every);
    this.state = element("div.tl-trials.tl-measured", this.count, this.progress, this.stop);
    this.sitesBox = element("div");
    this.note = element("p.tl-hint#note");
    this.grid = element(
      "section.tl-panel.tl-panel-grid",
      { "aria-label": sayPatching("the_grid_of_the") },
      element("p.tl-heading", this.heading, " ", this.hint),
      this.tools,
      this.state,
      element("div.tl-map-box", this.canvas),
      this.readout,
      this.legend,
      this.busy,
    );
    const small = panelPart(
      "sites",
      sayPatching("every_site"),
      sayPatching("layer_position_or_head"),
      this.sitesBox,
    );
    root.append(
      shell.header,
      this.prompts.root,
      element("div.tl-controls", this.directions.root, this.asking.root),
      this.sentence, // of fixed height, so that what is below stays under the pointer
      shell.message,
      element("div.tl-overlay", this.grid, small),
      this.note,
    );
  }

  // ---- what the reader does -----------------------------------------------------------------

  #hover(at) {
    const whole = at && at.row !== null && at.column !== null;
    const cell = whole ? { site: this.model.get("site"), layer: at.row, place: at.column } : null;
    if (JSON.stringify(cell) === JSON.stringify(this.pointed)) return;
    this.pointed = cell;
    this.marks();
  }

  /** Choose another site, at the same head or position; if no position is chosen, at the cell with the largest change. @param {string} site */
  #choose(site) {
    this.shell.set({ site });
    if (this.grids.isOfHeads(site) || this.model.get("selected")) return;
    const size = (cell) => Math.abs(this.grids.value(cell)) || 0;
    const most = this.grids.cells([site]).reduce((a, b) => (size(b) > size(a) ? b : a));
    this.#pick(most.layer, most.place, false);
  }

  /** @param {number} layer @param {number} place @param {boolean} measure */
  #pick(layer, place, measure) {
    const site = this.model.get("site");
    if (this.grids.isOfHeads(site)) this.shell.set({ layer, head: place * this.grids.group(site) });
    else this.shell.set({ layer, selected: [this.model.get("_pair").places[place][0], null] });
    if (measure && place < this.grids.size(site).there[layer])
      this.measuring.one({ site, layer, place });
  }

  #key(event) {
    const { site, layer, place } = this.chosen;
    const { places, there } = this.grids.size(site);
    const step = moveOf(event);
    if (step)
      return this.#pick(
        within(layer + step[0], there.length),
        within(place + step[1], places),
        false,
      );
    if (event.key !== "Enter" && event.key !== " ") return;
    taken(event);
    this.#pick(layer, place, true);
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    const { model, shell, grids } = this;
    const { metric } = grids;
    const site = model.get("site");
    const { places, there } = grids.size(site);
    this.end = grids.end;
    this.table = colourTable("diverging", shell.theme);
    shell.subtitle.textContent = sayPatching("layers_positions_paired", {
      there: there.length,
      places: model.get("_pair").places.length,
      aligned: model.get("_pair").aligned,
    });
    this.prompts.show(model.get("_pair"));
    this.directions.set(model.get("direction"));
    this.asking.draw();
    const heads = grids.isOfHeads(site);
    this.heading.textContent = sayPatching("site", { site });
    this.hint.textContent = sayPatching("layer", {
      hint: sayPatching("hint", { site }),
      part: heads
        ? grids.group(site) > 1
          ? sayPatching("key_value_head")
          : sayPatching("head_word")
        : sayPatching("position"),
    });
    const cellOf = (layer, place) => ({ site, layer, place });
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    const rows = there.length;
    // While a host changes its theme the box may have no room for a moment.
    const room = (this.room = box.clientWidth || this.room || 0);
    this.map.show(
      heads ? Math.min(room, 46 + LARGEST_HEAD * places) : Math.max(220, room),
      Math.min(464, Math.max(12 * rows, (heads ? LARGEST_HEAD : 34) * Math.min(rows, 8))),
      {
        rows,
        columns: places,
        value: (row, column) => this.#share(cellOf(row, column)),
        low: -1,
        high: 1,
        table: this.table,
        colours: shell.inks,
        rowNames: Array.from({ length: rows }, (_, i) => String(i)),
        columnNames: heads ? Array.from({ length: places }, (_, i) => String(i)) : this.#tokens(),
        write: (share, row, column) =>
          grids.exact(cellOf(row, column)) !== null
            ? metric.amount(share * this.end)
            : Math.abs(share) < 0.005
              ? ""
              : `≈${metric.amount(share * this.end)}`,
        hatched: (row, column) =>
          grids.exact(cellOf(row, column)) === null &&
          Math.abs(this.#share(cellOf(row, column))) >= SEEN,
      },
    );
    this.#drawSites(site);
    this.#drawLegend(metric);
    this.#drawTools();
    this.note.textContent = [model.get("_saved") ? this.#whoMeasures() : "", model.get("_note")]
      .filter(Boolean)
      .join(" ");
    this.note.hidden = !this.note.textContent;
    this.#follow();
  }

  /** A note on who measures, on a page without a kernel. */
  #whoMeasures() {
    if (!this.measuring.travels) return ALONE;
    const { bits, note } = this.model.get("_carried");
    return bits
      ? sayPatching("with_the_weights_rounded", { here: HERE(), bits, note }).trim()
      : `${HERE()}.`;
  }

  #drawSites(site) {
    const { grids } = this;
    const names = grids.sites.map((one) => one.site).join();
    if (this.siteNames !== names) {
      this.siteNames = names;
      this.sites = new Sites(grids, site, (chosen) => this.#choose(chosen));
      this.sitesBox.replaceChildren(this.sites.root);
    }
    this.sites.draw(site, (cell) => this.#share(cell), this.table, this.shell.inks);
  }

  #drawLegend(metric) {
    if (!metric) return this.legend.replaceChildren();
    const name = metric.alike
      ? sayPatching("change_of_the_metric")
      : sayPatching("change_toward_the_run", { run: metric.runs[0] });
    const cells = this.grids.cells([this.chosen.site]);
    const estimates = cells.some(
      (cell) => this.grids.exact(cell) === null && this.grids.estimate(cell) !== null,
    );
    const beyond = cells.some((cell) => Math.abs(this.#share(cell)) > 1.005);
    const note = `${estimates ? sayPatching("hatched_estimates_by_attribution") : ""}${beyond ? sayPatching("some_cells_are_beyond") : ""}`;
    this.legend.replaceChildren(
      ...linearLegend(this.table, -this.end, this.end, name, (x) => (x ? metric.amount(x) : "0")),
      element("span.tl-quiet.tl-hatched", note),
    );
  }

  #drawTools() {
    const { grids, measuring, chosen } = this;
    const all = grids.cells(grids.sites.map(({ site }) => site));
    const isLeft = (cell) => grids.exact(cell) === null;
    const [left, here] = [
      all.filter(isLeft).length,
      grids.cells([chosen.site]).filter(isLeft).length,
    ];
    const there = chosen.place < grids.size(chosen.site).there[chosen.layer];
    this.cell.hidden = this.site.hidden = this.every.hidden = !measuring.can;
    this.cell.disabled = !there || !isLeft(chosen);
    this.site.disabled = measuring.runs || !here;
    this.every.disabled = measuring.runs || !left;
    this.site.textContent = sayPatching("measure_all_of", { site: sayPatching("site", chosen) });
    this.stop.hidden = this.progress.hidden = !measuring.runs;
    Object.assign(this.progress, { max: all.length, value: all.length - left });
    this.root.dataset.measured = String(all.length - left);
    this.count.textContent = sayPatching("of_cells_measured", {
      all: all.length - left,
      all2: all.length,
    });
  }

  /** Draw what depends on the chosen cell and the pointer. */
  #follow() {
    if (this.signal.aborted || !this.map.scene) return;
    const { chosen, pointed, grids, model } = this;
    const { metric } = grids;
    const spot = this.#spot(chosen);
    this.map.mark(pointed && { row: pointed.layer, column: pointed.place }, {
      row: chosen.layer,
      column: chosen.place,
    });
    this.prompts.mark(grids.isOfHeads(chosen.site) ? null : spot.place);
    const sentence = metric ? metric.sentence(spot) : sayPatching("running_the_other_direction");
    this.say(sentence);
    this.readout.textContent = metric ? metric.spot(pointed ? this.#spot(pointed) : spot) : "";
    this.root.dataset.cell = `${chosen.site}.${chosen.layer}.${chosen.place}`;
    this.canvas.ariaLabel = sayPatching("layers_by_arrow_keys", {
      hint: sayPatching("hint", chosen),
      there: grids.size(chosen.site).there.length,
      places: grids.size(chosen.site).places,
      part: grids.isOfHeads(chosen.site) ? sayPatching("heads") : sayPatching("positions"),
      sentence,
    });
    this.root.dataset.direction = model.get("direction");
  }

  fileNumbers() {
    return this.grids.forFile(this.model.get("site"), this.#tokens());
  }

  code() {
    const { site, layer, place } = this.chosen;
    const into = this.model.get("direction") === "denoising" ? "corrupted" : "clean";
    return [
      `${this.model.get("_code")}, sites=${JSON.stringify(site)}, direction=${JSON.stringify(this.model.get("direction"))})`,
      `edit = grids.edit_of(${JSON.stringify(site)}, ${layer}, ${place})`,
      `with tl.edit(model, edit):\n    patched = tl.trace(model, ${into})`,
    ].join("\n");
  }

  pictures() {
    const { chosen, sites } = this;
    return [
      { canvas: this.canvas, title: sayPatching("hint", chosen) },
      ...sites.names.map((site, i) => ({
        canvas: sites.small[i].canvas,
        title: sayPatching("site", { site }),
      })),
    ];
  }
}

export default mounted(PatchingViewer, "patching");
