// The chosen head as a map: its canvas, what its colours mean, and which part of it is shown.

import { menu } from "../shared/controls.js";
import { element, say } from "../shared/dom.js";
import { HeatMap } from "../shared/heat_map.js";
import { Room } from "../shared/screen.js";
import { legend, windowFrom } from "./scale.js";
import { tilesOf } from "../shared/map_frame.js";

const TILES_HEIGHT = 640; // of several maps, where the page may grow

/**
 * @typedef {object} MapScene
 * @property {(query: number) => Float32Array} rowOf
 * @property {((query: number) => number) | null} nothing what goes to no key: one more column
 * @property {number} end of the scale
 * @property {boolean} clipped
 * @property {Uint8ClampedArray} table
 * @property {any} inks
 * @property {boolean} signed
 * @property {import("./state.js").Spot[]} cuts
 * @property {string} caption what the numbers are
 * @property {boolean} [fixed] whether the room is given, and not what the map needs
 * @property {string} [layout] how the panels stand
 * @property {ReturnType<import("./pins.js").Pins["scenes"]>} beside maps of other heads
 */

export class MapPanel {
  /** @param {import("./state.js").HeadState} state @param {ConstructorParameters<typeof HeatMap>[1]} on @param {import("../shared/shell.js").Shell} shell */
  constructor(state, on, { signal, redraw }) {
    this.state = state;
    this.from = {};
    this.canvas = element("canvas", { role: "application", tabindex: 0, class: "tl-map", "data-part": "map" });
    this.map = new HeatMap(this.canvas, on, signal);
    this.legend = element("div", { class: "tl-legend", "data-part": "legend" });
    this.note = element("p", { class: "tl-hint", "data-part": "map-note" });
    this.busy = element("div", { class: "tl-busy", "data-part": "busy", hidden: true });
    this.title = element("b", { "data-part": "map-title" }, "Map");
    this.zoom = menu("Tokens shown in the map", "zoom", [
      { value: "0", text: "all tokens" },
      { value: "128", text: "128 tokens" },
      { value: "32", text: "32 tokens" },
    ], (value) => state.option({ zoom: Number(value) }));
    this.heading = element("p", { class: "tl-heading" }, this.title, " ",
      element("span", { class: "tl-quiet" }, "row looks at column"), this.zoom.root);
    this.chosen = element("figure", { class: "tl-tile" }, this.canvas);
    this.box = element("div", { class: "tl-map-box" }, this.chosen, this.busy);
    /** What stands below: what colours mean, and (of a view) the number under the pointer. */
    this.foot = element("div", { class: "tl-map-foot" }, this.legend);
    this.said = element("div", { class: "tl-map-said" }, this.note);
    this.root = element("section", { class: "tl-panel tl-panel-map", "aria-label": "Map" },
      this.heading, this.box,
      this.foot, this.said);
    this.room = new Room(this.box, [this.root, this.foot, this.said], signal, () => redraw());
  }

  /** Another kind: begin where its tokens begin. */
  restart() {
    this.from = {};
  }

  /** The queries and the keys that there are to show, as spans. @returns {import("./between.js").Span[]} */
  get #spans() {
    const { block, kind } = this.state;
    return block ? [block.a, block.b] : [[0, kind.queries], [0, kind.keys]];
  }

  /** @param {MapScene} scene @param {import("./state.js").Spot | null} hover */
  draw(scene, hover) {
    this.scene = scene;
    const { state, options } = { state: this.state, options: this.state.options };
    this.zoom.set(String(options.zoom ?? 0));
    this.zoom.root.hidden = this.#spans.every(([from, to]) => to - from <= 40);
    const told = legend(scene.table, scene.end, state.valueWeighted, scene.clipped, scene.signed, state.kind.measure);
    if (!this.legend.firstChild) this.legend.replaceChildren(...told); // it takes its room
    this.#drawAll(hover);
    this.legend.replaceChildren(...told);
  }

  #drawAll(hover) {
    this.#drawPart(hover);
    const { fixed } = this.scene;
    // What is said below it may have taken a line more.
    if (fixed && this.#room.height !== this.given) this.#drawPart(hover);
    this.room.take(fixed && this.#room.height ? this.high + 2 : null); // what its colours mean follows at once
  }

  /** What there is for maps. */
  get #room() {
    const { fixed = false, layout } = this.scene;
    return this.room.of(fixed, layout, this.said.textContent);
  }

  #drawPart(hover) {
    const { kind, options, hidden, selected } = this.state;
    const { rowOf, nothing, end, table, inks, signed, cuts, caption, fixed, beside } = this.scene;
    const size = options.zoom || Infinity;
    const centre = selected ?? hover ?? { query: 0, key: 0 };
    const [a, b] = this.#spans;
    const begin = ([from, to], middle, before) => from + windowFrom(to - from, size, middle - from, before === undefined ? before : before - from);
    const queryFrom = begin(a, centre.query ?? 0, this.from.query);
    const keyFrom = begin(b, centre.key ?? queryFrom, this.from.key);
    this.from = { query: queryFrom, key: keyFrom };
    const part = {
      query: queryFrom,
      key: keyFrom,
      queries: Math.min(size, a[1] - a[0]),
      keys: Math.min(size, b[1] - b[0]),
    };
    const scene = {
      rowOf, nothing, part, queries: kind.query_tokens, keys: kind.key_tokens, causal: kind.causal,
      offset: kind.all_keys - kind.all_queries, hidden, largest: end, table,
      colours: inks, signed, cuts, unmarked: true,
    };
    this.#arrange(beside);
    const room = this.#room;
    this.given = room.height;
    const [width, height] = [Math.max(200, room.width), fixed ? Math.max(90, room.height) : Infinity];
    if (beside.length) this.#sideBySide(scene, beside, width, height);
    else this.map.show(scene, width, 470, height);
    if (!beside.length) this.high = this.map.height;
    const notes = [caption];
    const ahead = part.key + part.keys - 1 > part.query + kind.all_keys - kind.all_queries;
    if (kind.causal && ahead) notes.push("Grey: later tokens, which a query cannot look at.");
    if (this.map.sampled) notes.push("Not every row fits: some stand for their neighbours.");
    if (part.keys < kind.keys || part.queries < kind.queries) {
      notes.push(`Queries ${part.query}–${part.query + part.queries - 1}, keys ${part.key}–${part.key + part.keys - 1} of ${kind.keys}.`);
    }
    say(this.note, notes.filter(Boolean).join(" "));
  }

  /** The maps that stand in the box, and no others; what stays is not moved, and keeps its focus. */
  #arrange(beside) {
    const roots = [this.chosen, ...beside.map(({ tile }) => tile.root), this.busy];
    for (const other of [...this.box.children]) if (!roots.includes(other)) other.remove();
    roots.forEach((root, i) => {
      if (this.box.children[i] !== root) this.box.insertBefore(root, this.box.children[i] ?? null);
    });
    this.box.classList.toggle("tl-side-by-side", beside.length > 0);
  }

  /** Several maps at one scale, with cells of one size. */
  #sideBySide(scene, beside, width, height) {
    const scenes = [scene, ...beside.map(({ rowOf, nothing, signed, table, cuts }) => ({ ...scene, rowOf, nothing, signed, table, cuts }))];
    const sinks = scenes.find(({ nothing }) => nothing);
    const room = this.map.room(sinks ?? scene, width, height < Infinity ? height : TILES_HEIGHT);
    const { columns, tiles, height: high } = tilesOf(scene.part, room, scenes.length);
    this.high = high;
    this.box.style.setProperty("--tl-columns", String(columns));
    [this.map, ...beside.map(({ tile }) => tile.map)].forEach((map, i) => {
      const { frame, width: wide } = tiles[i];
      map.place(scenes[i], scenes[i].nothing ? frame : { ...frame, beside: null }, wide);
      map.canvas.parentElement.style.setProperty("--tl-wide", `${frame.left + frame.width}px`);
    });
  }

  /** Mark what is pointed at and what is locked; a locked cell is brought into view. */
  mark(hover, selected) {
    const locked = selected && !hover && (this.state.options.zoom ?? 0);
    if (locked && !this.#inPart(selected)) this.#drawAll(hover);
    this.map.mark(hover, selected);
  }

  #inPart(spot) {
    const { part } = this.map.scene;
    const inside = (value, from, count) => value === null || (value >= from && value < from + count);
    return inside(spot.query, part.query, part.queries) && inside(spot.key, part.key, part.keys);
  }
}
