// A matrix on a canvas: rows down (of attention: queries), columns across (keys), with their names
// or a numbered axis, the cell under the cursor and a chosen one. The whole matrix, or a window of
// one that is larger than a screen.

import {
  entry,
  inkOn,
  packedPalette,
  paintBlocked,
  shade,
  signedShade,
} from "../shared/colours.js";
import { fitText, hearPointer, pixelRatio, showDrawn, sizedContext } from "../shared/dom.js";
import {
  cellAt,
  cellHolding,
  fittedFrame,
  LABEL_FROM,
  leaning,
  LONGEST_NAME,
  NAMES_FROM,
  textOf,
  writeAbove,
} from "../shared/map_frame.js";
import { changeText, sayShared, short } from "../shared/messages.js";
import { roundStep } from "../shared/ticks.js";

const NUMBER_FROM = 30; // cell size, in pixels, from which its number is written into it
const NOTHING_FONT = "italic 12px system-ui, sans-serif";
const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const HATCH = 6; // pixels from one line to the next
const FEW = 100; // rows or columns up to which each is numbered, if there is room

/**
 * Colour a canvas, one pixel per cell, row by row.
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number}} size
 * @param {Uint8ClampedArray} table
 * @param {(cell: number) => number} place index into the table, 0 … 255; NaN stays transparent
 */
export function colourCells(canvas, { width, height }, table, place) {
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const palette = packedPalette(table);
  for (let i = 0; i < pixels.length; i++) pixels[i] = palette[place(i)] ?? 0;
  context.putImageData(image, 0, 0);
  return context;
}

/**
 * @typedef {import("../shared/map_frame.js").Part} Part
 * @typedef {import("../shared/map_frame.js").Frame} Frame
 * @typedef {import("../shared/map_frame.js").Spot} Spot
 *
 * @typedef {object} MatrixScene
 * @property {Part} part the window
 * @property {string[]} queries names of all rows
 * @property {string[]} keys names of all columns
 * @property {(query: number) => Float32Array} [rowOf] the matrix, if all of it is loaded
 * @property {(part: Part, width: number, height: number) => {width: number, height: number, values: Float32Array, level: number, coarse: boolean}} [pixels]
 *   or the loaded part of a larger one, in pixels
 * @property {(query: number, key: number) => number} [valueAt] a single number of that; NaN: not
 *   loaded
 * @property {boolean} [cheap] whether rows of a long map cost nothing
 * @property {((query: number) => number) | null} [nothing] one more column, set apart: the row's
 *   weight to no key
 * @property {string} [nothingName] its name
 * @property {boolean} [causal] whether later keys are out of reach
 * @property {number} [offset] keys before the first query (causal maps)
 * @property {Uint8Array | null} [hidden] keys that are left out
 * @property {Uint8ClampedArray} table
 * @property {number} [largest] the weight at the end of the colour scale
 * @property {boolean} [signed] whether values are changes, on a diverging table
 * @property {(value: number) => number} [place] index of a value into the table, 0 … 255, instead
 *   of these two
 * @property {(value: number, row: number, column: number) => string} [write] text of large cells
 * @property {boolean} [cut] whether that text may be shortened, like names
 * @property {(row: number, column: number) => boolean} [bold] cells with bold text
 * @property {(row: number, column: number) => boolean} [hatched] cells whose number is less certain
 * @property {{query: number | null, key: number | null}[]} [cuts] edges that are cut
 * @property {{ink: string, quiet: string, line: string, accent: string, blocked: string, edited?: string, ground?: string}} colours
 * @property {boolean} [numbered] whether rows and columns have only numbers
 * @property {boolean} [stretched] as in `Room`; so are `cell` (`largest`) and `hideRowNames`
 *   (`unnamed`)
 * @property {number} [cell]
 * @property {boolean} [hideRowNames]
 * @property {string} [rowTitle]
 * @property {string} [columnTitle]
 * @property {{from: number, to: number, colour: string}[]} [brackets] beside the rows
 * @property {(row: number) => string} [rowNumber] name of a row on a numbered axis; by default its
 *   number
 * @property {boolean} [unmarked] whether the caller calls `mark` next, which draws
 */

/** A part of a scene's matrix in pixels. @param {any} scene @param {Part} part @param {number} width @param {number} height */
export function pixelsIn(scene, part, width, height) {
  if (scene.pixels) return { sampled: false, ...scene.pixels(part, width, height) };
  return {
    level: 0,
    coarse: false,
    ...pooled(
      scene.rowOf,
      part,
      width,
      height,
      scene.queries.length > 1024 && !scene.cheap ? 1 : 8,
      scene.signed,
    ),
  };
}

/** A number of a scene's matrix. @param {any} scene @param {number} query @param {number} key */
export const valueIn = ({ rowOf, valueAt }, query, key) =>
  valueAt ? valueAt(query, key) : rowOf(query)[key];

/**
 * Shrink a pattern to the available pixels by max-pooling.
 * @param {(query: number) => Float32Array} rowOf
 * @param {{query: number, key: number, queries: number, keys: number}} part of the map
 * @param {number} width
 * @param {number} height
 * @param {number} rowsAPixel most rows to read for one line of pixels
 * @param {boolean} [signed] whether a pixel is the weight furthest from 0, rather than the largest
 * @returns {{width: number, height: number, values: Float32Array, sampled: boolean}}
 */
export function pooled(rowOf, part, width, height, rowsAPixel, signed = false) {
  const w = Math.max(1, Math.min(part.keys, Math.floor(width)));
  const h = Math.max(1, Math.min(part.queries, Math.floor(height)));
  const values = new Float32Array(w * h);
  let sampled = false;
  for (let y = 0; y < h; y++) {
    const first = part.query + Math.floor((y * part.queries) / h);
    const last =
      part.query + Math.max(first - part.query + 1, Math.floor(((y + 1) * part.queries) / h));
    const step = Math.max(1, Math.ceil((last - first) / rowsAPixel));
    sampled ||= step > 1;
    for (let query = first; query < last; query += step) {
      const row = rowOf(query);
      for (let x = 0, key = part.key; x < w; x++) {
        const end = part.key + Math.max(key - part.key + 1, Math.floor(((x + 1) * part.keys) / w));
        let most = values[y * w + x];
        for (; key < end; key++) {
          if (signed ? Math.abs(row[key]) > Math.abs(most) : row[key] > most) most = row[key];
        }
        values[y * w + x] = most;
      }
    }
  }
  return { width: w, height: h, values, sampled };
}

export class MatrixMap {
  /** @param {HTMLCanvasElement} canvas @param {AbortSignal} signal @param {{hover?: (at: Spot | null) => void, pick?: (at: Spot) => void}} on */
  constructor(canvas, signal, on) {
    this.canvas = canvas;
    this.apart = document.createElement("canvas"); // the whole drawing, before it is shown
    this.picture = document.createElement("canvas");
    this.column = document.createElement("canvas"); // weight to nothing
    /** @type {Frame | null} */
    this.frame = null;
    /** @type {any} */
    this.scene = null;
    this.level = 0; // a cell is the largest of 2ˡ × 2ˡ weights
    this.coarse = false; // whether coarser cells replace some that are not loaded
    this.sampled = false; // whether some rows are drawn for their neighbours
    hearPointer(canvas, signal, (x, y) => this.at(x, y), on);
  }

  /** The spot at a point of the canvas. @param {number} x @param {number} y @returns {Spot | null} */
  at(x, y) {
    const spot = this.frame && cellAt(x, y, this.frame, this.scene.part);
    return spot && spot.query !== null && spot.key !== null ? this.cellOf(spot) : spot;
  }

  /** The cell that holds a query and a key. @param {Spot} spot @returns {Spot} */
  cellOf({ query, key }) {
    const { queries, keys } = this.scene;
    return this.level
      ? cellHolding(query, key, this.level, { queries: queries.length, keys: keys.length })
      : { query, key };
  }

  /**
   * Draw the numbers.
   * @param {number} width
   * @param {number} height at most, for the cells
   * @param {MatrixScene} scene
   * @param {number} [whole] at most, for the cells and the labels above them; replaces `height`
   */
  show(width, height, scene, whole = Infinity) {
    const frame = fittedFrame(
      scene.part,
      this.room(scene, width, whole < Infinity ? whole : height),
      whole,
    );
    // Slanted labels of the last columns extend to the right.
    const { beside } = frame;
    const right = beside ? beside.left + beside.width : frame.left + frame.width;
    const over = frame.slant || beside ? Math.min(56, Math.max(0, width - right)) : 0;
    this.place(scene, frame, Math.min(width, Math.ceil(right + Math.max(8, over))));
  }

  /** The available room, and the room that labels take. @param {any} scene @returns {import("../shared/map_frame.js").Room} */
  room(scene, width, height) {
    // Use a detached canvas: for one in the page, setting a font looks up its styles first.
    const context = /** @type {CanvasRenderingContext2D} */ (this.picture.getContext("2d"));
    const widest = (names, from, count, font = `12px ${MONO}`) => {
      context.font = font;
      return names
        .slice(from, from + Math.min(count, 96))
        .reduce((most, name) => Math.max(most, context.measureText(name).width), 0);
    };
    const { part } = scene;
    return {
      width,
      height,
      rowLabel: scene.numbered ? undefined : widest(scene.queries, part.query, part.queries),
      columnLabel: widest(scene.keys, part.key, part.keys),
      lastLabel: widest(scene.keys, part.key + part.keys - 1, 1),
      nothing: scene.nothing
        ? widest([scene.nothingName ?? sayShared("to_nothing")], 0, 1, NOTHING_FONT)
        : 0,
      stretched: scene.stretched,
      largest: scene.cell,
      unnamed: scene.hideRowNames,
      before: (scene.rowTitle ? 16 : 0) + (scene.brackets?.length ? 12 : 0),
      above: scene.columnTitle ? 16 : 0,
    };
  }

  /** Draw the numbers into a given frame. @param {any} scene as for `show` @param {Frame} frame @param {number} width */
  place(scene, frame, width) {
    this.scene = scene;
    this.frame = frame;
    this.width = width;
    this.height = Math.ceil(frame.top + frame.height + 2);
    this.shadeOf =
      scene.place ?? ((value) => (scene.signed ? signedShade : shade)(value, scene.largest));
    this.repaint();
    if (!scene.unmarked) this.mark(null, null);
  }

  /** Colour what is loaded; `mark` draws it. */
  repaint() {
    const { scene, frame } = this;
    const { part } = scene;
    const ratio = pixelRatio();
    // One pixel per number, as long as there are enough pixels.
    const [wide, high] =
      frame.cell * ratio >= 1 && !scene.pixels
        ? [part.keys, part.queries]
        : [frame.width * ratio, frame.height * ratio].map(Math.round);
    const small = pixelsIn(scene, part, wide, high);
    Object.assign(this, { sampled: small.sampled, level: small.level, coarse: small.coarse });
    this.#colour(this.picture, small);
    if (!scene.nothing) return;
    const shares = Float32Array.from({ length: part.queries }, (_, i) =>
      scene.nothing(part.query + i),
    );
    const all = { width: 1, height: part.queries, values: shares };
    const one = { query: 0, key: 0, queries: part.queries, keys: 1 };
    this.#colour(
      this.column,
      part.queries <= small.height
        ? all
        : pooled(
            (row) => shares.subarray(row, row + 1),
            one,
            1,
            small.height,
            Infinity,
            scene.signed,
          ),
    );
  }

  /** @param {HTMLCanvasElement} picture @param {{width: number, height: number, values: Float32Array}} small */
  #colour(picture, small) {
    colourCells(picture, small, this.scene.table, (cell) => this.shadeOf(small.values[cell]));
  }

  /** Draw labels, the cell under the cursor and the selected one over the numbers. @param {Spot | null} hover @param {Spot | null} [selected] @param {Spot | null} [draft] cells about to be chosen */
  mark(hover, selected = null, draft = null) {
    const { scene, frame } = this;
    if (!scene) return;
    const context = sizedContext(this.apart, this.width, this.height);
    const { left, top, width, height, cell, down } = frame;
    context.fillStyle = scene.colours.blocked; // out of reach
    context.fillRect(left, top, width, height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.picture, left, top, width, height);
    context.strokeStyle = scene.colours.line;
    context.strokeRect(left - 0.5, top - 0.5, width + 1, height + 1);
    this.#blocked(context);
    if (scene.hatched) this.#hatch(context);
    if (frame.named) this.#rule(context);
    const written = Math.min(cell, down) >= NUMBER_FROM;
    if (written)
      this.#numbers(
        context,
        (query, key) => valueIn(scene, query, key),
        scene.part.key,
        scene.part.keys,
        left,
      );
    if (frame.beside) this.#beside(context, hover, written);
    this.#cuts(context);
    const focus = hover ?? selected;
    if (frame.named) this.#names(context, focus);
    else this.#axes(context, focus);
    this.#around(context);
    this.#cross(context, focus);
    if (draft) this.#outline(context, draft, 1.5, [6, 3]);
    if (selected) this.#outline(context, selected, 2.5);
    if (hover) this.#outline(context, hover, 1.5);
    showDrawn(this.canvas, this.apart);
    // For scripts and tests: where the first cell is, or would be, in CSS pixels.
    Object.assign(this.canvas.dataset, {
      left: String(left - scene.part.key * cell),
      top: String(top - scene.part.query * down),
      cell: String(cell),
      across: String(cell),
      down: String(down),
      nothing: frame.beside ? String(frame.beside.left + frame.beside.width / 2) : "",
    });
  }

  /** Draw lines between cells. */
  #rule(context) {
    const { left, top, cell, down, width, height } = this.frame;
    const { keys, queries } = this.scene.part;
    context.strokeStyle = this.scene.colours.line;
    context.lineWidth = 1;
    context.globalAlpha = 0.5;
    context.beginPath();
    for (let i = 1; i < keys; i++) {
      context.moveTo(left + i * cell, top);
      context.lineTo(left + i * cell, top + height);
    }
    for (let i = 1; i < queries; i++) {
      context.moveTo(left, top + i * down);
      context.lineTo(left + width, top + i * down);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  /** Draw the column of weight to nothing, beside the keys. */
  #beside(context, hover, written) {
    const { colours, nothing, nothingName = sayShared("to_nothing") } = this.scene;
    const { top, height, beside } = this.frame;
    context.fillStyle = colours.blocked;
    context.fillRect(beside.left, top, beside.width, height);
    context.drawImage(this.column, beside.left, top, beside.width, height);
    dashedBox(context, colours.quiet, beside.left - 0.5, top - 0.5, beside.width + 1, height + 1);
    if (written)
      this.#numbers(context, nothing, this.scene.part.key + this.scene.part.keys, 1, beside.left);
    if (top < NAMES_FROM) return;
    context.font = NOTHING_FONT;
    context.fillStyle = hover?.nothing ? colours.accent : colours.ink;
    context.save();
    context.translate(beside.left + beside.width / 2, top - 5);
    context.rotate(-Math.PI / 3);
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(nothingName, 2, 1);
    context.restore();
  }

  /** Mark hidden keys, and in causal maps all later keys, which are not zeros. */
  #blocked(context) {
    const { part, causal, offset = 0, hidden, colours } = this.scene;
    const { left, top, cell, down, width, height } = this.frame;
    if (causal) {
      const side = 2 ** this.level;
      const end = part.query + part.queries;
      context.beginPath();
      for (let query = part.query - (part.query % side); query < end; query += side) {
        const last = Math.min(this.scene.queries.length, query + side) - 1 + offset; // the last key that the last query of these cells can attend to
        const from = Math.max(0, (Math.floor(last / side) + 1) * side - part.key);
        const [y0, y1] = [Math.max(query, part.query), Math.min(query + side, end)].map(
          (at) => (at - part.query) * down,
        );
        if (from < part.keys)
          context.rect(left + from * cell, top + y0, width - from * cell, y1 - y0);
      }
      paintBlocked(context, colours);
    }
    if (!hidden) return;
    for (let column = 0; column < part.keys; column++) {
      if (!hidden[part.key + column]) continue;
      context.beginPath();
      context.rect(left + column * cell, top, Math.max(cell, 1), height);
      paintBlocked(context, colours);
      dashedBox(
        context,
        colours.quiet,
        left + column * cell + 0.5,
        top + 0.5,
        Math.max(cell - 1, 1),
        height - 1,
      );
    }
  }

  #hatch(context) {
    const { left, top, cell, down, width, height } = this.frame;
    const { part, hatched, colours } = this.scene;
    context.save();
    context.beginPath();
    for (let row = 0; row < part.queries; row++) {
      for (let from = 0, to = 0; from < part.keys; from = to + 1) {
        for (to = from; to < part.keys && hatched(row, to);) to++; // a run of hatched cells is one area
        if (to > from) context.rect(left + from * cell, top + row * down, (to - from) * cell, down);
      }
    }
    context.clip();
    context.strokeStyle = colours.quiet;
    context.globalAlpha = 0.4;
    context.beginPath();
    for (let x = left - height; x < left + width; x += HATCH) {
      context.moveTo(x, top + height);
      context.lineTo(x + height, top);
    }
    context.stroke();
    context.restore();
  }

  /** Write the numbers of some columns, the first of which is at `left`. */
  #numbers(context, valueAt, from, columns, left) {
    const {
      part,
      table,
      signed,
      bold,
      hatched,
      cut,
      write = (x) => (Math.abs(x) < 0.005 ? "" : signed ? changeText(x) : short(x)),
    } = this.scene;
    const { top, cell, down } = this.frame;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = part.query; row < part.query + part.queries; row++) {
      for (let column = from; column < from + columns; column++) {
        const value = valueAt(row, column);
        const text = Number.isNaN(value) ? "" : write(value, row, column);
        if (!text) continue;
        const room = Math.max(cell - 2, 27);
        const fits = (size) => {
          context.font = `${bold?.(row, column) ? "bold " : ""}${size}px ${MONO}`;
          return context.measureText(text).width <= room;
        };
        if (!fits(11) && !cut && !fits(9)) continue; // never shorten a number
        const shown = fitText(context, text, room);
        const [x, y] = [
          left + (column - from + 0.5) * cell,
          top + (row - part.query + 0.5) * down + 0.5,
        ];
        if (hatched?.(row, column)) {
          const wide = Math.min(cell - 2, context.measureText(shown).width + 6);
          context.fillStyle = entry(table, this.shadeOf(value));
          context.fillRect(x - wide / 2, y - 8, wide, 15);
        }
        context.fillStyle = inkOn(table, this.shadeOf(value));
        context.fillText(shown, x, y);
      }
    }
  }

  /** Cross out the cut edges, in the colour of edits. */
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
      if (this.scene.signed) continue; // a change shows its number
      context.beginPath();
      context.moveTo(x + inset, y + inset);
      context.lineTo(x + w - inset, y + h - inset);
      context.moveTo(x + w - inset, y + inset);
      context.lineTo(x + inset, y + h - inset);
      context.stroke();
    }
  }

  /** x where names or numbers of rows end. */
  get #beforeRows() {
    return this.frame.left - 6 - (this.scene.brackets?.length ? 12 : 0);
  }

  /** Write the names of rows and columns. */
  #names(context, focus) {
    const { part, queries, keys, colours, hidden } = this.scene;
    const { left, top, cell, down, slant } = this.frame;
    context.textBaseline = "middle";
    const write = (text, room, on, out, size) => {
      context.font = `${on ? "bold " : ""}${size}px ${MONO}`;
      context.fillStyle = on ? colours.accent : out ? colours.quiet : colours.ink;
      return fitText(context, text, room);
    };
    context.textAlign = "right";
    for (let row = 0; row < (left < NAMES_FROM ? 0 : part.queries); row++) {
      const query = part.query + row;
      const text = write(
        queries[query],
        this.#beforeRows - 2,
        focus?.query === query,
        false,
        textOf(down),
      );
      context.fillText(text, this.#beforeRows, top + (row + 0.5) * down);
    }
    for (let column = 0; column < (top < NAMES_FROM ? 0 : part.keys); column++) {
      const key = part.key + column;
      const text = write(
        keys[key],
        slant ? LONGEST_NAME : 60,
        focus?.key === key,
        hidden?.[key],
        leaning(cell).size,
      );
      writeAbove(context, text, left + (column + 0.5) * cell, top, slant ? cell : null);
    }
  }

  /** Write round numbers, and those of the cell in focus. */
  #axes(context, focus) {
    const { part, colours, rowNumber = String } = this.scene;
    const { left, top, cell, down, width, height } = this.frame;
    context.textBaseline = "middle";
    const along = (from, count, room, apart, here, draw) => {
      const step = roundStep(count, room, apart);
      const there = here !== null && here !== undefined && here >= from && here < from + count;
      for (let at = from; at < from + count; at++) {
        const on = there && here === at;
        if (!on && (at % step || (there && Math.abs(here - at) < 0.7 * step))) continue;
        context.font = `${on ? "bold " : ""}11px ${MONO}`;
        context.fillStyle = on ? colours.accent : colours.quiet;
        draw(at);
      }
    };
    context.textAlign = "right";
    if (left >= NAMES_FROM)
      along(part.query, part.queries, height, part.queries > FEW ? 26 : 13, focus?.query, (at) =>
        context.fillText(rowNumber(at), this.#beforeRows, top + (at - part.query + 0.5) * down),
      );
    context.textAlign = "center";
    if (top >= NAMES_FROM)
      along(
        part.key,
        part.keys,
        width,
        part.keys > FEW ? 34 : 6 + 7 * String(part.key + part.keys - 1).length,
        focus?.key,
        (at) => context.fillText(String(at), left + (at - part.key + 0.5) * cell, top - 9),
      );
  }

  /** Draw titles of the axes, and brackets beside the rows. */
  #around(context) {
    const { rowTitle, columnTitle, colours, brackets = [] } = this.scene;
    const { left, top, down, width, height } = this.frame;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colours.quiet;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    if (columnTitle) context.fillText(columnTitle, left, 10, Math.max(width, 120));
    if (rowTitle) {
      context.save();
      context.translate(10, top + height);
      context.rotate(-Math.PI / 2);
      context.fillText(rowTitle, 0, 0, height);
      context.restore();
    }
    for (const { from, to, colour } of brackets) {
      context.fillStyle = colour;
      context.fillRect(left - 9, top + from * down, 5, Math.max(2, (to - from) * down - 1));
    }
  }

  /** If labels are sparse, draw thin lines from the cell in focus to the axes. */
  #cross(context, focus) {
    if (!focus || Math.min(this.frame.cell, this.frame.down) >= LABEL_FROM) return;
    const { part, colours } = this.scene;
    const { left, top, cell, down, width, height } = this.frame;
    context.strokeStyle = colours.accent;
    context.globalAlpha = 0.65;
    context.lineWidth = 1;
    context.beginPath();
    const y = top + ((focus.query ?? -1) - part.query + 0.5) * down;
    const x = left + ((focus.key ?? -1) - part.key + 0.5) * cell;
    if (focus.query !== null && y >= top && y <= top + height) {
      context.moveTo(left - 4, y);
      context.lineTo(focus.key === null ? left + width : x, y);
    }
    if (focus.key !== null && x >= left && x <= left + width) {
      context.moveTo(x, top - 4);
      context.lineTo(x, focus.query === null ? top + height : y);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  #outline(context, at, thick, dashes = []) {
    const { part, colours } = this.scene;
    const { left, top, cell, down, width, height, beside } = this.frame;
    const along = (first, count, from, begin, all, step) => {
      if (first === null) return [begin, all];
      const [start, end] = [first, first + count].map((token) => begin + (token - from) * step);
      const seen = Math.max(start, begin);
      return end > begin + 1e-6 && start < begin + all
        ? [seen, Math.max(6, Math.min(end, begin + all) - seen)]
        : null;
    };
    const [x, y] = [
      along(at.key, at.keys ?? 1, part.key, left, width, cell),
      along(at.query, at.queries ?? 1, part.query, top, height, down),
    ];
    if (!x || !y) return;
    const [from, across] = at.nothing && beside ? [beside.left, beside.width] : x;
    context.setLineDash(dashes);
    // A light line around it: the colour of focus must be visible on every colour of the scale.
    for (const [colour, line] of [
      [colours.ground ?? colours.accent, thick + 2],
      [colours.accent, thick],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(from, y[0], across, y[1]);
    }
    context.setLineDash([]);
  }
}

/** @param {CanvasRenderingContext2D} context @param {string} colour @param {number} x @param {number} y @param {number} width @param {number} height */
function dashedBox(context, colour, x, y, width, height) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
}
