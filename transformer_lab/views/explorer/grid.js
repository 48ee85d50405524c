// Marks over the grid of heads: how much each matters, labels, heads that are off, groups.

import { element, fitText, showDrawn, sizedContext } from "../shared/dom.js";

const TAGS_FROM = 40; // size of a thumbnail, in pixels, from which its label is written on it
const WORDS_FROM = 24; // size from which "off" is written
const DOT_FROM = 0.06; // fraction of the largest effect of any head; below it there is no dot

/**
 * @typedef {object} HeadMark
 * @property {boolean} off
 * @property {boolean} touched an edge of it is cut, or it is changed in another way
 * @property {boolean} grouped
 * @property {string} tag what it does, in a few letters
 * @property {{part: number, estimate: boolean} | null} effect effect of switching it off, from −1
 *   to 1, relative to the largest of any head; estimate: whether it was estimated instead of
 *   measured
 */

/**
 * The radius of the dot that says how much a head matters: its area grows with the effect.
 * @param {number} part from −1 to 1
 * @param {number} size of the thumbnail, in pixels
 */
export const dotRadius = (part, size) =>
  Math.abs(part) < DOT_FROM
    ? 0
    : Math.max(1.25, Math.sqrt(Math.abs(part)) * Math.max(2.8, Math.min(6.5, 0.27 * size)));

export class GridMarks {
  /** @param {import("../shared/thumbnails.js").Thumbnails} thumbnails */
  constructor(thumbnails) {
    this.thumbnails = thumbnails;
    this.apart = document.createElement("canvas");
    this.canvas = element("canvas.tl-grid-marks", { "aria-hidden": "true" });
    this.canvas.removeAttribute("data-lm-suppress-shortcuts");
    thumbnails.stack.append(this.canvas);
  }

  /**
   * @param {(layer: number, head: number) => HeadMark} markOf
   * @param {{ink: string, quiet: string, ground: string, edited: string, accent: string}} inks
   * @param {any[]} from everything that the marks depend on; if it is unchanged, nothing is drawn
   */
  draw(markOf, inks, from) {
    const { grid, size, look } = this.thumbnails;
    if (!grid) return;
    const all = [...from, inks, look];
    if (all.length === this.from?.length && all.every((one, i) => one === this.from[i])) return;
    this.from = all;
    const context = sizedContext(this.apart, size.perRow * size.across, size.rows * size.down);
    for (let layer = 0; layer < grid.layers; layer++) {
      if (grid.headless?.[layer]) continue;
      for (let head = 0; head < grid.heads; head++)
        this.#one(context, markOf(layer, head), this.thumbnails.boxOf(layer, head), inks);
    }
    showDrawn(this.canvas, this.apart);
  }

  #one(context, mark, box, inks) {
    const { x, y, width, height } = box;
    const small = Math.min(width, height);
    const line = small >= 16 ? 2 : 1;
    const outlined = (colour) => {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(x + line / 2, y + line / 2, width - line, height - line);
    };
    if (mark.tag && small >= TAGS_FROM) this.#tag(context, mark.tag, box, inks);
    if (mark.off) {
      context.globalAlpha = 0.6;
      context.fillStyle = inks.ground;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
      outlined(inks.edited);
      context.beginPath();
      context.moveTo(x + line, y + line);
      context.lineTo(x + width - line, y + height - line);
      context.moveTo(x + width - line, y + line);
      context.lineTo(x + line, y + height - line);
      context.stroke();
      if (small >= WORDS_FROM) this.#word(context, "off", box, inks);
    } else if (mark.touched) {
      outlined(inks.edited);
      if (small >= WORDS_FROM) this.#word(context, "✂", box, inks);
    }
    if (mark.grouped) {
      context.setLineDash([4, 3]);
      outlined(inks.accent);
      context.setLineDash([]);
    }
    if (mark.effect) this.#dot(context, mark.effect, box, small, inks);
  }

  /**
   * Draw a head's effect. Filled: the prediction falls without the head; a ring: it rises; grey: an
   * estimate.
   */
  #dot(context, { part, estimate }, { x, y, width }, small, inks) {
    const radius = dotRadius(part, small);
    if (!radius) return;
    const [cx, cy] = [x + width - radius - 0.5, y + radius + 0.5];
    context.beginPath();
    context.arc(cx, cy, radius + 1, 0, 7);
    context.fillStyle = inks.ground;
    context.fill();
    context.beginPath();
    const ring = part > 0;
    context.arc(cx, cy, ring ? Math.max(0.8, radius - 0.75) : radius, 0, 7);
    context.fillStyle = context.strokeStyle = estimate ? inks.quiet : inks.edited;
    context.lineWidth = 1.5;
    if (ring) context.stroke();
    else context.fill();
  }

  #tag(context, tag, { x, y, width, height }, inks) {
    context.font = `600 ${Math.min(width, height) >= 46 ? 10 : 9}px system-ui, sans-serif`;
    const text = fitText(context, tag, width - 4);
    const wide = context.measureText(text).width + 4;
    context.globalAlpha = 0.88;
    context.fillStyle = inks.ground;
    context.fillRect(x + width - wide, y + height - 13, wide, 13);
    context.globalAlpha = 1;
    context.fillStyle = inks.ink;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, x + width - wide + 2, y + height - 6);
  }

  #word(context, text, { x, y, width, height }, inks) {
    context.font = "700 11px system-ui, sans-serif";
    const wide = context.measureText(text).width + 6;
    context.fillStyle = inks.ground;
    context.fillRect(x + (width - wide) / 2, y + height / 2 - 8, wide, 16);
    context.fillStyle = inks.edited;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x + width / 2, y + height / 2 + 0.5);
  }
}
