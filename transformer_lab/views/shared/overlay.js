// What views of weights over a picture have in common: the chosen position's rows of every head, kept or asked for,
// every head small, and how strongly weights cover the picture.

import { Answers } from "./answers.js";
import { bytesOf, typed } from "./codecs.js";
import { slider } from "./controls.js";
import { element, hearChanges, legendPart, picturePart } from "./dom.js";
import { linked } from "./linked.js";
import { SmallHeads } from "./small_heads.js";
import { BaseViewer } from "./viewer.js";

const ROWS = "rows/"; // what begins the name of a position's rows
const ROWS_KEPT = 96;
const FADES = Array.from({ length: 21 }, (_, i) => i / 20);

/**
 * @typedef {object} OverlayHow
 * @property {{new (buffer: ArrayBufferLike, offset?: number, length?: number): any, BYTES_PER_ELEMENT: number}} type of a weight
 * @property {number[]} heads of each layer
 * @property {number} aspect of a small picture @property {number} widest
 * @property {number} first the position that looks where none is chosen
 * @property {string} over what weights cover
 * @property {Record<string, any>} [choosing] what choosing a head changes too
 */

export class OverlayViewer extends BaseViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal @param {OverlayHow} how */
  constructor(model, root, signal, { type, heads, aspect, widest, first, over, choosing = {} }) {
    super(model, root, signal, { part: () => `layer-${model.get("layer")}-head-${model.get("head")}` });
    this.first = first;
    /** @type {number | null} a position that is pointed at */
    this.hovered = null;
    /** @type {number} the position whose rows are on view */
    this.shown = model.get("_rows_of");
    /** @type {any} weights [layer, head, key] of that position */
    this.rows = null;
    const rowsOf = (position, bytes) => ({ position, rows: typed(type, bytes) });
    this.answers = new Answers(this.shell, {
      most: ROWS_KEPT, working: "Reading what it attends to …",
      read: (_, bytes, name) => rowsOf(Number(name.slice(ROWS.length)), bytes),
      here: (name) => (name === ROWS + model.get("_rows_of") ? rowsOf(model.get("_rows_of"), bytesOf(model.get("_rows"))) : null),
      names: ({ position }) => [ROWS + position],
      show: ({ position, rows }) => {
        this.shown = position;
        this.rows = rows;
      },
      failed: (name, error) => (this.hovered === null ? `${this.cannot(Number(name.slice(ROWS.length)))} cannot be shown: ${error.message}` : ""),
    });
    this.busy = this.answers.busy;
    this.waiting = this.answers.waiting;
    this.every = picturePart("heads", "tl-every");
    const choose = (layer, head) => this.shell.set({ layer, head, ...choosing });
    this.heads = new SmallHeads(this.every, { heads, aspect, widest }, { chosen: () => this.at, choose }, signal);
    this.everyBox = element("div", { class: "tl-every-box" }, this.every);
    this.fade = slider({ label: over, part: "fade", values: FADES, value: model.get("fade"), text: (value) => `${Math.round(100 * value)} %`, change: (fade) => this.shell.set({ fade }) });
    this.legend = legendPart();
    this.note = element("p", { class: "tl-hint", "data-part": "note" }, model.get("_note"));
    this.note.hidden = !model.get("_note");
    this.link = linked(model, signal, (spot) => this.heard(spot));
    hearChanges(model, ["selected"], () => this.look(), signal);
  }

  get at() {
    return { layer: this.model.get("layer"), head: this.model.get("head") };
  }

  /** The position that was chosen to look from. */
  get query() {
    return this.model.get("selected")?.[0] ?? this.first;
  }

  /** The rows on view of one head. @param {number} layer @param {number} head @param {number} keys */
  rowOf(layer, head, keys) {
    const from = (layer * this.heads.columns + head) * keys;
    return this.rows.subarray(from, from + keys);
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

  /** The picture has been read: show the rows that came with it, and ask for others that are meant now. */
  begin() {
    this.answers.ask(ROWS + this.model.get("_rows_of"));
    this.look();
  }

  look() {
    return this.answers.ask(ROWS + (this.hovered ?? this.query));
  }

  /** What cannot be shown. @param {number} _position */
  cannot(_position) {
    return "";
  }
}
