// A panel with a matrix of numbers.

import { colourTable } from "./colours.js";
import { short } from "./messages.js";
import { element } from "./dom.js";
import { NumberMap } from "./number_map.js";
import { MarkPanel } from "./panels.js";
import { linearLegend } from "./shell.js";

export class MatrixPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {import("./panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does, "tl-map");
    this.map = new NumberMap(this.canvas, viewer.signal, {
      hover: (at) => this.point(at),
      pick: (at) => this.pick(at),
    });
    this.hearKeys(this.canvas);
  }

  draw({ mark, hover, means = mark.means, note, ...panel }) {
    const { shell } = this.viewer;
    const table = colourTable(mark.signed ? "diverging" : "default", shell.theme);
    const low = mark.signed ? -mark.end : 0;
    const { write = panel.write ?? ((x) => short(x)) } = this.does;
    this.legend.replaceChildren(
      ...(means ? linearLegend(table, low, mark.end, means, write) : []),
      ...(note ? [element("span.tl-quiet.tl-noted", note)] : []),
    );
    this.canvas.hidden = mark.type === "note";
    if (this.canvas.hidden) return;
    const [rows, columns] = mark.values.shape;
    const names = mark.rows?.labels;
    const sign = mark.flipped ? -1 : 1;
    const at = (row, column) => row * columns + column;
    const height = this.does.height?.(mark.values.shape) ?? this.size?.[1] ?? 420;
    this.map.show(this.width(180), height, {
      rows,
      columns,
      value: (row, column) => sign * mark.values.values[at(row, column)],
      low,
      high: mark.end,
      table,
      colours: shell.inks,
      square: panel.square ?? mark.square,
      brackets: panel.brackets?.map(({ ink, ...one }) => ({ ...one, colour: shell.inks[ink] })),
      rowNames: names,
      rowNumber: (row) => String((!mark.rows?.tokens && names?.[row]) ?? row),
      columnNames: mark.columns?.labels,
      hatched: mark.hatched && ((row, column) => mark.hatched.values[at(row, column)]),
      write,
    });
    const [row, column] = mark.chosen ?? [];
    this.map.mark(hover ?? null, mark.chosen ? { row, column } : null);
  }
}
