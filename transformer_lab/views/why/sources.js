// The keys that compete in a row, and which components wrote what a query and a key carry: both
// sides as ranked lists, and a table of both together.

import { colourTable, entry } from "../shared/colours.js";
import { element, listen, moveOf, within } from "../shared/dom.js";
import { fixed } from "../shared/messages.js";
import { linearShade } from "../shared/number_map.js";
import { MatrixPanel } from "../shared/matrix_panel.js";
import { MarkPanel } from "../shared/panels.js";
import { fillTable, nodesOf } from "../shared/pieces.js";

export class SourcesPanel extends MatrixPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    this.hint.dataset.part = "source-hint";
    this.note = element("p.tl-hint#source-note");
    this.both.append(this.line);
    this.root.append(this.note);
    listen(this.canvas, "keydown", viewer.signal, (event) => this.#key(event));
  }

  get box() {
    this.sides = ["key", "query"].map((side) => element(`table.tl-blocks.tl-side#${side}-side`));
    this.about = element("p.tl-hint");
    this.both = element("div.tl-both-sides", this.about, super.box);
    const sides = this.sides.map((side) => element("div", side));
    return (this.all = element("div.tl-sources", sides, this.both));
  }

  get pictures() {
    return this.all.hidden ? [] : super.pictures;
  }

  #key(event) {
    const by = moveOf(event);
    if (!by) return;
    const { hover, mark } = this.panel;
    const to = (name, i) => (hover ? within(hover[name] + by[i], mark.values.shape[i]) : 0);
    this.point({ row: to("row", 0), column: to("column", 1) });
    this.viewer.draw(); // the next key goes on from here
  }

  /** @param {any} panel */
  draw(panel) {
    this.panel = panel;
    const { sides, about, note } = panel;
    this.note.textContent = note;
    this.all.hidden = !sides;
    if (!sides) return;
    this.about.textContent = about;
    const table = colourTable("diverging", this.viewer.shell.theme);
    sides.forEach(({ caption, mark: { values, rows, shades, text } }, i) => {
      const most = Math.max(...values.map(Math.abs), 1e-9);
      const colour = (at) => entry(table, linearShade(shades[at], -1, 1));
      const bar = (at) => ({ bar: Math.abs(values[at]) / most, colour: colour(at) });
      const lines = rows.labels.map((name, at) => [name, [bar(at), text[at]]]);
      fillTable(this.sides[i], { caption, rows: lines });
    });
    super.draw(panel);
  }
}

export class RowPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const spotOf = ({ target }) => {
      const { key } = target.closest("[data-key]")?.dataset ?? {};
      return key === undefined ? null : { query: this.query, key: Number(key) };
    };
    for (const type of ["pointerover", "pointerleave"])
      listen(this.row, type, viewer.signal, (event) => this.point(spotOf(event)));
    listen(this.row, "click", viewer.signal, (event) => {
      const spot = spotOf(event);
      if (spot) this.pick([spot.query, spot.key]);
    });
  }

  /** @returns {any} */
  get box() {
    this.row = element("table.tl-blocks.tl-rivals#row");
    this.ledger = element("table.tl-blocks.tl-ledger#ledger");
    return [this.row, this.ledger];
  }

  get pictures() {
    return [];
  }

  /** @param {any} panel */
  draw({ mark, about, query, row, ledger, pointed }) {
    this.query = query;
    this.hint.replaceChildren(...nodesOf(about));
    const now = JSON.stringify([mark, row, ledger]);
    if (now !== this.drawn) {
      const { values, rows, chosen } = mark;
      const most = Math.max(...values, 1e-9);
      const lines = row.keys.map((key, i) => {
        const on = chosen[0] === i;
        const bar = { bar: values[i] / most, look: on ? "tl-chosen" : "tl-plain" };
        const name = { pick: key, on, of: [{ token: rows.labels[i] }, ` ${key}`] };
        return [name, row.scores[i], [bar, fixed(values[i], 4)]];
      });
      fillTable(this.row, { ...row, rows: lines });
      fillTable(this.ledger, ledger);
    }
    this.drawn = now; // otherwise a button would lose the focus
    for (const key of this.row.querySelectorAll("[data-key]"))
      key.classList.toggle("tl-pointed", Number(key.dataset.key) === pointed);
  }
}
