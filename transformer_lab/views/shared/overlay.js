// The base of views that draw weights over a picture: every head's weights for the chosen query
// position, cached or requested, thumbnails of every head, and the opacity of the weights.

import { Answers } from "./answers.js";
import { bytesOf, typed } from "./codecs.js";
import { headChoice, slider } from "./controls.js";
import { twoLines } from "./blend.js";
import { element, hearChanges, legendPart } from "./dom.js";
import { linked } from "./linked.js";
import { Thumbnails } from "./thumbnails.js";
import { decimalsOf, sizeOf } from "./trials.js";
import { BaseViewer } from "./viewer.js";
import { sayShared } from "./messages.js";

const ROWS = "rows/"; // prefix of the name of a position's rows
const ROWS_KEPT = 96;
const FADES = Array.from({ length: 21 }, (_, i) => i / 20);

/**
 * @typedef {object} OverlayHow
 * @property {{new (buffer: ArrayBufferLike, offset?: number, length?: number): any, BYTES_PER_ELEMENT: number}} type of a weight
 * @property {number[]} heads of each layer
 * @property {number} aspect width over height of a thumbnail
 * @property {number} widest greatest width of a thumbnail
 * @property {number} first the query position if none is chosen
 * @property {string} over label of the opacity slider
 * @property {Record<string, any>} [choosing] further traits to set when a head is chosen
 */

export class OverlayViewer extends BaseViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal @param {OverlayHow} how */
  constructor(model, root, signal, { type, heads, aspect, widest, first, over, choosing = {} }) {
    super(model, root, signal, {
      part: () => `layer-${model.get("layer")}-head-${model.get("head")}`,
    });
    this.first = first;
    /** @type {number | null} the position pointed at */
    this.hovered = null;
    /** @type {number} the position whose rows are on view */
    this.shown = model.get("_rows_of");
    /** @type {any} weights [layer, head, key] of that position */
    this.rows = null;
    const rowsOf = (position, bytes) => ({ position, rows: typed(type, bytes) });
    this.answers = new Answers(this.shell, {
      most: ROWS_KEPT,
      working: sayShared("reading_what_it_attends"),
      read: (_, bytes, name) => rowsOf(Number(name.slice(ROWS.length)), bytes),
      here: (name) =>
        name === ROWS + model.get("_rows_of")
          ? rowsOf(model.get("_rows_of"), bytesOf(model.get("_rows")))
          : null,
      names: ({ position }) => [ROWS + position],
      show: ({ position, rows }) => {
        this.shown = position;
        this.rows = rows;
      },
      failed: (name, error) =>
        this.hovered === null
          ? sayShared("cannot_be_shown", {
              cannot: this.cannot(Number(name.slice(ROWS.length))),
              why: error.message,
            })
          : "",
    });
    this.busy = this.answers.busy;
    this.waiting = this.answers.waiting;
    this.columns = Math.max(...heads);
    this.shape = { counts: heads, aspect, widest };
    this.heads = new Thumbnails(
      (layer, head) => this.shell.set({ layer, head, ...choosing }),
      signal,
      undefined,
      "heads",
    );
    this.every = this.heads.canvas;
    this.every.classList.add("tl-every");
    this.everyBox = element("div.tl-every-box", this.heads.root);
    this.choice = headChoice(this, (place) => this.shell.set({ ...place, ...choosing }));
    this.fade = slider({
      label: over,
      part: "fade",
      values: FADES,
      value: model.get("fade"),
      text: (value) => `${Math.round(100 * value)}%`,
      change: (fade) => this.shell.set({ fade }),
    });
    this.legend = legendPart();
    this.note = element("p.tl-hint#note", model.get("_note"));
    this.note.hidden = !model.get("_note");
    this.link = linked(model, signal, (spot) => this.heard(spot));
    hearChanges(model, ["selected"], signal, () => this.look());
  }

  get kind() {
    const { counts } = this.shape;
    return { layers: counts.length, heads: this.columns, counts };
  }

  get layer() {
    return this.model.get("layer");
  }

  get head() {
    return this.model.get("head");
  }

  get at() {
    return { layer: this.model.get("layer"), head: this.model.get("head") };
  }

  /** The chosen query position. */
  get query() {
    return this.model.get("selected")?.[0] ?? this.first;
  }

  /** One head's weights for the position on view. @param {number} layer @param {number} head @param {number} keys */
  rowOf(layer, head, keys) {
    const from = (layer * this.columns + head) * keys;
    return this.rows.subarray(from, from + keys);
  }

  /**
   * Draw thumbnails of every head.
   * @param {object} shown
   * @param {(context: CanvasRenderingContext2D, layer: number, head: number, box: import("./blend.js").Box) => void} shown.paint
   * @param {(layer: number, head: number) => boolean} shown.off whether it is switched off
   * @param {(number | null)[][]} shown.every size of each head's effect, if known
   * @param {{layer: number, head: number}[]} [shown.also] further heads that are chosen
   */
  drawHeads({ paint, off, every, also = [] }) {
    const { heads, columns, at } = this;
    const { counts, aspect, widest } = this.shape;
    const { inks } = this.shell;
    const most = Math.max(...every.flat().map((x) => Math.abs(x ?? 0)), 0);
    const grid = { layers: counts.length, heads: columns, width: 1, height: 1, counts };
    heads.paint(grid, this.everyBox.clientWidth - 12, inks, {
      aspect,
      widest,
      below: every.length ? 19 : 0,
      paint: (context, layer, head, { x, y, width, height }) => {
        paint(context, layer, head, { x, y, w: width, h: height });
        const size = every[layer]?.[head];
        if (typeof size === "number")
          sizeBar(context, size, most, { x, y: y + height, w: width, h: 19 }, inks);
        if (off(layer, head))
          twoLines(
            context,
            [
              [inks.ground, 5],
              [inks.edited, 2],
            ],
            () => {
              context.beginPath();
              context.moveTo(x, y);
              context.lineTo(x + width, y + height);
              context.stroke();
            },
          );
      },
    });
    heads.choose(at.layer, at.head);
    this.choice.show();
    heads.pin(also);
  }

  /** Another view points at something. @param {{query: number | null, key: number | null} | null} spot */
  heard(spot) {
    this.hover(spot?.query ?? null, false);
  }

  /** @param {number | null} position @param {boolean} tell */
  hover(position, tell) {
    if (position === this.hovered) return;
    this.hovered = position;
    if (tell) this.link.hover(position === null ? null : { query: position, key: null });
    this.look();
  }

  /**
   * Show the rows that came with the page, and request others if they are needed now. To be called
   * once the picture is loaded.
   */
  begin() {
    this.answers.ask(ROWS + this.model.get("_rows_of"));
    this.look();
  }

  look() {
    return this.answers.ask(ROWS + (this.hovered ?? this.query));
  }

  /** What cannot be shown, for an error message. @param {number} _position */
  cannot(_position) {
    return "";
  }
}

/** Draw the size of a head's effect below its thumbnail. @param {CanvasRenderingContext2D} context @param {number} size @param {number} most of any head @param {import("./blend.js").Box} box @param {any} inks */
function sizeBar(context, size, most, { x, y, w }, inks) {
  context.fillStyle = inks.line;
  context.fillRect(x, y + 16, w, 2);
  context.fillStyle = inks.ink;
  context.fillRect(x, y + 16, most ? (w * Math.abs(size)) / most : 0, 2);
  if (w < 30) return;
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(sizeOf(size, decimalsOf(most)), x + 1, y + 10, w);
}
