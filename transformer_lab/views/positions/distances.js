// The scheme's value for each distance between a query and a key, as a curve and as a table.

import { headColour } from "../shared/colours.js";
import { element, hint, listen, moveOf, picturePart, rowPart, tableParts } from "../shared/dom.js";
import { nearestIndex, Plot } from "../shared/plot.js";
import { distanceText, four, heading, numberLine } from "./parts.js";
import { sayPositions } from "./schemes.js";

const stepText = (value) => (value > 0 ? `+${value}` : value < 0 ? `−${-value}` : "0");

export class DistancePanel {
  /** @param {import("../shared/shell.js").Shell} shell @param {AbortSignal} signal */
  constructor(shell, signal) {
    this.shell = shell;
    /** @type {number | null} */
    this.distance = null;
    this.canvas = picturePart("distances", "tl-map");
    this.plot = new Plot(this.canvas, signal, {
      hover: (x) => this.#distanceAt(x),
      pick: (x) => this.#distanceAt(x),
    });
    this.line = numberLine("distance-line");
    this.title = element("b");
    this.hint = element("span.tl-quiet");
    this.heading = heading(this.title, this.hint);
    this.parts = [this.heading, this.canvas, this.line];
    this.table = element("table.tl-table#table");
    this.details = element(
      "details.tl-details",
      element("summary", sayPositions("by_distance_as_a")),
      this.table,
    );
    listen(this.canvas, "keydown", signal, (event) => this.#moveDistance(event));
  }

  #distanceAt(x) {
    const next = x === null ? null : Math.round(x);
    if (next === this.distance) return;
    this.distance = next;
    this.shell.redraw();
  }

  #moveDistance(event) {
    const move = moveOf(event);
    if (!move) return;
    const { from, to } = this.plot.scale;
    this.#distanceAt(Math.max(from, Math.min(to, (this.distance ?? -move[1]) + move[1])));
  }

  /** @param {import("./view.js").Now} now @param {number} height */
  show({ curve, facts, scheme, computed }, height) {
    for (const part of [...this.parts, this.details]) part.hidden = !curve.series.length;
    if (!curve.series.length) return;
    const single = curve.series.length === 1;
    this.title.textContent = scheme.distance;
    this.hint.textContent = scheme.hint ?? "";
    const at =
      this.distance === null
        ? null
        : Math.max(curve.x[0], Math.min(curve.x[curve.x.length - 1], this.distance));
    this.plot.show(Math.max(200, this.canvas.parentElement.clientWidth), height, {
      series: curve.series.map(({ name, head, y, band }) => ({
        name: single ? "" : curve.series.length > 8 ? String(head) : name,
        x: curve.x,
        y,
        band,
        colour: headColour(head),
        thick: !single && head === facts.head ? 3 : single ? 2 : undefined,
      })),
      xTitle: sayPositions("key_query_tokens"),
      yTitle: curve.what,
      colours: this.shell.inks,
      at,
      yRange: scheme.distance_range,
    });
    this.line.replaceChildren(...this.#distanceWords(curve, facts, at));
    this.canvas.ariaLabel = sayPositions("arrow_keys_move_escape", {
      title: this.title.textContent,
      line: this.line.textContent,
    });
    this.#fillTable(curve, scheme, computed);
  }

  #distanceWords(curve, facts, at) {
    if (at === null) {
      const sampled = curve.sampled ? sayPositions("means_are_over_up") : "";
      return [element("span.tl-quiet", hint(sayPositions("hover_over_the_curve", { sampled })))];
    }
    const i = nearestIndex(curve.x, at);
    const series = curve.series[Math.min(facts.head, curve.series.length - 1)];
    const value = series.y[i];
    const band = series.band ? ` (${four(series.band.low[i])} … ${four(series.band.high[i])})` : "";
    const who = curve.series.length > 1 ? sayPositions("head_of", { head: facts.head }) : "";
    return [
      `${who}${distanceText(curve.x[i])} (${stepText(curve.x[i])}): `,
      element("b#distance-number", four(value)),
      band,
    ];
  }

  #fillTable(curve, scheme, computed) {
    if (!this.details.open && this.table.rows.length && this.tabled === computed) return;
    this.tabled = computed;
    const wanted = curve.x
      .map((d, i) => [d, i])
      .filter(([d]) => d <= 0 && (d >= -8 || [-16, -32, -64, -128, -256].includes(d)))
      .reverse();
    const heads =
      curve.series.length > 1
        ? curve.series.map(({ head }) => sayPositions("head_2", { head }))
        : [curve.what];
    this.table.replaceChildren(
      element(
        "caption",
        sayPositions("by_tokens_before_the", { name: scheme.name, what: curve.what }),
      ),
      ...tableParts(
        [sayPositions("before"), ...heads],
        wanted.map(([d, i]) =>
          rowPart(
            String(-d).replace("-", "−"),
            curve.series.map(({ y }) => element("td", four(y[i]))),
          ),
        ),
      ),
    );
  }
}
