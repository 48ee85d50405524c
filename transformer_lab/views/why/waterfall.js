// A sum as a waterfall: each part starts where the previous one ended; the last bar is the sum.

import { colourTable, entry } from "../shared/colours.js";
import { niceTicks, numberText, ruledLines } from "../shared/ticks.js";
import { element, hearPointer, listen, moveOf, sizedContext, within } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { fixed } from "../shared/messages.js";
import { MarkPanel } from "../shared/panels.js";
import { fillTable } from "../shared/pieces.js";
import { shadeOf } from "./cell.js";

const HEIGHT = 260;
const SUM_ROOM = 56;

/** A diverging colour that always contrasts with the background. */
export const partColour = (table, value, most) =>
  entry(table, linearShade(shadeOf(value, most), -1, 1));

export class WaterfallPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const { signal } = viewer;
    const { every } = panel;
    this.numbers = element("table.tl-table#dimensions");
    this.root.append(
      element(
        "details.tl-details",
        element("summary", every[0]),
        element(
          "div.tl-numbers",
          { tabindex: 0, role: "group", "aria-label": every[1] },
          this.numbers,
        ),
      ),
    );
    const placeAt = (x) => {
      const place = Math.floor((x - this.left) / this.step);
      return place >= 0 && place < this.panel.parts.length ? place : null;
    };
    hearPointer(this.canvas, signal, placeAt, { hover: (at) => this.point(at) });
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
  }

  #key(event) {
    const by = moveOf(event)?.[1];
    if (!by) return;
    const { place, parts } = this.panel;
    const from = place ?? (by < 0 ? parts.length : -1);
    this.point(within(from + by, parts.length));
    this.viewer.draw(); // the next key goes on from here
  }

  /** @param {any} panel */
  draw(panel) {
    this.panel = panel;
    const { inks, theme } = this.viewer.shell;
    const table = colourTable("diverging", theme);
    const { parts, sum, place, numbers } = panel;
    const width = this.width(240);
    const context = sizedContext(this.canvas, width, HEIGHT);
    context.font = "11px system-ui, sans-serif";
    const ends = [0, sum, ...parts.map(({ to }) => to)];
    const [low, most] = [Math.min(...ends), Math.max(...ends)];
    const high = most + 0.1 * (most - low || 1);
    const ticks = niceTicks(low, high, HEIGHT / 45);
    const text = (tick) => numberText(tick, ticks[1] - ticks[0] || 1);
    this.left = 12 + Math.max(...ticks.map((tick) => context.measureText(text(tick)).width));
    const bottom = HEIGHT - 34;
    this.step = (width - this.left - SUM_ROOM) / parts.length;
    const y = (value) => 14 + (1 - (value - low) / (high - low || 1)) * (bottom - 14);
    ruledLines(context, ticks, { y, text, left: this.left, right: width, inks });
    const largest = Math.max(...parts.map(({ value }) => Math.abs(value)), 1e-9);
    const thick = Math.max(1, this.step - (this.step > 4 ? 1 : 0));
    const box = ({ from, to }, x, wide) =>
      /** @type {[number, number, number, number]} */ ([
        x,
        Math.min(y(from), y(to)),
        wide,
        Math.max(1, Math.abs(y(to) - y(from))),
      ]);
    parts.forEach((part, i) => {
      const x = this.left + i * this.step;
      context.fillStyle = partColour(table, part.value, largest);
      context.fillRect(...box(part, x, thick));
      if (i !== place) return;
      context.strokeStyle = inks.accent;
      context.lineWidth = 2;
      context.strokeRect(...box(part, x, thick));
    });
    this.#names(context, bottom, inks);
    const [x, wide] = [width - SUM_ROOM + 10, SUM_ROOM - 18];
    context.fillStyle = inks.ink;
    context.fillRect(...box({ from: 0, to: sum }, x, wide));
    context.textAlign = "center";
    context.font = "bold 12px system-ui, sans-serif";
    context.fillText(fixed(sum), x + wide / 2, Math.min(y(0), y(sum)) - 8);
    fillTable(this.numbers, numbers);
  }

  #names(context, bottom, inks) {
    const { parts, place, below } = this.panel;
    context.textAlign = "center";
    const every = Math.max(1, Math.ceil(20 / this.step));
    parts.forEach(({ index }, i) => {
      const crowded = place !== null && i !== place && Math.abs(i - place) < every;
      if ((i % every && i !== place) || crowded) return;
      context.fillStyle = i === place ? inks.accent : inks.quiet;
      context.fillText(String(index), this.left + (i + 0.5) * this.step, bottom + 10);
    });
    context.fillStyle = inks.quiet;
    context.textAlign = "left";
    context.fillText(below, this.left, bottom + 26);
  }
}
