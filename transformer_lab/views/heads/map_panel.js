// The chosen head as a map: its canvas, its legend, and the visible window. Wheel, drag and keys
// move and zoom it, Shift marks a part of it.

import { button, menu } from "../shared/controls.js";
import {
  element,
  hearPointer,
  listen,
  moveOf,
  onceAFrame,
  pixelRatio,
  pointWithin,
  say,
  sizedContext,
  taken,
} from "../shared/dom.js";
import { paintBlocked, shade, signedShade } from "../shared/colours.js";
import { tilesOf } from "../shared/map_frame.js";
import { colourCells, MatrixMap, pixelsIn } from "../marks/matrix.js";
import { Room } from "../shared/screen.js";
import { legend, sayHeads } from "./scale.js";

const TILES_HEIGHT = 640; // of several maps, if the page may grow
const FEWEST_TOKENS = 8; // across, at the highest zoom
const ZOOMED_FROM = 40; // tokens; longer texts can be zoomed
const STEP = 2; // zoom factor of a key or a button
const MOVED = 4; // pixels from which a press is a drag
const SETTLED = 250; // ms without a move, after which the window is saved and lines are fetched
const OVERVIEW = 56;

/**
 * @typedef {import("../shared/map_frame.js").Spot} Spot
 * @typedef {{query: number, key: number, tokens: number}} Window the first visible query and key,
 *   and how many of each are visible; not always whole numbers
 * @typedef {[import("./between.js").Span, import("./between.js").Span]} Bounds the queries and keys
 *   that can be shown
 *
 * @typedef {object} MapScene
 * @property {(query: number) => Float32Array} [rowOf] as in `MatrixMap.show`, with pixels and valueAt
 * @property {any} [pixels]
 * @property {any} [valueAt]
 * @property {((part: any, level: number, here: () => void) => boolean)} [want] requests what is
 *   missing of a part; returns whether some is still to arrive
 * @property {boolean} [cheap]
 * @property {((query: number) => number) | null} nothing weight to no key, shown as one more column
 * @property {Bounds} bounds
 * @property {{width: number, height: number, shades: Uint8Array} | null} [small] thumbnail of the
 *   whole map: indices into the table
 * @property {string} [of] what rows and columns are, if not tokens
 * @property {string[]} queries
 * @property {string[]} keys
 * @property {boolean} causal
 * @property {number} offset keys before the first query
 * @property {Uint8Array | null} hidden
 * @property {number} end of the scale
 * @property {boolean} clipped
 * @property {string} measure what colours mean
 * @property {Uint8ClampedArray} table
 * @property {any} inks
 * @property {boolean} signed
 * @property {import("./state.js").Spot[]} cuts
 * @property {string} caption what the numbers are
 * @property {boolean} [fixed] whether the height is fixed rather than that of the content
 * @property {string} [layout] arrangement of the panels
 * @property {ReturnType<import("./pins.js").Pins["scenes"]>} beside maps of other heads
 *
 * @typedef {object} MapDoes
 * @property {(at: Spot | null) => void} hover
 * @property {(at: Spot) => void} pick
 * @property {(move: [number, number]) => void} step a key moves the selection
 * @property {(a: import("./between.js").Span, b: import("./between.js").Span) => void} brush
 *   queries and keys have been marked
 * @property {() => void} moved the window has changed, and the reader has stopped moving
 */

const sidesOf = ([a, b]) => [a[1] - a[0], b[1] - b[0]];

/** @param {Bounds} bounds @returns {Window} */
export const wholeWindow = (bounds) => ({
  query: bounds[0][0],
  key: bounds[1][0],
  tokens: Math.max(...sidesOf(bounds)),
});

/** The window, moved and resized to lie within the bounds. @param {Window} window @param {Bounds} bounds @returns {Window} */
export function windowWithin(window, bounds) {
  const most = Math.max(...sidesOf(bounds));
  const tokens = Math.max(Math.min(FEWEST_TOKENS, most), Math.min(most, window.tokens));
  const begin = (from, [first, end]) =>
    Math.max(first, Math.min(Math.max(first, end - tokens), from));
  return { query: begin(window.query, bounds[0]), key: begin(window.key, bounds[1]), tokens };
}

/**
 * Zoom a window so that `at` stays in place.
 * @param {Window} window
 * @param {number} factor of the number of visible tokens
 * @param {{query: number, key: number}} at
 * @param {Bounds} bounds
 */
export function zoomedWindow(window, factor, at, bounds) {
  const { tokens } = windowWithin({ ...window, tokens: window.tokens * factor }, bounds);
  const by = tokens / window.tokens;
  return windowWithin(
    {
      query: at.query - (at.query - window.query) * by,
      key: at.key - (at.key - window.key) * by,
      tokens,
    },
    bounds,
  );
}

/** The whole tokens that a window shows. @param {Window} window @param {Bounds} bounds @returns {import("../shared/map_frame.js").Part} */
export function partOf({ query, key, tokens }, bounds) {
  const seen = (from, [first, end]) => {
    const count = Math.min(Math.round(tokens), end - first);
    return [Math.max(first, Math.min(end - count, Math.round(from))), count];
  };
  const [[q, queries], [k, keys]] = [seen(query, bounds[0]), seen(key, bounds[1])];
  return { query: q, key: k, queries, keys };
}

export class MapPanel {
  /** @param {import("./state.js").HeadState} state @param {MapDoes} on @param {import("../shared/shell.js").Shell} shell */
  constructor(state, on, { signal, redraw }) {
    this.state = state;
    this.on = on;
    this.signal = signal;
    this.canvas = element("canvas.tl-map#map", { role: "application", tabindex: 0 });
    this.map = new MatrixMap(this.canvas, signal, {
      hover: (at) => this.press?.moved || on.hover(at),
      pick: (at) => this.#clicked(at),
    });
    this.overview = element("canvas.tl-overview#overview", {
      "aria-hidden": "true",
      title: sayHeads("the_whole_map_a"),
    });
    this.legend = element("div.tl-legend#legend");
    this.note = element("p.tl-hint#map-note");
    this.busy = element("div.tl-busy#busy", { hidden: true });
    this.title = element("b#map-title", sayHeads("map_label"));
    this.zoomButtons = element(
      "span.tl-joined",
      { role: "group", "aria-label": sayHeads("zoom") },
      button("−", "zoom-out", sayHeads("farther"), () => this.zoom(STEP)),
      button("+", "zoom-in", sayHeads("nearer"), () => this.zoom(1 / STEP)),
      button(sayHeads("all"), "zoom-all", sayHeads("the_whole_map"), () => this.look(this.whole)),
    );
    this.rows = menu(sayHeads("what_a_row_and"), "rows", [], (rows) => state.option({ rows }));
    this.heading = element(
      "p.tl-heading",
      this.title,
      " ",
      element("span.tl-quiet", sayHeads("row_attends_to_column")),
      element("span.tl-zoom", this.rows.root, this.zoomButtons),
    );
    this.chosen = element("figure.tl-tile", this.canvas);
    this.box = element("div.tl-map-box", this.chosen, this.busy);
    /** The part below the map: the legend and, added by a view, the number under the pointer. */
    this.foot = element("div.tl-map-foot", this.overview, this.legend);
    this.said = element("div.tl-map-said", this.note);
    this.root = element(
      "section.tl-panel.tl-panel-map",
      { "aria-label": sayHeads("map_label") },
      this.heading,
      this.box,
      this.foot,
      this.said,
    );
    this.room = new Room(this.box, [this.root, this.foot, this.said], signal, () => redraw());
    /** The spots pointed at and locked. @type {[Spot | null, Spot | null]} */
    this.marked = [null, null];
    this.soon = onceAFrame(() => {
      if (!this.scene || signal.aborted) return;
      this.#drawAll();
      this.mark(...this.marked);
    });
    this.#listen();
  }

  #listen() {
    const { canvas, overview, signal } = this;
    listen(canvas, "wheel", signal, (event) => this.#wheel(event), { passive: false });
    listen(canvas, "pointerdown", signal, (event) => this.#pressed(event));
    listen(canvas, "pointermove", signal, (event) => this.#dragged(event));
    listen(canvas, "pointerup pointercancel", signal, (event) => this.#released(event));
    listen(canvas, "keydown", signal, (event) => this.#key(event));
    listen(canvas, "blur", signal, () => this.#point(null));
    const there = (x, y) => {
      const per = this.whole.tokens / Math.max(overview.clientWidth, overview.clientHeight);
      const { query, key } = this.whole;
      return {
        query: query + y * per - this.window.tokens / 2,
        key: key + x * per - this.window.tokens / 2,
      };
    };
    const go = (at) => this.look({ ...this.window, ...at });
    let pressed = false;
    listen(overview, "pointermove", signal, (event) => (pressed = Boolean(event.buttons & 1)));
    hearPointer(overview, signal, there, { hover: (at) => at && pressed && go(at), pick: go });
  }

  /** Start again for another text or kind, with other choices of rows. @param {string[]} groups */
  restart(groups = []) {
    this.key = undefined;
    this.rows.root.replaceChildren(
      ...["tokens", ...groups].map((value) => element("option", { value }, value)),
    );
    this.rows.root.hidden = !groups.length;
  }

  // ---- the window -----------------------------------------------------------------------------

  /** The window of the whole map. */
  get whole() {
    return wholeWindow(this.scene.bounds);
  }

  get zoomed() {
    return this.window.tokens < this.whole.tokens;
  }

  get part() {
    return partOf(this.window, this.scene.bounds);
  }

  /** The window as an option's value; null for the whole map. */
  #window() {
    const { query, key, tokens } = this.window;
    return this.zoomed ? [query, key, tokens].map((x) => Math.round(x * 100) / 100) : null;
  }

  /** Change the window if the map is another one, or if something else has set the option. */
  #follow() {
    const { bounds, of = "" } = this.scene;
    const key = JSON.stringify([bounds, of]);
    const given = of ? null : (this.state.options.window ?? null);
    const news = JSON.stringify(given);
    if (key === this.key && (of || news === this.news))
      return void (this.window = windowWithin(this.window, bounds));
    [this.key, this.news] = [key, news];
    const window =
      given && windowWithin({ query: given[0], key: given[1], tokens: given[2] }, bounds);
    this.window =
      window &&
      given.every((x, i) => Math.abs(x - [window.query, window.key, window.tokens][i]) < 0.01)
        ? window
        : this.whole;
  }

  /** @param {Window} window */
  look(window) {
    if (!this.scene) return;
    this.window = windowWithin(window, this.scene.bounds);
    this.soon();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.signal.aborted) return;
      const window = this.#window();
      if (!this.scene.of && JSON.stringify(window) !== this.news) {
        this.news = JSON.stringify(window);
        this.state.option({ window });
      }
      this.on.moved();
    }, SETTLED);
  }

  /** @param {number} factor @param {{query: number, key: number}} [about] by default the cursor, the selection, or the middle */
  zoom(factor, about) {
    if (!this.scene || !this.zoomable) return;
    const { query, key, tokens } = this.window;
    const spot = this.cursor ?? this.marked[1];
    const seen = spot && this.#seen(spot) && spot.query !== null && spot.key !== null;
    const middle = seen
      ? { query: spot.query + 0.5, key: spot.key + 0.5 }
      : { query: query + tokens / 2, key: key + tokens / 2 };
    this.look(zoomedWindow(this.window, factor, about ?? middle, this.scene.bounds));
  }

  #seen(spot) {
    const { query, key, queries, keys } = this.part;
    const inside = (at, from, count) => at === null || (at >= from && at < from + count);
    return inside(spot.query, query, queries) && inside(spot.key, key, keys);
  }

  /** Move the window so that a spot is visible. @param {Spot} spot */
  #reveal(spot) {
    if (!this.zoomed || this.#seen(spot)) return;
    const { part } = this;
    const { query, key, tokens } = this.window;
    const begin = (at, from, first, count) =>
      at === null || (at >= first && at < first + count) ? from : at - tokens / 2;
    const next = windowWithin(
      {
        query: begin(spot.query, query, part.query, part.queries),
        key: begin(spot.key, key, part.key, part.keys),
        tokens,
      },
      this.scene.bounds,
    );
    if (next.query !== query || next.key !== key) this.look(next);
  }

  // ---- what the reader does -------------------------------------------------------------------

  /** Position of a pointer in the map, in tokens. */
  #tokenAt(event) {
    const [x, y] = pointWithin(event, this.canvas);
    const { frame } = this.map;
    const { part } = this.map.scene;
    return {
      query: part.query + (y - frame.top) / frame.cell,
      key: part.key + (x - frame.left) / frame.cell,
    };
  }

  /** The cell at a position, or the nearest visible one. */
  #cellNear({ query, key }) {
    const { part } = this;
    const within = (at, from, count) => Math.max(from, Math.min(from + count - 1, Math.floor(at)));
    return this.map.cellOf({
      query: within(query, part.query, part.queries),
      key: within(key, part.key, part.keys),
    });
  }

  #wheel(event) {
    const out = event.deltaY > 0;
    if (!this.scene || !this.zoomable || !event.deltaY || (out && !this.zoomed)) return; // let the page scroll
    event.preventDefault();
    const by = Math.max(-240, Math.min(240, event.deltaY * (event.deltaMode === 1 ? 33 : 1)));
    this.zoom(2 ** (by / 200), this.#tokenAt(event));
  }

  #pressed(event) {
    this.press = null;
    this.dragEnds = false;
    if (event.button || !this.scene) return;
    const [x, y] = [event.clientX, event.clientY];
    this.press = {
      x,
      y,
      at: this.map.at(...pointWithin(event, this.canvas)),
      window: this.window,
      from: this.#cellNear(this.#tokenAt(event)),
      brush: event.shiftKey,
      moved: false,
      down: true,
    };
  }

  /** Handle a click. Its position comes in whole pixels, so that of the press is more exact. */
  #clicked(at) {
    const { press } = this;
    this.press = null;
    if (!this.dragEnds) this.on.pick(press?.at ?? at);
  }

  #dragged(event) {
    const { press } = this;
    if (!press?.down || !(event.buttons & 1)) return void (this.press = null);
    if (event.pointerType === "touch" && !press.brush) return; // a finger scrolls the page
    const [x, y] = [event.clientX - press.x, event.clientY - press.y];
    if (!press.moved && (Math.hypot(x, y) < MOVED || !(press.brush || this.zoomed))) return;
    press.moved = true;
    this.canvas.setPointerCapture(event.pointerId);
    if (press.brush)
      return this.#point(null, spanned(press.from, this.#cellNear(this.#tokenAt(event))));
    const { cell } = this.map.frame;
    this.look({
      ...press.window,
      query: press.window.query - y / cell,
      key: press.window.key - x / cell,
    });
  }

  #released(event) {
    if (!this.press) return;
    this.press.down = false;
    this.dragEnds = this.press.moved; // ignore the click that follows, even if a move comes before it
    if (event.type !== "pointercancel") this.#brushed();
  }

  #brushed() {
    const { draft } = this;
    this.#point(null);
    if (draft)
      this.on.brush(
        [draft.query, draft.query + draft.queries],
        [draft.key, draft.key + draft.keys],
      );
  }

  /** Set the cursor of the keys, and the part about to be marked. @param {Spot | null} cursor @param {Spot | null} [draft] */
  #point(cursor, draft = null) {
    if (!cursor && !draft && !this.cursor && !this.draft) return;
    this.cursor = cursor;
    this.draft = draft;
    if (cursor) this.on.hover(this.map.cellOf(cursor));
    this.mark(...this.marked);
  }

  #key(event) {
    if (!this.scene) return;
    const factor = { "+": 1 / STEP, "=": 1 / STEP, "-": STEP, "−": STEP }[event.key];
    if (this.zoomable && (factor || event.key === "0")) {
      taken(event);
      return factor ? this.zoom(factor) : this.look(this.whole);
    }
    if (event.key === "Escape" && this.draft) {
      taken(event);
      return this.#point(null);
    }
    const single = !this.map.level && !this.scene.of; // cells are single weights, which keys choose directly
    const [, selected] = this.marked;
    const start =
      this.cursor ??
      (selected && selected.query !== null && selected.key !== null
        ? selected
        : this.#cellNear({
            query: this.part.query + this.part.queries / 2,
            key: this.part.key + this.part.keys / 2,
          }));
    if (event.key === "Enter" || event.key === " ") {
      taken(event);
      if (this.draft) return this.#brushed();
      if (!single) return this.on.pick(this.map.cellOf(start));
      return selected ? undefined : this.on.step([0, 0]); // arrows have locked the cell already
    }
    const move = moveOf(event);
    if (!move) return;
    if (single && !event.shiftKey) {
      this.#point(null);
      return this.on.step(move);
    }
    const [a, b] = this.scene.bounds;
    const to = (at, by, [first, end]) =>
      Math.max(first, Math.min(end - 1, at + by * 2 ** this.map.level));
    const moved = this.cursor || event.shiftKey ? move : [0, 0]; // the first arrow only shows the cursor
    const cursor = { query: to(start.query, moved[0], a), key: to(start.key, moved[1], b) };
    if (event.shiftKey && !this.draft) this.brushFrom = this.map.cellOf(start);
    this.#point(cursor, event.shiftKey ? spanned(this.brushFrom, this.map.cellOf(cursor)) : null);
    this.#reveal(cursor);
  }

  // ---- drawing --------------------------------------------------------------------------------

  /** Draw the map; marks are drawn by the next call of `mark`. @param {MapScene} scene */
  draw(scene) {
    this.scene = scene;
    this.#follow();
    this.zoomable = this.whole.tokens > ZOOMED_FROM;
    this.zoomButtons.hidden = this.overview.hidden = !this.zoomable;
    this.rows.set(scene.of ?? "tokens");
    const parts = legend(
      scene.table,
      scene.end,
      this.state.valueWeighted && !scene.of,
      scene.clipped,
      scene.signed,
      scene.measure,
    );
    if (!this.legend.firstChild) this.legend.replaceChildren(...parts); // so that its room is taken
    this.#drawAll();
    this.legend.replaceChildren(...parts);
  }

  #drawAll() {
    this.#drawPart();
    const { fixed } = this.scene;
    // The notes below may have grown by a line.
    if (fixed && this.#room.height !== this.given) this.#drawPart();
    this.room.take(fixed && this.#room.height ? this.high + 2 : null); // the legend follows directly below
    if (this.zoomable) this.#drawOverview();
    this.#fetch();
  }

  /** The room for maps. */
  get #room() {
    const { fixed = false, layout } = this.scene;
    return this.room.of(fixed, layout, this.said.textContent);
  }

  #drawPart() {
    const { end, table, inks, fixed, beside } = this.scene;
    this.drawn = this.window;
    const scene = {
      ...this.scene,
      part: this.part,
      largest: end,
      table,
      colours: inks,
      unmarked: true,
    };
    this.#arrange(beside);
    const room = this.#room;
    this.given = room.height;
    const [width, height] = [
      Math.max(200, room.width),
      fixed ? Math.max(90, room.height) : Infinity,
    ];
    if (beside.length) this.#sideBySide(scene, beside, width, height);
    else this.map.show(width, 470, scene, height);
    if (!beside.length) this.high = this.map.height;
    this.#say();
  }

  #say() {
    const { caption, causal, offset, queries, keys } = this.scene;
    const { part, map } = this;
    const side = 2 ** map.level;
    const notes = [caption];
    if (side > 1) notes.push(sayHeads("each_point_is_the", { side }));
    if (causal && part.key + part.keys - 1 > part.query + offset)
      notes.push(sayHeads("grey_later_tokens_which"));
    if (map.sampled) notes.push(sayHeads("not_every_row_fits"));
    if (part.keys < keys.length || part.queries < queries.length) {
      notes.push(
        sayHeads("queries_keys_of", {
          query: part.query,
          n: part.query + part.queries - 1,
          key: part.key,
          n2: part.key + part.keys - 1,
          keys: keys.length,
        }),
      );
    }
    if (this.coming) notes.push(sayHeads("finer_points_are_on"));
    else if (map.coarse) notes.push(sayHeads("finer_points_are_not"));
    say(this.note, notes.filter(Boolean).join(" "));
  }

  /** Every map in the box with its scene. @returns {[MatrixMap, any][]} */
  get #maps() {
    return [
      [this.map, this.scene],
      .../** @type {[MatrixMap, any][]} */ (this.scene.beside.map((one) => [one.tile.map, one])),
    ];
  }

  /** Request what is not loaded yet. */
  #fetch() {
    const arrived = (map) => {
      if (this.signal.aborted || !this.#maps.some(([one]) => one === map)) return;
      map.repaint();
      this.coming = map === this.map && map.coarse && this.coming;
      this.#say();
      this.mark(...this.marked);
    };
    this.coming = this.#maps
      .map(([map, { want }]) => want?.(this.part, map.level, () => arrived(map)))
      .some(Boolean);
    if (this.coming) this.#say();
  }

  /** Put exactly these maps into the box; those that stay are not moved, and keep the focus. */
  #arrange(beside) {
    const roots = [this.chosen, ...beside.map(({ tile }) => tile.root), this.busy];
    for (const other of [...this.box.children]) if (!roots.includes(other)) other.remove();
    roots.forEach((root, i) => {
      if (this.box.children[i] !== root) this.box.insertBefore(root, this.box.children[i] ?? null);
    });
    this.box.classList.toggle("tl-side-by-side", beside.length > 0);
  }

  /** Draw several maps at one scale, with cells of one size. */
  #sideBySide(scene, beside, width, height) {
    const scenes = [
      scene,
      ...beside.map(({ tile, ...one }) => ({
        ...scene,
        rowOf: undefined,
        pixels: undefined,
        valueAt: undefined,
        ...one,
      })),
    ];
    const sinks = scenes.find(({ nothing }) => nothing);
    const room = this.map.room(sinks ?? scene, width, height < Infinity ? height : TILES_HEIGHT);
    const { columns, tiles, height: high } = tilesOf(scene.part, room, scenes.length);
    this.high = high;
    this.box.style.setProperty("--tl-columns", String(columns));
    this.#maps.forEach(([map], i) => {
      const { frame, width: wide } = tiles[i];
      map.place(scenes[i], scenes[i].nothing ? frame : { ...frame, beside: null }, wide);
      map.canvas.parentElement.style.setProperty("--tl-wide", `${frame.left + frame.width}px`);
    });
  }

  /** Draw the whole map, small, with the window in it. */
  #drawOverview() {
    const { scene, whole, window } = this;
    const ratio = pixelRatio();
    const per = (OVERVIEW * ratio) / whole.tokens;
    const part = partOf(whole, scene.bounds);
    const [width, height] = [part.keys, part.queries].map((count) =>
      Math.max(1, Math.round(count * per)),
    );
    if (this.overviewOf !== scene) {
      const { shades } = scene.small ?? {};
      const small = scene.small ?? pixelsIn(scene, part, width, height);
      const place = scene.signed ? signedShade : shade;
      this.small = document.createElement("canvas");
      colourCells(
        this.small,
        small,
        scene.table,
        shades ? (i) => shades[i] : (i) => place(small.values[i], scene.end),
      );
      this.overviewOf = scene;
    }
    const context = sizedContext(this.overview, width / ratio, height / ratio);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.small, 0, 0, width, height);
    if (scene.causal) {
      const reach = (query) => Math.max(0, query + 1 + scene.offset - part.key) * per;
      const [first, last] = [reach(part.query), reach(part.query + part.queries - 1)];
      context.beginPath();
      for (const [i, [a, b]] of [
        [first, 0],
        [Math.max(first, width), 0],
        [Math.max(last, width), height],
        [last, height],
      ].entries())
        i ? context.lineTo(a, b) : context.moveTo(a, b);
      paintBlocked(context, scene.inks);
    }
    for (const [ink, line] of [
      [scene.inks.ground, 4],
      [scene.inks.accent, 2],
    ]) {
      context.strokeStyle = ink;
      context.lineWidth = line * ratio;
      const least = 4 * ratio; // so that it is visible
      context.strokeRect(
        (window.key - whole.key) * per,
        (window.query - whole.query) * per,
        Math.max(least, window.tokens * per),
        Math.max(least, window.tokens * per),
      );
    }
  }

  /** Mark the spots pointed at and locked, and bring a newly locked cell into view. @param {Spot | null} hover @param {Spot | null} selected */
  mark(hover, selected) {
    const { map, scene } = this;
    this.revealed &&= selected && JSON.stringify(selected) === JSON.stringify(this.marked[1]);
    this.marked = [hover, selected];
    if (!scene) return;
    if (selected && !hover && !this.revealed) {
      this.revealed = true; // once: then the reader may move elsewhere
      this.#reveal(selected);
    }
    map.mark(this.cursor ? map.cellOf(this.cursor) : hover, selected, this.draft ?? null);
    for (const { tile } of scene.beside) tile.map.mark(hover, selected);
    // For scripts and tests: what is visible.
    const { query, key, tokens } = this.drawn;
    Object.assign(this.canvas.dataset, {
      level: String(map.level),
      coarse: String(map.coarse),
      tokens: String(tokens),
      query: String(query),
      key: String(key),
    });
  }
}

/** The rectangle of cells from one to another. @param {Spot} one @param {Spot} other */
function spanned(one, other) {
  const along = (side, count) => {
    const from = Math.min(one[side], other[side]);
    return [
      from,
      Math.max(one[side] + (one[count] ?? 1), other[side] + (other[count] ?? 1)) - from,
    ];
  };
  const [[query, queries], [key, keys]] = [along("query", "queries"), along("key", "keys")];
  return { query, key, queries, keys };
}
