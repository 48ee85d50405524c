// Thumbnails of every head: one canvas for the whole grid, with layers down and heads across. Each
// is an attention pattern, or what its view paints.

import { packedPalette, paintBlocked } from "./colours.js";
import { element, pixelRatio, pointWithin, sizedContext, taken, listen } from "./dom.js";
import { sayShared } from "./messages.js";

const LARGEST_THUMB = 54;
const SMALLEST_PITCH = 5;
const SMALL_THUMB = 24; // below it layers are put side by side, if that makes thumbnails larger
const WIDEST = 1.5; // greatest width over height of a thumbnail
const PAINTED_HEIGHT = 620; // greatest height of a painted grid
const NARROWEST = 22; // least width of a painted thumbnail

/**
 * @typedef {object} GridSize
 * @property {number} across from one thumbnail to the next, in CSS pixels
 * @property {number} down
 * @property {number} gap between two
 * @property {number} below each, for its numbers
 * @property {number} perRow thumbnails per row: every head of a layer, or of several layers if
 *   there are many with few heads, or part of the heads if there is one layer
 * @property {number} rows
 *
 * @typedef {{width: number, height: number}} GridRoom for the thumbnails; Infinity: any height
 */

/** @param {{layers: number, heads: number}} grid @param {GridRoom} room @returns {GridSize} */
export function gridSize({ layers, heads }, room) {
  let perRow = heads;
  const rowsOf = (each) => Math.ceil((layers * heads) / each);
  const side = (each) => Math.min(room.width / each, room.height / rowsOf(each), LARGEST_THUMB + 3);
  if (layers === 1 && heads > 4) {
    // The heads of a single layer need not be in one row.
    for (let each = heads - 1; each > 0; each--) if (side(each) > side(perRow) + 1) perRow = each;
  } else if (side(heads) < SMALL_THUMB) {
    for (let each = 2; each <= layers; each++)
      if (side(each * heads) > 1.25 * side(perRow)) perRow = each * heads;
  }
  const rows = rowsOf(perRow);
  const most = LARGEST_THUMB + 3;
  const fit = (length, count) =>
    Math.max(SMALLEST_PITCH, Math.min(most, Math.floor(length / count)));
  let across = fit(room.width, perRow);
  const down = Math.min(across, fit(room.height, rows));
  across = Math.min(across, Math.max(SMALLEST_PITCH, Math.floor(WIDEST * down)));
  const gap = down >= 24 ? 3 : down >= 12 ? 2 : 1;
  return { across, down, gap, below: 0, perRow, rows };
}

/** Size of a grid of painted thumbnails, which have their own aspect. @param {{layers: number, heads: number}} grid @param {number} room across @param {Painted} how @returns {GridSize} */
function paintedSize({ layers, heads }, room, { aspect, widest, below = 0 }) {
  // Show all layers at once, if thumbnails are large enough then.
  const high = Math.floor(PAINTED_HEIGHT / layers) - 3 - below;
  const width = Math.max(
    NARROWEST,
    Math.min(widest, Math.max(28, Math.floor(high * aspect)), Math.floor(room / heads) - 3),
  );
  return {
    across: width + 3,
    down: Math.round(width / aspect) + 3 + below,
    gap: 3,
    below,
    perRow: heads,
    rows: layers,
  };
}

/** The column and row of a head in the grid. @param {number} layer @param {number} head @param {number} heads of a layer @param {GridSize} size */
export function cellOfHead(layer, head, heads, { perRow }) {
  const at = layer * heads + head;
  return { column: at % perRow, row: Math.floor(at / perRow) };
}

/**
 * The head at a column and a row; null where there is none.
 * @param {number} column
 * @param {number} row
 * @param {{layers: number, heads: number, counts?: number[]}} grid
 * @param {GridSize} size
 */
export function headAtCell(column, row, { layers, heads, counts }, { perRow }) {
  const at = row * perRow + column;
  const layer = Math.floor(at / heads);
  const head = at % heads;
  const inside =
    column >= 0 &&
    row >= 0 &&
    column < perRow &&
    layer < layers &&
    head < (counts?.[layer] || heads);
  return inside ? { layer, head } : null;
}

/**
 * Which names to write beside rows (or above columns) at this pitch: all, or every 2nd, 5th, 10th
 * …; always the chosen one, and then none that are too close to it.
 * @param {number} count
 * @param {number} pitch
 * @param {number} least how far apart two names must be
 * @param {number} chosen
 * @returns {boolean[]}
 */
export function namesShown(count, pitch, least, chosen) {
  const step = [1, 2, 5, 10, 20, 50].find((each) => each * pitch >= least) ?? 100;
  return Array.from(
    { length: count },
    (_, i) => i === chosen || (i % step === 0 && Math.abs(i - chosen) * pitch >= least),
  );
}

const NAMES = { width: 28, height: 18 }; // room for the names of layers and heads

/**
 * @typedef {{layers: number, heads: number, width: number, height: number, headless?: Record<string, string>, reach?: number[] | null, counts?: number[]}} Grid
 *   of thumbnails; headless: what layers without heads are; reach: how many columns of each row a
 *   query can attend to; counts: how many heads each layer has, if they differ
 * @typedef {{x: number, y: number, width: number, height: number}} ThumbBox
 * @typedef {{aspect: number, widest: number, below?: number, paint: (context: CanvasRenderingContext2D, layer: number, head: number, box: ThumbBox) => void}} Painted
 *   aspect: width over height; widest: greatest width
 */

export class Thumbnails {
  /**
   * @param {(layer: number, head: number, event: MouseEvent | KeyboardEvent) => void} choose
   * @param {AbortSignal} signal
   * @param {(layer: number, head: number) => string} [tell] tooltip of a head
   * @param {string} [part] its name
   */
  constructor(
    choose,
    signal,
    tell = (layer, head) => sayShared("layer_head_click_to", { layer, head }),
    part = "thumbnails",
  ) {
    this.canvas = element(`canvas.tl-thumbs#${part}`, { role: "application", tabindex: 0 });
    this.mark = element("div.tl-mark", { "aria-hidden": "true" });
    this.point = element("div.tl-mark.tl-point", { "aria-hidden": "true", hidden: true });
    this.rows = element("div.tl-row-names", { "aria-hidden": "true" });
    this.columns = element("div.tl-column-names", { "aria-hidden": "true" });
    /** Names beside rows and above columns. @type {Map<HTMLElement, string>} */
    this.named = new Map();
    this.stack = element("div.tl-stack", this.canvas, this.mark, this.point);
    this.root = element("div.tl-grid", this.columns, this.rows, this.stack);
    const at = (event) => {
      if (!this.grid) return null;
      const [x, y] = pointWithin(event, this.canvas);
      const { across, down } = this.size;
      const [column, row] = [Math.floor(x / across), Math.floor(y / down)];
      return headAtCell(column, row, this.grid, this.size);
    };
    listen(this.canvas, "click", signal, (event) => {
      const spot = at(event);
      if (spot) choose(spot.layer, spot.head, event);
    });
    listen(this.canvas, "pointermove", signal, (event) => {
      const spot = at(event);
      this.point.hidden = !spot;
      this.canvas.title = spot ? tell(spot.layer, spot.head) : "";
      if (spot) this.#place(this.point, spot.layer, spot.head);
    });
    listen(this.canvas, "pointerleave", signal, () => (this.point.hidden = true));
    listen(this.canvas, "keydown", signal, (event) => {
      const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[
        event.key
      ];
      if (!step || !this.grid) return;
      taken(event);
      const next = this.#next(step[0], step[1]);
      Object.assign(this, next); // the next key may come before this one is drawn
      choose(next.layer, next.head, event);
    });
  }

  /** The head this far right and down from the chosen one, skipping layers without heads. */
  #next(right, down) {
    const { size, layer, head } = this;
    const { heads, counts } = this.grid;
    const most = (at) => (counts?.[at] ?? heads) - 1;
    if (right) {
      const at = layer * heads + head + right;
      const next = headAtCell(at % size.perRow, Math.floor(at / size.perRow), this.grid, size);
      return next && (next.layer === layer || size.perRow > heads) ? next : { layer, head };
    }
    const { column, row } = cellOfHead(layer, head, heads, size);
    for (let at = row + down; ; at += down) {
      const next = headAtCell(column, at, this.grid, size);
      if (!next) return { layer, head };
      if (most(next.layer) >= 0)
        return { layer: next.layer, head: Math.min(next.head, most(next.layer)) };
    }
  }

  /**
   * Draw the layers whose patterns have changed.
   * @param {Uint8Array} shades one byte per pixel: the index on the colour scale
   * @param {Grid} grid
   * @param {Uint8ClampedArray} table
   * @param {import("./thumbnails.js").GridRoom} room including the names
   * @param {{ground: string, blocked: string}} inks
   * @returns {boolean} whether the grid, its size or its colours have changed
   */
  draw(shades, grid, table, room, inks) {
    this.grid = grid;
    this.size = gridSize(grid, {
      width: room.width - NAMES.width,
      height: room.height - NAMES.height,
    });
    const ratio = pixelRatio();
    const look = JSON.stringify([grid, this.size, ratio, inks, Array.from(table)]);
    const fresh = look !== this.look;
    if (fresh) this.#begin(inks);
    const others = fresh ? this.#every() : this.#others(shades);
    // If two patterns may share a pixel, draw all of them.
    const some = Number.isInteger(ratio) || !others.length ? others : this.#every();
    const aRow = Math.max(1, this.size.perRow / grid.heads); // layers
    const upTo = (layer) => Math.min(grid.layers, Math.floor(layer / aRow) * aRow);
    if (some.length) {
      const [from, to] = [upTo(some[0]), upTo(some[some.length - 1] + aRow)];
      this.#paint(shades, from, to, packedPalette(table), ratio);
    }
    this.look = look;
    this.shades = shades.slice();
    this.tall = this.size.rows * this.size.down + NAMES.height > room.height;
    this.choose(this.layer ?? 0, this.head ?? 0);
    return fresh;
  }

  /** Draw what a view paints. @param {Grid} grid @param {number} room across, with the names @param {{ground: string, blocked: string}} inks @param {Painted} how */
  paint(grid, room, inks, how) {
    this.grid = grid;
    this.size = paintedSize(grid, room - NAMES.width, how);
    this.#begin(inks);
    for (let layer = 0; layer < grid.layers; layer++) {
      for (let head = 0; head < (grid.counts?.[layer] ?? grid.heads); head++)
        how.paint(this.context, layer, head, this.boxOf(layer, head));
    }
  }

  /** Start an empty canvas of the grid's size, and the overlay of all patterns. */
  #begin(inks) {
    const { across, down, gap, perRow, rows } = this.size;
    const { layers, heads, headless = {} } = this.grid;
    const [wide, high] = [perRow * across - gap, rows * down - gap];
    this.context = sizedContext(this.canvas, wide, high);
    this.over = document.createElement("canvas");
    this.#block(sizedContext(this.over, wide, high), this.grid, inks);
    this.root.style.setProperty("--tl-across", `${across}px`);
    this.root.style.setProperty("--tl-down", `${down}px`);
    // For scripts and tests: the layout of the grid, in CSS pixels.
    Object.assign(this.canvas.dataset, {
      across: String(across),
      down: String(down),
      perRow: String(perRow),
      heads: String(heads),
    });
    this.canvas.ariaLabel = sayShared("layers_by_heads_each", {
      layers,
      heads,
      entries: Object.entries(headless)
        .map(([layer, what]) => sayShared("layer", { layer, what }))
        .join(""),
    });
  }

  #every() {
    return Array.from({ length: this.grid.layers }, (_, layer) => layer);
  }

  /** Layers whose patterns differ from those drawn last. */
  #others(shades) {
    const { heads, width, height } = this.grid;
    const each = heads * width * height;
    return this.#every().filter(
      (layer) => !sameBytes(shades, this.shades, layer * each, (layer + 1) * each),
    );
  }

  /** Draw the patterns of layers `from` to `to` (exclusive). */
  #paint(shades, from, to, palette, ratio) {
    const { context } = this;
    const { heads, width, height, headless = {} } = this.grid;
    const sheet = sheetOf(shades, this.grid, from, to, palette);
    const top = this.boxOf(from, 0).y;
    const last = this.boxOf(to - 1, heads - 1);
    const [wide, high] = [this.canvas.width / ratio, last.y + last.height - top];
    context.clearRect(0, top, wide, high);
    for (let layer = from; layer < to; layer++) {
      if (headless[layer]) {
        const box = this.boxOf(layer, 0);
        context.font = "11px system-ui, sans-serif";
        context.textBaseline = "middle";
        context.fillStyle = getComputedStyle(this.canvas).color;
        context.fillText(headless[layer], box.x + 2, box.y + box.height / 2, heads * box.width);
        continue;
      }
      for (let head = 0; head < heads; head++) {
        const box = this.boxOf(layer, head);
        context.imageSmoothingEnabled = width > box.width || height > box.height;
        context.drawImage(
          sheet,
          head * width,
          (layer - from) * height,
          width,
          height,
          box.x,
          box.y,
          box.width,
          box.height,
        );
      }
    }
    if (this.grid.reach)
      context.drawImage(this.over, 0, top * ratio, wide * ratio, high * ratio, 0, top, wide, high);
  }

  /** Grey out what a query cannot attend to, as on the large map. @param {CanvasRenderingContext2D} context @param {Grid} grid @param {any} inks */
  #block(context, { layers, heads, width, height, reach, headless = {} }, inks) {
    if (!reach) return;
    context.beginPath();
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < (headless[layer] ? 0 : heads); head++) {
        const box = this.boxOf(layer, head);
        reach.forEach((from, y) => {
          const left = (from * box.width) / width;
          if (from < width)
            context.rect(
              box.x + left,
              box.y + (y * box.height) / height,
              box.width - left,
              box.height / height,
            );
        });
      }
    }
    paintBlocked(context, inks);
  }

  /** Box of a head's thumbnail on the canvas, in CSS pixels. @param {number} layer @param {number} head */
  boxOf(layer, head) {
    const { across, down, gap, below } = this.size;
    const { column, row } = cellOfHead(layer, head, this.grid.heads, this.size);
    return { x: column * across, y: row * down, width: across - gap, height: down - gap - below };
  }

  /** Mark further heads, such as those that are pinned. @param {{layer: number, head: number}[]} places */
  pin(places) {
    this.pins?.forEach((mark) => mark.remove());
    this.pins = this.grid
      ? places.map(() => element("div.tl-mark.tl-pin-mark", { "aria-hidden": "true" }))
      : [];
    this.stack.append(...this.pins);
    this.pins.forEach((mark, i) => this.#place(mark, places[i].layer, places[i].head));
  }

  /** @param {number} layer @param {number} head */
  choose(layer, head) {
    this.layer = layer;
    this.head = head;
    if (!this.grid) return;
    this.#place(this.mark, layer, head);
    this.#reveal(layer, head);
    const { across, down, perRow, rows } = this.size;
    const { column, row } = cellOfHead(layer, head, this.grid.heads, this.size);
    const { heads } = this.grid;
    const broken = perRow < heads; // a row then holds part of the layer, and is named by its first head
    const first = (i) => (i * perRow) / (broken ? 1 : heads); // or it holds layers, and is named by the first or the chosen one
    this.#name(this.rows, rows, down, 12, row, broken ? "H" : "L", (i) =>
      i === row && !broken ? layer : first(i),
    );
    const least = heads > 10 ? 17 : 11;
    this.#name(this.columns, broken ? 0 : perRow, across, least, column, "H", (i) => i % heads);
  }

  /** Write numbers beside rows or above columns, 0 and the chosen one with a letter: L0, 1, 2 … */
  #name(place, count, pitch, least, chosen, axis, number) {
    const shown = namesShown(count, pitch, least, chosen);
    const text = (i) => `${!number(i) || i === chosen ? axis : ""}${number(i)}`;
    const names = JSON.stringify([shown.map((on, i) => on && text(i)), chosen]);
    if (this.named.get(place) === names) return;
    this.named.set(place, names);
    place.replaceChildren(
      ...shown.map((on, i) =>
        element("span", { class: i === chosen ? "tl-on" : null }, on ? text(i) : ""),
      ),
    );
  }

  /** Scroll a tall grid so that the chosen head is visible. */
  #reveal(layer, head) {
    if (!this.tall) return; // all of it is visible
    const { y, height } = this.boxOf(layer, head);
    const room = this.root.clientHeight - NAMES.height;
    const seen = y >= this.root.scrollTop && y + height <= this.root.scrollTop + room;
    if (room > height && !seen) this.root.scrollTop = y - (room - height) / 2;
  }

  #place(mark, layer, head) {
    const { x, y, width, height } = this.boxOf(layer, head);
    mark.style.transform = `translate(${x - 2}px, ${y - 2}px)`;
    mark.style.width = `${width + 4}px`;
    mark.style.height = `${height + 4}px`;
  }
}

/** Patterns of some layers as one picture, one pixel per byte: heads across, layers down. */
function sheetOf(shades, { heads, width, height }, from, to, palette) {
  const sheet = document.createElement("canvas");
  sheet.width = heads * width;
  sheet.height = (to - from) * height;
  const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  const image = context.createImageData(sheet.width, sheet.height);
  const pixels = new Uint32Array(image.data.buffer);
  let next = from * heads * width * height;
  for (let row = 0; row < to - from; row++) {
    for (let head = 0; head < heads; head++) {
      for (let y = 0; y < height; y++) {
        const start = (row * height + y) * sheet.width + head * width;
        for (let x = 0; x < width; x++) pixels[start + x] = palette[shades[next++]];
      }
    }
  }
  context.putImageData(image, 0, 0);
  return sheet;
}

/** Whether two byte arrays are equal from one index up to another. */
function sameBytes(a, b, from, to) {
  if (a.length !== b.length) return false;
  for (let i = from; i < to; i++) if (a[i] !== b[i]) return false;
  return true;
}
