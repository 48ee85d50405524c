// The map of a long text: wheel, drag and keys move and zoom it, Shift marks a part of it.

import { button, menu } from "../shared/controls.js";
import { element, onceAFrame, taken } from "../shared/dom.js";
import { legend } from "./scale.js";
import { LongCanvas } from "./long_canvas.js";
import { sightWithin, tilesHolding, wholeSight, zoomedSight } from "./zoom.js";

const STEP = 2; // of a key or a button
const MOVED = 4; // pixels from which a press is a drag

/** @typedef {ReturnType<LongCanvas["cellOf"]>} Cell */

/**
 * @typedef {object} LongDoes
 * @property {(cell: Cell | null) => void} hover
 * @property {(cell: Cell) => void} pick
 * @property {(a: [number, number], b: [number, number]) => void} brush queries and keys are marked
 * @property {(sight: import("./zoom.js").Sight) => void} moved
 * @property {(rows: string) => void} rows are to be of tokens, sentences or paragraphs
 */

export class LongMap {
  /** @param {LongDoes} does @param {AbortSignal} signal */
  constructor(does, signal) {
    this.does = does;
    this.signal = signal;
    this.canvas = element("canvas", { role: "application", tabindex: 0, class: "tl-map tl-long-map", "data-part": "map" });
    this.overview = element("canvas", { class: "tl-overview", "aria-hidden": "true", "data-part": "overview", title: "The whole map; a click goes there" });
    this.drawing = new LongCanvas(this.canvas, this.overview);
    /** @type {import("./state.js").Spot | null} */
    this.pointed = null;
    /** @type {import("./state.js").Spot | null} */
    this.selected = null;
    /** @type {import("./between.js").Block | null} */
    this.block = null;
    this.legend = element("div", { class: "tl-legend", "data-part": "legend" });
    this.note = element("p", { class: "tl-hint", "data-part": "map-note" });
    this.busy = element("div", { class: "tl-busy", "data-part": "busy", hidden: true });
    this.title = element("b", { "data-part": "map-title" }, "Map");
    const zoom = element("span", { class: "tl-step", role: "group", "aria-label": "Zoom" },
      button("−", "zoom-out", () => this.zoom(STEP), "Farther (−)"),
      button("+", "zoom-in", () => this.zoom(1 / STEP), "Nearer (+)"),
      button("all", "zoom-all", () => this.look(wholeSight(this.scene.size)), "The whole map (0)"));
    this.rows = menu("What a row and a column stand for", "rows", [], (value) => does.rows(value));
    this.heading = element("p", { class: "tl-heading" }, this.title, " ",
      element("span", { class: "tl-quiet" }, "row looks at column"), element("span", { class: "tl-long-tools" }, this.rows.root, zoom));
    this.foot = element("div", { class: "tl-map-foot tl-long-foot" }, this.overview, this.legend);
    this.said = element("div", { class: "tl-map-said" }, this.note);
    this.box = element("div", { class: "tl-map-box" }, element("figure", { class: "tl-tile" }, this.canvas), this.busy);
    this.root = element("section", { class: "tl-panel tl-panel-map", "aria-label": "Map" },
      this.heading, this.box, this.foot, this.said);
    this.soon = onceAFrame(() => this.#show());
    this.#listen();
  }

  #listen() {
    const listen = (target, name, heard, more = {}) => target.addEventListener(name, heard, { signal: this.signal, ...more });
    listen(this.canvas, "wheel", (event) => this.#wheel(event), { passive: false });
    listen(this.canvas, "pointerdown", (event) => this.#pressed(event));
    listen(this.canvas, "pointermove", (event) => this.#moved(event));
    for (const name of ["pointerup", "pointercancel"]) listen(this.canvas, name, (event) => this.#released(event));
    listen(this.canvas, "pointerleave", () => this.does.hover(null));
    listen(this.canvas, "keydown", (event) => this.#key(event));
    listen(this.canvas, "blur", () => {
      this.cursor = null;
      this.mark();
    });
    for (const name of ["pointerdown", "pointermove"]) {
      listen(this.overview, name, (event) => {
        if (!(event.buttons & 1) || !this.scene) return;
        const { size, sight } = this.scene;
        const per = Math.max(size.queries, size.keys) / Math.max(this.overview.clientWidth, this.overview.clientHeight);
        this.look({ ...sight, query: event.offsetY * per - sight.tokens / 2, key: event.offsetX * per - sight.tokens / 2 });
      });
    }
  }

  // ---- moving ---------------------------------------------------------------------------------

  /** @param {import("./zoom.js").Sight} sight */
  look(sight) {
    if (!this.scene) return;
    this.scene.sight = sightWithin(sight, this.scene.size);
    this.does.moved(this.scene.sight);
    this.soon();
  }

  /** @param {number} factor @param {{query: number, key: number}} [about] by default the cursor, what is selected, or the middle */
  zoom(factor, about) {
    if (!this.scene) return;
    const { sight, size } = this.scene;
    const middle = { query: sight.query + sight.tokens / 2, key: sight.key + sight.tokens / 2 };
    const spot = this.cursor ?? this.selected;
    const seen = spot && spot.query >= sight.query && spot.query < sight.query + sight.tokens && spot.key >= sight.key && spot.key < sight.key + sight.tokens;
    this.look(zoomedSight(sight, factor, about ?? (seen ? { query: spot.query + 0.5, key: spot.key + 0.5 } : middle), size));
  }

  /** Move so that a token of each side is seen. @param {{query: number | null, key: number | null}} spot */
  reveal(spot) {
    if (!this.scene) return;
    const { sight } = this.scene;
    const begin = (at, from) => (at === null || (at >= from && at < from + sight.tokens - 0.5) ? from : at - sight.tokens / 2);
    const next = { ...sight, query: begin(spot.query, sight.query), key: begin(spot.key, sight.key) };
    if (next.query !== sight.query || next.key !== sight.key) this.look(next);
  }

  /** @returns {[number, number]} */
  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #wheel(event) {
    if (!this.scene) return;
    const { sight, size } = this.scene;
    const out = event.deltaY > 0;
    if (!event.deltaY || (out && sight.tokens >= Math.max(size.queries, size.keys))) return; // the page scrolls on
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 33 : 1;
    const by = Math.max(-240, Math.min(240, event.deltaY * lines));
    this.zoom(2 ** (by / 200), this.drawing.tokenAt(...this.#place(event)));
  }

  #pressed(event) {
    if (event.button || !this.scene) return;
    const [x, y] = this.#place(event);
    this.press = { x, y, sight: this.scene.sight, from: this.drawing.at(x, y), brush: event.shiftKey, moved: false };
  }

  #moved(event) {
    const [x, y] = this.#place(event);
    const { press } = this;
    if (!press || !(event.buttons & 1)) {
      this.press = null;
      return this.does.hover(this.drawing.at(x, y));
    }
    if (event.pointerType === "touch" && !press.brush) return; // a finger scrolls the page
    if (!press.moved && Math.hypot(x - press.x, y - press.y) < MOVED) return;
    press.moved = true;
    this.canvas.setPointerCapture(event.pointerId);
    if (press.brush) {
      this.draft = this.#between(press.from, this.drawing.cellOf(...this.#inside(x, y)));
      return this.mark();
    }
    const { per } = this.drawing.frame;
    this.look({ ...press.sight, query: press.sight.query - (y - press.y) / per, key: press.sight.key - (x - press.x) / per });
  }

  /** @returns {[number, number]} */
  #inside(x, y) {
    const { query, key } = this.drawing.tokenAt(x, y);
    const { sight, size } = this.scene;
    const within = (at, from, count) => Math.max(from, Math.min(count - 1, from + sight.tokens - 1e-6, at));
    return [within(query, sight.query, size.queries), within(key, sight.key, size.keys)];
  }

  #between(one, other) {
    if (!one) return null;
    /** @returns {import("./between.js").Span} */
    const span = (side, count) => [Math.min(one[side], other[side]), Math.max(one[side] + one[count], other[side] + other[count])];
    return { a: span("query", "queries"), b: span("key", "keys") };
  }

  #released(event) {
    const { press } = this;
    this.press = null;
    if (!press || event.type === "pointercancel") return;
    if (!press.moved) {
      const cell = this.drawing.at(...this.#place(event));
      if (cell) this.does.pick(cell);
      return;
    }
    this.#brushed();
  }

  #brushed() {
    const { draft } = this;
    this.draft = null;
    if (draft) this.does.brush(draft.a, draft.b);
  }

  #key(event) {
    if (!this.scene) return;
    const { sight, size } = this.scene;
    const { level } = this.drawing;
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0] };
    const done = () => {
      taken(event);
    };
    if (event.key === "+" || event.key === "=") return done(), this.zoom(1 / STEP);
    if (event.key === "-" || event.key === "−") return done(), this.zoom(STEP);
    if (event.key === "0") return done(), this.look(wholeSight(size));
    const start = this.cursor ?? this.#start(sight, size);
    if (event.key === "Enter" || event.key === " ") {
      done();
      if (this.draft) return this.#brushed();
      return this.does.pick(this.drawing.cellOf(start.query, start.key));
    }
    if (event.key === "Escape" && this.draft) {
      done();
      this.draft = null;
      return this.mark();
    }
    const step = steps[event.key];
    if (!step) return;
    done();
    const within = (at, count) => Math.max(0, Math.min(count - 1, at));
    if (event.shiftKey && !this.draft) this.brushFrom = this.drawing.cellOf(start.query, start.key);
    const moved = this.cursor ? step : event.shiftKey ? step : [0, 0]; // the first arrow only shows where the cursor stands
    this.cursor = {
      query: within(start.query + moved[0] * 2 ** level, size.queries), key: within(start.key + moved[1] * 2 ** level, size.keys),
    };
    const cell = this.drawing.cellOf(this.cursor.query, this.cursor.key);
    this.draft = event.shiftKey ? this.#between(this.brushFrom, cell) : null;
    this.does.hover(cell);
    this.reveal(this.cursor);
    this.mark();
  }

  /** Where the cursor of the keys begins. */
  #start(sight, size) {
    const { selected } = this;
    if (selected && selected.query !== null && selected.key !== null) return { ...selected };
    const middle = (from, count) => Math.floor(Math.min(count - 1, from + sight.tokens / 2));
    return { query: middle(sight.query, size.queries), key: middle(sight.key, size.keys) };
  }

  // ---- drawing --------------------------------------------------------------------------------

  /** @param {import("./long_canvas.js").LongScene & {fixed: boolean, notes: string[], measure: string, valueWeighted: boolean, clipped: boolean}} scene */
  draw(scene) {
    this.scene = { ...scene, sight: sightWithin(scene.sight, scene.size) };
    this.legend.replaceChildren(...legend(scene.table, scene.end, scene.valueWeighted, scene.clipped, false, scene.measure));
    this.#show();
  }

  #show() {
    const { scene, drawing } = this;
    if (!scene) return;
    const { box } = this;
    box.style.maxHeight = "";
    drawing.show(scene, Math.max(200, box.clientWidth), scene.fixed ? Math.max(120, box.clientHeight) : 500);
    box.style.maxHeight = scene.fixed && box.clientHeight ? `${drawing.height + 2}px` : ""; // what its colours mean follows at once
    const { level } = drawing;
    const tiles = tilesHolding(drawing.cells, scene.size.tile).map(([row, column]) => /** @type {[number, number, number]} */ ([level, row, column]));
    const coming = level < scene.pyramid.info.level && scene.pyramid.want(tiles, () => this.#arrived());
    this.mark();
    this.#say(coming);
  }

  #arrived() {
    if (this.signal.aborted || !this.scene) return;
    this.drawing.paint();
    this.mark();
    this.#say(this.drawing.coarse && this.scene.pyramid.wanted?.length > 0);
  }

  #say(coming) {
    const { scene, drawing } = this;
    const { sight, size } = scene;
    const cell = 2 ** drawing.level;
    const notes = [];
    if (cell > 1) notes.push(`Each point is the largest of ${cell} × ${cell} weights, so that none is lost.`);
    const last = (from, count) => Math.ceil(Math.min(count, from + sight.tokens)) - 1;
    if (sight.tokens < Math.max(size.queries, size.keys)) {
      notes.push(`Rows ${Math.floor(sight.query)}–${last(sight.query, size.queries)}, columns ${Math.floor(sight.key)}–${last(sight.key, size.keys)}.`);
    }
    if (coming) notes.push("Finer points are on their way.");
    else if (drawing.coarse) notes.push("Finer points are not here: coarser ones stand for them.");
    this.note.textContent = [...notes, ...scene.notes].join(" ");
  }

  /** What is pointed at, selected and marked. */
  mark() {
    if (!this.scene) return;
    const { cursor, drawing } = this;
    const at = cursor ? drawing.cellOf(cursor.query, cursor.key) : this.pointed;
    drawing.mark(at ?? null, this.selected ?? null, this.draft ?? this.block ?? null);
  }
}
