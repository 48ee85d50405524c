// Which keys compete in the row, and which components wrote what a query and a key carry: both
// sides as ranked lists, and a table of both together.

import {
  barPart,
  element,
  hint,
  listen,
  moveOf,
  picturePart,
  rowPart,
  tableParts,
  tokenElement,
  within,
} from "../shared/dom.js";
import { NumberMap } from "../shared/number_map.js";
import { partColour } from "./waterfall.js";
import { fixed, withSign } from "../shared/messages.js";
import { sayWhy } from "./cell.js";
import { largest } from "../shared/attention.js";

const LISTED = 8; // sources per side; the rest are summed

export class SourcePanel {
  /** @param {AbortSignal} signal */
  constructor(signal) {
    const side = (name) => element(`table.tl-blocks.tl-side#${name}-side`);
    this.sides = { key: side("key"), query: side("query") };
    this.canvas = picturePart("table");
    this.map = new NumberMap(this.canvas, signal, { hover: (at) => this.#point(at) });
    this.text = element("p.tl-readout#table-readout");
    this.hint = element("span.tl-quiet#source-hint");
    this.note = element("p.tl-hint#source-note");
    this.root = element(
      "div.tl-sources",
      element("div", this.sides.key),
      element("div", this.sides.query),
      element(
        "div.tl-both-sides",
        element("p.tl-hint", sayWhy("both_together_row_the")),
        element("div.tl-map-box", this.canvas),
        this.text,
      ),
    );
    /** @type {{row: number, column: number} | null} */
    this.spot = null;
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
  }

  /**
   * @param {object} scene
   * @param {import("./cell.js").WhyCell} scene.cell
   * @param {boolean} scene.above whether to split the excess over the row's mean
   * @param {{query: string, key: string}} scene.tokens
   * @param {Uint8ClampedArray} scene.diverging
   * @param {any} scene.colours of the theme
   */
  show({ cell, above, tokens, diverging, colours }) {
    this.cell = cell;
    this.tokens = tokens;
    this.diverging = diverging;
    this.colours = colours;
    this.split = cell.splits[above ? "above" : "score"];
    const { split } = this;
    const why = cell.info.why_no_sources || (above ? cell.info.why_no_above : "");
    this.spot = null;
    this.root.hidden = !split;
    this.note.textContent = split ? sayWhy("layer_norms_are_frozen") : sayWhy("not_known", { why });
    this.hint.textContent = split
      ? sayWhy("into_the_stream", {
          part: above ? sayWhy("of_what_lies_above") : sayWhy("of_the_score"),
          total: split.total,
        })
      : "";
    if (!split) return;
    this.#drawSide("key");
    this.#drawSide("query");
    this.#drawTable();
  }

  #point(at) {
    this.spot = at && at.row !== null && at.column !== null ? at : null;
    this.map.mark(this.spot);
    this.#tell();
  }

  #key(event) {
    if (!this.map.scene) return;
    const move = moveOf(event);
    if (!move) return;
    const { rows, columns } = this.map.scene;
    const now = this.spot;
    this.#point(
      now
        ? { row: within(now.row + move[0], rows), column: within(now.column + move[1], columns) }
        : { row: 0, column: 0 },
    );
  }

  #drawSide(side) {
    const { cell, split, diverging } = this;
    const { names } = cell.info.sources[side];
    const values = split[side];
    const order = Array.from(values, (_, i) => i).sort(
      (a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b,
    );
    const kept = order.slice(0, LISTED);
    const rest = order.slice(LISTED);
    const listed = kept.map((i) => ({ name: names[i], value: values[i] }));
    if (rest.length)
      listed.push({
        name: sayWhy("others", { n: rest.length }),
        value: rest.reduce((sum, i) => sum + values[i], 0),
      });
    const most = Math.max(...listed.map(({ value }) => Math.abs(value)), 1e-9);
    const lines = listed.map(({ name, value }) =>
      rowPart(name, [
        barPart(Math.abs(value) / most, "", partColour(diverging, value, most)),
        element("span.tl-count", withSign(value)),
      ]),
    );
    const token = tokenElement(this.tokens[side]);
    this.sides[side].replaceChildren(
      element(
        "caption.tl-hint",
        side === "key" ? sayWhy("the_keys_side_what") : sayWhy("the_querys_side_what"),
        token,
        sayWhy("carries", { info: cell.info[side] }),
      ),
      element("tbody", lines),
    );
  }

  #drawTable() {
    const { cell, split, diverging, colours } = this;
    const names = (side, kept) => {
      const { short: all } = cell.info.sources[side];
      return kept.length < all.length
        ? [...kept.map((i) => all[i]), "rest"]
        : kept.map((i) => all[i]);
    };
    const [rows, columns] = split.shape;
    const most = Math.max(...split.table.map(Math.abs), 1e-9);
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    this.map.show(Math.max(240, Math.min(560, box.clientWidth)), 31 * rows, {
      rows,
      columns,
      value: (row, column) => split.table[row * columns + column],
      low: -most,
      high: most,
      table: diverging,
      colours,
      rowNames: names("query", split.rows),
      columnNames: names("key", split.columns),
      write: (x) => (Math.abs(x) < 0.05 ? "" : fixed(x, 1)),
    });
    this.#tell();
  }

  #tell() {
    const { spot, split, cell } = this;
    const about = sayWhy("parts_of_the_score");
    if (!spot) {
      this.canvas.ariaLabel = sayWhy("arrow_keys_choose_a", { about });
      this.text.replaceChildren(element("span.tl-quiet", hint(sayWhy("hover_over_a_cell"))));
      return;
    }
    const name = (side, kept, i) =>
      i < kept.length ? cell.info.sources[side].names[kept[i]] : sayWhy("all_others");
    const value = split.table[spot.row * split.shape[1] + spot.column];
    const text = sayWhy("querys_keys", {
      name: name("query", split.rows, spot.row),
      name2: name("key", split.columns, spot.column),
    });
    this.text.replaceChildren(element("span", text, element("b#table-number", withSign(value, 3))));
    this.canvas.ariaLabel = sayWhy("arrow_keys_move", { about, text, value });
  }
}

const COMPETITORS = 8;

export class RowPanel {
  /** @param {{choose: (query: number, key: number) => void, hover: (spot: {query: number, key: number} | null) => void}} on */
  constructor(on) {
    this.on = on;
    this.row = element("table.tl-blocks.tl-rivals#row");
    this.ledger = element("table.tl-blocks.tl-ledger#ledger");
    this.hint = element("span.tl-quiet#row-hint");
  }

  /** @param {import("./cell.js").WhyCell} cell @param {string} query the query's token @param {string[]} keys */
  show(cell, query, keys) {
    this.cell = cell;
    this.hint.replaceChildren(
      "what “",
      tokenElement(query),
      sayWhy("attends_to_choose_a", { query: cell.info.query }),
    );
    this.#drawRow(keys);
    this.#drawLedger();
  }

  /** Another view points at a key. @param {{query: number | null, key: number | null} | null} spot */
  point(spot) {
    const here =
      spot && (spot.query === null || spot.query === this.cell.info.query) ? spot.key : null;
    for (const key of this.row.querySelectorAll("[data-key]"))
      key.classList.toggle("tl-pointed", Number(key.dataset.key) === here);
  }

  #drawRow(names) {
    const { cell, on } = this;
    const { query, key } = cell.info;
    const best = largest(cell.weights, COMPETITORS).map(({ index }) => index);
    if (!best.includes(key)) best.splice(Math.min(best.length, COMPETITORS - 1), 1, key);
    const most = Math.max(...best.map((k) => cell.weights[k]), 1e-9);
    const lines = best.map((k) => {
      const chosen = k === key;
      const choose = element(
        "button.tl-key",
        {
          "data-key": k,
          "aria-pressed": String(chosen),
          click: () => on.choose(query, k),
          pointerenter: () => on.hover({ query, key: k }),
          pointerleave: () => on.hover(null),
        },
        tokenElement(names[k]),
        ` ${k}`,
      );
      return rowPart(
        { class: chosen ? "tl-on" : "" },
        choose,
        Number.isFinite(cell.scores[k]) ? fixed(cell.scores[k]) : sayWhy("masked"),
        [
          barPart(cell.weights[k] / most, chosen ? "tl-chosen" : "tl-plain"),
          fixed(cell.weights[k], 4),
        ],
      );
    });
    this.row.replaceChildren(
      element("caption.tl-hint", sayWhy("the_largest_weights_of")),
      ...tableParts([sayWhy("key_word"), sayWhy("score"), sayWhy("weight")], lines),
    );
  }

  #drawLedger() {
    const { dot, scale, scaled, softcap, capped, bias, score, weight, mean } = this.cell.info;
    const line = (name, value, note) => rowPart(name, value, element("td.tl-quiet", note));
    const masked = sayWhy("masked_the_query_may");
    const lines = [
      line(sayWhy("query_key"), fixed(dot, 3), sayWhy("the_dot_product")),
      line(sayWhy("scale"), fixed(scaled, 3), sayWhy("times", { scale })),
    ];
    if (softcap !== null)
      lines.push(
        line(
          sayWhy("softcap"),
          fixed(capped, 3),
          sayWhy("squeezed_to", { softcap: String(softcap) }),
        ),
      );
    if (bias === null) lines.push(line(sayWhy("bias"), "−∞", masked));
    else if (bias !== 0)
      lines.push(line(sayWhy("bias"), withSign(bias, 3), sayWhy("position_bias_or_mask")));
    lines.push(
      line(
        sayWhy("score_word"),
        score === null ? "−∞" : fixed(score, 3),
        mean === null ? "" : sayWhy("the_rows_mean_before", { mean }),
      ),
      line(sayWhy("softmax"), weight.toFixed(4), sayWhy("its_fraction_of_the")),
    );
    this.ledger.replaceChildren(
      element("caption.tl-hint", sayWhy("from_dot_product_to")),
      element("tbody", lines),
    );
  }
}
