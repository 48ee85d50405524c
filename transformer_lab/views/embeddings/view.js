// Vectors as a cloud in their first three principal components, which can be rotated.

import { mounted } from "../shared/mounted.js";
import { colourTable } from "../shared/colours.js";
import { button, radioGroup, slider } from "../shared/controls.js";
import {
  element,
  hearChanges,
  hint,
  legendPart,
  listen,
  onceAFrame,
  picturePart,
  rowPart,
  tableParts,
  taken,
  tokenElement,
} from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { drawsInSpace, plotlyOf } from "../shared/plotly.js";
import { linearLegend } from "../shared/shell.js";
import { categoryColour, CloudData, extent, scaled, turned, sayEmbedding } from "./cloud.js";
import { drawFlat } from "./flat.js";
import { spaceFigure } from "./space.js";
import { percentText, sizeText } from "../shared/messages.js";
import { BaseViewer } from "../shared/viewer.js";

const TURN = 0.15; // radians per key press
/** The first viewpoint, from which the names of the axes are visible, also in a narrow frame. @param {HTMLElement} root */
const firstEye = ({ clientWidth: width }) => {
  const far = width && width < 500 ? 1.3 : 1;
  return { x: 1.25 * far, y: 1.25 * far, z: 0.7 * far };
};
const MIDDLE = { x: 0, y: 0, z: -0.12 }; // room for the names of the axes below
const LISTED_COLOURS = 12;
const WAYS = {
  layer: [sayEmbedding("this_layer"), sayEmbedding("components_of_this_layer")],
  paths: [sayEmbedding("paths_through_the_layers"), sayEmbedding("components_of_all_layers")],
  random: [sayEmbedding("a_random_cloud"), sayEmbedding("random_directions_of_the")],
};

export class EmbeddingViewer extends BaseViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(model, root, signal) {
    super(model, root, signal);
    this.data = new CloudData(model);
    this.hovered = null;
    this.plotly = null;
    this.drawn = Promise.resolve();
    const [x, y, z] = model.get("_camera");
    this.eye = model.get("_camera").length === 3 ? { x, y, z } : firstEye(root);
    this.redraw = onceAFrame(() => this.draw());
    this.link = linked(model, signal, (spot) =>
      this.#hear(spot && this.data.pointOf([spot.query, spot.key], model.get("kind"))),
    );
    this.#build();
    this.shell.watch(["row", "shows", "colour", "selected", "kind"]);
    hearChanges(model, ["layer"], signal, () => {
      const row = Math.min(model.get("layer") + 1, this.data.rows - 1);
      if (!this.data.own && model.get("row") !== row) this.shell.set({ row });
    });
    signal.addEventListener("abort", () => this.plotly?.purge(this.space));
  }

  // ---- state --------------------------------------------------------------------------------

  get row() {
    return Math.min(this.model.get("row"), this.data.rows - 1);
  }

  get shows() {
    const shows = this.model.get("shows");
    return this.data.ways.includes(shows) ? shows : "layer";
  }

  get colour() {
    const colour = this.model.get("colour");
    return this.data.colours.includes(colour) ? colour : "token";
  }

  get chosen() {
    return this.data.pointOf(this.model.get("selected"), this.model.get("kind"));
  }

  /** The point that the texts are about: the one pointed at, or else the chosen one. */
  get point() {
    return this.hovered ?? this.chosen;
  }

  fileNumbers() {
    return this.data.forFile(this);
  }

  code() {
    const set = [`view.shows = "${this.shows}"`, `view.row = ${this.row}`];
    return sayEmbedding("view_coordinates", { set: set.join("; ") });
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, signal, shell, data } = this;
    this.ways = radioGroup({
      label: sayEmbedding("show"),
      part: "shows",
      chosen: this.shows,
      choose: (shows) => shell.set({ shows }),
      choices: data.ways.map((value) => ({
        value,
        text:
          data.rows === 1 && value === "layer" ? sayEmbedding("the_embeddings") : WAYS[value][0],
        name: WAYS[value][1],
      })),
    });
    this.paint = radioGroup({
      label: sayEmbedding("colour_by"),
      part: "colour",
      chosen: this.colour,
      choose: (colour) => shell.set({ colour }),
      choices: data.colours.map((value) => ({ value, text: value })),
    });
    this.rowSlider = slider({
      label: sayEmbedding("layer"),
      part: "row",
      values: data.where.map((_, i) => i),
      value: this.row,
      text: (row) => (row === 0 ? "start" : sayEmbedding("after", { row: row - 1 })),
      change: (row) => this.#chooseRow(row),
    });
    this.space = element("div.tl-space#space", { role: "application", tabindex: 0, hidden: true });
    this.flat = picturePart("flat", "tl-flat");
    this.note = element("p.tl-hint#space-note", { role: "status" });
    this.legend = legendPart();
    this.shares = element("table.tl-table#shares");
    this.readout = element("p.tl-readout#readout");
    this.front = button(
      sayEmbedding("from_the_front"),
      "front",
      sayEmbedding("look_from_where_the"),
      () => this.#look(firstEye(root)),
    );
    root.append(
      shell.header,
      element(
        "div.tl-controls",
        this.ways.root,
        data.rows > 1 && this.rowSlider.root,
        this.paint.root,
        this.front,
      ),
      shell.message,
      this.sentence,
      element(
        "div.tl-panels.tl-cloud",
        element(
          "section.tl-panel",
          { "aria-label": sayEmbedding("the_cloud") },
          this.space,
          this.flat,
          this.note,
          this.readout,
        ),
        element(
          "section.tl-panel",
          { "aria-label": sayEmbedding("what_the_picture_holds") },
          this.shares,
          this.legend,
        ),
      ),
    );
    for (const part of [this.space, this.flat])
      listen(part, "keydown", signal, (event) => this.#key(event));
    this.freeByEscape();
  }

  // ---- what the reader does -----------------------------------------------------------------

  #chooseRow(row) {
    const layer = row > 0 && !this.data.own ? { layer: row - 1 } : {};
    this.shell.set({ row, ...layer });
  }

  /** @param {number | null} point */
  #pick(point) {
    const again = point === null || point === this.chosen;
    this.shell.set({ selected: again ? null : [this.data.tokenOf(point), null] });
  }

  #key(event) {
    /** @type {Record<string, [number, number]>} */
    const turns = {
      ArrowLeft: [-TURN, 0],
      ArrowRight: [TURN, 0],
      ArrowUp: [0, TURN],
      ArrowDown: [0, -TURN],
    };
    const steps = { PageDown: 1, PageUp: -1, n: 1, p: -1, Home: -Infinity, End: Infinity };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in turns) {
      this.#look(turned(this.eye, ...turns[event.key]));
    } else if (event.key === "+" || event.key === "-") {
      this.#look(turned(this.eye, 0, 0, event.key === "+" ? 0.85 : 1 / 0.85));
    } else if (event.key in steps) {
      const now = this.chosen;
      const step = steps[event.key];
      const to =
        now === null
          ? step < 0 && step !== -Infinity
            ? this.data.n - 1
            : step === Infinity
              ? this.data.n - 1
              : 0
          : Math.max(0, Math.min(this.data.n - 1, now + step));
      this.shell.set({ selected: [this.data.tokenOf(to), null] });
    } else {
      return;
    }
    taken(event);
  }

  /** @param {{x: number, y: number, z: number}} eye */
  #look(eye) {
    this.eye = eye;
    if (this.plotly && !this.space.hidden)
      this.plotly.relayout(this.space, { "scene.camera.eye": eye }).then(this.redraw);
    this.#keep();
  }

  #keep() {
    const { x, y, z } = this.eye;
    this.root.dataset.eye = [x, y, z].map((v) => v.toFixed(2)).join(" ");
    this.shell.set({ _camera: [x, y, z] });
  }

  /** Another view points at a token. @param {number | null} point */
  #hear(point) {
    if (point === this.hovered) return;
    this.hovered = point;
    this.#tell();
  }

  #hover(point) {
    if (point === this.hovered) return;
    this.hovered = point;
    this.link.hover(point === null ? null : { query: this.data.tokenOf(point), key: null });
    this.#tell();
  }

  // ---- drawing ------------------------------------------------------------------------------

  /** Load plotly's script, after the first paint. */
  async later() {
    if (!drawsInSpace()) {
      this.#flatNote(sayEmbedding("this_browser_does_not"));
      return;
    }
    this.#flatNote(sayEmbedding("two_projections_until_the"));
    try {
      const plotly = await plotlyOf(this.shell.requests);
      if (this.signal.aborted) return;
      this.plotly = plotly;
      this.shell.redraw();
    } catch (error) {
      this.#flatNote(sayEmbedding("the_cloud_cannot_be", { why: error.message }));
    }
  }

  #flatNote(text) {
    this.note.textContent = text;
  }

  draw() {
    const { shell, data, shows, row, colour } = this;
    this.ways.set(shows);
    this.paint.set(colour);
    this.rowSlider.set(row, undefined, shows === "random" && data.rows === 1);
    const table = colourTable("viridis", shell.theme);
    const painted = data.painted(colour, row);
    const paints = painted.numbers
      ? scaled(painted.numbers, table)
      : painted.places.map((i) => categoryColour(i));
    const [shares, chance] = data.explained(shows, row);
    const axes = (shows === "random" ? chance : shares).map((share, i) =>
      sayEmbedding("component", { i: i + 1, share }),
    );
    this.scene = { data, shows, row, chosen: this.chosen, paints, axes, inks: shell.inks };
    this.#legend(painted, table);
    this.#table(shares, chance);
    this.#tell();
    const box = /** @type {HTMLElement} */ (this.flat.parentElement);
    if (this.plotly) this.#drawSpace(box);
    else drawFlat(this.flat, this.scene, Math.max(240, box.clientWidth));
  }

  #drawSpace(box) {
    const { plotly, space } = this;
    const [width, height] = [
      Math.max(240, box.clientWidth),
      Math.min(560, Math.max(300, box.clientWidth * 0.75)),
    ];
    const { traces, layout } = spaceFigure({ ...this.scene, eye: this.eye, height });
    const first = space.hidden;
    if (first) {
      space.hidden = false;
      this.flat.hidden = true;
      this.#flatNote(hint(sayEmbedding("drag_or_arrow_keys", { one: this.data.one })));
    }
    layout.scene.camera = { eye: this.eye, center: MIDDLE };
    this.drawn = plotly
      .react(
        space,
        traces,
        { ...layout, width, height },
        { displayModeBar: false, responsive: false, scrollZoom: true },
      )
      .then(() => {
        if (first) this.#listen();
        this.root.dataset.space = "1";
      })
      .catch((error) => this.#noSpace(error));
  }

  #noSpace(error) {
    this.plotly = null;
    this.space.hidden = true;
    this.flat.hidden = false;
    this.#flatNote(sayEmbedding("the_cloud_cannot_be", { why: error.message }));
    this.shell.redraw();
  }

  #listen() {
    const { space } = this;
    const pointOf = (event) => {
      const found = event.points?.[0];
      if (!found) return null;
      if (found.curveNumber === 0) return found.pointNumber;
      return this.chosen;
    };
    space.on("plotly_hover", (event) => this.#hover(pointOf(event)));
    space.on("plotly_unhover", () => this.#hover(null));
    space.on("plotly_click", (event) => this.#pick(pointOf(event)));
    space.on("plotly_relayout", (change) => {
      const eye = change["scene.camera"]?.eye;
      if (!eye) return;
      this.eye = { x: eye.x, y: eye.y, z: eye.z };
      this.#keep();
      this.redraw();
    });
  }

  #legend({ numbers, names }, table) {
    if (numbers) {
      const [low, high] = extent(numbers);
      this.legend.replaceChildren(
        ...linearLegend(
          table,
          low,
          high,
          this.colour,
          this.colour === "length" ? sizeText : (x) => String(Math.round(x)),
        ),
      );
      return;
    }
    const shown = names
      .slice(0, LISTED_COLOURS)
      .map((name, i) =>
        element(
          "li",
          element("span.tl-dot", { style: `background:${categoryColour(i)}` }),
          " ",
          tokenElement(name),
        ),
      );
    const more = names.length - shown.length;
    this.legend.replaceChildren(
      element("span.tl-quiet", sayEmbedding("colour", { colour: this.colour })),
      element(
        "ul.tl-colours",
        shown,
        more > 0 &&
          element(
            "li.tl-quiet",
            sayEmbedding("and_more", {
              more,
              part: names.length > 16 ? sayEmbedding("colours_repeat_after") : "",
            }),
          ),
      ),
    );
  }

  /** Show what components explain, beside chance. */
  #table(shares, chance) {
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const line = (name, values) =>
      rowPart(
        name,
        [...values, sum(values)].map((x) => element("td", percentText(x))),
      );
    this.shares.replaceChildren(
      element("caption", sayEmbedding("fraction_of_the_variance")),
      ...tableParts(
        ["", sayEmbedding("st"), sayEmbedding("nd"), sayEmbedding("rd"), sayEmbedding("together")],
        [
          line(sayEmbedding("these_s", { one: this.data.one }), shares),
          line(sayEmbedding("random_directions"), chance),
        ],
      ),
    );
  }

  #tell() {
    const { data, shows, row, point } = this;
    const [shares, chance] = data.explained(shows, row);
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const [first, second, third] = shares;
    const [lone, loneAt, loneShare] = (shows === "paths" ? null : data.lone(row)) ?? [null];
    const text = (chosen) =>
      sayEmbedding("sentence", {
        shows,
        where: data.where[row],
        layers: data.rows - 1,
        points: data.n,
        sample: data.sample || null,
        whole: sum(shares),
        first,
        second,
        third,
        chance: sum(chance),
        lone,
        lone_at: loneAt,
        lone_share: loneShare,
        token: chosen === null ? null : data.tokens[chosen],
        position: data.positions[chosen],
        norm: data.norm(row, chosen),
        kept: data.at(shows, row, chosen, 3),
      });
    this.sentence.textContent = text(point);
    const start = shows === "paths" ? sayEmbedding("squares_before_the_first") : "";
    this.readout.replaceChildren(
      element(
        "span.tl-quiet",
        start +
          (this.chosen === null
            ? sayEmbedding("close_in_this_picture", { one: data.one })
            : sayEmbedding("escape_frees_the", { one: data.one })),
      ),
    );
    this.root.classList.toggle("tl-locked", this.chosen !== null);
    this.root.dataset.selected = this.chosen === null ? "" : String(data.tokenOf(this.chosen));
    this.root.dataset.row = String(row);
    const label = sayEmbedding("a_cloud_of_points", {
      n: data.n,
      text: text(this.chosen),
      one: data.one,
    });
    this.space.ariaLabel = label;
    this.flat.ariaLabel = label;
  }

  pictures() {
    const canvas = element("canvas");
    drawFlat(canvas, this.scene, 1000);
    return [{ canvas, title: WAYS[this.shows][1] }];
  }
}

export default mounted(EmbeddingViewer, "embeddings");
