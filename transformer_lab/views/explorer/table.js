// A table of heads: label and evidence, scores, effect; sorted, searched, ticked. It does not know
// how effects are computed: it is passed rows, and reports what the reader does.

import { button } from "../shared/controls.js";
import { download, element, taken } from "../shared/dom.js";
import { fixed } from "../shared/messages.js";
import {
  columnsOf,
  csvOf,
  effectText,
  fallsFirst,
  searched,
  sorted,
  valueOf,
} from "./table_rows.js";
import { sayExplorer } from "./prose.js";

const ROW = 24; // pixels
const VIRTUAL_FROM = 300; // rows; of more, only those in sight are in the page
const BEYOND = 12; // rows around them
let tables = 0;

/**
 * @typedef {object} DoesTable
 * @property {(row: import("./table_rows.js").Row) => void} choose
 * @property {(rows: import("./table_rows.js").Row[]) => void} toggle switches them off together, or
 *   on
 * @property {(rows: import("./table_rows.js").Row[]) => string} whyNot why they cannot be, or ""
 * @property {() => string} file name of a file, without extension
 *
 * @typedef {object} Shown
 * @property {import("./table_rows.js").Row[]} rows
 * @property {string[]} names of the scores
 * @property {(name: string) => string} shortOf the name of a score in a few letters
 * @property {(name: string) => string} [meansOf] what a score means, if its name does not say it
 * @property {{kind: string, layer: number, head: number}} chosen
 * @property {(row: import("./table_rows.js").Row) => boolean} isOff
 * @property {string} effects a sentence about the effects; "" if there are none
 * @property {string} [unnamed] why no head has a label yet, and what to do; "" if some have
 */

const nameOf = ({ kind, layer, head }) => `${kind}/${layer}/${head}`;

export class HeadTable {
  /** @param {DoesTable} does */
  constructor(does) {
    this.does = does;
    this.id = `tl-table-${++tables}`;
    this.query = "";
    this.column = "effect";
    this.falling = true;
    this.top = 0;
    /** @type {Set<string>} */
    this.ticked = new Set();
    /** @type {string | null} the row that the keys move */
    this.at = null;
    this.found = [];
    this.box = element("input.tl-table-query#table-query", {
      type: "search",
      spellcheck: "false",
      autocomplete: "off",
      placeholder: sayExplorer("punctuation_layer_effect"),
      "aria-label": sayExplorer("search_the_heads"),
      "aria-describedby": `${this.id}-said`,
      title: sayExplorer("words_of_a_label"),
    });
    this.said = element("p.tl-hint#table-said", { id: `${this.id}-said`, role: "status" });
    this.together = button(
      sayExplorer("switch_off_together"),
      "table-off",
      sayExplorer("switch_the_ticked_heads"),
      () => does.toggle(this.#tickedRows()),
    );
    this.untick = button(sayExplorer("untick"), "table-untick", sayExplorer("tick_no_head"), () =>
      this.#untick(),
    );
    const csv = button("CSV", "table-csv", sayExplorer("save_the_rows_below"), () => this.#csv());
    this.head = element("tr", { role: "row" });
    this.body = element("tbody", { role: "rowgroup" });
    this.table = element(
      "table#head-rows",
      {
        role: "grid",
        tabindex: 0,
        "aria-label": sayExplorer("every_head"),
        "data-lm-suppress-shortcuts": "true",
      },
      element("thead", { role: "rowgroup" }, this.head),
      this.body,
    );
    this.scroll = element("div.tl-table-scroll", this.table);
    this.legend = element("p.tl-hint#table-legend");
    this.evidence = element("p.tl-hint.tl-table-evidence#table-evidence");
    this.root = element(
      "section.tl-head-table#head-table",
      { "aria-label": sayExplorer("table_of_heads") },
      element("div.tl-table-tools", this.box, this.together, this.untick, csv),
      this.said,
      this.scroll,
      this.evidence,
      this.legend,
    );
    this.#listen();
  }

  #listen() {
    this.box.addEventListener("input", () => this.search(this.box.value));
    this.box.addEventListener("keydown", (event) => {
      event.stopPropagation(); // letters are shortcuts in the view around
      if (event.key === "ArrowDown") {
        event.preventDefault();
        this.table.focus();
      }
      if (event.key === "Escape" && this.box.value) {
        this.box.value = "";
        this.search("");
      }
    });
    this.table.addEventListener("keydown", (event) => this.#key(event));
    this.table.addEventListener("focus", () => {
      // Not after a press of the pointer: new rows under it would swallow the click.
      if (this.table.matches(":focus-visible"))
        this.#move(
          this.found.findIndex((row) => nameOf(row) === this.at),
          false,
        );
    });
    this.scroll.addEventListener("scroll", () => this.#isVirtual && this.#fill());
    this.body.addEventListener("click", (event) => {
      const line = event.target.closest("tr[data-head]");
      const row = line && this.found.find((one) => nameOf(one) === line.dataset.head);
      if (!row) return;
      this.at = nameOf(row);
      if (event.target.closest(".tl-table-tick") || event.shiftKey) this.#tick(row);
      else this.does.choose(row);
      this.#fill();
    });
  }

  /** @param {Shown} shown */
  show(shown) {
    this.shown = shown;
    const known = new Set(shown.rows.map(nameOf));
    for (const name of this.ticked) if (!known.has(name)) this.ticked.delete(name);
    this.columns = columnsOf(shown.names).filter(
      (column) =>
        shown.rows.some((row) => {
          const value = valueOf(row, column);
          return value !== null && value !== "" && !Number.isNaN(value);
        }) || column === "label",
    );
    if (!this.at || !known.has(this.at)) this.at = nameOf(shown.chosen);
    this.#heads();
    this.#order();
  }

  /** Update only which head is on view and which are off. @param {Pick<Shown, "chosen" | "isOff">} now */
  mark(now) {
    if (nameOf(now.chosen) !== nameOf(this.shown.chosen)) this.at = nameOf(now.chosen);
    Object.assign(this.shown, now);
    this.#fill();
  }

  /** Search as if the reader had typed the query. @param {string} query */
  searchFor(query) {
    this.box.value = query;
    if (this.shown) this.search(query);
    else this.query = query;
  }

  /** @param {string} query */
  search(query) {
    this.query = query;
    this.#order();
  }

  /** @param {string} column */
  sortBy(column) {
    this.falling = this.column === column ? !this.falling : fallsFirst(column);
    this.column = column;
    this.#heads();
    this.#order();
  }

  #heads() {
    const { shortOf, names, meansOf } = this.shown;
    const key = JSON.stringify([this.columns, this.column, this.falling]);
    if (key === this.built) return;
    this.built = key;
    const focused = this.head.contains(document.activeElement)
      ? /** @type {HTMLElement} */ (document.activeElement).dataset.column
      : null;
    const cells = this.columns.map((column) => {
      const here = column === this.column;
      const sort = here ? (this.falling ? "descending" : "ascending") : "none";
      const label = names.includes(column) ? shortOf(column) : column;
      const means = meansOf?.(column);
      const press = button(
        `${label}${here ? (this.falling ? " ↓" : " ↑") : ""}`,
        "table-sort",
        sayExplorer("sort_by", { column, part: means ? `: ${means}` : "" }),
        () => this.sortBy(column),
      );
      press.dataset.column = column;
      return element(
        "th",
        { scope: "col", role: "columnheader", "aria-sort": sort, class: this.#classOf(column) },
        press,
      );
    });
    const evidence = element(
      "th.tl-table-words",
      { scope: "col", role: "columnheader" },
      sayExplorer("evidence"),
    );
    this.head.replaceChildren(
      element(
        "th.tl-table-tick",
        { role: "columnheader" },
        element("span.tl-unseen", sayExplorer("ticked")),
      ),
      ...cells,
      evidence,
    );
    if (focused) this.head.querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus();
  }

  #classOf(column) {
    return column === "label"
      ? "tl-table-label"
      : column === "effect"
        ? "tl-table-effect"
        : "tl-table-number";
  }

  /** Show the rows that match the query, sorted. */
  #order() {
    const { rows, unnamed, shortOf } = this.shown;
    let [wrong, matches] = ["", rows];
    try {
      matches = searched(rows, this.query, this.columns, shortOf);
    } catch (error) {
      wrong = sayExplorer("all_heads_are_shown", { why: error.message });
    }
    this.found = sorted(matches, this.column, this.falling);
    const query = this.query.trim();
    const none = sayExplorer("matches_no_head", { query, part: unnamed ? ` ${unnamed}` : "" });
    this.said.textContent =
      wrong ||
      (query
        ? this.found.length
          ? `${this.found.length} of ${counted(rows.length)}`
          : none
        : counted(rows.length));
    this.said.classList.toggle("tl-table-wrong", Boolean(wrong));
    this.box.setAttribute("aria-invalid", String(Boolean(wrong)));
    this.table.setAttribute("aria-rowcount", String(this.found.length + 1));
    const estimated = rows.filter((row) => row.estimated).length;
    const measured = rows.filter((row) => row.effect !== null).length - estimated;
    this.legend.replaceChildren(
      ...(this.shown.effects ? [this.shown.effects, " "] : []),
      ...(estimated
        ? [
            element("i", sayExplorer("estimate_word")),
            sayExplorer("of_one_gradient_pass", { measured, counted: counted(rows.length) }),
          ]
        : []),
    );
    this.#fill();
  }

  get #isVirtual() {
    return this.found.length > VIRTUAL_FROM;
  }

  /** Put the rows into the page: all of them, or, of many, those in sight. */
  #fill() {
    const { found } = this;
    let [first, last] = [0, found.length];
    if (this.#isVirtual) {
      const seen = Math.ceil((this.scroll.clientHeight || 360) / ROW);
      first = Math.max(
        0,
        Math.min(found.length - seen, Math.floor(this.scroll.scrollTop / ROW)) - BEYOND,
      );
      last = Math.min(found.length, first + seen + 2 * BEYOND);
    }
    const span = this.columns.length + 2;
    const gap = (rows) =>
      rows
        ? [
            element(
              "tr",
              { role: "presentation", style: `height:${rows * ROW}px` },
              element("td", { colspan: span }),
            ),
          ]
        : [];
    const lines = found.slice(first, last).map((row, i) => this.#line(row, first + i));
    this.body.replaceChildren(...gap(first), ...lines, ...gap(found.length - last));
    this.#mark();
  }

  #line(row, index) {
    const name = nameOf(row);
    const cells = this.columns.map((column) => {
      const cell = element("td", { role: "gridcell", class: this.#classOf(column) });
      const value = valueOf(row, column);
      if (column === "effect")
        cell.append(row.estimated ? element("i", effectText(row)) : effectText(row));
      else if (column === "layer" || column === "head" || column === "label")
        cell.append(String(value ?? ""));
      else if (value !== null && !Number.isNaN(value)) cell.append(fixed(value));
      return cell;
    });
    const evidence = element(
      "td.tl-table-words",
      { role: "gridcell", title: row.evidence },
      row.evidence,
    );
    const on = this.ticked.has(name);
    const box = element("input", {
      type: "checkbox",
      tabindex: -1,
      "aria-label": sayExplorer("tick_layer_head", { layer: row.layer, head: row.head }),
    });
    box.checked = on;
    const { chosen, isOff } = this.shown;
    const style = [
      name === nameOf(chosen) ? "tl-table-chosen" : "",
      isOff(row) ? "tl-table-off" : "",
      name === this.at ? "tl-table-at" : "",
    ];
    return element(
      "tr",
      {
        role: "row",
        id: `${this.id}-${name.replaceAll("/", "-")}`,
        "data-head": name,
        "aria-rowindex": index + 2,
        "aria-selected": String(name === nameOf(chosen)),
        class: style.filter(Boolean).join(" "),
        "data-ticked": on,
      },
      element("td.tl-table-tick", { role: "gridcell" }, box),
      cells,
      evidence,
    );
  }

  /** Show what is ticked, and the row that the keys move. */
  #mark() {
    const count = this.ticked.size;
    const rows = this.#tickedRows();
    const off = count > 0 && rows.every((row) => this.shown.isOff(row));
    this.together.textContent = count
      ? sayExplorer("switch", {
          what: counted(count),
          part: off ? sayExplorer("on_again") : sayExplorer("off_together"),
        })
      : sayExplorer("switch_off_together");
    const why = count ? this.does.whyNot(rows) : "";
    this.together.disabled = !count || Boolean(why);
    this.together.title = why || sayExplorer("switch_the_ticked_heads");
    this.untick.hidden = !count;
    const here = this.shown.rows.find((row) => nameOf(row) === this.at);
    this.evidence.textContent = here?.evidence
      ? sayExplorer("layer_head", { layer: here.layer, head: here.head, evidence: here.evidence })
      : "";
    const line = this.at && this.body.querySelector(`[data-head="${CSS.escape(this.at)}"]`);
    if (line) this.table.setAttribute("aria-activedescendant", line.id);
    else this.table.removeAttribute("aria-activedescendant");
  }

  #tickedRows() {
    return this.shown.rows.filter((row) => this.ticked.has(nameOf(row)));
  }

  #tick(row) {
    const name = nameOf(row);
    if (!this.ticked.delete(name)) this.ticked.add(name);
  }

  #untick() {
    this.ticked.clear();
    this.#fill();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target !== this.table || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = this.found.findIndex((row) => nameOf(row) === this.at);
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 2);
    const to = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      Home: 0,
      End: this.found.length - 1,
      PageDown: here + page,
      PageUp: here - page,
    }[event.key];
    const row = this.found[here];
    if (to !== undefined) this.#move(to);
    else if (event.key === "Enter" && row) this.does.choose(row);
    else if (event.key === " " && row) this.#tick(row);
    else return;
    taken(event);
    this.#fill();
  }

  #move(to, fill = true) {
    const index = Math.max(0, Math.min(this.found.length - 1, to));
    if (!this.found[index]) return;
    this.at = nameOf(this.found[index]);
    const top = index * ROW;
    const room = this.scroll.clientHeight - ROW; // the header is above
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + ROW > this.scroll.scrollTop + room) this.scroll.scrollTop = top + ROW - room;
    if (!fill) this.#fill();
  }

  #csv() {
    download(
      new Blob([csvOf(this.found, this.columns)], { type: "text/csv" }),
      `${this.does.file()}-heads.csv`,
    );
  }
}

const counted = (n) => `${n} ${n === 1 ? "head" : "heads"}`;
