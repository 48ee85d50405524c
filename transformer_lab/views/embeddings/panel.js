// The panel of a cloud: turned in space by plotly, or two projections; with what it holds beside it.

import { colourTable, entry, headColour } from "../shared/colours.js";
import { button, slider } from "../shared/controls.js";
import {
  afterPaint,
  element,
  hearChanges,
  hint,
  legendPart,
  listen,
  picturePart,
  taken,
  tokenElement,
} from "../shared/dom.js";
import { sizeText } from "../shared/messages.js";
import { fillTable } from "../shared/pieces.js";
import { drawsInSpace, plotlyOf } from "../shared/plotly.js";
import { linearLegend } from "../shared/shell.js";
import { pointOf, tokenOf, view } from "./scene.js";
import { drawFlat, extent, spaceFigure, turned } from "./space.js";

const { say } = view;
const TURN = 0.15; // radians per key press
const NEARER = 0.85; // factor of the distance per key press
const MIDDLE = { x: 0, y: 0, z: -0.12 }; // room for the names of the axes below
const LISTED_COLOURS = 12;
/** The first viewpoint, from which the names of the axes are visible, also in a narrow frame. @param {HTMLElement} root */
const firstEye = ({ clientWidth: width }) => {
  const far = width && width < 500 ? 1.3 : 1;
  return { x: 1.25 * far, y: 1.25 * far, z: 0.7 * far };
};

/** A colour for each point: of a category, or of a number between the least and the largest. @param {any[]} colours @param {Uint8ClampedArray} table @returns {string[]} */
export function paintsOf(colours, table) {
  if (typeof colours[0] !== "number") {
    const names = [...new Set(colours)];
    return colours.map((name) => headColour(names.indexOf(name)));
  }
  const [low, high] = extent(colours);
  return colours.map((x) => entry(table, Math.round((255 * (x - low)) / (high - low || 1))));
}

export class SpacePanel {
  /** @param {any} viewer */
  constructor(viewer) {
    const { model, signal } = viewer;
    this.viewer = viewer;
    /** @type {any} */
    this.plotly = null;
    const [x, y, z] = model.get("_camera");
    this.eye = z === undefined ? firstEye(viewer.root) : { x, y, z };
    this.space = element("div.tl-space#space", { role: "application", tabindex: 0, hidden: true });
    this.flat = picturePart("flat", "tl-flat");
    this.note = element(
      "p.tl-hint#space-note",
      { role: "status" },
      say("two_projections_until_the"),
    );
    this.legend = legendPart();
    this.table = element("table.tl-table#shares");
    const { row: rows } = model.get("_choices");
    this.row = slider({
      label: say("layer"),
      part: "row",
      values: rows,
      value: 0,
      text: (row) => (row === 0 ? "start" : say("after", { row: row - 1 })),
      change: (row) => viewer.shell.set(row && this.linked ? { row, layer: row - 1 } : { row }),
    });
    this.row.root.hidden = rows.length === 1;
    const front = button(say("from_the_front"), "front", say("look_from_where_the"), () =>
      this.#look(firstEye(viewer.root)),
    );
    this.root = element(
      "div.tl-cloud",
      element(
        "section.tl-panel",
        { "aria-label": say("the_cloud") },
        element("div.tl-row", this.row.root, front),
        this.space,
        this.flat,
        this.note,
      ),
      element(
        "section.tl-panel",
        { "aria-label": say("what_the_picture_holds") },
        this.table,
        this.legend,
      ),
    );
    for (const part of [this.space, this.flat])
      listen(part, "keydown", signal, (event) => this.#key(event));
    hearChanges(model, ["layer"], signal, () => {
      const row = Math.min(model.get("layer") + 1, rows.length - 1);
      if (this.linked && model.get("row") !== row) viewer.shell.set({ row });
    });
    signal.addEventListener("abort", () => this.plotly?.purge(this.space));
    afterPaint().then(() => this.#load());
  }

  /** Whether rows are those of a trace's layers. */
  get linked() {
    return this.viewer.state.kind !== "points";
  }

  async #load() {
    const { viewer } = this;
    if (!drawsInSpace()) return this.#say(say("this_browser_does_not"));
    try {
      this.plotly = await plotlyOf(viewer.shell.requests);
      viewer.shell.redraw();
    } catch (error) {
      this.#flatAgain(error);
    }
  }

  #say(text) {
    this.note.textContent = text;
  }

  #flatAgain({ message }) {
    this.plotly = null;
    this.space.hidden = true;
    this.flat.hidden = false;
    this.#say(say("the_cloud_cannot_be", { why: message }));
    this.viewer.shell.redraw();
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** The chosen point, which may not be drawn yet, or null. */
  get chosen() {
    const { state } = this.viewer;
    return pointOf(state, state.selected);
  }

  /** @param {number | null} point @param {boolean} [frees] whether a second time frees it */
  #choose(point, frees) {
    const { shell, state } = this.viewer;
    const none = point === null || (frees && point === this.chosen);
    shell.set({ selected: none ? null : [tokenOf(state, point), null] });
  }

  #key(event) {
    const { chosen } = this;
    const last = this.viewer.state.points.tokens.length - 1;
    const next = chosen === null ? 0 : Math.min(last, chosen + 1);
    const previous = chosen === null ? last : Math.max(0, chosen - 1);
    /** @type {Record<string, [number, number, number?]>} */
    const turns = {
      ArrowLeft: [-TURN, 0],
      ArrowRight: [TURN, 0],
      ArrowUp: [0, TURN],
      ArrowDown: [0, -TURN],
      "+": [0, 0, NEARER],
      "-": [0, 0, 1 / NEARER],
    };
    const to = { PageDown: next, n: next, PageUp: previous, p: previous, Home: 0, End: last };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in turns) this.#look(turned(this.eye, ...turns[event.key]));
    else if (event.key in to) this.#choose(to[event.key]);
    else return;
    taken(event);
  }

  /** @param {{x: number, y: number, z: number}} eye */
  #look(eye) {
    const { viewer } = this;
    this.eye = eye;
    const { x, y, z } = eye;
    viewer.root.dataset.eye = [x, y, z].map((v) => v.toFixed(2)).join(" ");
    viewer.shell.set({ _camera: [x, y, z] });
    viewer.shell.redraw();
  }

  #listen() {
    const { space, viewer } = this;
    const at = ({ points: [found] = [] }) =>
      !found ? null : found.curveNumber === 0 ? found.pointNumber : this.chosen;
    space.on("plotly_hover", (event) => viewer.pointAt("cloud", at(event)));
    space.on("plotly_unhover", () => viewer.pointAt("cloud", null));
    space.on("plotly_click", (event) => this.#choose(at(event), true));
    space.on("plotly_relayout", ({ "scene.camera": camera }) => camera && this.#look(camera.eye));
  }

  // ---- drawing ------------------------------------------------------------------------------

  /** @param {any} panel */
  show(panel) {
    const { viewer, eye, plotly, space, flat } = this;
    const { theme, inks } = viewer.shell;
    const { row, shows, colour } = viewer.state;
    this.panel = panel;
    this.row.set(row);
    space.ariaLabel = flat.ariaLabel = panel.says;
    const width = Math.max(240, flat.parentElement.clientWidth);
    const drawn = JSON.stringify([
      row,
      shows,
      colour,
      panel.mark.chosen,
      eye,
      theme,
      width,
      !plotly,
    ]);
    if (drawn === this.drawn) return; // the reader only points at something
    this.drawn = drawn;
    const table = colourTable("viridis", theme);
    this.paints = paintsOf(panel.mark.colours, table);
    this.#legend(panel.mark, table);
    fillTable(this.table, panel.table);
    if (plotly) this.#drawSpace(width);
    else drawFlat(flat, panel.mark, this.paints, inks, width);
  }

  async #drawSpace(width) {
    const { plotly, space, viewer, paints, eye, panel } = this;
    const height = Math.min(560, Math.max(300, width * 0.75));
    const of = { mark: panel.mark, paints, inks: viewer.shell.inks, eye, height };
    const { traces, layout } = spaceFigure(of);
    const first = space.hidden;
    if (first) {
      space.hidden = false;
      this.flat.hidden = true;
      this.#say(hint(panel.hint));
    }
    const camera = { eye, center: MIDDLE };
    try {
      await plotly.react(
        space,
        traces,
        { ...layout, scene: { ...layout.scene, camera }, width, height },
        { displayModeBar: false, responsive: false, scrollZoom: true },
      );
      if (first) this.#listen();
      viewer.root.dataset.space = "1";
    } catch (error) {
      this.#flatAgain(error);
    }
  }

  #legend({ colours, colours_mean: by }, table) {
    if (typeof colours[0] === "number") {
      const text = by === "length" ? sizeText : (x) => String(Math.round(x));
      this.legend.replaceChildren(...linearLegend(table, ...extent(colours), by, text));
      return;
    }
    const names = [...new Set(colours)];
    const more = names.length - LISTED_COLOURS;
    const dot = (i) => element("span.tl-dot", { style: `background:${headColour(i)}` });
    const part = names.length > 16 ? say("colours_repeat_after") : "";
    this.legend.replaceChildren(
      element("span.tl-quiet", say("colour", { colour: by })),
      element(
        "ul.tl-colours",
        names
          .slice(0, LISTED_COLOURS)
          .map((name, i) => element("li", dot(i), " ", tokenElement(name))),
        more > 0 && element("li.tl-quiet", say("and_more", { more, part })),
      ),
    );
  }

  /** For image files. */
  get pictures() {
    const canvas = element("canvas");
    drawFlat(canvas, this.panel.mark, this.paints, this.viewer.shell.inks, 1000);
    return [{ canvas, title: this.panel.picture }];
  }
}
