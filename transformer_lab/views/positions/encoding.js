// The encoding itself as a map, and some of its columns as curves by position.

import { colourTable, headColour } from "../shared/colours.js";
import { element, hint, legendPart, listen, moveOf, picturePart, within } from "../shared/dom.js";
import { NumberMap } from "../shared/number_map.js";
import { Plot } from "../shared/plot.js";
import { distanceText, four, heading, numberLine } from "./parts.js";
import { linearLegend } from "../shared/shell.js";
import { sayPositions } from "./schemes.js";

const unitOf = (scheme) => scheme.unit ?? "dimension";

/** @param {import("./schemes.js").Words} scheme @param {{head: number}} facts */
export const titleOf = ({ added }, { head }) => added.replace("{head}", String(head));

export class EncodingPanel {
  /** @param {import("../shared/shell.js").Shell} shell @param {AbortSignal} signal */
  constructor(shell, signal) {
    this.shell = shell;
    /** @type {{row: number | null, column: number | null} | null} */
    this.cell = null;
    this.canvas = picturePart("encoding", "tl-map");
    this.picture = new NumberMap(this.canvas, signal, {
      hover: (at) => this.#cellAt(at),
      pick: (at) => this.#cellAt(at),
    });
    this.curves = picturePart("curves", "tl-map");
    this.curvePlot = new Plot(this.curves, signal, { hover: (x) => this.#rowAt(x) });
    this.line = numberLine("encoding-line");
    this.legend = legendPart("encoding-legend");
    this.titles = { encoding: element("b"), curves: element("b") };
    this.hint = element("span.tl-quiet");
    this.cite = element("p.tl-cite#source");
    this.parts = [
      heading(this.titles.encoding, this.hint),
      this.canvas,
      this.line,
      this.legend,
      this.cite,
    ];
    this.curveBox = element(
      "div.tl-panel",
      heading(this.titles.curves, element("span.tl-quiet")),
      this.curves,
    );
    listen(this.canvas, "keydown", signal, (event) => this.#moveCell(event));
  }

  #cellAt(at) {
    if (JSON.stringify(at) === JSON.stringify(this.cell)) return;
    this.cell = at;
    this.shell.redraw();
  }

  #rowAt(x) {
    if (x === null) return this.#cellAt(null);
    this.#cellAt({ row: Math.round(x), column: this.cell?.column ?? null });
  }

  #moveCell(event) {
    const move = moveOf(event);
    const scene = this.picture.scene;
    if (!move || !scene) return;
    const now = this.cell ?? { row: -move[0], column: -move[1] };
    this.#cellAt({
      row: within((now.row ?? 0) + move[0], scene.rows),
      column: within((now.column ?? 0) + move[1], scene.columns),
    });
  }

  /** @param {import("./view.js").Now} now */
  show(now) {
    const { row, column } = this.cell ?? {};
    if (!now.map || row >= now.map.rows || column >= now.map.columns) this.cell = null; // the map is smaller now
    this.diverging = colourTable("diverging", this.shell.theme);
    this.cite.textContent = now.scheme.source;
    this.#drawEncoding(now);
    this.#drawCurves(now);
  }

  #drawEncoding({ map, facts, scheme, state, change }) {
    const bias = map?.what === "bias";
    this.titles.encoding.textContent = titleOf(scheme, facts);
    this.hint.textContent = !map
      ? ""
      : bias
        ? sayPositions("query_key")
        : sayPositions("position", { unit_of: unitOf(scheme) });
    this.canvas.hidden = this.legend.hidden = !map;
    if (!map) {
      this.line.textContent = scheme.nothing;
      return;
    }
    const { n } = change;
    const brackets = bias
      ? []
      : [
          { from: 0, to: n, colour: this.shell.inks.quiet },
          ...(state.test === "move" && change.shift
            ? [{ from: change.shift, to: change.shift + n, colour: this.shell.inks.accent }]
            : []),
        ].filter(({ to }) => to <= state.length);
    this.picture.show(Math.max(200, this.canvas.parentElement.clientWidth), bias ? 340 : 320, {
      ...map,
      low: -map.largest,
      high: map.largest,
      table: this.diverging,
      colours: this.shell.inks,
      square: bias,
      brackets,
    });
    this.picture.mark(this.cell);
    this.legend.replaceChildren(
      ...linearLegend(
        this.diverging,
        -map.largest,
        map.largest,
        scheme.scale
          ? scheme.scale
          : bias
            ? sayPositions("added_to_the_score")
            : map.clipped
              ? sayPositions("value_larger_ones_have")
              : sayPositions("value"),
        (value) =>
          four(Number(value.toPrecision(3)))
            .replace(/0{1,3}$/, "")
            .replace(/\.$/, ""),
      ),
    );
    this.line.replaceChildren(...this.#cellWords(map));
    this.canvas.ariaLabel = sayPositions("by_arrow_keys_move", {
      encoding: this.titles.encoding.textContent,
      rows: map.rows,
      columns: map.columns,
      line: this.line.textContent,
    });
  }

  #cellWords(map) {
    const { cell } = this;
    if (!cell || cell.row === null || cell.column === null) {
      const marks = map.what === "bias" ? "" : sayPositions("bars_at_the_left");
      return [element("span.tl-quiet", hint(sayPositions("hover_over_a_cell_for", { marks })))];
    }
    const value = map.value(cell.row, cell.column);
    const number = (text) => element("b#encoding-number", text);
    if (map.what === "bias") {
      const distance = cell.column - cell.row;
      if (Number.isNaN(value)) return [sayPositions("a_key_to_come")];
      return [
        sayPositions("query_key_of", {
          row: cell.row,
          column: cell.column,
          distance_text: distanceText(distance),
        }),
        number(four(value)),
      ];
    }
    if (map.angle) {
      const angle = map.angle(cell.row, cell.column);
      const degrees = ((angle * 180) / Math.PI) % 360;
      return [
        sayPositions("position_pair_turned_by", { row: cell.row, column: cell.column }),
        number(four(angle)),
        sayPositions("rad_of_a_turn", { degrees, four: four(value) }),
      ];
    }
    return [
      sayPositions("position_dimension", { row: cell.row, column: cell.column }),
      number(four(value)),
    ];
  }

  #drawCurves({ map, scheme, state }) {
    const shown = map && map.what !== "bias";
    this.curveBox.hidden = !shown;
    if (!shown) return;
    const unit = unitOf(scheme);
    const count = map.columns;
    // From fast to slow waves; for a learned table, some columns.
    const some = [0, 1 / 8, 1 / 4, 1 / 2].map((share) =>
      Math.min(count - 1, 2 * Math.round((share * count) / 2)),
    );
    const chosen = this.cell?.column ?? null;
    const columns = [...new Set([...some, ...(chosen === null ? [] : [chosen])])].sort(
      (a, b) => a - b,
    );
    const x = Array.from({ length: state.length }, (_, p) => p);
    this.titles.curves.textContent = scheme.curves;
    const width = Math.max(200, this.curveBox.clientWidth);
    this.curvePlot.show(width, 150, {
      series: columns.map((column, i) => ({
        name: `${unit} ${column}`,
        x,
        y: x.map((p) => map.value(p, column)),
        colour: column === chosen ? this.shell.inks.accent : headColour(i),
        thick: column === chosen ? 2.5 : undefined,
      })),
      xTitle: "position",
      yTitle: map.what,
      colours: this.shell.inks,
      yRange: scheme.curves_range,
      at: this.cell?.row ?? null,
    });
    this.curves.ariaLabel = sayPositions("curves_over_positions_of", {
      state: state.length,
      columns: columns.map((c) => `${unit} ${c}`).join(", "),
    });
  }
}
