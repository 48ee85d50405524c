// Two maps of one size side by side, and their difference; the cell pointed at and the chosen cell
// are the same in all three.

import { colourTable } from "./colours.js";
import { element, legendPart, moveOf, picturePart, taken, within, listen } from "./dom.js";
import { highest, legend, scaleEnd } from "../heads/scale.js";
import { Pointed } from "./linked.js";
import { short, sayShared } from "./messages.js";
import { NumberMap } from "./number_map.js";

/** Format a number with a typographic minus sign. @param {number} value @param {(value: number) => string} text */
export const withMinus = (value, text) => (value < 0 ? `−${text(-value)}` : text(value));

/**
 * @typedef {object} PairScene
 * @property {string[]} rows names @property {string[]} columns
 * @property {ArrayLike<number>} first [row, column] @property {ArrayLike<number>} second
 * @property {(row: number, column: number) => boolean} ahead whether a cell is out of reach
 * @property {boolean} [apart] whether the last column is set apart
 * @property {string[]} captions
 * @property {number[]} widths of the box from which one more map fits in a row
 * @property {number} height at most
 * @property {string} text the sentence about the cell in focus
 */

export class MapPair {
  /** @param {import("./shell.js").Shell} shell @param {AbortSignal} signal @param {[string, string]} parts @param {() => [number, number]} start the cell at which arrow keys start @param {Pick<Pointed, "spot" | "at">} [pointed] */
  constructor(shell, signal, parts, start, pointed) {
    this.shell = shell;
    this.start = start;
    this.pointed = pointed ?? new Pointed(shell.model, signal, () => shell.redraw());
    this.legends = {
      weight: legendPart("weight-legend"),
      difference: legendPart("difference-legend"),
    };
    this.maps = [...parts, "difference"].map((part) => {
      const canvas = picturePart(part, "tl-map");
      const map = new NumberMap(canvas, signal, {
        hover: (at) => this.pointed.at(at && { query: at.row, key: at.column }),
        pick: (at) => this.#pick(at),
      });
      const caption = element("figcaption");
      listen(canvas, "keydown", signal, (event) => this.#key(event));
      return { part, canvas, map, caption, figure: element("figure", caption, canvas) };
    });
    this.box = element(
      "div.tl-pairs",
      this.maps.map(({ figure }) => figure),
    );
  }

  /** The chosen pair. */
  get selected() {
    const pair = this.shell.model.get("selected");
    return pair && { query: pair[0], key: pair[1] };
  }

  /** The cell pointed at, or else the chosen one, if the maps have it. */
  get focus() {
    const focus = this.pointed.spot ?? this.selected;
    return focus &&
      (focus.query ?? 0) < this.scene.rows.length &&
      (focus.key ?? 0) < this.scene.columns.length
      ? focus
      : null;
  }

  #pick(at) {
    const now = this.selected;
    const same = now && now.query === at.row && now.key === at.column;
    this.shell.set({ selected: same ? null : [at.row, at.column] });
  }

  #key(event) {
    const now = this.selected;
    const [query, key] = now ? [now.query, now.key] : this.start();
    if (event.key === "Enter" || event.key === " ") {
      taken(event);
      if (!now) this.shell.set({ selected: [query, key] });
      return;
    }
    const move = moveOf(event);
    if (!move) return;
    this.pointed.at(null);
    const [down, right] = now ? move : [0, 0]; // the first arrow only shows the cursor
    this.shell.set({
      selected: [
        within((query ?? 0) + down, this.scene.rows.length),
        within((key ?? 0) + right, this.scene.columns.length),
      ],
    });
  }

  /** The difference at an index. @param {number} at */
  difference(at) {
    return this.scene.second[at] - this.scene.first[at];
  }

  /** @param {PairScene} scene @returns {number} how many maps are in a row */
  show(scene) {
    this.scene = scene;
    const { rows, columns: keys, first, second, widths } = scene;
    const { inks, theme } = this.shell;
    const [diverging, sequential] = [
      colourTable("diverging", theme),
      colourTable("default", theme),
    ];
    const most = (of) =>
      Math.max(0.1, scaleEnd(highest(Float32Array.from(of, (value) => value)), true)); // the scale never ends lower: smaller weights do not matter
    const [end, scale] = [
      Math.max(most(first), most(second)),
      most(Array.from(first, (_, i) => this.difference(i))),
    ];
    const room = Math.max(200, this.box.clientWidth);
    const count = 1 + widths.filter((width) => room >= width).length;
    const each = Math.floor((room - 16 * (count - 1)) / count);
    // Of three in a row only the first names its rows; it is wider by its names.
    const once =
      count === 3
        ? Math.min(0.3 * each, 10 + 7.3 * Math.max(...rows.map((name) => Array.from(name).length)))
        : 0;
    const draw = ({ part, map, figure }, i, cell) => {
      const signs = part === "difference";
      const width = Math.floor(i ? each - once / 3 : each + (2 / 3) * once);
      const values = [(at) => first[at], (at) => second[at], (at) => this.difference(at)][i];
      figure.style.width = `${width}px`;
      map.show(width, scene.height, {
        rows: rows.length,
        columns: keys.length,
        square: true,
        rowNames: rows,
        columnNames: keys,
        colours: inks,
        cell,
        apart: scene.apart,
        value: (row, column) =>
          scene.ahead(row, column) ? NaN : values(row * keys.length + column),
        low: signs ? -scale : 0,
        high: signs ? scale : end,
        weights: true,
        table: signs ? diverging : sequential,
        hideRowNames: count === 3 && i > 0,
        write: (value) => (Math.abs(value) < 0.005 ? "" : withMinus(value, short)),
      });
      return map.frame.cell;
    };
    const cell = Math.min(...this.maps.map((one, i) => draw(one, i))); // one cell size for all, so that rows line up
    const spot = (place) => place && { row: place.query, column: place.key };
    this.maps.forEach((one, i) => {
      draw(one, i, cell);
      one.caption.textContent = scene.captions[i];
      one.map.mark(spot(this.pointed.spot), spot(this.selected));
      one.canvas.ariaLabel = sayShared("queries_by_keys_arrow", {
        caption: scene.captions[i],
        rows: rows.length,
        keys: keys.length,
        text: scene.text,
      });
    });
    this.legends.weight.replaceChildren(...legend(sequential, end, false, false));
    this.legends.difference.replaceChildren(...legend(diverging, scale, false, false, true));
    return count;
  }

  /** The maps, for image files. */
  get pictures() {
    return this.maps.map(({ canvas, caption }) => ({ canvas, title: caption.textContent ?? "" }));
  }
}
