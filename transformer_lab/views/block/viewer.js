// One block, step by step: a rail of steps, a sentence, and the numbers of the step.

import { aliveWalks } from "./alive.js";
import { Answers } from "../shared/answers.js";
import { bytesOf, typed } from "../shared/codecs.js";
import { colourTable, entry } from "../shared/colours.js";
import {
  button,
  headChoice,
  kindChoice,
  putAnew,
  radioGroup,
  stepped,
} from "../shared/controls.js";
import {
  element,
  hint,
  pointWithin,
  rowPart,
  sizedContext,
  tableParts,
  tokenElement,
} from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { travel } from "../shared/motion.js";
import { linearLegend } from "../shared/shell.js";
import { fixed, percentText, short } from "../shared/messages.js";
import { numbersOf, single } from "../shared/files.js";
import { BaseViewer } from "../shared/viewer.js";
import { linearShade } from "../shared/number_map.js";
import { sayBlock } from "./stages.js";

const NARROWEST = 3; // pixels of a cell
const WIDEST = 14;

/** The largest absolute value in several vectors; always above 0. @param {Float32Array[]} vectors */
export function mostOf(vectors) {
  let most = 1e-9;
  for (const values of vectors) for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

/** A key for a vector by its numbers, since it may appear in other steps under other names. @param {Float32Array} values */
const movesAs = (values) =>
  `vector ${values.length} ${values[0]} ${values[1]} ${values[values.length - 1]}`;

/** Layout of the cells of a strip. @param {number} count @param {number} width in pixels */
export function stripLayout(count, width) {
  const cell = Math.max(NARROWEST, Math.min(WIDEST, width / Math.max(1, count)));
  const across = Math.max(1, Math.min(count, Math.floor(width / cell + 1e-6)));
  return { cell, across, rows: Math.ceil(count / across) };
}

export class Strip {
  /** @param {Float32Array} values @param {string} name @param {(at: number | null, strip: Strip) => void} hover @param {boolean} inTable */
  constructor(values, name, hover, inTable) {
    this.values = values;
    this.name = name;
    this.inTable = inTable;
    this.canvas = element("canvas.tl-strip", { "aria-hidden": "true" });
    this.canvas.addEventListener("pointermove", (event) => {
      hover(this.at(...pointWithin(event, this.canvas)), this);
    });
    this.canvas.addEventListener("pointerleave", () => hover(null, this));
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    if (!this.layout) return null;
    const { cell, across, rows } = this.layout;
    const [column, row] = [Math.floor(x / cell), Math.floor(y / this.tall)];
    const index = row * across + column;
    return column >= 0 && column < across && row >= 0 && row < rows && index < this.values.length
      ? index
      : null;
  }

  /**
   * @param {number} width
   * @param {number} most the value at the ends of the scale
   * @param {Uint8ClampedArray} table diverging
   * @param {number} tall pixels of a row
   */
  draw(width, most, table, tall = 14) {
    this.layout = stripLayout(this.values.length, width);
    this.tall = tall;
    const { cell, across, rows } = this.layout;
    const context = sizedContext(this.canvas, Math.ceil(across * cell), rows * tall);
    const gap = cell >= 6 ? 1 : 0;
    this.values.forEach((value, i) => {
      context.fillStyle = entry(table, linearShade(value, -most, most));
      context.fillRect((i % across) * cell, Math.floor(i / across) * tall, cell - gap, tall - 1);
    });
  }
}

const SHARES = new Set(["weight", "share of z"]);
const KNOWN = 64; // walks to keep

class Walk {
  /** @param {any} info @param {Uint8Array} bytes */
  constructor(info, bytes) {
    this.info = info;
    this.flat = typed(Float32Array, bytes);
  }

  /** @param {number} at @param {number} count */
  vector(at, count) {
    return this.flat.subarray(at, at + count);
  }

  /** @param {string} name @returns {any} the stage of that name, or the first */
  stage(name) {
    return this.info.stages.find((stage) => stage.name === name) ?? this.info.stages[0];
  }
}

export class BlockViewer extends BaseViewer {
  /** @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(given, root, signal) {
    const model = aliveWalks(given, signal);
    super(model, root, signal, {
      given,
      part: () => `layer-${model.get("layer")}-head-${model.get("head")}`,
      copies: sayBlock("copy_the_numbers_of"),
    });
    /** @type {Answers<Walk>} */
    this.answers = new Answers(this.shell, {
      most: KNOWN,
      working: sayBlock("taking_the_block_apart"),
      read: (info, bytes) => new Walk(info, bytes),
      names: ({ info }) => [["walk", info.kind, info.layer, info.head, info.position].join("/")],
      show: (walk) => Object.assign(this, { walk }),
      failed: (_, error) => {
        const held = model.get("_held");
        return held
          ? sayBlock("this_page_holds_another", { held })
          : sayBlock("this_block_cannot_be", { why: error.message });
      },
    });
    this.walk = this.#first();
    linked(model, signal);
    this.#build();
    this.answers.follow(["kind", "layer", "head", "selected"], () => this.wanted);
    this.shell.watch(["step"]);
    this.shell.watch(["_kinds"], () => {
      this.answers.known.clear(); // the text has changed
      this.walk = this.#first();
    });
  }

  /** The walk of the first screen. */
  #first() {
    const { model, answers } = this;
    return answers.keep(new Walk(model.get("_walk"), bytesOf(model.get("_walk_data"))));
  }

  get position() {
    const query = this.model.get("selected")?.[0];
    const last = this.kind.queries - 1;
    return query === null || query === undefined ? last : Math.min(query, last);
  }

  /** Name of the request for the walk of the current selection. */
  get wanted() {
    return ["walk", this.model.get("kind"), this.layer, this.head, this.position].join("/");
  }

  get stage() {
    return this.walk.stage(this.model.get("step"));
  }

  code() {
    const { kind, layer, head, position } = this.walk.info;
    return this.callOn("block_steps", kind, [layer, head, position]);
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, shell } = this;
    this.controlBar = element("div.tl-controls");
    this.choice = headChoice(this, (place) => this.shell.set(place));
    this.note = element("p.tl-hint#note", this.model.get("_note"));
    this.note.hidden = !this.note.textContent;
    this.rail = element("div.tl-rail");
    this.heading = element("b#title");
    this.formula = element("span.tl-formula#formula");
    this.body = element("div.tl-body");
    this.readout = element("p.tl-readout#readout");
    root.append(
      ...shell.above,
      this.controlBar,
      this.note,
      shell.message,
      this.answers.busy,
      this.rail,
      element(
        "section.tl-stage",
        { "aria-label": sayBlock("the_step") },
        element("p.tl-heading", this.heading, " ", this.formula),
        this.sentence,
        this.body,
        this.readout,
      ),
    );
  }

  #buildControls() {
    const { shell, model } = this;
    const { queries, tokens } = this.kind;
    this.choice.show();
    putAnew(this.controlBar, [
      kindChoice(model.get("_kinds"), model.get("kind"), (kind) => this.changeKind(kind)).root,
      stepped({
        label: sayBlock("token"),
        part: "token",
        count: queries,
        chosen: this.position,
        text: (at) => `${at} ${tokens[at]}`,
        choose: (at) => shell.set({ selected: [at, null] }),
      }).root,
      this.choice.root,
    ]);
  }

  #buildRail() {
    const { walk, shell, stage } = this;
    const { stages } = walk.info;
    const at = stages.indexOf(stage);
    const go = (to) => shell.set({ step: stages[to].name });
    const rail = radioGroup({
      label: sayBlock("step"),
      part: "step",
      quiet: true,
      chosen: stage.name,
      choose: (step) => shell.set({ step }),
      choices: stages.map(({ name, tab, title }, i) => ({
        value: name,
        text: tab,
        name: sayBlock("step_of", { i: i + 1, stages: stages.length, title }),
      })),
    });
    const move = (sign, by, name) => {
      const made = button(
        sign,
        name,
        by < 0 ? sayBlock("previous_step") : sayBlock("next_step"),
        () => go(at + by),
      );
      made.disabled = at + by < 0 || at + by >= stages.length;
      return made;
    };
    const steps = element("span.tl-joined", move("◀", -1, "back"), move("▶", 1, "on"));
    putAnew(this.rail, [steps, rail.root]);
  }

  // ---- drawing ------------------------------------------------------------------------------

  open() {
    this.answers.open(this.wanted);
  }

  draw() {
    const { shell, stage, walk } = this;
    const { layer, head, position, kind } = walk.info;
    this.diverging = colourTable("diverging", shell.theme);
    this.#buildControls();
    this.#buildRail();
    shell.subtitle.textContent = sayBlock("one_block_step_by");
    this.heading.textContent = stage.title;
    this.formula.textContent = stage.formula;
    this.say(stage.sentence);
    const shown = `${kind}/${layer}/${head}/${position}/${stage.name}`;
    const fill = () => {
      /** @type {Strip[]} */
      const before = this.strips ?? [];
      this.strips = [];
      const parts = [];
      if (stage.vectors.length) parts.push(this.#vectors(stage.vectors, before));
      if (stage.keys) parts.push(this.#keys(stage.keys));
      if (stage.answers.length) parts.push(this.#answers(stage.answers));
      this.body.replaceChildren(...parts);
      this.#paint();
    };
    if (this.root.dataset.shown && this.root.dataset.shown !== shown) travel(this.body, fill);
    else fill();
    this.#tell(null, null);
    this.root.dataset.shown = shown;
  }

  /** Draw the vectors of a step on one scale, and those of its keys on another. */
  #paint() {
    const room = this.body.clientWidth || this.root.clientWidth;
    for (const table of this.body.children) {
      const own = this.strips.filter(({ canvas }) => table.contains(canvas));
      if (!own.length) continue;
      const most = mostOf(own.map(({ values }) => values));
      const inTable = own[0].inTable;
      const wide = inTable
        ? Math.max(60, Math.min(300, room - 420))
        : Math.max(120, Math.min(760, room - 220));
      for (const strip of own) strip.draw(wide, most, this.diverging, inTable ? 12 : 16);
      const legend = linearLegend(this.diverging, -most, most, "", (x) =>
        fixed(x, most < 0.1 ? 3 : 2),
      );
      table.append(element("caption.tl-under", element("div.tl-legend", legend)));
    }
  }

  #strip(values, name, inTable = false) {
    const strip = new Strip(values, name, (at, from) => this.#tell(at, from), inTable);
    strip.canvas.dataset.moves = movesAs(values);
    this.strips.push(strip);
    return strip.canvas;
  }

  /** @param {any[]} vectors @param {Strip[]} before those of the previous step: a new vector glides from the last one of its length */
  #vectors(vectors, before) {
    const rows = vectors.map(({ name, at, n, chosen }) => {
      const values = this.walk.vector(at, n);
      const length = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
      const strip = this.#strip(values, name);
      const source = before.findLast((other) => !other.inTable && other.values.length === n);
      if (source) strip.dataset.from = movesAs(source.values);
      return rowPart(
        { class: chosen ? "tl-on" : "" },
        name,
        strip,
        element("td.tl-number", { title: sayBlock("numbers", { n }) }, fixed(length)),
      );
    });
    return element(
      "table.tl-blocks.tl-vectors#vectors",
      tableParts(["", sayBlock("its_numbers"), sayBlock("length")], rows),
    );
  }

  #keys({ columns, numbers, vectors }) {
    const { shown, all, rest } = this.walk.info;
    const tokens = this.kind.tokens;
    const last = numbers[numbers.length - 1];
    const signed = last.some((x) => x !== null && x < 0);
    const most = Math.max(1e-9, ...last.map((x) => Math.abs(x ?? 0)));
    const text = (x, name) => (x === null ? "−∞" : SHARES.has(name) ? short(x) : fixed(x));
    const lines = shown.map((key, row) => {
      const value = last[row];
      const cells = numbers.map((column, i) =>
        element(
          "td.tl-number",
          {
            "data-moves": `${columns[i]} ${key}`,
            "data-from": `${columns[i - 1] ?? "key"} ${key}`,
          },
          text(column[row], columns[i]),
        ),
      );
      const share = value === null ? 0 : Math.abs(value) / most;
      const from = signed ? (value !== null && value < 0 ? 50 - 50 * share : 50) : 0;
      const bar = element(
        "span",
        { class: `tl-track${signed ? " tl-middle" : ""}`, "aria-hidden": "true" },
        element("span", {
          class: value !== null && value < 0 ? "tl-part tl-below" : "tl-part",
          "data-moves": `bar ${key}`,
          style: `left:${from.toFixed(1)}%;width:${((signed ? 50 : 100) * share).toFixed(1)}%`,
        }),
      );
      const strip = vectors
        ? [
            element(
              "td",
              this.#strip(
                this.walk.vector(vectors.at + row * vectors.n, vectors.n),
                `${vectors.name} of “${tokens[key]}”`,
                true,
              ),
            ),
          ]
        : [];
      const name = element(
        "button.tl-key",
        {
          title: sayBlock("walk_with_instead", { token: tokens[key] }),
          "data-key": key,
          click: () => this.shell.set({ selected: [key, null] }),
        },
        tokenElement(tokens[key]),
      );
      return element(
        "tr",
        { class: value === null ? "tl-barred" : "" },
        element("td.tl-quiet.tl-number", String(key)),
        element("th", { scope: "row" }, name),
        strip,
        cells,
        element("td", bar),
      );
    });
    if (all > shown.length) {
      const others =
        all === shown.length + 1
          ? sayBlock("other_weight")
          : sayBlock("others_weights", { all: all - shown.length });
      lines.push(
        element(
          "tr",
          element("td"),
          element("td.tl-quiet", { colspan: 6 }, `${others} ${short(Math.max(0, rest))}`),
        ),
      );
    }
    return element(
      "table.tl-blocks.tl-keys-of#keys",
      tableParts(
        ["", sayBlock("token_word"), ...(vectors ? [vectors.name] : []), ...columns, ""],
        lines,
      ),
    );
  }

  #answers(answers) {
    const rows = answers.map(([name, p, final]) =>
      rowPart(
        tokenElement(name),
        element(
          "span.tl-track",
          { "aria-hidden": "true" },
          element("span.tl-part", {
            "data-moves": `answer ${name}`,
            style: `left:0;width:${(100 * p).toFixed(1)}%`,
          }),
        ),
        element("td.tl-number", percentText(p)),
        element("td.tl-number.tl-quiet", final === null ? "–" : percentText(final)),
      ),
    );
    return element(
      "table.tl-blocks#answers",
      tableParts(
        [
          sayBlock("token_word"),
          "",
          sayBlock("if_it_stopped_here"),
          sayBlock("after_the_last_layer"),
        ],
        rows,
      ),
    );
  }

  /** Show the number under the pointer. @param {number | null} at @param {Strip | null} strip */
  #tell(at, strip) {
    if (at === null || !strip) {
      this.readout.replaceChildren(
        element("span.tl-quiet", this.strips.length ? hint(sayBlock("hover_over_a_number")) : ""),
      );
      return;
    }
    const value = element("b#number", fixed(strip.values[at], 4));
    this.readout.replaceChildren(
      element("span", sayBlock("number", { name: strip.name, at }), value),
    );
  }

  /** Every vector once, in the order of computation, and every table of keys. */
  fileNumbers() {
    const { stages, shown } = this.walk.info;
    /** @type {Parameters<typeof numbersOf>[1]} */
    const arrays = {};
    const named = (name, values, means, axis) => {
      let unique = name;
      for (let count = 2; unique in arrays; count++) unique = `${name} (${count})`;
      arrays[unique] = [[axis ?? sayBlock("number_of", { unique })], values, means];
    };
    const rows = [];
    const seen = [];
    for (const { tab, vectors } of stages) {
      for (const { name, at, n } of vectors) {
        const values = this.walk.vector(at, n);
        if (
          seen.some((other) => other.length === n && values.every((value, i) => value === other[i]))
        )
          continue;
        seen.push(values);
        named(`${tab}: ${name}`, values, sayBlock("a_vector", { tab, name }));
        values.forEach((value, i) => rows.push([tab, name, i, single(value)]));
      }
    }
    for (const { tab, formula, keys } of stages)
      keys?.columns.forEach((name, i) => named(`${tab}, ${name}`, keys.numbers[i], formula, "key"));
    return numbersOf({ key: shown.map((key) => this.kind.tokens[key]) }, arrays, {
      table: { header: ["step", "vector", "number", "value"], rows },
    });
  }

  get title() {
    return `${super.title}: ${this.stage.title}`;
  }

  pictures() {
    return this.strips.map(({ canvas, name }) => ({ canvas, title: name }));
  }
}
