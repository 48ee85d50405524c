// What each block adds, and the logit lens, as tables. Rows of the lens are layers, columns are
// tokens; a cell shows the likeliest token, coloured by the probability of the model's final answer.

import { colourTable, entry, inkOn } from "../shared/colours.js";
import { button } from "../shared/controls.js";
import { barPart, element, listen, rowPart, say, tableParts, tokenElement } from "../shared/dom.js";
import { linearShade, NumberMap } from "../shared/number_map.js";
import { MarkPanel } from "../shared/panels.js";
import { nodesOf } from "../shared/pieces.js";
import { linearLegend } from "../shared/shell.js";

const NARROWEST = 62; // pixels of a column
const ROW_NAME = 58;

/** How many columns fit. @param {number} width @param {number} count */
export const lensColumns = (width, count) =>
  Math.min(count, 24, Math.max(2, Math.floor((width - ROW_NAME) / NARROWEST)));

/** A table whose rows are layers; it is written again only if its content has changed. */
class TablePanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const { signal } = viewer;
    const at = ({ target }) => {
      const place = (name) => target.closest(`[data-${name}]`)?.dataset[name];
      const [row, column] = ["row", "token"].map((name) => place(name) && Number(place(name)));
      return row === undefined && column === undefined
        ? null
        : { row: row ?? null, column: column ?? null };
    };
    listen(this.table, "pointerover", signal, (event) => this.point(at(event)));
    listen(this.table, "pointerleave", signal, () => this.point(null));
    listen(this.table, "click", signal, (event) => {
      const spot = at(event);
      if (spot) this.pick(spot);
    });
  }

  get box() {
    const { part } = this;
    this.table = element(`table.tl-${part}#${part}`);
    this.scrolled = element(`div.tl-${part}-box`, { tabindex: 0, role: "group" }, this.table);
    this.note = element(`p.tl-hint#${this.does.note}`);
    return element("div", { style: "display:contents" }, this.scrolled, this.note);
  }

  get pictures() {
    return [];
  }

  show(panel) {
    super.show(panel);
    say(this.note, panel.note);
    this.scrolled.ariaLabel = panel.keys ?? panel.title;
  }

  /** @param {any} given @param {() => Node[]} content */
  fill(given, content) {
    const text = JSON.stringify([this.viewer.shell.theme, given]);
    if (text === this.filled) return;
    this.filled = text;
    this.table.replaceChildren(...content());
  }

  /** @param {number} row */
  mark(row) {
    for (const line of this.table.querySelectorAll("tr[data-row]"))
      line.classList.toggle("tl-on", Number(line.dataset.row) === row);
  }
}

export class BlocksPanel extends TablePanel {
  draw({ table, row }) {
    const diverging = colourTable("diverging", this.viewer.shell.theme);
    const cell = (given) => {
      if (!given) return element("td");
      const { bar, over, shade, text, more } = given;
      const colour = more && entry(diverging, linearShade(shade, -1, 1));
      return element(
        "td",
        barPart(bar, more ? (over ? "tl-over" : "") : "tl-plain", colour),
        element("span.tl-count", text),
        more && element("span.tl-count.tl-quiet", { title: table.means }, more),
      );
    };
    this.fill(table, () => [
      element("caption.tl-hint", nodesOf(table.caption)),
      ...tableParts(
        table.names,
        table.rows.map(([name, ...cells], i) => rowPart({ "data-row": i }, name, cells.map(cell))),
      ),
    ]);
    this.mark(row);
  }
}

export class LensPanel extends TablePanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    this.hearKeys(this.scrolled);
    const [earlier, later] = panel.pages ?? ["", ""];
    this.back = button("◀", "earlier", earlier, () => this.#page(-1));
    this.on = button("▶", "later", later, () => this.#page(1));
    this.where = element("span.tl-quiet#window");
    this.pager = element("span.tl-pager", this.back, this.where, this.on);
    this.hint.after(" ", this.pager);
    this.top = element("p.tl-readout#lens-top");
    this.note.before(this.top);
    this.root.insertBefore(this.legend, this.root.children[1]);
  }

  /** What an image file shows. */
  get pictures() {
    const { mark, cells, picture } = this.panel;
    if (!cells) return [];
    const { shell, signal } = this.viewer;
    const canvas = document.createElement("canvas");
    const [rows, columns] = mark.values.shape;
    new NumberMap(canvas, signal, {}).show(60 + 68 * columns, 31 * rows, {
      rows,
      columns,
      value: (row, i) => cells[row][i]?.odds ?? NaN,
      low: 0,
      high: 1,
      table: colourTable("default", shell.theme),
      colours: shell.inks,
      rowNames: mark.rows.labels,
      columnNames: mark.columns.labels,
      write: (_, row, i) => cells[row][i]?.name ?? "",
      cut: true,
      bold: (row, i) => cells[row][i]?.own,
    });
    return [{ canvas, title: picture }];
  }

  #page(by) {
    const { from, count } = this.panel.window;
    this.from = from + by * count;
    this.viewer.shell.draw();
  }

  /** The tokens on view, as many as fit: around the chosen one, once it is chosen out of sight. */
  #follow({ tokens, at: { chosen } }) {
    const n = tokens.length;
    const count = lensColumns(this.scrolled.clientWidth, n);
    const { selected, layer } = this.viewer.state;
    const choice = JSON.stringify([selected, layer]);
    const seen = chosen === null || (chosen >= this.from && chosen < this.from + count);
    if (tokens !== this.tokens || (choice !== this.choice && !seen))
      this.from = (chosen ?? n + count) - Math.floor(count / 2);
    this.tokens = tokens;
    this.choice = choice;
    this.from = Math.max(0, Math.min(n - count, this.from));
    return { from: this.from, count };
  }

  draw(panel) {
    this.panel = panel;
    const { cells, at, top, likeliest, window, mark } = panel;
    for (const part of [this.scrolled, this.legend, this.top, this.pager]) part.hidden = !cells;
    if (!cells || this.viewer.see(this.part, this.#follow(panel))) return;
    const table = colourTable("default", this.viewer.shell.theme);
    this.fill([cells, window, panel.caption], () => this.#content(panel, table));
    this.table.classList.toggle("tl-compact", panel.compact);
    this.mark(at.row);
    for (const cell of this.table.querySelectorAll("[data-token]")) {
      const token = Number(cell.dataset.token);
      cell.classList.toggle("tl-focus", token === at.token);
      cell.classList.toggle("tl-selected", token === at.chosen);
    }
    say(this.where, window.text);
    this.pager.hidden = window.count >= window.all;
    this.back.disabled = window.from === 0;
    this.on.disabled = window.from + window.count === window.all;
    this.legend.replaceChildren(...linearLegend(table, 0, 1, mark.means, String));
    this.top.replaceChildren(
      element("span", nodesOf(top)),
      ...(likeliest ?? []).map(({ name, probability }) =>
        element("span.tl-top-token", tokenElement(name), " ", element("b", probability.toFixed(4))),
      ),
      ...(likeliest ? [] : [element("span.tl-quiet", "…")]),
    );
  }

  #content({ cells, caption, mark, window: { from } }, table) {
    const head = mark.columns.labels.map((name, i) =>
      element(
        "th",
        { scope: "col", "data-token": from + i, title: `${name} (${from + i})` },
        tokenElement(name),
      ),
    );
    const cell = (given, row, i) => {
      const place = { "data-token": from + i, "data-row": row };
      if (!given) return element("td.tl-absent", place, "…");
      const shade = linearShade(given.odds, 0, 1);
      const style = `background:${entry(table, shade)};color:${inkOn(table, shade)}`;
      return element(
        "td",
        { ...place, class: given.own ? "tl-agrees" : "", style },
        element("span.tl-word", tokenElement(given.name)),
        element("span.tl-weight", given.percent),
      );
    };
    const rows = mark.rows.labels.map((name, row) =>
      rowPart(
        { "data-row": row },
        name,
        cells[row].map((one, i) => cell(one, row, i)),
      ),
    );
    return [
      element("caption.tl-hint", caption),
      element("thead", element("tr", element("th", { scope: "col" }, mark.rows.title), head)),
      element("tbody", rows),
    ];
  }
}
