// What is drawn over the grid of heads: labels, heads that are off, groups, what each head does.

import { colourTable, signedShade } from "./colours.js";
import { element, fitText, sizedContext } from "./dom.js";

const TAGS_FROM = 40; // size of a thumbnail, in pixels, from which its label is written on it
const SHORT_TAGS = {
  "induction": "induct", "two-hop induction": "2-hop", "duplicate token": "again", "same word": "word",
  "previous token": "prev", "next token": "next", "self token": "self", "punctuation": "punct",
  "first token": "first", "special tokens": "[spec]",
};

/**
 * @typedef {object} HeadMark
 * @property {boolean} off
 * @property {boolean} touched an edge of it is cut, or it is changed in another way
 * @property {boolean} grouped
 * @property {string} tag
 * @property {number | null} effect from −1 to 1: what switching it off does, of the most that any does
 */

export class GridMarks {
  /** @param {import("./thumbnails.js").Thumbnails} thumbnails */
  constructor(thumbnails) {
    this.thumbnails = thumbnails;
    this.canvas = element("canvas", { class: "tl-grid-marks", "aria-hidden": "true" });
    this.canvas.removeAttribute("data-lm-suppress-shortcuts");
    thumbnails.stack.append(this.canvas);
  }

  /**
   * @param {(layer: number, head: number) => HeadMark} markOf
   * @param {{ink: string, ground: string, edited: string, accent: string}} inks
   * @param {import("./colours.js").Theme} theme
   */
  draw(markOf, inks, theme) {
    const { grid, size, pitch } = this.thumbnails;
    if (!grid) return;
    const context = sizedContext(this.canvas, grid.heads * pitch, grid.layers * pitch);
    const table = colourTable("diverging", theme);
    for (let layer = 0; layer < grid.layers; layer++) {
      for (let head = 0; head < grid.heads; head++) {
        this.#one(context, markOf(layer, head), head * pitch, layer * pitch, size, inks, table);
      }
    }
  }

  #one(context, mark, x, y, size, inks, table) {
    if (mark.effect !== null) {
      const height = size >= 30 ? 7 : 4;
      const at = 3 * signedShade(mark.effect, 1);
      context.fillStyle = inks.ground;
      context.fillRect(x, y + size - height, size, height);
      context.fillStyle = `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
      const long = Math.max(1, Math.sqrt(Math.abs(mark.effect)) * size);
      context.fillRect(x, y + size - height + 1, long, height - 1);
    }
    if (mark.tag && size >= TAGS_FROM) {
      context.font = `600 ${size >= 46 ? 10 : 9}px system-ui, sans-serif`;
      const text = fitText(context, SHORT_TAGS[mark.tag] ?? mark.tag, size - 4);
      const wide = context.measureText(text).width + 4;
      context.globalAlpha = 0.88;
      context.fillStyle = inks.ground;
      context.fillRect(x + size - wide, y, wide, 13);
      context.globalAlpha = 1;
      context.fillStyle = inks.ink;
      context.textAlign = "left";
      context.textBaseline = "middle";
      context.fillText(text, x + size - wide + 2, y + 7);
    }
    if (mark.off) {
      context.globalAlpha = 0.55;
      context.fillStyle = inks.ground;
      context.fillRect(x, y, size, size);
      context.globalAlpha = 1;
      context.strokeStyle = inks.edited;
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1, size - 2, size - 2);
      context.beginPath();
      context.moveTo(x + 2, y + 2);
      context.lineTo(x + size - 2, y + size - 2);
      context.moveTo(x + size - 2, y + 2);
      context.lineTo(x + 2, y + size - 2);
      context.stroke();
      if (size >= 30) this.#word(context, "off", x, y, size, inks);
    } else if (mark.touched) {
      context.strokeStyle = inks.edited;
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1, size - 2, size - 2);
      if (size >= 30) this.#word(context, "✂", x, y, size, inks);
    }
    if (mark.grouped) {
      context.strokeStyle = inks.accent;
      context.lineWidth = 2;
      context.setLineDash([4, 3]);
      context.strokeRect(x + 1, y + 1, size - 2, size - 2);
      context.setLineDash([]);
    }
  }

  #word(context, text, x, y, size, inks) {
    context.font = "700 11px system-ui, sans-serif";
    const wide = context.measureText(text).width + 6;
    context.fillStyle = inks.ground;
    context.fillRect(x + (size - wide) / 2, y + size / 2 - 8, wide, 16);
    context.fillStyle = inks.edited;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x + size / 2, y + size / 2 + 0.5);
  }
}
