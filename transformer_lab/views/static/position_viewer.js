// The position schemes: the encoding, the curve by distance, and what moving or shuffling changes.

import { bytesOf } from "./codecs.js";
import { colourTable, headColour } from "./colours.js";
import { button, checkbox, radioGroup } from "./controls.js";
import { element, tokenElement } from "./dom.js";
import { linked } from "./linked.js";
import { NumberMap } from "./number_map.js";
import { nearestIndex, Plot } from "./plot.js";
import { byDistance, changeOf, encodingOf, SCHEME_NAMES, schemeFacts, SOURCES } from "./position_scheme.js";
import { changeText, positionSentence } from "./position_words.js";
import { sheet } from "./sheet.js";
import { floatsOf, linearLegend, Shell } from "./shell.js";
import { slider } from "./slider.js";
import { short } from "./words.js";

const D_MODELS = [4, 8, 16, 32, 64, 128, 256, 512];
const HEADS = [1, 2, 3, 4, 6, 8, 12, 16];
const BASES = [10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 500000, 1000000];
const LENGTHS = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const STATE = ["scheme", "d_model", "n_heads", "base", "length", "shift", "causal", "test", "shuffle", "layer", "head", "_given", "_table", "_maps", "_words"];

/** The stops of a slider, with a value of one's own among them. */
const withOwn = (stops, value) => (stops.includes(value) ? stops : [...stops, value].sort((a, b) => a - b));
const withSign = (value) => (value > 0 ? `+${value}` : value < 0 ? `−${-value}` : "0");
const distanceText = (d) => (d === 0 ? "the token itself" : `${Math.abs(d)} ${d < 0 ? "before" : "after"}`);
/** A number with four decimals, and a minus sign that is one. */
export const four = (value) => value.toFixed(4).replace(/^-(0\.0+)$/, "$1").replace("-", "−");

export class PositionViewer {
  constructor(model, root, signal) {
    Object.assign(this, { model, root, signal });
    this.cell = null; // of the encoding: {row, column}
    this.distance = null;
    this.hover = null; // a pair of words
    this.shell = new Shell(model, root, signal, {
      draw: () => this.draw(),
      png: () => this.png(),
      code: () => this.code(),
    });
    this.link = linked(model, signal, (spot) => {
      this.hover = spot;
      this.shell.redraw();
    });
    this.#build();
    this.shell.watch([...STATE, "selected"], () => {
      this.cell = this.distance = null;
    });
  }

  /** @returns {import("./position_scheme.js").PositionState} */
  get state() {
    const get = (name) => this.model.get(name);
    const bytes = bytesOf(get("_maps"));
    if (this.mapBytes !== get("_maps")) {
      this.mapBytes = get("_maps");
      this.maps = bytes.length ? floatsOf(this.model, "_maps") : new Float32Array(0);
    }
    return {
      scheme: get("scheme"), d_model: get("d_model"), n_heads: get("n_heads"), base: get("base"), length: get("length"),
      shift: get("shift"), causal: get("causal"), test: get("test"), shuffle: get("shuffle"), layer: get("layer"), head: get("head"),
      given: get("_given") ?? {}, words: get("_words"), table: floatsOf(this.model, "_table"), maps: this.maps,
    };
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { signal } = this;
    const set = (changes) => this.shell.set(changes);
    this.schemes = radioGroup({
      label: "Positions", part: "scheme", chosen: this.model.get("scheme"),
      choices: Object.entries(SCHEME_NAMES).map(([value, text]) => ({ value, text })),
      choose: (scheme) => set({ scheme }),
    });
    const make = (label, part, values, text, title) =>
      slider({ label, part, values, value: this.model.get(part), change: (value) => set({ [part]: value }), text, title });
    const grouped = (value) => value.toLocaleString("en");
    this.sliders = {
      d_model: make("d_model", "d_model", D_MODELS, String, "Numbers in the residual stream"),
      n_heads: make("heads", "n_heads", HEADS, String, "Heads that share d_model"),
      base: make("base", "base", BASES, grouped, "The slowest wave turns once in about 2π · base tokens"),
      length: make("length", "length", LENGTHS, (n) => `${n} tokens`, "Positions that are shown"),
    };
    this.shift = make("move by", "shift", [0], (n) => `${n} tokens`, "Where the sentence begins");
    this.note = element("p", { class: "tl-hint", "data-part": "note" });
    this.encoding = this.#canvas("encoding");
    this.encodingMap = new NumberMap(this.encoding, { hover: (at) => this.#cellAt(at), pick: (at) => this.#cellAt(at) }, signal);
    this.curves = this.#canvas("curves");
    this.curvePlot = new Plot(this.curves, { hover: (x) => this.#rowAt(x) }, signal);
    this.distances = this.#canvas("distances");
    this.distancePlot = new Plot(this.distances, { hover: (x) => this.#distanceAt(x), pick: (x) => this.#distanceAt(x) }, signal);
    const line = (part) => element("p", { class: "tl-number-line", role: "status", "data-part": part });
    this.lines = { encoding: line("encoding-line"), distance: line("distance-line"), change: line("change-line"), pair: line("pair-line") };
    this.legends = { encoding: this.#legend("encoding-legend"), weight: this.#legend("weight-legend"), difference: this.#legend("difference-legend") };
    this.titles = Object.fromEntries(["encoding", "curves", "distances", "change"].map((name) => [name, element("b", {})]));
    this.hints = Object.fromEntries(["encoding", "curves", "distances"].map((name) => [name, element("span", { class: "tl-quiet" })]));
    this.cite = element("p", { class: "tl-cite", "data-part": "source" });
    this.tests = radioGroup({
      label: "Test", quiet: true, part: "test", chosen: this.model.get("test"),
      choices: [{ value: "move", text: "move the sentence" }, { value: "shuffle", text: "shuffle the words" }],
      choose: (test) => set({ test }),
    });
    this.again = button("Shuffle again", "again", () => set({ shuffle: this.model.get("shuffle") + 1 }));
    this.causal = checkbox("causal mask", "causal", (causal) => set({ causal }), "Whether each word looks back only");
    this.headBar = element("div", { class: "tl-row" });
    this.pictures = ["before", "after", "difference"].map((part) => {
      const canvas = this.#canvas(part);
      const map = new NumberMap(canvas, { hover: (at) => this.#pairAt(at), pick: (at) => this.#pick(at) }, signal);
      return { part, canvas, map, caption: element("figcaption", {}) };
    });
    this.sentence = element("p", { class: "tl-sentence", role: "status", "aria-live": "polite", "data-part": "sentence" });
    this.table = element("table", { class: "tl-table", "data-part": "table" });
    this.#place();
    this.encoding.addEventListener("keydown", (event) => this.#moveCell(event), { signal });
    this.distances.addEventListener("keydown", (event) => this.#moveDistance(event), { signal });
    for (const { canvas } of this.pictures) canvas.addEventListener("keydown", (event) => this.#movePair(event), { signal });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !(this.model.get("selected") || this.cell || this.distance !== null)) return;
      event.stopPropagation();
      this.cell = this.distance = null;
      set({ selected: null });
      this.shell.redraw();
    }, { signal });
  }

  #canvas(part) {
    return element("canvas", { role: "img", tabindex: 0, class: "tl-map", "data-part": part });
  }

  #legend(part) {
    return element("div", { class: "tl-legend", "data-part": part });
  }

  #place() {
    const { titles, hints, lines, legends } = this;
    const heading = (title, hint) => element("p", { class: "tl-heading" }, title, " ", ...(hint ? [hint] : []));
    const panel = (title, ...content) => element("section", { class: "tl-panel", "aria-label": title }, ...content);
    this.sliderBar = element("div", { class: "tl-sliders" }, ...Object.values(this.sliders).map(({ root }) => root));
    this.curveBox = element("div", { class: "tl-panel" }, heading(titles.curves, hints.curves), this.curves);
    this.details = element("details", { class: "tl-details" }, element("summary", {}, "By distance as a table"), this.table);
    this.said = element("div", { class: "tl-said" }, lines.change, lines.pair, legends.weight, legends.difference);
    this.pairBox = element("div", { class: "tl-pairs" }, ...this.pictures.map(({ canvas, caption }) => element("figure", {}, caption, canvas)), this.said);
    this.root.append(
      this.shell.header,
      element("div", { class: "tl-controls" }, this.schemes.root),
      this.sliderBar,
      this.note,
      this.shell.message,
      element(
        "div",
        { class: "tl-panels tl-positions" },
        panel("The encoding", heading(titles.encoding, hints.encoding), this.encoding, lines.encoding, legends.encoding, this.cite),
        panel("By position and by distance", this.curveBox, heading(titles.distances, hints.distances), this.distances, lines.distance),
        panel(
          "What changes",
          heading(titles.change),
          element("div", { class: "tl-row" }, this.tests.root, this.shift.root, this.again),
          element("div", { class: "tl-row" }, this.causal.root, this.headBar),
          this.pairBox,
        ),
      ),
      element("footer", { class: "tl-foot" }, this.sentence, this.details),
    );
  }

  // ---- what the reader does -----------------------------------------------------------------

  #cellAt(at) {
    if (JSON.stringify(at) === JSON.stringify(this.cell)) return;
    this.cell = at;
    this.shell.redraw();
  }

  #rowAt(x) {
    if (x === null) return this.#cellAt(null);
    this.#cellAt({ row: Math.round(x), column: this.cell?.column ?? null });
  }

  #distanceAt(x) {
    const next = x === null ? null : Math.round(x);
    if (next === this.distance) return;
    this.distance = next;
    this.shell.redraw();
  }

  #pairAt(at) {
    const spot = at && { query: at.row, key: at.column };
    if (JSON.stringify(spot) === JSON.stringify(this.hover)) return;
    this.hover = spot;
    this.link.hover(spot);
    this.shell.redraw();
  }

  #pick(at) {
    const now = this.model.get("selected");
    const same = now && now[0] === at.row && now[1] === at.column;
    this.shell.set({ selected: same ? null : [at.row, at.column] });
  }

  #step(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -1e6], End: [0, 1e6] }[event.key];
    if (!move) return null;
    event.preventDefault();
    event.stopPropagation();
    return move;
  }

  #moveCell(event) {
    const move = this.#step(event);
    const scene = this.encodingMap.scene;
    if (!move || !scene) return;
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    const now = this.cell ?? { row: -move[0], column: -move[1] };
    this.#cellAt({ row: within((now.row ?? 0) + move[0], scene.rows), column: within((now.column ?? 0) + move[1], scene.columns) });
  }

  #moveDistance(event) {
    const move = this.#step(event);
    if (!move) return;
    const { from, to } = this.distancePlot.scale;
    this.#distanceAt(Math.max(from, Math.min(to, (this.distance ?? -move[1]) + move[1])));
  }

  #movePair(event) {
    const now = this.model.get("selected");
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.stopPropagation();
      this.shell.set({ selected: now ? null : [this.change.n - 1, 0] });
      return;
    }
    const move = this.#step(event);
    if (!move) return;
    this.hover = null;
    const within = (value) => Math.max(0, Math.min(this.change.n - 1, value));
    const [query, key] = now ? [(now[0] ?? 0) + move[0], (now[1] ?? 0) + move[1]] : [this.change.n - 1, 0];
    this.shell.set({ selected: [within(query), within(key)] });
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    const state = (this.now = this.state);
    this.facts = schemeFacts(state);
    const key = JSON.stringify([...STATE.slice(0, 11).map((name) => state[name])]);
    if (key !== this.computed || this.given !== state.given) {
      this.computed = key;
      this.given = state.given;
      this.map = encodingOf(state);
      this.curve = byDistance(state);
      this.change = changeOf(state);
      const { row, column } = this.cell ?? {};
      if (!this.map || row >= this.map.rows || column >= this.map.columns) this.cell = null; // fewer now
    }
    this.diverging = colourTable("diverging", this.shell.theme);
    this.sequential = colourTable("default", this.shell.theme);
    this.#controls();
    this.#drawEncoding();
    this.#drawCurves();
    this.#drawDistances();
    this.#drawChange();
    this.#speak();
  }

  #controls() {
    const { state, facts } = { state: this.now, facts: this.facts };
    const { scheme, own, measured } = facts;
    this.schemes.set(scheme);
    const uses = { sinusoidal: ["d_model", "base"], learned: ["d_model"], rotary: ["d_model", "n_heads", "base"], alibi: ["n_heads"], relative: ["n_heads"], none: [] }[scheme];
    const stops = { d_model: D_MODELS, n_heads: HEADS, base: BASES, length: LENGTHS };
    for (const [name, { root, set }] of Object.entries(this.sliders)) {
      root.hidden = name !== "length" && !uses.includes(name);
      let among = stops[name];
      if (name === "n_heads" && scheme === "rotary") among = HEADS.filter((h) => state.d_model % (2 * h) === 0);
      if (name === "length" && own && state.given.n_ctx) among = LENGTHS.filter((n) => n <= state.given.n_ctx);
      const value = own && name !== "length" ? state.given[name] ?? state[name] : state[name];
      set(value, withOwn(among, value), own && name !== "length");
    }
    const n = this.change.n;
    const most = Math.max(0, state.length - n);
    const moves = measured === "own" ? state.given.shifts : Array.from({ length: most + 1 }, (_, i) => i);
    this.shift.set(state.shift, moves);
    this.shift.root.hidden = state.test !== "move";
    this.again.hidden = state.test !== "shuffle";
    this.tests.set(state.test);
    this.causal.set(facts.causal);
    this.causal.root.hidden = Boolean(own || measured);
    this.#headChips(state, facts);
    const { name } = state.given;
    const notes = [];
    if (name && own) notes.push(`The sizes are those of ${name}.`);
    else if (name) notes.push(`${name} has ${SCHEME_NAMES[state.given.scheme]} positions; these are ${scheme === "none" && measured ? "its own weights with no positions" : "computed from the formula"}.`);
    if (scheme === "rotary") notes.push(`Each of ${facts.heads} heads has d_head ${facts.width}.`);
    if (!facts.trained && (scheme === "learned" || scheme === "relative")) notes.push("Random numbers stand for what training would find.");
    this.note.textContent = notes.join(" ");
    this.shell.subtitle.textContent = SCHEME_NAMES[scheme];
    this.cite.textContent = SOURCES[scheme];
  }

  /** Chips for the head that is shown, where heads differ. */
  #headChips(state, facts) {
    const heads = facts.measured || facts.scheme === "alibi" || facts.scheme === "relative" ? facts.heads : 0;
    const layers = facts.measured ? state.given.layers : 0;
    const shape = JSON.stringify([heads, layers, this.shell.theme]);
    if (shape !== this.chipShape) {
      this.chipShape = shape;
      const chips = (count, label, name) => radioGroup({
        label, part: name, chosen: 0,
        choices: Array.from({ length: count }, (_, i) => ({ value: i, text: String(i), name: `${label} ${i}`, colour: name === "head" ? headColour(i, this.shell.theme) : undefined })),
        choose: (value) => this.shell.set({ [name]: value }),
      });
      this.layerChips = layers > 1 ? chips(layers, "Layer", "layer") : null;
      this.headChips = heads > 1 ? chips(heads, "Head", "head") : null;
      this.headBar.replaceChildren(...[this.layerChips, this.headChips].filter(Boolean).map(({ root }) => root));
    }
    this.layerChips?.set(Math.min(state.layer, layers - 1));
    this.headChips?.set(facts.head);
  }

  #drawEncoding() {
    const { map, facts, now: state } = this;
    const { scheme } = facts;
    const bias = map?.what === "bias";
    this.titles.encoding.textContent = {
      sinusoidal: "What is added to each token", learned: "What is added to each token", rotary: "By how much each pair is turned",
      alibi: `What head ${facts.head} adds to a score`, relative: `What head ${facts.head} adds to a score`, none: "Nothing is added",
    }[scheme];
    this.hints.encoding.textContent = !map ? "" : bias ? "query ↓, key →" : `position ↓, ${scheme === "rotary" ? "pair" : "dimension"} →`;
    this.encoding.hidden = this.legends.encoding.hidden = !map;
    if (!map) {
      this.lines.encoding.textContent = "A token’s vector is the same wherever it stands.";
      return;
    }
    const n = this.change.n;
    const brackets = bias ? [] : [
      { from: 0, to: n, colour: this.shell.inks.quiet },
      ...(state.test === "move" && this.change.shift ? [{ from: this.change.shift, to: this.change.shift + n, colour: this.shell.inks.accent }] : []),
    ].filter(({ to }) => to <= state.length);
    this.encodingMap.show({
      ...map, low: -map.largest, high: map.largest, table: this.diverging, colours: this.shell.inks, square: bias, brackets,
    }, Math.max(200, this.encoding.parentElement.clientWidth), bias ? 340 : 320);
    this.encodingMap.mark(this.cell);
    this.legends.encoding.replaceChildren(...linearLegend(this.diverging, -map.largest, map.largest,
      scheme === "rotary" ? "cosine of the angle" : bias ? "added to the score" : map.clipped ? "value; larger ones look alike" : "value", (value) => four(Number(value.toPrecision(3))).replace(/0{1,3}$/, "").replace(/\.$/, "")));
    this.lines.encoding.replaceChildren(...this.#cellWords(map, facts));
    this.encoding.setAttribute("aria-label", `${this.titles.encoding.textContent}: ${map.rows} by ${map.columns}. ${this.lines.encoding.textContent} Arrow keys move, Escape frees.`);
  }

  #cellWords(map, { scheme }) {
    const { cell } = this;
    if (!cell || cell.row === null || cell.column === null) {
      const marks = map.what === "bias" ? "" : " Bars at the left: the sentence, and the sentence moved.";
      return [element("span", { class: "tl-quiet" }, `Point at a cell for its number.${marks}`)];
    }
    const value = map.value(cell.row, cell.column);
    const number = (text) => element("b", { "data-part": "encoding-number" }, text);
    if (map.what === "bias") {
      const distance = cell.column - cell.row;
      if (Number.isNaN(value)) return ["A key to come: out of reach."];
      return [`Query ${cell.row}, key ${cell.column} (${distanceText(distance)}): `, number(four(value))];
    }
    if (scheme === "rotary") {
      const angle = map.angle(cell.row, cell.column);
      const degrees = ((angle * 180) / Math.PI) % 360;
      return [`Position ${cell.row}, pair ${cell.column}: turned by `, number(four(angle)), ` rad (${degrees.toFixed(1)}° of a turn), cosine ${four(value)}`];
    }
    return [`Position ${cell.row}, dimension ${cell.column}: `, number(four(value))];
  }

  #drawCurves() {
    const { map, facts, now: state } = this;
    const shown = map && map.what !== "bias";
    this.curveBox.hidden = !shown;
    if (!shown) return;
    const unit = facts.scheme === "rotary" ? "pair" : "dimension";
    const count = map.columns;
    // From the fastest to slow ones; of a table that was learned, some.
    const some = [0, 1 / 8, 1 / 4, 1 / 2].map((share) => Math.min(count - 1, 2 * Math.round((share * count) / 2)));
    const chosen = this.cell?.column ?? null;
    const columns = [...new Set([...some, ...(chosen === null ? [] : [chosen])])].sort((a, b) => a - b);
    const x = Array.from({ length: state.length }, (_, p) => p);
    this.titles.curves.textContent = facts.scheme === "rotary" ? "Cosine of a pair’s angle, by position" : "A few dimensions, by position";
    this.hints.curves.textContent = "";
    const width = Math.max(200, this.curveBox.clientWidth);
    this.curvePlot.show({
      series: columns.map((column, i) => ({
        name: `${unit} ${column}`, x, y: x.map((p) => map.value(p, column)),
        colour: column === chosen ? this.shell.inks.accent : headColour(i, this.shell.theme),
        thick: column === chosen ? 2.5 : undefined,
      })),
      xTitle: "position", yTitle: facts.scheme === "rotary" ? "cosine" : "value", colours: this.shell.inks,
      yRange: facts.scheme === "learned" ? undefined : [-1.08, 1.08], at: this.cell?.row ?? null,
    }, width, 150);
    this.curves.setAttribute("aria-label", `Curves over ${state.length} positions of ${columns.map((c) => `${unit} ${c}`).join(", ")}.`);
  }

  #drawDistances() {
    const { curve, facts, now: state } = this;
    const single = curve.series.length === 1;
    this.titles.distances.textContent = {
      sinusoidal: "Two positions’ dot product, by distance", learned: "Two positions’ dot product, by distance",
      rotary: "What is left of q·k, by distance", alibi: "What is added, by distance", relative: "What is added, by distance", none: "By distance: no difference",
    }[facts.scheme];
    this.hints.distances.textContent = facts.scheme === "learned" ? "mean; band: least to most" : facts.scheme === "rotary" ? "if q = k" : "";
    const at = this.distance === null ? null : Math.max(curve.x[0], Math.min(curve.x[curve.x.length - 1], this.distance));
    this.distancePlot.show({
      series: curve.series.map(({ name, head, y, band }) => ({
        name: single ? "" : curve.series.length > 8 ? String(head) : name, x: curve.x, y, band,
        colour: headColour(head, this.shell.theme), thick: !single && head === facts.head ? 3 : single ? 2 : undefined,
      })),
      xTitle: "key − query, tokens", yTitle: curve.what, colours: this.shell.inks, at,
      yRange: facts.scheme === "rotary" ? [-0.6, 1.08] : facts.scheme === "none" ? [-1, 1] : undefined,
    }, Math.max(200, this.distances.parentElement.clientWidth), this.curveBox.hidden ? 300 : 180);
    this.lines.distance.replaceChildren(...this.#distanceWords(curve, facts, at));
    this.distances.setAttribute("aria-label", `${this.titles.distances.textContent}. ${this.lines.distance.textContent} Arrow keys move, Escape frees.`);
    this.#fillTable(curve, facts, state);
  }

  #distanceWords(curve, facts, at) {
    if (at === null) {
      const sampled = curve.sampled ? " Means are over up to 64 positions." : "";
      return [element("span", { class: "tl-quiet" }, `Point at the curve for its numbers.${sampled}`)];
    }
    const i = nearestIndex(curve.x, at);
    const series = curve.series[Math.min(facts.head, curve.series.length - 1)];
    const value = series.y[i];
    const band = series.band ? ` (${four(series.band.low[i])} … ${four(series.band.high[i])})` : "";
    const who = curve.series.length > 1 ? `Head ${facts.head}, ` : "";
    return [`${who}${distanceText(curve.x[i])} (${withSign(curve.x[i])}): `, element("b", { "data-part": "distance-number" }, four(value)), band];
  }

  #fillTable(curve, facts) {
    if (!this.details.open && this.table.rows.length && this.tabled === this.computed) return;
    this.tabled = this.computed;
    const wanted = curve.x.map((d, i) => [d, i]).filter(([d]) => d <= 0 && (d >= -8 || [-16, -32, -64, -128, -256].includes(d))).reverse();
    const heads = curve.series.length > 1 ? curve.series.map(({ head }) => `head ${head}`) : [curve.what];
    this.table.replaceChildren(
      element("caption", {}, `${SCHEME_NAMES[facts.scheme]}: ${curve.what}, by tokens before the query`),
      element("thead", {}, element("tr", {}, ...["before", ...heads].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...wanted.map(([d, i]) => element("tr", {}, element("th", { scope: "row" }, String(-d)), ...curve.series.map(({ y }) => element("td", {}, four(y[i])))))),
    );
  }

  #drawChange() {
    const { change, facts, now: state } = this;
    const { inks } = this.shell;
    const names = change.names;
    const moved = state.test === "move";
    this.titles.change.textContent = facts.measured
      ? `What changes in layer ${Math.min(state.layer, state.given.layers - 1)}, head ${facts.head}`
      : "What changes in one head, with random q and k";
    const shuffled = change.order;
    const captions = {
      before: moved ? `positions 0–${change.n - 1}` : "as written",
      after: moved ? `positions ${change.shift}–${change.shift + change.n - 1}` : "shuffled, words put back",
      difference: "after − before",
    };
    const room = Math.max(200, this.pairBox.clientWidth);
    const columns = room >= 900 ? 4 : room >= 560 ? 3 : room >= 340 ? 2 : 1;
    const each = Math.floor((room - 16 * (columns - 1)) / columns);
    for (const child of this.pairBox.children) child.style.width = `${each}px`;
    this.said.classList.toggle("tl-under", columns === 3);
    if (columns === 3) this.said.style.width = "100%";
    const largest = Math.max(0.05, ...change.before, ...change.after);
    const end = largest > 0.5 ? 1 : Math.ceil(largest * 10) / 10;
    const extreme = change.difference.reduce((most, d) => Math.max(most, Math.abs(d)), 0);
    const scale = extreme > 0.5 ? 1 : extreme > 0.1 ? Math.ceil(extreme * 10) / 10 : 0.1;
    const selected = this.model.get("selected");
    const chosen = selected && { row: selected[0], column: selected[1] };
    const hover = this.hover && { row: this.hover.query, column: this.hover.key };
    for (const { part, canvas, map, caption } of this.pictures) {
      const values = change[part];
      const signs = part === "difference";
      caption.textContent = captions[part];
      map.show({
        rows: change.n, columns: change.n, square: true, rowNames: names, columnNames: names, colours: inks,
        value: (q, k) => (change.causal && k > q ? NaN : values[q * change.n + k]),
        low: signs ? -scale : 0, high: signs ? scale : end, table: signs ? this.diverging : this.sequential,
        write: (value) => (Math.abs(value) < 0.005 ? "" : (value < 0 ? "−" : "") + short(Math.abs(value))),
      }, each, 300);
      map.mark(hover, chosen);
      canvas.setAttribute("aria-label", `Weights, ${caption.textContent}. ${this.#pairText()} Arrow keys move, Enter locks, Escape frees.`);
    }
    const order = shuffled ? [" Order: ", ...shuffled.flatMap((i, at) => [at ? " " : "", tokenElement(names[i])])] : [];
    const more = change.everywhere === null ? [] : [`; of any head: ${changeText(change.everywhere)}`, ...(typeof change.output === "number" ? [`; of a logit: ${change.output < 5e-5 ? changeText(change.output) : change.output.toFixed(2)}`] : [])];
    this.lines.change.replaceChildren("Largest change of a weight: ", element("b", { "data-part": "largest" }, changeText(change.largest)), ...more, ".", ...order);
    this.lines.pair.replaceChildren(...this.#pairWords());
    this.legends.weight.replaceChildren(...linearLegend(this.sequential, 0, end, "attention weight", (v) => short(v)));
    this.legends.difference.replaceChildren(...linearLegend(this.diverging, -scale, scale, "difference", (v) => (v < 0 ? `−${short(-v)}` : short(v))));
  }

  #pair() {
    const selected = this.model.get("selected");
    const spot = this.hover ?? (selected && { query: selected[0], key: selected[1] });
    if (!spot || spot.query === null || spot.key === null || spot.query >= this.change.n || spot.key >= this.change.n) return null;
    return spot;
  }

  #pairWords() {
    const spot = this.#pair();
    if (!spot) return [element("span", { class: "tl-quiet" }, "Point at a cell for its numbers; click to lock it.")];
    const { change } = this;
    const at = spot.query * change.n + spot.key;
    const number = (part, value) => element("b", { "data-part": part }, four(value));
    return [
      tokenElement(change.names[spot.query]), " → ", tokenElement(change.names[spot.key]), ": ",
      number("number-before", change.before[at]), " before, ", number("number-after", change.after[at]), " after",
    ];
  }

  #pairText() {
    const spot = this.#pair();
    if (!spot) return "";
    const { change } = this;
    const at = spot.query * change.n + spot.key;
    return `${change.names[spot.query]} to ${change.names[spot.key]}: ${four(change.before[at])} before, ${four(change.after[at])} after.`;
  }

  #speak() {
    const { facts, change, now: state } = this;
    this.text = positionSentence({
      scheme: facts.scheme, own: facts.own, name: state.given.words ? state.given.name : "", width: facts.width, head: facts.head,
      slope: facts.slopes[facts.head], causal: facts.causal, test: state.test, shift: change.shift, largest: change.largest,
    });
    if (this.sentence.textContent !== this.text) this.sentence.textContent = this.text;
    // For scripts and tests: what is shown now.
    this.root.dataset.shown = this.computed;
    this.root.dataset.largest = String(change.largest);
    this.root.dataset.selected = String(this.model.get("selected") ?? "");
  }

  code() {
    const s = this.state;
    const model = s.given.name ? "model" : `"${s.scheme}"`;
    const size = s.given.name ? "" : `, d_model=${s.d_model}, n_heads=${s.n_heads}, base=${s.base}`;
    return `tl.views.PositionView(${model}${size}, length=${s.length}, shift=${s.shift}, test="${s.test}")`;
  }

  png() {
    const part = (canvas, title) => ({ canvas, title });
    return sheet({
      title: `${this.model.get("_title")} · ${SCHEME_NAMES[this.facts.scheme]}`,
      sentence: this.text,
      parts: [
        part(this.encoding, this.titles.encoding.textContent), part(this.curves, this.titles.curves.textContent),
        part(this.distances, this.titles.distances.textContent), ...this.pictures.map(({ canvas, caption }) => part(canvas, caption.textContent)),
      ],
      inks: this.shell.inks,
    });
  }
}
