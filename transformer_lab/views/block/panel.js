// The panel of a step: its vectors as strips of colours, a row for each key, and the answers. What
// two steps share glides from one to the other.

import { colourTable, entry } from "../shared/colours.js";
import {
  element,
  listen,
  pixelRatio,
  pointWithin,
  rowPart,
  sizedContext,
  tableParts,
  tokenElement,
  within,
} from "../shared/dom.js";
import { fixed, percentText } from "../shared/messages.js";
import { travel } from "../shared/motion.js";
import { linearShade } from "../shared/number_map.js";
import { MarkPanel } from "../shared/panels.js";
import { linearLegend } from "../shared/shell.js";
import { view } from "./scene.js";

const { say } = view;
const NARROWEST = 3; // pixels of a cell
const WIDEST = 14;

/** A key for a vector by its numbers, since it may appear in other steps under other names. @param {Float32Array} values */
const movesAs = (values) =>
  `vector ${values.length} ${values[0]} ${values[1]} ${values[values.length - 1]}`;

/** A bar, from and to in percent. @param {string} moves @param {number} from @param {number} to @param {string} [look] */
const barOf = (moves, from, to, look = "") =>
  element(
    "span",
    { class: `tl-track ${look}`, "aria-hidden": "true" },
    element("span.tl-part", {
      "data-moves": moves,
      style: `left:${Math.min(from, to).toFixed(1)}%;width:${Math.abs(to - from).toFixed(1)}%`,
    }),
  );

class StagePanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    this.root.ariaLabel = say("the_step");
    this.title.dataset.part = "title";
    this.hint.dataset.part = "formula";
    /** @type {any[]} */
    this.strips = [];
    for (const type of ["pointermove", "pointerleave"])
      listen(this.body, type, viewer.signal, (event) => this.point(this.#spotOf(event)));
    listen(this.body, "click", viewer.signal, ({ target }) => {
      const { key } = target.closest("[data-key]")?.dataset ?? {};
      if (key !== undefined) this.pick(Number(key));
    });
  }

  /** @returns {any} */
  get box() {
    return (this.body = element("div.tl-body"));
  }

  get pictures() {
    return this.strips.map(({ canvas, name }) => ({ canvas, title: name }));
  }

  /** The number under the pointer. @param {any} event */
  #spotOf(event) {
    const strip = this.strips.findIndex(({ canvas }) => canvas === event.target);
    if (strip < 0) return null;
    const { canvas, values, cell, across, tall } = this.strips[strip];
    const [x, y] = pointWithin(event, canvas);
    const at = within(Math.floor(x / cell), across) + across * Math.max(0, Math.floor(y / tall));
    return at < values.length ? { name: this.panel.name, strip, at } : null;
  }

  /** @param {any} panel */
  draw(panel) {
    const { root, shell } = this.viewer;
    this.room = this.body.clientWidth || root.clientWidth;
    const now = [panel.vectors, shell.theme, this.room, pixelRatio()];
    if (now.every((x, i) => x === this.drawn?.[i])) return; // the reader only points at something
    const another = this.panel && this.panel.name !== panel.name;
    this.drawn = now;
    this.panel = panel;
    this.table = colourTable("diverging", shell.theme);
    const fill = () => {
      const { vectors, keys, answers } = panel;
      this.before = this.strips;
      this.strips = [];
      this.body.replaceChildren(
        ...(vectors.length ? [this.#vectors(vectors)] : []),
        ...(keys ? [this.#keys(keys)] : []),
        ...(answers.length ? [this.#answers(answers)] : []),
      );
    };
    if (another) travel(this.body, fill);
    else fill();
  }

  /** Strips of some vectors on one scale, and its legend. @param {import("./scene.js").Vector[]} vectors @param {number} width @param {number} tall pixels of a row @param {boolean} [glides] whether new ones glide from a strip of the step before */
  #strips(vectors, width, tall, glides = false) {
    const most = vectors.reduce(
      (all, { values }) => values.reduce((max, x) => Math.max(max, Math.abs(x)), all),
      1e-9,
    );
    const made = vectors.map(({ name, values }) => {
      const from =
        glides && this.before.findLast((one) => one.glides && one.values.length === values.length);
      const canvas = element("canvas.tl-strip", {
        "aria-hidden": "true",
        "data-moves": movesAs(values),
        "data-from": from && movesAs(from.values),
      });
      const cell = Math.max(NARROWEST, Math.min(WIDEST, width / Math.max(1, values.length)));
      const across = Math.max(1, Math.min(values.length, Math.floor(width / cell + 1e-6)));
      const rows = Math.ceil(values.length / across);
      const context = sizedContext(canvas, Math.ceil(across * cell), rows * tall);
      const gap = cell >= 6 ? 1 : 0;
      values.forEach((value, i) => {
        const [x, y] = [(i % across) * cell, Math.floor(i / across) * tall];
        context.fillStyle = entry(this.table, linearShade(value, -most, most));
        context.fillRect(x, y, cell - gap, tall - 1);
      });
      return { canvas, name, values, cell, across, tall, glides };
    });
    this.strips.push(...made);
    const text = (x) => fixed(x, most < 0.1 ? 3 : 2);
    const legend = element("div.tl-legend", linearLegend(this.table, -most, most, "", text));
    return {
      canvases: made.map(({ canvas }) => canvas),
      legend: element("caption.tl-under", legend),
    };
  }

  #vectors(vectors) {
    const width = Math.max(120, Math.min(760, this.room - 220));
    const { canvases, legend } = this.#strips(vectors, width, 16, true);
    const rows = vectors.map(({ name, values, chosen, length }, i) => {
      const title = say("numbers", { n: values.length });
      const cell = element("td.tl-number", { title }, length);
      return rowPart({ class: chosen ? "tl-on" : "" }, name, canvases[i], cell);
    });
    const names = ["", say("its_numbers"), say("length")];
    return element("table.tl-blocks.tl-vectors#vectors", legend, tableParts(names, rows));
  }

  #keys({ columns, beside, rows, others }) {
    const last = columns.at(-1).values.map((x) => (Number.isFinite(x) ? x : 0));
    const least = last.some((x) => x < 0) ? 50 : 0;
    const most = Math.max(1e-9, ...last.map(Math.abs));
    const { canvases = [], legend = "" } = beside
      ? this.#strips(
          rows.map(({ vector }) => vector),
          Math.max(60, Math.min(300, this.room - 420)),
          12,
        )
      : {};
    const lines = rows.map(({ key, token, cells, value }, row) => {
      const name = element(
        "button.tl-key",
        { title: say("walk_with_instead", { token }), "data-key": key },
        tokenElement(token),
      );
      const to = least + ((100 - least) * last[row]) / most;
      const look = `${least ? "tl-middle" : ""} ${to < least ? "tl-below" : ""}`;
      return element(
        "tr",
        { class: Number.isFinite(value) ? "" : "tl-barred" },
        element("td.tl-quiet.tl-number", String(key)),
        element("th", { scope: "row" }, name),
        beside && element("td", canvases[row]),
        cells.map((text, i) => {
          const [moves, from] = [columns[i].name, columns[i - 1]?.name ?? "key"];
          return element(
            "td.tl-number",
            { "data-moves": `${moves} ${key}`, "data-from": `${from} ${key}` },
            text,
          );
        }),
        element("td", barOf(`bar ${key}`, least, to, look)),
      );
    });
    if (others)
      lines.push(element("tr", element("td"), element("td.tl-quiet", { colspan: 6 }, others)));
    const names = [
      "",
      say("token_word"),
      ...(beside ? [beside] : []),
      ...columns.map(({ name }) => name),
      "",
    ];
    return element("table.tl-blocks.tl-keys-of#keys", legend, tableParts(names, lines));
  }

  #answers(answers) {
    const rows = answers.map(([name, p, final]) =>
      rowPart(
        tokenElement(name),
        barOf(`answer ${name}`, 0, 100 * p),
        element("td.tl-number", percentText(p)),
        element("td.tl-number.tl-quiet", final === null ? "–" : percentText(final)),
      ),
    );
    const names = [say("token_word"), "", say("if_it_stopped_here"), say("after_the_last_layer")];
    return element("table.tl-blocks#answers", tableParts(names, rows));
  }
}

/** The view, with what draws it in a page. */
export const walks = { ...view, panels: { stage: StagePanel } };
