// The heads of a long text: every head small, the chosen one as a map that is zoomed and moved, the
// strongest edges of what is seen as lines.

import { bytesOf, weightOf } from "../shared/codecs.js";
import { colourTable } from "../shared/colours.js";
import { atMostOnceAFrame, element, hearChanges, onceForAll } from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { Superseded } from "../shared/requests.js";
import { hasFixedHeight } from "../shared/screen.js";
import { quoted, short } from "../shared/messages.js";
import { betweenSentence, headTag } from "../shared/map_sentences.js";
import { whyNotBetween } from "./between.js";
import { LinesPanel } from "./lines_panel.js";
import { drawLongLines } from "./long_lines.js";
import { LongMap } from "./long_map.js";
import { Pyramid, SmallPyramid } from "./pyramid.js";
import { scaleEnd } from "./scale.js";
import { HeadStore } from "./store.js";
import { Thumbnails } from "./thumbnails.js";
import { wholeSight } from "./zoom.js";
import { HeadsBase } from "./base.js";

const HEADS_KEPT = 6;
const SETTLED = 250; // ms without a move, after which where one looks is told and lines are sought

export class LongHeads extends HeadsBase {
  /** @param {import("../shared/shell.js").Shell} shell whose `draw` calls this one's @param {import("./state.js").HeadState} state */
  constructor(shell, state) {
    super(shell, state);
    const { model, signal } = this;
    /** @type {Map<string, Pyramid>} */
    this.known = new Map();
    /** @type {Map<string, any>} */
    this.found = new Map();
    /** @type {Record<string, import("./zoom.js").Sight>} */
    this.sights = {};
    /** What is selected. @type {{of: import("./state.js").Spot, row?: Float32Array, nothing?: number, column?: Float32Array} | null} */
    this.here = null;
    this.store = new HeadStore(model, shell.requests);
    /** For the picker of texts: other maps are to come. */
    this.maps = { forget: () => this.#forget() };
    this.refreshSoon = onceForAll(atMostOnceAFrame(() => this.refresh()));
    this.#build();
    this.#listen();
    this.link = linked(model, signal, (spot) => this.#point(spot && spot.query !== null && spot.key !== null ? spot : null));
  }

  #build() {
    const { signal, state } = this;
    const pick = (spot) => state.pick({ query: spot.query, key: spot.nothing ? null : spot.key });
    this.thumbnails = new Thumbnails((layer, head) => state.set({ layer, head }), signal);
    this.linesPanel = new LinesPanel(state, { hover: () => {}, pick }, this.shell);
    this.linesPanel.choice.root.hidden = true;
    this.linesPanel.filter.hidden = true;
    this.mapPanel = new LongMap({
      hover: (cell) => this.#hovered(cell), pick: (cell) => this.#picked(cell), brush: (a, b) => this.#brushed(a, b),
      moved: (sight) => this.#moved(sight), rows: (rows) => state.option({ rows }),
    }, signal);
    this.place(this.thumbnails, this.linesPanel, this.mapPanel);
  }

  #listen() {
    const { model, signal, state } = this;
    const watch = (names, heard) => hearChanges(model, names, heard, signal);
    watch(["layer", "head"], () => this.refreshSoon());
    watch(["_options"], () => {
      const { window: told, ...others } = state.options;
      const now = JSON.stringify(others);
      const same = now === this.optionsWere;
      this.optionsWere = now;
      if (!same) this.refreshSoon();
      else if (JSON.stringify(told ?? null) !== JSON.stringify(this.toldLast)) this.shell.redraw(); // another has moved it
    });
    watch(["kind"], () => this.start());
    watch(["_thumbs"], () => {
      this.#forget();
      this.start();
    });
    watch(["selected", "a", "b"], () => this.#follow());
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      const freed = state.selected ? { selected: null } : state.block ? { a: null, b: null } : null;
      if (!freed) return;
      event.stopPropagation();
      state.set(freed);
    }, { signal });
  }

  // ---- what the reader does -------------------------------------------------------------------

  #point(spot) {
    this.mapPanel.pointed = spot;
    this.mapPanel.mark();
  }

  /** @param {import("./long_map.js").Cell | null} cell */
  #hovered(cell) {
    this.#point(cell);
    this.cell = cell;
    this.#number();
    if (!this.grouped) this.link.hover(cell && cell.level === 0 ? { query: cell.query, key: cell.key } : null);
  }

  async #picked(cell) {
    const { pyramid, state, grouped } = this;
    if (grouped) return this.#brushed([cell.query, cell.query + 1], [cell.key, cell.key + 1]);
    if (cell.level === 0) return state.pick({ query: cell.query, key: cell.key });
    /** @param {number[]} edge */
    const inside = ([query, key]) => query >= cell.query && query < cell.query + cell.queries && key >= cell.key && key < cell.key + cell.keys;
    const strong = pyramid.info.strongest.find(inside);
    try {
      const { query, key } = strong ? { query: strong[0], key: strong[1] } : await pyramid.peak(cell.level, cell.row, cell.column);
      if (pyramid === this.pyramid) state.pick({ query, key });
    } catch {
      const size = 2 ** cell.level;
      this.shell.say(`Which of these ${size} × ${size} weights is the largest is not known here: Python must be asked.`);
    }
  }

  #brushed(a, b) {
    const { state, grouped } = this;
    const [from, to] = grouped ? [this.#tokens("queries", a), this.#tokens("keys", b)] : [a, b];
    const why = whyNotBetween(from, to, state.kind);
    this.shell.say(why ? `${why}.` : "");
    if (!why) state.set({ a: null, b: null });
    if (!why) state.set({ a: from, b: to });
    this.mapPanel.mark();
  }

  /** The tokens of sentences (or paragraphs) from one to another. */
  #tokens(side, [first, end]) {
    const starts = this.grouped.starts[side];
    return [starts[first], starts[end] ?? this.state.kind[side]];
  }

  #moved(sight) {
    this.sights[this.rowsName] = sight;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.signal.aborted) return;
      if (!this.grouped) this.state.option({ window: (this.toldLast = this.#told(sight)) });
      drawLongLines(this);
    }, SETTLED);
  }

  #told(sight) {
    const whole = sight.tokens >= Math.max(this.state.kind.queries, this.state.kind.keys);
    return whole ? null : [sight.query, sight.key, sight.tokens].map((x) => Math.round(x * 100) / 100);
  }

  // ---- fetching -------------------------------------------------------------------------------

  #forget() {
    this.known.clear();
    this.found.clear();
  }

  async start() {
    const { kind } = this.state;
    const many = (count, unit) => `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;
    this.headsPanel.start();
    const tokens = kind.same ? many(kind.queries, "token") : `${kind.queries} queries × ${kind.keys} keys`;
    this.shell.subtitle.textContent = `${many(kind.layers, "layer")} × ${many(kind.heads, "head")} · ${tokens}`;
    this.sights = {};
    this.toldLast = null;
    this.showNotes([this.model.get("_note")]);
    const groups = Object.keys(kind.long?.groups ?? {});
    this.mapPanel.rows.root.replaceChildren(...["tokens", ...groups].map((value) => element("option", { value }, value)));
    this.mapPanel.rows.root.hidden = !groups.length;
    await this.refresh();
  }

  /** What is hidden and weighted, as Python is asked for it. */
  get letters() {
    const { options, kind, valueWeighted } = this.state;
    return `${options.hide_first ? "f" : ""}${options.hide_special && kind.special.length ? "s" : ""}${valueWeighted ? "v" : ""}`;
  }

  get rowsName() {
    const { options, kind } = this.state;
    return kind.long?.groups[options.rows] ? options.rows : "tokens";
  }

  async refresh() {
    const turn = ++this.turn;
    const { kindName, layer, head, kind } = this.state;
    const [letters, rowsName] = [this.letters, this.rowsName];
    this.stepper.show();
    this.thumbnails.choose(layer, head);
    const ended = this.waiting.begin(`Computing layer ${layer}, head ${head} …`);
    try {
      const pyramid = await this.#pyramid(`${kindName}/${layer}/${head}`, letters);
      const starts = kind.long.groups[rowsName];
      const bits = starts ? await pyramid.groups(rowsName) : null;
      if (turn !== this.turn || this.signal.aborted) return; // a later click won
      this.pyramid = pyramid;
      this.grouped = starts && { starts: { queries: starts[0], keys: starts[1] }, bits, of: pyramid };
    } catch (error) {
      if (!(error instanceof Superseded) && turn === this.turn) this.shell.say(`Layer ${layer}, head ${head} cannot be shown: ${error.message}`);
      return;
    } finally {
      ended();
      if (turn === this.turn) this.waiting.say("");
    }
    this.shell.say("");
    this.shown = { kind: kindName, layer, head };
    this.shell.draw();
    this.root.dataset.shown = `${kindName}/${layer}/${head}`;
  }

  async #pyramid(name, letters) {
    const { model, shell, known } = this;
    const title = `${name}|${letters}`;
    const there = known.get(title);
    if (there) return there;
    const first = model.get("_first");
    const { queries, keys, long: { tile } } = this.state.kind;
    let [info, buffers] = [first, ["_maps", "_norms"].map((trait) => bytesOf(model.get(trait)))];
    if (first.name !== name || letters) {
      const { message, buffers: sent } = await shell.requests.ask({ type: "block", name: letters ? `${title}|` : name });
      [info, buffers] = [message.info, sent];
    }
    const made = new Pyramid(name, letters, info, buffers, { queries, keys, tile }, shell.requests);
    while (known.size >= HEADS_KEPT) known.delete(known.keys().next().value);
    known.set(title, made);
    return made;
  }

  // ---- drawing --------------------------------------------------------------------------------

  draw() {
    if (!this.pyramid) return;
    const { shell, state, pyramid, grouped, mapPanel } = this;
    const { kind, valueWeighted } = state;
    this.sharedPlace.show();
    this.stepper.show();
    this.viewControls.show();
    const table = colourTable(state.options.colours ?? "default", shell.theme);
    const fixed = (this.fixed = hasFixedHeight(this.panels, this.fixed));
    const told = kind.long.small_rows;
    const sampled = told < kind.queries ? [`Small maps: told from ${told} of ${kind.queries.toLocaleString("en")} rows each.`] : [];
    const raw = this.letters ? ["They stay as they are: raw weights, nothing hidden."] : [];
    this.headsPanel.note.textContent = [...sampled, ...raw].join(" ");
    const layout = this.panels.className;
    this.headsPanel.draw(this.store.thumbnails(state.kindName), table, fixed, shell.inks, layout);
    const source = grouped ? this.#smallPyramid() : pyramid;
    const { most, median } = source.info;
    const end = Math.min(most, 2.5 * median) || most;
    this.end = scaleEnd(end, !valueWeighted);
    mapPanel.title.textContent = headTag(this.shown.layer, this.shown.head);
    mapPanel.rows.set(this.rowsName);
    this.showFlags();
    const name = (side) => (grouped ? grouped.starts[side].map((_, i) => this.#groupName(side, i, 24)) : kind[side === "queries" ? "query_tokens" : "key_tokens"]);
    const measure = grouped ? `share of a ${this.unit}’s weight` : "attention weight";
    mapPanel.draw({
      pyramid: source, size: source.size, sight: this.#sight(source), queries: name("queries"), keys: name("keys"),
      finest: this.model.get("_saved") && !grouped ? pyramid.info.base : 0, causal: kind.causal,
      offset: grouped ? grouped.starts.keys.length - grouped.starts.queries.length : kind.all_keys - kind.all_queries,
      end: this.end, table, inks: shell.inks, fixed, measure, valueWeighted, clipped: most > this.end * 1.0001,
      notes: kind.causal ? ["Grey: later tokens, which a query cannot look at."] : [],
    });
    this.linesPanel.measure(fixed, layout);
    this.#follow();
  }

  get unit() {
    return this.rowsName.replace(/s$/, "");
  }

  #smallPyramid() {
    const { grouped } = this;
    const { starts: { queries, keys }, bits, of } = grouped;
    grouped.pyramid ??= new SmallPyramid(bits, { queries: queries.length, keys: keys.length, tile: of.size.tile }, of.info.scale);
    return grouped.pyramid;
  }

  /** Where the reader looked last, or what Python or the page says. */
  #sight({ size }) {
    const told = this.state.options.window ?? null;
    if (!this.grouped && JSON.stringify(told) !== JSON.stringify(this.toldLast ?? null)) {
      this.toldLast = told;
      this.sights.tokens = told ? { query: told[0], key: told[1], tokens: told[2] } : wholeSight(size);
    }
    return (this.sights[this.rowsName] ??= wholeSight(size));
  }

  /** The first words of a sentence, with its number. */
  #groupName(side, i, room) {
    const { starts } = this.grouped;
    const tokens = this.state.kind[side === "queries" ? "query_tokens" : "key_tokens"];
    const words = tokens.slice(starts[side][i], Math.min(starts[side][i] + 12, starts[side][i + 1] ?? Infinity));
    const spaced = words.some((word) => word.includes("·"));
    const text = words.join(spaced ? "" : " ").replaceAll("·", " ").trim();
    return `${i} ${text.length > room ? `${text.slice(0, room - 1)}…` : text}`;
  }

  /** What follows the selection: marks, lines, sentence, numbers. */
  async #follow() {
    const { pyramid, state, mapPanel } = this;
    if (!pyramid || this.signal.aborted) return;
    const { selected, block } = state;
    mapPanel.selected = this.grouped ? null : selected;
    mapPanel.block = this.grouped ? null : block;
    this.showSelected(block ? `${block.a},${block.b}` : "");
    if (selected && !this.grouped) mapPanel.reveal(selected);
    mapPanel.mark();
    const turn = (this.following = (this.following ?? 0) + 1);
    try {
      this.here = null;
      if (selected && selected.query !== null) this.here = { of: selected, ...(await pyramid.row(selected.query)) };
      else if (selected) this.here = { of: selected, column: await pyramid.column(selected.key) };
      this.between = block && !selected ? { ...block, ...(await this.#share(pyramid, block)) } : null;
    } catch (error) {
      if (turn !== this.following) return;
      this.shell.say(selected ? `What is selected cannot be told: ${error.message}` : `What goes from A to B cannot be told: ${error.message}`);
    }
    if (turn !== this.following || this.signal.aborted) return;
    this.#speak();
    drawLongLines(this);
  }

  async #share(pyramid, { a, b }) {
    const { hidden } = this.state;
    const places = hidden ? Array.from(hidden.keys()).filter((key) => hidden[key]) : [];
    const name = `between|${this.model.get("text")}|${pyramid.name}|${[...a, ...b]}|${places}`;
    if (!this.found.has(name)) {
      const { message } = await this.shell.requests.ask({ type: "block", name }, false);
      this.found.set(name, message.info.values);
    }
    const [share, even] = this.found.get(name);
    return { share, even };
  }

  get seen() {
    const { state, shown } = this;
    const { kind } = state;
    return {
      kind: shown.kind, layer: shown.layer, head: shown.head, several: state.several, queries: kind.query_tokens, keys: kind.key_tokens,
      causal: kind.causal, same: kind.same, valueWeighted: state.valueWeighted,
    };
  }

  #speak() {
    const { pyramid, state, here, between, shown } = this;
    const { kind, valueWeighted } = state;
    const nothing = here?.row && here.nothing > 0 && !valueWeighted ? { [here.of.query]: here.nothing } : null;
    const empty = new Float32Array(0);
    this.readout.show({
      seen: { ...this.seen, nothing }, focus: here ? here.of : null, locked: Boolean(here), rowOf: () => here?.row ?? empty,
      columnOf: () => here?.column ?? empty, changed: Boolean(this.letters), error: 1 / 60000,
      overall: between ? betweenSentence(this.seen, between.a, between.b, between.share, between.even) : pyramid.info.sentence,
    });
    this.#number();
    this.mapPanel.canvas.setAttribute("aria-label",
      `Map of layer ${shown.layer}, head ${shown.head}: ${kind.queries} queries by ${kind.keys} keys. ${this.readout.text} The wheel, + and − zoom, arrows move a cell, 0 shows all, Shift with arrows or a drag marks a part, Enter locks, Escape frees.`);
  }

  /** The number under the pointer. */
  #number() {
    const { cell, grouped, pyramid, state } = this;
    if (!cell || !pyramid) {
      if (this.told) this.#speakNumber();
      return;
    }
    const source = grouped ? this.#smallPyramid() : pyramid;
    const { tile } = source.size;
    const found = source.tile(cell.level, Math.floor(cell.row / tile), Math.floor(cell.column / tile));
    if (!found) return;
    const at = (cell.row % tile) * found.columns + (cell.column % tile);
    const [most, share] = [found.most[at], found.share[at]].map((bits) => weightOf(bits) * source.info.scale);
    const number = element("b", { "data-part": "number" }, most.toFixed(4));
    const range = (from, count) => (count > 1 ? `${from}–${from + count - 1}` : String(from));
    const { query_tokens: queries, key_tokens: keys } = state.kind;
    let words;
    if (grouped) {
      const count = (side) => (cell.level ? `${this.unit}s ${range(cell[side === "queries" ? "query" : "key"], cell[side])}` : this.#groupName(side, side === "queries" ? cell.query : cell.key, 40));
      words = [`${quoted(count("queries"))} → ${quoted(count("keys"))}: `, number, cell.level ? " at most" : " of its weight"];
    } else if (cell.level) {
      words = [`${range(cell.query, cell.queries)} → ${range(cell.key, cell.keys)}: at most `, number, `; a query gives them ${short(share)} on average`];
    } else words = [`${cell.query} ${queries[cell.query]} → ${cell.key} ${keys[cell.key]}: `, number];
    this.told = true;
    this.readout.numbers.replaceChildren(element("span", {}, ...words));
  }

  #speakNumber() {
    this.told = false;
    this.#speak();
  }
}
