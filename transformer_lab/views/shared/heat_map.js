// A map of weights on a canvas: queries down, keys across, with labels, cursor and selection.

import { pooled } from "./attention.js";
import { colourCells, dashedBox, ruleCells } from "../marks/matrix.js";
import { inkOn, paintBlocked, shade, signedShade } from "./colours.js";
import { fitText, hearPointer, showDrawn, sizedContext } from "./dom.js";
import { cellAt, fittedFrame, LABEL_FROM, leaning, LONGEST_NAME, NAMES_FROM, textOf, writeAbove } from "./map_frame.js";
import { roundStep } from "./ticks.js";
import { short, changeText } from "./messages.js";
import { TO_NOTHING } from "./map_sentences.js";

const NUMBER_FROM = 31; // … and from which its weight is written into a cell
const NOTHING_FONT = "italic 12px system-ui, sans-serif";
const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/**
 * @typedef {import("./map_frame.js").Part} Part
 * @typedef {import("./map_frame.js").Frame} Frame
 * @typedef {import("./map_frame.js").Spot} Spot
 */

export class HeatMap {
  /** @param {HTMLCanvasElement} canvas @param {{hover: (at: Spot | null) => void, pick: (at: Spot) => void}} on @param {AbortSignal} signal */
  constructor(canvas, on, signal) {
    this.canvas = canvas;
    this.apart = document.createElement("canvas"); // all of it, before it is shown
    this.picture = document.createElement("canvas");
    this.column = document.createElement("canvas"); // of what goes to nothing
    /** @type {Frame | null} */
    this.frame = null;
    /** @type {any} */
    this.scene = null;
    hearPointer(canvas, (x, y) => this.frame && cellAt(x, y, this.frame, this.scene.part), on, signal);
  }

  /**
   * Draw the weights anew.
   * @param {object} scene
   * @param {(query: number) => Float32Array} scene.rowOf
   * @param {((query: number) => number) | null} [scene.nothing] what of a row goes to no key: one more column
   * @param {Part} scene.part
   * @param {string[]} scene.queries
   * @param {string[]} scene.keys
   * @param {boolean} scene.causal whether later keys are out of reach
   * @param {number} scene.offset keys before the first query (causal maps)
   * @param {Uint8Array | null} scene.hidden keys that are left out
   * @param {number} scene.largest the weight at the end of the colour scale
   * @param {Uint8ClampedArray} scene.table
   * @param {boolean} [scene.signed] whether values are changes, on a diverging table
   * @param {{query: number | null, key: number | null}[]} [scene.cuts] edges that were cut
   * @param {{ink: string, quiet: string, line: string, accent: string, blocked: string, edited?: string}} scene.colours
   * @param {boolean} [scene.unmarked] whether `mark` is called next, and draws it
   * @param {number} width
   * @param {number} height at most, for the cells
   * @param {number} [whole] at most, for the cells and the labels above them; then `height` counts no more
   */
  show(scene, width, height, whole = Infinity) {
    const frame = fittedFrame(scene.part, this.room(scene, width, whole < Infinity ? whole : height), whole);
    // Slanted labels of the last columns lean out to the right.
    const { beside } = frame;
    const right = beside ? beside.left + beside.width : frame.left + frame.width;
    const over = frame.slant || beside ? Math.min(56, Math.max(0, width - right)) : 0;
    this.place(scene, frame, Math.min(width, Math.ceil(right + Math.max(8, over))));
  }

  /** The room that there is, and what its labels take. @param {any} scene @returns {import("./map_frame.js").Room} */
  room(scene, width, height) {
    // Of a canvas that stands in no page: a font of one that does is looked up in its styles first.
    const context = /** @type {CanvasRenderingContext2D} */ (this.picture.getContext("2d"));
    context.font = `12px ${MONO}`;
    const widest = (tokens, from, count) => {
      let most = 0;
      for (const token of tokens.slice(from, from + Math.min(count, 96))) {
        most = Math.max(most, context.measureText(token).width);
      }
      return most;
    };
    const { part } = scene;
    return {
      width,
      height,
      rowLabel: widest(scene.queries, part.query, part.queries),
      columnLabel: widest(scene.keys, part.key, part.keys),
      lastLabel: widest(scene.keys, part.key + part.keys - 1, 1),
      nothing: scene.nothing ? this.#nothingRoom(context) : 0,
    };
  }

  /** Draw them into a frame that is given. @param {any} scene as of `show` @param {Frame} frame @param {number} width */
  place(scene, frame, width) {
    this.scene = scene;
    this.frame = frame;
    this.width = width;
    this.height = Math.ceil(frame.top + frame.height + 2);
    this.#paintWeights();
    if (!scene.unmarked) this.mark(null, null);
  }

  #nothingRoom(context) {
    context.font = NOTHING_FONT;
    return context.measureText(TO_NOTHING).width;
  }

  #paintWeights() {
    const { scene, frame } = this;
    const ratio = globalThis.devicePixelRatio || 1;
    const one = frame.cell * ratio >= 1;
    const small = one
      ? pooled(scene.rowOf, scene.part, scene.part.keys, scene.part.queries, 1, scene.signed)
      : pooled(scene.rowOf, scene.part, frame.width * ratio, frame.height * ratio, scene.queries.length > 1024 ? 1 : 8, scene.signed);
    this.sampled = small.sampled;
    this.#colour(this.picture, small);
    if (!scene.nothing) return;
    const share = new Float32Array(1);
    const only = (query) => {
      share[0] = scene.nothing(query);
      return share;
    };
    this.#colour(this.column, pooled(only, { ...scene.part, key: 0, keys: 1 }, 1, small.height, Infinity, scene.signed));
  }

  /** @param {HTMLCanvasElement} picture @param {{width: number, height: number, values: Float32Array}} small */
  #colour(picture, small) {
    const { table, signed: isChange, largest } = this.scene;
    const place = isChange ? signedShade : shade;
    colourCells(picture, small, table, (cell) => place(small.values[cell], largest));
  }

  /** Draw labels, the cell under the cursor and the selected one over the weights. @param {Spot | null} hover @param {Spot | null} selected */
  mark(hover, selected) {
    const { scene, frame } = this;
    if (!scene) return;
    const context = sizedContext(this.apart, this.width, this.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.picture, frame.left, frame.top, frame.width, frame.height);
    this.#blocked(context);
    if (frame.cell >= LABEL_FROM) {
      const { keys: columns, queries: rows } = scene.part;
      ruleCells(context, scene.colours.line, frame, { across: frame.cell, down: frame.cell, columns, rows });
    }
    if (frame.cell >= NUMBER_FROM) this.#numbers(context);
    if (frame.beside) this.#beside(context, hover);
    this.#cuts(context);
    const focus = hover ?? selected;
    this.#labels(context, focus);
    this.#cross(context, focus);
    if (selected) this.#outline(context, selected, 2.5);
    if (hover) this.#outline(context, hover, 1.5);
    showDrawn(this.canvas, this.apart);
    // For scripts and tests: where cell (query, key) of the shown part lies, in CSS pixels.
    Object.assign(this.canvas.dataset, {
      left: String(frame.left),
      top: String(frame.top),
      cell: String(frame.cell),
      nothing: frame.beside ? String(frame.beside.left + frame.beside.width / 2) : "",
    });
  }

  /** The column of what goes to nothing, beside those of the keys. */
  #beside(context, hover) {
    const { colours } = this.scene;
    const { top, cell, height, beside } = this.frame;
    context.drawImage(this.column, beside.left, top, beside.width, height);
    dashedBox(context, colours.quiet, beside.left - 0.5, top - 0.5, beside.width + 1, height + 1);
    if (cell >= NUMBER_FROM) this.#numbersOf(context, (query) => [this.scene.nothing(query)], 0, 1, beside.left);
    if (top < NAMES_FROM) return;
    context.font = NOTHING_FONT;
    context.fillStyle = hover?.nothing ? colours.accent : colours.ink;
    context.save();
    context.translate(beside.left + beside.width / 2, top - 5);
    context.rotate(-Math.PI / 3);
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(TO_NOTHING, 2, 1);
    context.restore();
  }

  /** Keys that are hidden, and for causal maps all later ones, are no zeros. */
  #blocked(context) {
    const { part, causal, offset, hidden, colours } = this.scene;
    const { left, top, cell, width, height } = this.frame;
    if (causal) {
      context.beginPath();
      for (let row = 0; row < part.queries; row++) {
        const from = Math.max(0, part.query + row + 1 + offset - part.key);
        if (from < part.keys) context.rect(left + from * cell, top + row * cell, width - from * cell, cell);
      }
      paintBlocked(context, colours);
    }
    if (!hidden) return;
    for (let column = 0; column < part.keys; column++) {
      if (!hidden[part.key + column]) continue;
      context.beginPath();
      context.rect(left + column * cell, top, Math.max(cell, 1), height);
      paintBlocked(context, colours);
      dashedBox(context, colours.quiet, left + column * cell + 0.5, top + 0.5, Math.max(cell - 1, 1), height - 1);
    }
  }

  #numbers(context) {
    const { part, rowOf } = this.scene;
    this.#numbersOf(context, rowOf, part.key, part.keys, this.frame.left);
  }

  /** The numbers of so many columns, from one on, of which the first lies at `left`. */
  #numbersOf(context, rowOf, from, columns, left) {
    const { part, largest, table, signed: isChange } = this.scene;
    const { top, cell } = this.frame;
    const place = isChange ? signedShade : shade;
    context.font = `11px ${MONO}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = 0; row < part.queries; row++) {
      const weights = rowOf(part.query + row);
      for (let column = 0; column < columns; column++) {
        const weight = weights[from + column];
        if (Math.abs(weight) < 0.005) continue;
        context.fillStyle = inkOn(table, place(weight, largest));
        context.fillText(isChange ? changeText(weight) : short(weight), left + (column + 0.5) * cell, top + (row + 0.5) * cell + 0.5);
      }
    }
  }

  /** Edges that were cut: crossed out, in the colour of edits. */
  #cuts(context) {
    const { part, cuts, colours } = this.scene;
    if (!cuts?.length) return;
    const { left, top, cell, width, height } = this.frame;
    context.strokeStyle = colours.edited ?? colours.accent;
    context.lineWidth = cell >= 12 ? 2 : 1.5;
    for (const { query, key } of cuts) {
      const x = key === null ? left : left + (key - part.key) * cell;
      const y = query === null ? top : top + (query - part.query) * cell;
      const w = key === null ? width : cell;
      const h = query === null ? height : cell;
      if (x < left - 0.5 || y < top - 0.5 || x >= left + width || y >= top + height) continue;
      const inset = Math.min(4, 0.2 * cell);
      context.strokeRect(x + 1, y + 1, Math.max(w - 2, 1), Math.max(h - 2, 1));
      if (this.scene.signed) continue; // a change has its number to show
      context.beginPath();
      context.moveTo(x + inset, y + inset);
      context.lineTo(x + w - inset, y + h - inset);
      context.moveTo(x + w - inset, y + inset);
      context.lineTo(x + inset, y + h - inset);
      context.stroke();
    }
  }

  #labels(context, focus) {
    const { part, queries, keys, colours, hidden } = this.scene;
    const { left, top, cell, width, height, slant } = this.frame;
    const everyone = cell >= LABEL_FROM;
    const rowStep = everyone ? 1 : roundStep(part.queries, height);
    const columnStep = everyone ? 1 : roundStep(part.keys, width);
    context.textBaseline = "middle";
    const write = (text, room, on, out, size = textOf(cell)) => {
      context.font = `${on ? "bold " : ""}${everyone ? size : 11}px ${MONO}`;
      context.fillStyle = on ? colours.accent : out ? colours.quiet : everyone ? colours.ink : colours.quiet;
      return fitText(context, text, room);
    };
    context.textAlign = "right";
    for (let row = 0; row < (left < NAMES_FROM ? 0 : part.queries); row++) {
      const query = part.query + row;
      const on = focus?.query === query;
      if (query % rowStep && everyone === false) continue;
      const text = write(everyone ? queries[query] : String(query), left - 8, on, false);
      context.fillText(text, left - 6, top + (row + 0.5) * cell);
    }
    for (let column = 0; column < (top < NAMES_FROM ? 0 : part.keys); column++) {
      const key = part.key + column;
      if (key % columnStep && everyone === false) continue;
      const room = slant ? LONGEST_NAME : 60;
      const text = write(everyone ? keys[key] : String(key), room, focus?.key === key, hidden?.[key], leaning(cell).size);
      writeAbove(context, text, left + (column + 0.5) * cell, top, slant ? cell : null);
    }
  }

  /** Where labels are sparse, thin lines lead from the cell in focus to the axes. */
  #cross(context, focus) {
    if (!focus || this.frame.cell >= LABEL_FROM) return;
    const { part, colours } = this.scene;
    const { left, top, cell } = this.frame;
    context.strokeStyle = colours.accent;
    context.globalAlpha = 0.65;
    context.lineWidth = 1;
    context.beginPath();
    const y = top + ((focus.query ?? -1) - part.query + 0.5) * cell;
    const x = left + ((focus.key ?? -1) - part.key + 0.5) * cell;
    if (focus.query !== null && y >= top && y <= top + this.frame.height) {
      context.moveTo(left - 4, y);
      context.lineTo(focus.key === null ? left + this.frame.width : x, y);
    }
    if (focus.key !== null && x >= left && x <= left + this.frame.width) {
      context.moveTo(x, top - 4);
      context.lineTo(x, focus.query === null ? top + this.frame.height : y);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  #outline(context, at, thick) {
    const { part, colours } = this.scene;
    const { left, top, cell, width, height, beside } = this.frame;
    const x = at.key === null ? left : left + (at.key - part.key) * cell;
    const y = at.query === null ? top : top + (at.query - part.query) * cell;
    const w = at.key === null ? width : Math.max(cell, 6);
    const h = at.query === null ? height : Math.max(cell, 6);
    const apart = at.nothing && beside;
    if (!apart && (x < left - 1 || y < top - 1 || x > left + width || y > top + height)) return;
    const [from, across] = apart ? [beside.left, beside.width] : [x, w];
    // A light line around it: the colour of focus must be seen on every colour of the scale.
    for (const [colour, line] of [[colours.ground ?? colours.accent, thick + 2], [colours.accent, thick]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(from, y, across, h);
    }
  }
}
