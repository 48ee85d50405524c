// A map of weights on a canvas: queries down, keys across, with labels, cursor and selection.

import { pooled } from "./attention.js";
import { inkOn, shade, signedShade } from "./colours.js";
import { fitText, sizedContext } from "./dom.js";
import { short, signed } from "./words.js";

const LARGEST_CELL = 46;
const LABEL_FROM = 10.5; // cell size, in pixels, from which every token is labelled
const NUMBER_FROM = 31; // … and from which its weight is written into a cell
const TEXT = 12;
const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/**
 * @typedef {{query: number, key: number, queries: number, keys: number}} Part of a map
 * @typedef {{left: number, top: number, cell: number, width: number, height: number, slant: boolean}} Frame
 */

/**
 * Where the map's cells lie on a canvas of the given width.
 * @param {Part} part
 * @param {{width: number, height: number, rowLabel: number, columnLabel: number, lastLabel?: number}} room
 *   the canvas width, the most height for the cells, how long the longest labels are, and the last
 * @returns {Frame}
 */
export function frameOf(part, room) {
  const labelled = (cell) => cell >= LABEL_FROM;
  const sizeWith = (left, right = 8) =>
    Math.min((room.width - left - right) / part.keys, room.height / part.queries, LARGEST_CELL);
  let left = Math.min(room.rowLabel, 0.3 * room.width) + 10;
  let cell = sizeWith(left);
  if (!labelled(cell)) {
    left = 38;
    cell = sizeWith(left);
  }
  const slant = labelled(cell) && room.columnLabel > cell - 4;
  if (slant) {
    const leans = Math.min(room.lastLabel ?? 0, 96) / 2 + 6 - cell / 2; // over the right edge
    const narrower = sizeWith(left, Math.max(8, leans));
    if (labelled(narrower)) cell = narrower;
  }
  const top = !labelled(cell) ? 20 : slant ? Math.min(room.columnLabel, 96) * 0.87 + 12 : 20;
  return {
    left,
    top: Math.round(top),
    cell,
    width: cell * part.keys,
    height: cell * part.queries,
    slant,
  };
}

/**
 * The cell, row label or column label at a point of the canvas; null elsewhere.
 * @param {number} x
 * @param {number} y
 * @param {Frame} frame
 * @param {Part} part
 * @returns {{query: number | null, key: number | null} | null}
 */
export function cellAt(x, y, frame, part) {
  const column = Math.floor((x - frame.left) / frame.cell);
  const row = Math.floor((y - frame.top) / frame.cell);
  const key = column >= 0 && column < part.keys ? part.key + column : null;
  const query = row >= 0 && row < part.queries ? part.query + row : null;
  if (query !== null && key !== null) return { query, key };
  if (query !== null && x < frame.left) return { query, key: null };
  if (key !== null && y < frame.top) return { query: null, key };
  return null;
}

/** Round steps for an axis that has no room for every label. */
export function axisStep(count, room) {
  const rough = (count * 34) / Math.max(room, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough) ?? 10 * power;
}

export class HeatMap {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{hover: (at: {query: number | null, key: number | null} | null) => void,
   *          pick: (at: {query: number | null, key: number | null}) => void}} on
   * @param {AbortSignal} signal
   */
  constructor(canvas, on, signal) {
    this.canvas = canvas;
    this.picture = document.createElement("canvas");
    /** @type {Frame | null} */
    this.frame = null;
    /** @type {any} */
    this.scene = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return this.frame && cellAt(event.clientX - box.left, event.clientY - box.top, this.frame, this.scene.part);
    };
    canvas.addEventListener("pointermove", (event) => on.hover(at(event)), { signal });
    canvas.addEventListener("pointerleave", () => on.hover(null), { signal });
    canvas.addEventListener(
      "click",
      (event) => {
        const cell = at(event);
        if (cell) on.pick(cell);
      },
      { signal },
    );
  }

  /**
   * Draw the weights anew.
   * @param {object} scene
   * @param {(query: number) => Float32Array} scene.rowOf
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
   * @param {number} width
   * @param {number} height at most, for the cells
   */
  show(scene, width, height) {
    this.scene = scene;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.font = `${TEXT}px ${MONO}`;
    const widest = (tokens, from, count) => {
      let most = 0;
      for (const token of tokens.slice(from, from + Math.min(count, 96))) {
        most = Math.max(most, context.measureText(token).width);
      }
      return most;
    };
    const { part } = scene;
    this.frame = frameOf(part, {
      width,
      height,
      rowLabel: widest(scene.queries, part.query, part.queries),
      columnLabel: widest(scene.keys, part.key, part.keys),
      lastLabel: widest(scene.keys, part.key + part.keys - 1, 1),
    });
    // Slanted labels of the last columns lean out to the right.
    const over = this.frame.slant ? Math.min(56, Math.max(0, width - this.frame.left - this.frame.width)) : 0;
    this.width = Math.min(width, Math.ceil(this.frame.left + this.frame.width + Math.max(8, over)));
    this.height = Math.ceil(this.frame.top + this.frame.height + 2);
    this.#paintWeights();
    this.mark(null, null);
  }

  #paintWeights() {
    const { scene, frame } = this;
    const ratio = globalThis.devicePixelRatio || 1;
    const one = frame.cell * ratio >= 1;
    const small = one
      ? pooled(scene.rowOf, scene.part, scene.part.keys, scene.part.queries, 1, scene.signed)
      : pooled(scene.rowOf, scene.part, frame.width * ratio, frame.height * ratio, scene.queries.length > 1024 ? 1 : 8, scene.signed);
    this.sampled = small.sampled;
    this.picture.width = small.width;
    this.picture.height = small.height;
    const context = /** @type {CanvasRenderingContext2D} */ (this.picture.getContext("2d"));
    const image = context.createImageData(small.width, small.height);
    const pixels = new Uint32Array(image.data.buffer);
    const palette = packedPalette(scene.table);
    const place = scene.signed ? signedShade : shade;
    for (let i = 0; i < pixels.length; i++) pixels[i] = palette[place(small.values[i], scene.largest)];
    context.putImageData(image, 0, 0);
  }

  /**
   * Draw labels, the cell under the cursor and the selected one over the weights.
   * @param {{query: number | null, key: number | null} | null} hover
   * @param {{query: number | null, key: number | null} | null} selected
   */
  mark(hover, selected) {
    const { scene, frame } = this;
    if (!scene) return;
    const context = sizedContext(this.canvas, this.width, this.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.picture, frame.left, frame.top, frame.width, frame.height);
    this.#blocked(context);
    if (frame.cell >= LABEL_FROM) this.#grid(context);
    if (frame.cell >= NUMBER_FROM) this.#numbers(context);
    this.#cuts(context);
    const focus = hover ?? selected;
    this.#labels(context, focus);
    this.#cross(context, focus);
    if (selected) this.#outline(context, selected, 2.5);
    if (hover) this.#outline(context, hover, 1.5);
    // For scripts and tests: where cell (query, key) of the shown part lies, in CSS pixels.
    Object.assign(this.canvas.dataset, {
      left: String(frame.left),
      top: String(frame.top),
      cell: String(frame.cell),
    });
  }

  /** Keys that are hidden, and for causal maps all later ones, are no zeros: shade them apart. */
  #blocked(context) {
    const { part, causal, offset, hidden, colours } = this.scene;
    const { left, top, cell, width, height } = this.frame;
    context.fillStyle = colours.blocked;
    if (causal) {
      context.beginPath();
      for (let row = 0; row < part.queries; row++) {
        const from = Math.max(0, part.query + row + 1 + offset - part.key);
        if (from < part.keys) context.rect(left + from * cell, top + row * cell, width - from * cell, cell);
      }
      context.fill();
    }
    if (!hidden) return;
    for (let column = 0; column < part.keys; column++) {
      if (!hidden[part.key + column]) continue;
      context.fillRect(left + column * cell, top, Math.max(cell, 1), height);
      context.strokeStyle = colours.quiet;
      context.lineWidth = 1;
      context.setLineDash([3, 3]);
      context.strokeRect(left + column * cell + 0.5, top + 0.5, Math.max(cell - 1, 1), height - 1);
      context.setLineDash([]);
    }
  }

  #grid(context) {
    const { part, colours } = this.scene;
    const { left, top, cell, width, height } = this.frame;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.globalAlpha = 0.5;
    context.beginPath();
    for (let i = 0; i <= part.keys; i++) {
      context.moveTo(left + i * cell, top);
      context.lineTo(left + i * cell, top + height);
    }
    for (let i = 0; i <= part.queries; i++) {
      context.moveTo(left, top + i * cell);
      context.lineTo(left + width, top + i * cell);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  #numbers(context) {
    const { part, rowOf, largest, table, signed: isChange } = this.scene;
    const { left, top, cell } = this.frame;
    const place = isChange ? signedShade : shade;
    context.font = `11px ${MONO}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = 0; row < part.queries; row++) {
      const weights = rowOf(part.query + row);
      for (let column = 0; column < part.keys; column++) {
        const weight = weights[part.key + column];
        if (Math.abs(weight) < 0.005) continue;
        const at = 3 * place(weight, largest);
        context.fillStyle = inkOn(table[at], table[at + 1], table[at + 2]);
        context.fillText(isChange ? signed(weight) : short(weight), left + (column + 0.5) * cell, top + (row + 0.5) * cell + 0.5);
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
    const rowStep = everyone ? 1 : axisStep(part.queries, height);
    const columnStep = everyone ? 1 : axisStep(part.keys, width);
    context.textBaseline = "middle";
    const write = (text, room, on, out) => {
      context.font = `${on ? "bold " : ""}${everyone ? TEXT : 11}px ${MONO}`;
      context.fillStyle = on ? colours.accent : out ? colours.quiet : everyone ? colours.ink : colours.quiet;
      return fitText(context, text, room);
    };
    context.textAlign = "right";
    for (let row = 0; row < part.queries; row++) {
      const query = part.query + row;
      const on = focus?.query === query;
      if (query % rowStep && everyone === false) continue;
      const text = write(everyone ? queries[query] : String(query), left - 8, on, false);
      context.fillText(text, left - 6, top + (row + 0.5) * cell);
    }
    for (let column = 0; column < part.keys; column++) {
      const key = part.key + column;
      if (key % columnStep && everyone === false) continue;
      const text = write(everyone ? keys[key] : String(key), slant ? 96 : 60, focus?.key === key, hidden?.[key]);
      context.save();
      context.translate(left + (column + 0.5) * cell, top - 5);
      if (slant) {
        context.rotate(-Math.PI / 3);
        context.textAlign = "left";
        context.fillText(text, 2, 1);
      } else {
        context.textAlign = "center";
        context.fillText(text, 0, -4);
      }
      context.restore();
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
    const { left, top, cell, width, height } = this.frame;
    const x = at.key === null ? left : left + (at.key - part.key) * cell;
    const y = at.query === null ? top : top + (at.query - part.query) * cell;
    const w = at.key === null ? width : Math.max(cell, 6);
    const h = at.query === null ? height : Math.max(cell, 6);
    if (x < left - 1 || y < top - 1 || x > left + width || y > top + height) return;
    context.strokeStyle = colours.accent;
    context.lineWidth = thick;
    context.strokeRect(x, y, w, h);
  }
}

/**
 * The colours of a table as 32-bit pixels.
 * @param {Uint8ClampedArray} table
 */
export function packedPalette(table) {
  const palette = new Uint32Array(256);
  const bytes = new Uint8ClampedArray(palette.buffer);
  for (let i = 0; i < 256; i++) bytes.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  return palette;
}
