// Every head of a trace: small in a grid, the chosen one as lines and as a map, one selection.

import { largest, shownRow } from "./attention.js";
import { colourTable, headColour, onThemeChange, themeOf } from "./colours.js";
import { button, menu, radioGroup } from "./controls.js";
import { atMostOnceAFrame, copyText, download, element, onceAFrame, tokenElement } from "./dom.js";
import { headControls, lineFilter } from "./head_controls.js";
import { HeadStore } from "./head_store.js";
import { HeatMap } from "./heat_map.js";
import { legend } from "./legend.js";
import { linked } from "./linked.js";
import { lineScene, MANY_QUERIES } from "./line_scene.js";
import { columnLines, isLong, LineView } from "./lines.js";
import { picture } from "./picture.js";
import { Readout } from "./readout.js";
import { Superseded } from "./requests.js";
import { Thumbnails } from "./thumbnails.js";

const BUSY_AFTER = 200; // ms
const NO_ANSWER_AFTER = 4000;

/** @typedef {import("./line_scene.js").Spot} Spot */

/** @param {Spot | null} a @param {Spot | null} b */
const same = (a, b) => a?.query === b?.query && a?.key === b?.key;

/**
 * The end of the colour scale: 1, or less where no weight comes near it.
 * @param {number} most the largest weight
 * @param {boolean} isWeight whether values are weights, which cannot exceed 1
 */
export function scaleEnd(most, isWeight) {
  if (!(most > 0)) return 1;
  if (isWeight && most > 0.5) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((m) => m * power).find((end) => end >= most * 0.9999) ?? 10 * power;
}

/**
 * The part of a map that a window of `size` tokens shows, kept where it is while the centre is in.
 * @param {number} count
 * @param {number} size
 * @param {number} centre
 * @param {number | undefined} from where it began before
 */
export function windowFrom(count, size, centre, from) {
  if (size >= count) return 0;
  if (from !== undefined && centre >= from && centre < from + size) return Math.min(from, count - size);
  return Math.max(0, Math.min(count - size, centre - Math.floor(size / 2)));
}

export class HeadViewer {
  /**
   * @param {any} model
   * @param {HTMLElement} root
   * @param {AbortSignal} signal
   * @param {string} [title] instead of the model's own
   */
  constructor(model, root, signal, title) {
    this.model = model;
    this.root = root;
    this.title = title ?? model.get("_title");
    this.signal = signal;
    this.store = new HeadStore(model, signal);
    /** @type {Spot | null} */
    this.hover = null;
    this.turn = 0;
    /** @type {Map<number, import("./attention.js").HeadWeights>} */
    this.layerHeads = new Map();
    this.from = {};
    this.marks = onceAFrame(() => this.#follow());
    this.redraw = onceAFrame(() => this.#draw());
    this.refreshSoon = atMostOnceAFrame(() => this.refresh());
    this.link = linked(model, signal, (spot) => {
      this.hover = spot;
      this.marks();
    });
    this.#build();
    this.#listen();
  }

  // ---- what a view that shows more than heads may change ------------------------------------------

  /** Put the parts on the page. */
  layout() {
    const { root } = this;
    root.append(this.header, this.controlBar, this.note, this.message, this.panels, this.foot);
  }

  /** A head of the grid was chosen. */
  chooseHead(layer, head, _event) {
    this.set({ layer, head });
  }

  /** What the pointer reads over a head of the grid. */
  tellHead(layer, head) {
    return `Layer ${layer}, head ${head}: click to see it large`;
  }

  /** A cell or a token was chosen. @param {Spot} spot */
  pickSpot(spot) {
    const now = this.selected;
    this.set({ selected: now && same(now, spot) ? null : [spot.query, spot.key] });
  }

  /** A head that needs no asking, or null. */
  headHere(kind, layer, head) {
    return this.store.at(kind, layer, head);
  }

  /** @returns {Promise<any>} */
  fetchHead(kind, layer, head, urgent = true) {
    return this.store.get(kind, layer, head, urgent);
  }

  /** The thumbnails of a kind. */
  smallMaps(kind) {
    return this.store.thumbnails(kind);
  }

  /** Whether values are changes, which may lie below 0. */
  get signed() {
    return false;
  }

  /** Whether the weights are those after edits. */
  get edited() {
    return false;
  }

  /** Edges of the head on view that were cut. @returns {Spot[]} */
  get cuts() {
    return [];
  }

  /** What the numbers of the map are; a flag says it where they were changed here. */
  mapCaption() {
    if (this.valueWeighted || this.hidden) return "";
    const sum = this.kind.keys === this.kind.all_keys || this.kind.causal;
    if (this.signed) return `Change of raw attention weights, after less before${sum ? "; each row sums to 0" : ""}.`;
    return `Raw attention weights${this.edited ? ", edited" : ""}${sum ? "; each row sums to 1" : ""}.`;
  }

  /** What else must be said of the map. @returns {string[]} */
  mapFlags() {
    return [];
  }

  /** The rows that lines are drawn of. */
  lineRows() {
    return this.rowOf;
  }

  /** The head on view has been drawn. */
  drawn() {}

  // ---- state --------------------------------------------------------------------------------

  get options() {
    return this.model.get("_options") ?? {};
  }

  get kindName() {
    return this.model.get("kind");
  }

  get kind() {
    return this.store.kind(this.kindName);
  }

  get layer() {
    return Math.min(this.model.get("layer"), this.kind.layers - 1);
  }

  get head() {
    return Math.min(this.model.get("head"), this.kind.heads - 1);
  }

  /** @returns {Spot | null} */
  get selected() {
    const pair = this.model.get("selected");
    if (!pair || pair[0] >= this.kind.queries || pair[1] >= this.kind.keys) return null;
    return { query: pair[0], key: pair[1] };
  }

  get focus() {
    return this.hover ?? this.selected;
  }

  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  option(changes) {
    this.set({ _options: { ...this.options, ...changes } });
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { signal } = this;
    const on = { hover: (spot) => this.#hovered(spot), pick: (spot) => this.pickSpot(spot) };
    this.thumbnails = new Thumbnails(
      (layer, head, event) => this.chooseHead(layer, head, event), signal, (layer, head) => this.tellHead(layer, head),
    );
    this.lines = new LineView(on, signal);
    this.canvas = element("canvas", { role: "img", tabindex: 0, class: "tl-map", "data-part": "map" });
    this.map = new HeatMap(this.canvas, on, signal);
    this.readout = new Readout();
    this.flag = element("p", { class: "tl-flag", "data-part": "flag", hidden: true });
    this.message = element("p", { class: "tl-message", role: "alert", "data-part": "message", hidden: true });
    this.lineNote = element("p", { class: "tl-hint", "data-part": "line-note" });
    this.mapNote = element("p", { class: "tl-hint", "data-part": "map-note" });
    this.filter = element("div", { class: "tl-filter", role: "group", "aria-label": "Heads whose lines are drawn" });
    this.legend = element("div", { class: "tl-legend", "data-part": "legend" });
    this.controlBar = element("div", { class: "tl-controls" });
    this.subtitle = element("span", { class: "tl-quiet" });
    this.copied = element("span", { class: "tl-quiet", role: "status" });
    this.thumbNote = element("p", { class: "tl-hint" });
    this.note = element("p", { class: "tl-hint", "data-part": "note" });
    const panel = (name, title, ...content) =>
      element("section", { class: `tl-panel tl-panel-${name}`, "aria-label": title }, ...content);
    const titled = (text, hint) =>
      element("p", { class: "tl-heading" }, element("b", {}, text), " ", element("span", { class: "tl-quiet" }, hint));
    this.lineSwitch = radioGroup({
      label: "Lines of",
      quiet: true,
      part: "line-switch",
      choices: [
        { value: "head", text: "this head" },
        { value: "layer", text: "all heads of the layer" },
      ],
      chosen: "head",
      choose: (value) => this.option({ lines: value }),
    });
    this.zoom = menu("Tokens shown in the map", "zoom", [
      { value: "0", text: "all tokens" },
      { value: "128", text: "128 tokens" },
      { value: "32", text: "32 tokens" },
    ], (value) => this.option({ zoom: Number(value) }));
    this.fetch = element("div", { class: "tl-busy", "data-part": "busy", hidden: true });
    this.header = element(
      "header",
      { class: "tl-top" },
      element("div", { class: "tl-title" }, element("b", {}, tokenElement(this.title)), " ", this.subtitle),
      element(
        "div",
        { class: "tl-actions" },
        this.copied,
        button("Copy as Python", "copy", () => this.#copy(), "Copy the selection as Python"),
        button("PNG", "png", () => this.#png(), "Save this picture as PNG"),
        button("HTML", "html", () => this.#html(), "Save this view as one interactive page"),
      ),
    );
    this.mapTitle = element("b", { "data-part": "map-title" }, "Map");
    this.headsPanel = panel("heads", "Every head", titled("Every head", "click one to see it large"), this.thumbnails.root, this.thumbNote);
    this.linesPanel = panel(
      "lines",
      "Lines",
      titled("Who looks where", "hover a token; click to lock it"),
      this.lineSwitch.root,
      this.filter,
      element("div", { class: "tl-ends", "aria-hidden": "true" }, element("span", {}, "query"), element("span", {}, "looks at → key")),
      element("div", { class: "tl-scroll", tabindex: 0, role: "region", "aria-label": "Tokens and lines" }, this.lines.root),
      this.lineNote,
    );
    this.mapHeading = element("p", { class: "tl-heading" }, this.mapTitle, " ",
      element("span", { class: "tl-quiet" }, "query ↓ row looks at column → key"), this.zoom.root);
    this.mapPanel = panel(
      "map",
      "Map",
      this.mapHeading,
      element("div", { class: "tl-map-box" }, this.canvas, this.fetch),
      this.legend,
      this.mapNote,
    );
    this.panels = element("div", { class: "tl-panels" }, this.headsPanel, this.linesPanel, this.mapPanel);
    this.foot = element(
      "footer",
      { class: "tl-foot" },
      this.flag,
      this.readout.sentence,
      this.readout.numbers,
      this.readout.details,
    );
  }

  #buildControls() {
    this.controls = headControls({
      kinds: this.model.get("_kinds"),
      kindName: this.kindName,
      layer: this.layer,
      head: this.head,
      theme: this.theme,
      set: (changes) => this.set(changes),
      option: (changes) => this.option(changes),
      changeKind: (name) => this.#changeKind(name),
    });
    this.controlBar.replaceChildren(...this.controls.roots);
  }

  #listen() {
    const { model, signal } = this;
    const watch = (names, callback) => {
      model.on(names, callback);
      signal.addEventListener("abort", () => model.off(names, callback));
    };
    for (const name of ["layer", "head"]) watch(`change:${name}`, () => this.refreshSoon());
    watch("change:kind", () => {
      this.hover = null;
      this.from = {};
      this.#start();
    });
    watch("change:_thumbs", () => {
      this.store.forget(); // the model has learned: new maps
      this.#start();
    });
    watch("change:selected", () => this.#follow());
    watch("change:_options", () => this.refreshSoon());
    this.canvas.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.model.get("selected")) return;
      event.stopPropagation();
      this.set({ selected: null });
    }, { signal });
    let width = 0;
    const observer = new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - width) < 1) return;
      width = entry.contentRect.width;
      if (!width || !this.weightsHere) return;
      if (themeOf(this.root) === this.theme) this.redraw();
      else this.#start();
    });
    observer.observe(this.root);
    signal.addEventListener("abort", () => observer.disconnect());
    onThemeChange(() => {
      const theme = themeOf(this.root);
      if (theme !== this.theme) this.#start();
      else if (this.inks && JSON.stringify(inks(this.root)) !== JSON.stringify(this.inks)) this.redraw();
    }, signal);
  }

  // ---- what the reader does -----------------------------------------------------------------

  #hovered(spot) {
    if (same(spot, this.hover)) return;
    this.hover = spot;
    this.marks();
    this.link.hover(spot);
  }

  #key(event) {
    const { queries, keys } = this.kind;
    const moves = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -keys], End: [0, keys],
    };
    const now = this.selected;
    const start = now ?? this.hover ?? { query: queries - 1, key: null };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.stopPropagation();
      if (now) this.set({ selected: null });
      else this.pickSpot(start);
      return;
    }
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    this.hover = null;
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    const query = start.query ?? queries - 1;
    const key = start.key ?? largest(this.rowOf(query), 1)[0]?.index ?? 0;
    // The first arrow only shows where the cursor stands.
    const [down, right] = start.query === null || start.key === null ? [0, 0] : move;
    this.set({ selected: [within(query + down, queries), within(key + right, keys)] });
  }

  #changeKind(name) {
    const kind = this.store.kind(name);
    this.set({
      selected: null,
      layer: Math.min(this.layer, kind.layers - 1),
      head: Math.min(this.head, kind.heads - 1),
      kind: name,
    });
  }

  async #copy() {
    const { layer, head, selected } = this;
    const several = Object.keys(this.model.get("_kinds")).length > 1;
    const batch = this.model.get("_batch");
    const more = `${several ? `, kind="${this.kindName}"` : ""}${batch ? `, batch=${batch}` : ""}`;
    const call = this.valueWeighted ? "value_weighted" : "pattern";
    const { query = null, key = null } = selected ?? {};
    const index = query !== null && key !== null ? `[${query}, ${key}]` : query !== null ? `[${query}]` : key !== null ? `[:, ${key}]` : "";
    const code = `trace.${call}(layer=${layer}, head=${head}${more})${index}`;
    const done = await copyText(code);
    this.copied.textContent = done ? `Copied: ${code}` : code;
    this.root.dataset.copied = code;
  }

  async #png() {
    const blob = await picture(this);
    if (blob) download(blob, `${fileName(this.model.get("_title"))}-layer-${this.layer}-head-${this.head}.png`);
  }

  async #html() {
    const late = setTimeout(() => this.say("Waiting for Python: it may be busy with a cell, or stopped."), NO_ANSWER_AFTER);
    try {
      const { buffers } = await this.store.requests.ask({ type: "page" }, false);
      download(new Blob([buffers[0]], { type: "text/html" }), `${fileName(this.model.get("_title"))}.html`);
      this.say("");
    } catch (error) {
      this.say(`The page could not be made: ${error.message}`);
    } finally {
      clearTimeout(late);
    }
  }

  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  // ---- drawing ------------------------------------------------------------------------------

  /** Everything anew: at first, and when the kind or the theme has changed. */
  async #start() {
    this.theme = themeOf(this.root);
    this.root.dataset.theme = this.theme;
    const { kind } = this;
    this.#buildControls();
    const tokens = kind.same ? `${kind.all_queries} ${plural("token", kind.all_queries)}` : `${kind.all_queries} queries × ${kind.all_keys} keys`;
    this.subtitle.textContent = `${kind.layers} ${plural("layer", kind.layers)} × ${kind.heads} ${plural("head", kind.heads)} · ${tokens}`;
    this.zoom.root.hidden = Math.max(kind.queries, kind.keys) <= 40;
    this.lineSwitch.root.hidden = kind.heads < 2;
    const notes = [this.model.get("_note")];
    if (kind.queries < kind.all_queries || kind.keys < kind.all_keys) {
      notes.push(`The first ${Math.max(kind.queries, kind.keys)} of ${Math.max(kind.all_queries, kind.all_keys)} tokens are shown; weights are those of the whole text.`);
    }
    this.note.textContent = notes.filter(Boolean).join(" ");
    this.note.hidden = !this.note.textContent;
    await this.refresh();
  }

  async refresh() {
    const turn = ++this.turn;
    const { kindName, layer, head } = this;
    this.controls.place(kindName, layer, head);
    this.thumbnails.choose(layer, head);
    const busy = setTimeout(() => this.#busy(`Fetching layer ${layer}, head ${head} …`), BUSY_AFTER);
    const late = setTimeout(() => this.#busy(
      `Still waiting for layer ${layer}, head ${head}: Python may be busy with a cell, or stopped. Heads seen before still work.`,
    ), NO_ANSWER_AFTER);
    let weights;
    try {
      weights = this.headHere(kindName, layer, head) ?? (await this.fetchHead(kindName, layer, head));
    } catch (error) {
      if (!(error instanceof Superseded) && turn === this.turn) {
        this.#busy("");
        this.say(`Layer ${layer}, head ${head} cannot be shown: ${error.message}`);
      }
      return;
    } finally {
      clearTimeout(busy);
      clearTimeout(late);
    }
    if (turn !== this.turn || this.signal.aborted) return; // a later click won
    this.#busy("");
    this.say("");
    this.weightsHere = weights;
    this.shown = { kind: kindName, layer, head };
    this.layerHeads = new Map([[head, weights]]);
    this.#draw();
    this.root.dataset.shown = `${kindName}/${layer}/${head}`;
    if (this.options.lines === "layer") this.#fetchLayer(turn);
  }

  async #fetchLayer(turn) {
    const { kindName, layer, kind } = this;
    for (let head = 0; head < kind.heads; head++) {
      try {
        const weights = await this.fetchHead(kindName, layer, head, false);
        if (turn !== this.turn || this.signal.aborted) return;
        this.layerHeads.set(head, weights);
      } catch (error) {
        return this.say(`Layer ${layer}, head ${head} cannot be shown: ${error.message}`);
      }
    }
    this.#follow();
  }

  #busy(text) {
    this.fetch.textContent = text;
    this.fetch.hidden = !text;
  }

  get valueWeighted() {
    return this.options.weights === "value" && this.kind.has_norms;
  }

  get hidden() {
    const { hide_first: first, hide_special: special } = this.options;
    if (!first && !(special && this.kind.special.length)) return null;
    const hidden = new Uint8Array(this.kind.keys);
    if (first) hidden[0] = 1;
    if (special) for (const key of this.kind.special) if (key < hidden.length) hidden[key] = 1;
    return hidden;
  }

  rowsOf(weights) {
    const { hidden } = this;
    const norms = this.valueWeighted ? weights.norms : null;
    if (!hidden && !norms) return (query) => weights.row(query);
    const known = new Map();
    return (query) => {
      let row = known.get(query);
      if (!row) {
        row = shownRow(weights.row(query), hidden, norms);
        if (known.size > 1100) known.clear();
        known.set(query, row);
      }
      return row;
    };
  }

  /** The queries over which the largest weight and the habit of a head are sought. */
  #someQueries() {
    const { queries } = this.kind;
    const count = Math.min(queries, queries > MANY_QUERIES ? 256 : queries);
    return Array.from({ length: count }, (_, i) => Math.round((i * (queries - 1)) / Math.max(1, count - 1)));
  }

  #draw() {
    if (!this.root.clientWidth) return; // hidden; it is drawn when it is shown
    this.inks = inks(this.root); // only what is shown has its colours
    const { options, theme } = this;
    this.smallTable = colourTable(options.colours ?? "default", theme);
    this.table256 = this.signed ? colourTable("diverging", theme) : this.smallTable;
    this.controls.options(options, this.valueWeighted);
    this.zoom.set(String(options.zoom ?? 0));
    this.lineSwitch.set(options.lines ?? "head");
    this.rowOf = this.rowsOf(this.weightsHere);
    const tops = this.#someQueries().map((query) => highest(this.rowOf(query)));
    const most = Math.max(...tops);
    const end = isLong(this.kind.queries) && !this.signed ? Math.min(most, 2.5 * median(tops)) : most;
    this.end = scaleEnd(end, !this.valueWeighted && !this.signed);
    this.clipped = most > this.end * 1.0001;
    const panels = this.root.querySelector(".tl-panels");
    const columns = getComputedStyle(panels).gridTemplateColumns.split(" ").map(parseFloat);
    const { grid, shades } = this.smallMaps(this.kindName);
    this.thumbnails.draw(shades, grid, this.smallTable, columns[0]);
    const changed = this.hidden || this.valueWeighted;
    this.thumbNote.textContent = changed
      ? "The small maps stay as they are: raw weights, nothing hidden."
      : this.end !== 1 && !this.signed ? "The small maps share one scale, from 0 to 1." : "";
    this.mapTitle.textContent = `Layer ${this.shown.layer}, head ${this.shown.head}`;
    this.#drawMap();
    this.legend.replaceChildren(...legend(this.table256, this.end, this.valueWeighted, this.clipped, this.signed));
    this.#flags();
    this.#drawFilter();
    this.#follow();
    this.drawn();
  }

  #drawMap() {
    const { kind, options } = this;
    const box = this.canvas.parentElement;
    const size = options.zoom || Infinity;
    const centre = this.selected ?? this.hover ?? { query: 0, key: 0 };
    const queryFrom = windowFrom(kind.queries, size, centre.query ?? 0, this.from.query);
    const keyFrom = windowFrom(kind.keys, size, centre.key ?? queryFrom, this.from.key);
    this.from = { query: queryFrom, key: keyFrom };
    const part = {
      query: queryFrom,
      key: keyFrom,
      queries: Math.min(size, kind.queries),
      keys: Math.min(size, kind.keys),
    };
    this.map.show({
      rowOf: this.rowOf, part, queries: kind.query_tokens, keys: kind.key_tokens, causal: kind.causal,
      offset: kind.all_keys - kind.all_queries, hidden: this.hidden, largest: this.end, table: this.table256,
      colours: this.inks, signed: this.signed, cuts: this.cuts,
    }, Math.max(220, box.clientWidth), 470);
    const notes = [this.mapCaption()];
    if (kind.causal) notes.push("Grey: later tokens, which a query cannot look at.");
    if (this.map.sampled) notes.push("Not every row fits: some stand for their neighbours.");
    if (part.keys < kind.keys || part.queries < kind.queries) {
      notes.push(`Queries ${part.query}–${part.query + part.queries - 1}, keys ${part.key}–${part.key + part.keys - 1} of ${kind.keys}.`);
    }
    this.mapNote.textContent = notes.filter(Boolean).join(" ");
  }

  #flags() {
    const { options, kind } = this;
    const notes = [];
    const left = [];
    if (options.hide_first) left.push("the first token");
    if (options.hide_special && kind.special.length) left.push("special tokens");
    if (left.length) notes.push(`Without ${left.join(" and ")}: what is left of each row is scaled up to the row’s sum.`);
    if (this.valueWeighted) notes.push(`Each weight is multiplied by the length of what its key adds, ${this.model.get("_value_note")}: these numbers are not shares.`);
    notes.push(...this.mapFlags());
    this.flag.textContent = notes.join(" ");
    this.flag.hidden = !notes.length;
  }

  #drawFilter() {
    const { options, kind } = this;
    this.filter.hidden = options.lines !== "layer";
    const chips = this.filter.hidden
      ? []
      : lineFilter(kind.heads, options.off ?? [], this.theme, (off) => this.option({ off }));
    this.filter.replaceChildren(...chips);
  }

  /** Draw what follows the selection: marks, lines, sentence, numbers. */
  #follow() {
    if (!this.weightsHere || !this.map.scene || this.signal.aborted) return;
    const { kind, selected, hover } = this;
    const locked = selected && !hover && (this.options.zoom ?? 0);
    if (locked && !this.#inPart(selected)) this.#drawMap();
    this.map.mark(hover, selected);
    this.#drawLines();
    this.#speak();
    this.root.classList.toggle("tl-locked", Boolean(selected));
    this.root.dataset.selected = selected ? `${selected.query ?? ""},${selected.key ?? ""}` : "";
    const { layer, head } = this.shown;
    this.canvas.setAttribute("aria-label",
      `Map of layer ${layer}, head ${head}: ${kind.queries} queries by ${kind.keys} keys. ${this.readout.text} Arrow keys move, Enter locks, Escape frees.`);
  }

  #inPart(spot) {
    const { part } = this.map.scene;
    const inside = (value, from, count) => value === null || (value >= from && value < from + count);
    return inside(spot.query, part.query, part.queries) && inside(spot.key, part.key, part.keys);
  }

  #drawLines() {
    const { kind, options, end } = this;
    const long = isLong(kind.queries) || isLong(kind.keys);
    const layerMode = options.lines === "layer";
    const off = new Set(options.off ?? []);
    const drawn = [...this.layerHeads].filter(([head]) => (layerMode ? !off.has(head) : head === this.shown.head));
    const rows = drawn.map(([head, weights]) => ({
      head,
      rowOf: head === this.shown.head ? this.lineRows() : this.rowsOf(weights),
    }));
    const scene = lineScene({
      kind, focus: this.focus, long, rows, layerMode, end, valueWeighted: this.valueWeighted,
    });
    const coming = layerMode && rows.length < kind.heads - off.size ? " Other heads are on their way." : "";
    this.lineNote.textContent = scene.note + coming;
    this.#listTokens(scene, long);
    this.lines.draw({
      edges: scene.edges.map((edge) => ({ ...edge, share: Math.min(1, edge.weight / Math.max(end, 1e-9)) })),
      colourOf: (head) => headColour(head, this.theme),
      focus: scene.focus,
      selected: this.selected,
      queryNotes: scene.weights.queries,
      keyNotes: scene.weights.keys,
      named: layerMode && Boolean(this.focus),
      ground: this.inks.ground,
    });
  }

  #listTokens({ focus, edges }, long) {
    const { kind, options } = this;
    const keys = [];
    const queries = [];
    if (long && focus.query !== null) keys.push(...edges.map((edge) => edge.key));
    if (long && focus.query !== null && focus.key !== null) keys.push(focus.key);
    if (long && focus.query === null) queries.push(...edges.map((edge) => edge.query));
    const layout = JSON.stringify([this.kindName, keys, queries, long && focus, options.hide_first, options.hide_special]);
    if (layout === this.listed && kind === this.listedKind) return; // another text comes with a new kind
    this.listed = layout;
    this.listedKind = kind;
    this.lines.list(
      kind.query_tokens,
      kind.key_tokens,
      columnLines(kind.queries, this.#steadyQuery(focus), queries),
      columnLines(kind.keys, focus?.key ?? null, keys),
      this.hidden,
    );
  }

  /** The query column of a long text is centred on the locked token, not on the hovered one. */
  #steadyQuery(focus) {
    const inColumn = this.hover && this.lines.places.queries.has(this.hover.query ?? -1);
    if (!inColumn) this.centre = focus?.query ?? null;
    return this.centre;
  }

  #speak() {
    const { kind, shown, selected } = this;
    this.readout.show({
      seen: {
        kind: shown.kind,
        layer: shown.layer,
        head: shown.head,
        several: Object.keys(this.model.get("_kinds")).length > 1,
        queries: kind.query_tokens,
        keys: kind.key_tokens,
        causal: kind.causal,
        same: kind.same,
        valueWeighted: this.valueWeighted,
        edited: this.edited,
      },
      signed: this.signed,
      focus: this.focus,
      locked: Boolean(selected) && (!this.hover || same(this.hover, selected)),
      rowOf: this.rowOf,
      changed: Boolean(this.hidden) || this.valueWeighted,
      error: this.weightsHere.error,
    });
  }

  async open() {
    this.layout();
    await this.#start();
  }
}

/** Colours of the theme, for what is drawn on canvases. */
export function inks(root) {
  const style = getComputedStyle(root.closest(".tl-view") ?? root);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--tl-ink"), quiet: read("--tl-quiet"), line: read("--tl-line"), accent: read("--tl-accent"),
    blocked: read("--tl-blocked"), edited: read("--tl-edited"),
    ground: themeOf(root) === "dark" ? "#191c21" : "#ffffff",
  };
}

/** @param {Float32Array} row */
function highest(row) {
  let most = 0;
  for (let i = 0; i < row.length; i++) if (Math.abs(row[i]) > most) most = Math.abs(row[i]);
  return most;
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const plural = (word, count) => (count === 1 ? word : `${word}s`);
const fileName = (title) => title.replace(/[^\w-]+/g, "-").replace(/^-+|-+$/g, "").toLowerCase() || "heads";
