// Two traces on the same axes: every head by how much it differs, both maps, and the difference.

import { mounted } from "../shared/mounted.js";
import { aliveTexts } from "./alive.js";
import { headChoice, kindChoice, putAnew } from "../shared/controls.js";
import { numbersOf } from "../shared/files.js";
import { bytesOf, typed } from "../shared/codecs.js";
import { colourTable } from "../shared/colours.js";
import compareMessages from "./messages.json" with { type: "json" };
import {
  element,
  hint,
  legendPart,
  listen,
  moveOf,
  panelPart,
  picturePart,
  rowPart,
  tableParts,
  tokenElement,
  within,
} from "../shared/dom.js";
import { MapPair, withMinus } from "../shared/map_pair.js";
import { NumberMap } from "../shared/number_map.js";
import { floatsOf, linearLegend } from "../shared/shell.js";
import { messages, numbered, percentText, short } from "../shared/messages.js";
import { Answers } from "../shared/answers.js";
import { BaseViewer } from "../shared/viewer.js";

const sayCompare = messages(compareMessages);
const NO_MOVE = 5e-4; // smaller changes of a weight do not count
const KEPT_HEADS = 96;
const GRID_WIDTH = 300; // px, of the small map of every head
const DEEP = 5; // ratio of layers to heads from which cells are not square, since they would be specks

export class CompareViewer extends BaseViewer {
  constructor(given, root, signal) {
    const model = aliveTexts(given, signal);
    super(model, root, signal, {
      given,
      part: () => `layer-${this.shown.layer}-head-${this.shown.head}`,
    });
    /** @type {Answers<{name: string, maps: Float32Array}>} */
    this.answers = new Answers(this.shell, {
      most: KEPT_HEADS,
      working: sayCompare("fetching_the_head"),
      names: ({ name }) => [name],
      show: (found) => this.#show(found),
      read: (_, bytes, name) => ({ name, maps: typed(Float32Array, bytes) }),
      here: (name) => this.#here(name),
      failed: (name, error) =>
        sayCompare("layer_head_cannot_be", {
          split: name.split("/")[1],
          split2: name.split("/")[2],
          why: error.message,
        }),
    });
    this.pair = new MapPair(this.shell, signal, ["first", "second"], () => {
      const { query, key } = this.#largest(1)[0] ?? { query: this.kind.queries - 1, key: 0 };
      return [query, key];
    });
    this.#build();
    this.shell.watch(["selected"]);
    this.answers.follow(["layer", "head", "kind"], () => this.wanted);
    this.shell.watch(["_kinds"], () => {
      this.answers.known.clear(); // the texts have changed
      this.tabled = null;
      this.open();
    });
  }

  get kindName() {
    return this.model.get("kind");
  }

  /** The chosen layer, or the nearest with heads. */
  get layer() {
    const [chosen, { counts }] = [super.layer, this.kind];
    const apart = (at) => (counts[at] ? Math.abs(at - chosen) : Infinity);
    return counts.reduce((best, _, at) => (apart(at) < apart(best) ? at : best), chosen);
  }

  /** Name of the request for the chosen head. */
  get wanted() {
    return `${this.kindName}/${this.layer}/${this.head}`;
  }

  get names() {
    return this.model.get("_names");
  }

  get selected() {
    return this.pair.selected;
  }

  get moved() {
    const all = typed(Float32Array, bytesOf(this.model.get("_moved")));
    return all.subarray(this.kind.moved, this.kind.moved + this.kind.layers * this.kind.heads);
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { signal, pair } = this;
    this.grid = picturePart("grid", "tl-map");
    this.gridMap = new NumberMap(this.grid, signal, {
      hover: (at) => this.#gridAt(at),
      pick: (at) => this.#isHead(at) && this.shell.set({ layer: at.row, head: at.column }),
    });
    this.gridLine = element("p.tl-number-line#grid-line");
    this.note = element("p.tl-hint#note");
    this.gridLegend = legendPart("grid-legend");
    this.numbers = element("p.tl-number-line#readout", { role: "status" });
    this.lock = element("span.tl-lock#lock", { hidden: true }, hint(sayCompare("locked_esc_or_a")));
    this.table = element("table.tl-table#table");
    this.choice = headChoice(this, (place) => this.shell.set(place));
    this.kindBox = element("div");
    this.controls = element("div.tl-controls", this.choice.root, this.kindBox, this.note);
    this.mapTitle = element("b#map-title");
    this.root.append(
      ...this.shell.above,
      element(
        "p.tl-hint#stays",
        { hidden: !this.model.get("_note") },
        this.model.get("_note") ?? "",
      ),
      this.controls,
      this.shell.message,
      element("div.tl-answer", this.sentence),
      element(
        "div.tl-panels.tl-compare",
        panelPart(
          "grid",
          sayCompare("how_much_each_head"),
          hint(sayCompare("layer_head_click_one")),
          this.grid,
          this.gridLine,
          this.gridLegend,
        ),
        element(
          "section.tl-panel",
          { "aria-label": sayCompare("maps") },
          element(
            "p.tl-heading",
            this.mapTitle,
            " ",
            element("span.tl-quiet", hint(sayCompare("row_attends_to_column"))),
          ),
          pair.box,
          this.answers.busy,
          element("div.tl-row", pair.legends.weight, pair.legends.difference),
        ),
      ),
      element(
        "footer.tl-foot",
        element("div.tl-row", this.numbers, this.lock),
        element(
          "details.tl-details",
          element("summary", sayCompare("the_five_largest_changes")),
          this.table,
        ),
      ),
    );
    listen(this.grid, "keydown", signal, (event) => this.#moveHead(event));
    this.freeByEscape();
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** Whether a cell of the grid is a head. */
  #isHead(at) {
    return (
      Boolean(at) && at.row !== null && at.column !== null && at.column < this.kind.counts[at.row]
    );
  }

  #gridAt(at) {
    this.gridHover = this.#isHead(at) ? at : null;
    this.shell.redraw();
  }

  #moveHead(event) {
    const move = moveOf(event);
    if (!move) return;
    const { counts } = this.kind;
    const having = counts.flatMap((count, at) => (count ? [at] : []));
    const layer = having[within(having.indexOf(this.layer) + move[0], having.length)];
    this.shell.set({ layer, head: within(this.head + move[1], counts[layer]) });
  }

  // ---- the maps of a head ---------------------------------------------------------------------

  /** Get the maps of the chosen head, then draw. */
  open() {
    return this.answers.ask(this.wanted);
  }

  #show({ name, maps }) {
    const [kind, layer, head] = name.split("/");
    const size = this.kind.queries * this.kind.keys;
    this.maps = { first: maps.subarray(0, size), second: maps.subarray(size, 2 * size) };
    this.shown = { kind, layer: Number(layer), head: Number(head) };
    this.root.dataset.shown = name;
  }

  /** Maps that came with the page. */
  #here(name) {
    const { kind, model } = this;
    const size = 2 * kind.queries * kind.keys;
    const from = kind.maps + (this.layer * kind.heads + this.head) * size;
    if (bytesOf(model.get("_maps")).byteLength)
      return { name, maps: floatsOf(model, "_maps").subarray(from, from + size) };
    return model.get("_first").name === name
      ? { name, maps: floatsOf(model, "_first_data") }
      : null;
  }

  /** The pairs with the largest differences, in one row or in all. @param {number} count @param {number | null} [row] */
  #largest(count, row = null) {
    const { first, second } = this.maps;
    const { keys } = this.kind;
    const found = [];
    for (
      let i = row === null ? 0 : row * keys;
      i < (row === null ? first.length : (row + 1) * keys);
      i++
    ) {
      const difference = Math.abs(second[i] - first[i]);
      if (difference >= 0.00005)
        found.push({ query: Math.floor(i / keys), key: i % keys, difference });
    }
    return found.sort((a, b) => b.difference - a.difference).slice(0, count);
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    if (!this.maps || this.shown.kind !== this.kindName) return;
    this.choice.show();
    putAnew(this.kindBox, [
      kindChoice(this.model.get("_kinds"), this.kindName, (kind) => this.changeKind(kind)).root,
    ]);
    const { kind, names, shell } = this;
    this.sequential = colourTable("default", shell.theme);
    shell.subtitle.textContent = sayCompare("texts_compared", {
      layers: kind.layers,
      heads: kind.heads,
      first: names[0],
      second: names[1],
    });
    this.mapTitle.textContent = sayCompare("head", this.#place);
    const gaps = [kind.key_parts, kind.query_parts].some((parts) =>
      parts.some((side) => side.includes(-1)),
    );
    const swapped = kind.key_names.some(
      (name, i) => name.includes("/") && kind.key_parts[0][i] >= 0 && kind.key_parts[1][i] >= 0,
    );
    this.note.textContent = [
      swapped ? sayCompare("x_y_x_in", { name: names[0], name2: names[1] }) : "",
      gaps ? sayCompare("grey_rows_and_columns") : "",
      kind.causal ? sayCompare("grey_above_the_diagonal") : "",
      kind.nothing ? sayCompare("dashed_what_goes_to") : "",
      kind.counts.some((count) => count < kind.heads) ? sayCompare("grey_in_the_grid") : "",
    ]
      .filter(Boolean)
      .join(" ");
    this.note.hidden = !this.note.textContent;
    this.#drawGrid();
    this.#drawSides();
    this.#speak();
  }

  /** The head on view, for messages. */
  get #place() {
    const { kind, layer, head } = this.shown;
    return { several: this.several, kind, layer, head };
  }

  /** Values for a message about two tokens; `nothing`: the key is the column of weight to no token. @param {number} query @param {number} key */
  #pair(query, key) {
    const { kind, maps } = this;
    const [x, y] = [maps.first, maps.second]
      .map((map) => map[query * kind.keys + key])
      .map((value) => (Number.isNaN(value) ? null : value));
    const nothing = Boolean(kind.nothing) && key === kind.keys - 1;
    return {
      query: numbered(kind.query_names, query),
      key: numbered(kind.key_names, key),
      nothing,
      later: kind.causal && key > query && !nothing,
      x,
      y,
    };
  }

  /** Values of the sentence. @param {number | null} query @param {number | null} key */
  #values(query, key) {
    const {
      maps,
      moved,
      names: [a, b],
    } = this;
    const { keys, heads, query_names: queries, query_parts: parts } = this.kind;
    const values = { ...this.#place, a, b };
    if (query !== null && key !== null)
      return { ...values, focus: "pair", ...this.#pair(query, key) };
    const [largest] = this.#largest(1, query);
    const change =
      largest?.difference >= NO_MOVE
        ? sayCompare("pair", { a, b, ...this.#pair(largest.query, largest.key) })
        : null;
    if (query !== null) {
      const [x, y] = [maps.first, maps.second].map((map) =>
        map.subarray(query * keys, (query + 1) * keys),
      );
      const only = x.every(Number.isNaN) ? b : y.every(Number.isNaN) ? a : null;
      return {
        ...values,
        focus: "query",
        change,
        query: numbered(queries, query),
        only,
        share: x.reduce((sum, value, i) => sum + Math.abs((y[i] || 0) - (value || 0)), 0) / 2,
      };
    }
    const top = Math.max(...moved.filter((x) => !Number.isNaN(x)));
    const [best, here] = [moved.indexOf(top), values.layer * heads + values.head];
    const gaps = queries.filter((_, i) => parts.some((side) => side[i] < 0)).length;
    return {
      ...values,
      focus: "head",
      shared: queries.length - gaps,
      gaps,
      change,
      share: moved[here],
      top,
      best: best === here,
      best_layer: Math.floor(best / heads),
      best_head: best % heads,
    };
  }

  #drawGrid() {
    const { kind, moved, shell, shown } = this;
    const most = Math.max(...moved.filter((x) => !Number.isNaN(x)));
    const end = most > 0.5 ? 1 : most > 0.05 ? Math.ceil(most * 10) / 10 : 0.05;
    const value = (layer, head) => moved[layer * kind.heads + head];
    this.gridMap.show(
      Math.max(180, Math.min(GRID_WIDTH, this.grid.parentElement.clientWidth)),
      420,
      {
        rows: kind.layers,
        columns: kind.heads,
        value,
        low: 0,
        high: end,
        table: this.sequential,
        colours: shell.inks,
        square: kind.layers < DEEP * kind.heads,
        write: (v) => short(v),
      },
    );
    this.gridMap.mark(this.gridHover ?? null, { row: shown.layer, column: shown.head });
    const at = this.gridHover ?? { row: shown.layer, column: shown.head };
    this.gridLine.replaceChildren(
      sayCompare("layer_head", { row: at.row, column: at.column }),
      element("b#moved", percentText(value(at.row, at.column), 1)),
      sayCompare("of_its_attention_moved"),
    );
    this.gridLegend.replaceChildren(
      ...linearLegend(this.sequential, 0, end, sayCompare("fraction_of_attention_that"), (v) =>
        short(v),
      ),
    );
    this.grid.ariaLabel = sayCompare("every_head_by_how", { grid_line: this.gridLine.textContent });
  }

  /** Whether a key comes after a query that cannot attend to later keys. */
  #ahead(query, key) {
    const { causal, nothing, keys } = this.kind;
    return causal && key > query && !(nothing && key === keys - 1);
  }

  #drawSides() {
    const {
      kind,
      maps,
      names: [a, b],
    } = this;
    this.pair.show({
      rows: kind.query_names,
      columns: kind.key_names,
      ...maps,
      ahead: (q, k) => this.#ahead(q, k),
      apart: kind.nothing,
      captions: [a, b, `${b} − ${a}`],
      widths: [480, 660],
      height: 470,
      text: this.text ?? "",
    });
  }

  #speak() {
    const inside = this.pair.focus;
    this.text = sayCompare("sentence", this.#values(inside?.query ?? null, inside?.key ?? null));
    this.say(this.text);
    this.lock.hidden = !this.selected;
    this.#readout(inside);
    this.#fillTable();
    this.root.dataset.selected = this.selected
      ? `${this.selected.query ?? ""},${this.selected.key ?? ""}`
      : "";
  }

  #readout(spot) {
    if (!spot || spot.query === null || spot.key === null) {
      this.numbers.replaceChildren(element("span.tl-quiet", hint(sayCompare("hover_over_a_cell"))));
      return;
    }
    const { names, kind } = this;
    const at = spot.query * kind.keys + spot.key;
    const number = (part, value) =>
      element(`b#${part}`, Number.isNaN(value) ? "–" : withMinus(value, (v) => v.toFixed(4)));
    const [a, b] = [this.maps.first[at], this.maps.second[at]];
    this.numbers.replaceChildren(
      tokenElement(kind.query_names[spot.query]),
      " → ",
      tokenElement(kind.key_names[spot.key]),
      ": ",
      number("number-first", a),
      " in ",
      tokenElement(names[0]),
      ", ",
      number("number-second", b),
      " in ",
      tokenElement(names[1]),
      sayCompare("difference_word"),
      number("number-difference", b - a),
    );
  }

  #fillTable() {
    const key = JSON.stringify(this.shown);
    if (key === this.tabled) return;
    this.tabled = key;
    const { kind, names, maps } = this;
    const rows = this.#largest(5).map(({ query, key: to }) => {
      const at = query * kind.keys + to;
      return rowPart(
        [tokenElement(kind.query_names[query]), " → ", tokenElement(kind.key_names[to])],
        [maps.first[at], maps.second[at], maps.second[at] - maps.first[at]].map((value) =>
          element(
            "td",
            withMinus(value, (v) => v.toFixed(4)),
          ),
        ),
      );
    });
    this.table.replaceChildren(
      element(
        "caption",
        sayCompare("the_largest_changes", { map_title: this.mapTitle.textContent }),
      ),
      ...tableParts([sayCompare("edge"), names[0], names[1], sayCompare("difference_2")], rows),
    );
  }

  code() {
    const { query = null, key = null } = this.selected ?? {};
    const at = query !== null && key !== null ? `; view.selected = (${query}, ${key})` : "";
    return `view.kind, view.layer, view.head = "${this.kindName}", ${this.layer}, ${this.head}${at}`;
  }

  fileNumbers() {
    const { kind, maps, moved, names, selected, shown } = this;
    const tokens = kind.nothing ? kind.key_names.slice(0, -1) : kind.key_names;
    const sides = Object.entries({
      a: (i) => maps.first[i],
      b: (i) => maps.second[i],
      difference: (i) => maps.second[i] - maps.first[i],
    });
    const values = { a: names[0], b: names[1] };
    const cells = sides.map(([name, of]) => [
      name,
      [
        ["query", "key"],
        (q, k) => (this.#ahead(q, k) ? null : of(q * kind.keys + k)),
        sayCompare("is_map", { name, ...values }),
      ],
    ]);
    const nothing = sides.map(([name, of]) => [
      `${name}_nothing`,
      [
        ["query"],
        (q) => of((q + 1) * kind.keys - 1),
        sayCompare("is_nothing", { name, ...values }),
      ],
    ]);
    return numbersOf(
      {
        query: kind.query_names,
        key: tokens,
        layer: [...Array(kind.layers).keys()],
        head: [...Array(kind.heads).keys()],
      },
      {
        ...Object.fromEntries([...cells, ...(kind.nothing ? nothing : [])]),
        moved: [["layer", "head"], moved, sayCompare("is_moved")],
      },
      {
        chosen: {
          kind: shown.kind,
          layer: shown.layer,
          head: shown.head,
          selected: selected && [selected.query, selected.key],
        },
      },
    );
  }

  get title() {
    return `${super.title} · ${this.mapTitle.textContent}`;
  }

  pictures() {
    return [{ canvas: this.grid, title: sayCompare("how_much_each_head") }, ...this.pair.pictures];
  }
}

export default mounted(CompareViewer, "compare");
