// Every head, small: one canvas for the whole grid, layers down and heads across.

import { packedPalette } from "./heat_map.js";
import { element } from "./dom.js";

const GAP = 3;

/** @typedef {{layers: number, heads: number, width: number, height: number}} Grid of thumbnails */

/** How large one thumbnail is shown, in CSS pixels. @param {number} heads @param {number} room */
export const thumbnailSize = (heads, room) =>
  Math.max(13, Math.min(54, Math.floor((room - 26) / heads) - GAP));

export class Thumbnails {
  /**
   * @param {(layer: number, head: number, event: MouseEvent | KeyboardEvent) => void} choose
   * @param {AbortSignal} signal
   * @param {(layer: number, head: number) => string} [tell] what to say of a head on hover
   */
  constructor(choose, signal, tell = (layer, head) => `Layer ${layer}, head ${head}: click to see it large`) {
    this.canvas = element("canvas", {
      class: "tl-thumbs",
      role: "img",
      tabindex: 0,
      "data-part": "thumbnails",
    });
    this.mark = element("div", { class: "tl-mark", "aria-hidden": "true" });
    this.point = element("div", { class: "tl-mark tl-point", "aria-hidden": "true", hidden: true });
    this.rows = element("div", { class: "tl-row-names", "aria-hidden": "true" });
    this.columns = element("div", { class: "tl-column-names", "aria-hidden": "true" });
    this.stack = element("div", { class: "tl-stack" }, this.canvas, this.mark, this.point);
    this.root = element("div", { class: "tl-grid" }, this.columns, this.rows, this.stack);
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const head = Math.floor((event.clientX - box.left) / (this.size + GAP));
      const layer = Math.floor((event.clientY - box.top) / (this.size + GAP));
      return this.grid && layer >= 0 && head >= 0 && layer < this.grid.layers && head < this.grid.heads
        ? { layer, head }
        : null;
    };
    this.canvas.addEventListener("click", (event) => {
      const spot = at(event);
      if (spot) choose(spot.layer, spot.head, event);
    }, { signal });
    this.canvas.addEventListener("pointermove", (event) => {
      const spot = at(event);
      this.point.hidden = !spot;
      this.canvas.title = spot ? tell(spot.layer, spot.head) : "";
      if (spot) this.#place(this.point, spot.layer, spot.head);
    }, { signal });
    this.canvas.addEventListener("pointerleave", () => (this.point.hidden = true), { signal });
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step || !this.grid) return;
      event.preventDefault();
      event.stopPropagation();
      const within = (value, count) => Math.max(0, Math.min(count - 1, value));
      choose(within(this.layer + step[0], this.grid.layers), within(this.head + step[1], this.grid.heads), event);
    }, { signal });
  }

  /**
   * @param {Uint8Array} shades one byte a pixel: the place on the colour scale
   * @param {Grid} grid
   * @param {Uint8ClampedArray} table
   * @param {number} room width in CSS pixels
   */
  draw(shades, grid, table, room) {
    this.grid = grid;
    this.size = thumbnailSize(grid.heads, room);
    const pitch = this.size + GAP;
    const ratio = globalThis.devicePixelRatio || 1;
    const { layers, heads, width, height } = grid;
    this.canvas.width = Math.round((heads * pitch - GAP) * ratio);
    this.canvas.height = Math.round((layers * pitch - GAP) * ratio);
    this.canvas.style.width = `${heads * pitch - GAP}px`;
    this.canvas.style.height = `${layers * pitch - GAP}px`;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const sheet = document.createElement("canvas");
    sheet.width = heads * width;
    sheet.height = layers * height;
    const sheetContext = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
    const image = sheetContext.createImageData(sheet.width, sheet.height);
    const pixels = new Uint32Array(image.data.buffer);
    const palette = packedPalette(table);
    let next = 0;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        for (let y = 0; y < height; y++) {
          const start = (layer * height + y) * sheet.width + head * width;
          for (let x = 0; x < width; x++) pixels[start + x] = palette[shades[next++]];
        }
      }
    }
    sheetContext.putImageData(image, 0, 0);
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = width > this.size;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        context.drawImage(sheet, head * width, layer * height, width, height, head * pitch, layer * pitch, this.size, this.size);
      }
    }
    const names = (count) => Array.from({ length: count }, (_, i) => element("span", {}, String(i)));
    this.root.style.setProperty("--tl-pitch", `${pitch}px`);
    this.root.style.setProperty("--tl-thumb", `${this.size}px`);
    this.rows.replaceChildren(...names(layers));
    this.columns.replaceChildren(...names(heads));
    this.canvas.setAttribute("aria-label", `${layers} layers by ${heads} heads, each as a small map. Arrow keys choose a head.`);
    this.choose(this.layer ?? 0, this.head ?? 0);
  }

  /** From one thumbnail to the next, in CSS pixels. */
  get pitch() {
    return this.size + GAP;
  }

  /** @param {number} layer @param {number} head */
  choose(layer, head) {
    this.layer = layer;
    this.head = head;
    if (this.grid) {
      this.#place(this.mark, layer, head);
      this.#reveal(layer);
    }
    const named = (names, chosen) =>
      [...names.children].forEach((name, i) => name.classList.toggle("tl-on", i === chosen));
    named(this.rows, layer);
    named(this.columns, head);
  }

  /** Scroll a tall grid so that the chosen layer is seen. */
  #reveal(layer) {
    const pitch = this.size + GAP;
    const room = this.root.clientHeight - 24; // the column names stand above
    const top = layer * pitch;
    const seen = top >= this.root.scrollTop && top + pitch <= this.root.scrollTop + room;
    if (room > pitch && !seen) this.root.scrollTop = top - (room - pitch) / 2;
  }

  #place(mark, layer, head) {
    const pitch = this.size + GAP;
    mark.style.transform = `translate(${head * pitch - 2}px, ${layer * pitch - 2}px)`;
    mark.style.width = mark.style.height = `${this.size + 4}px`;
  }
}
