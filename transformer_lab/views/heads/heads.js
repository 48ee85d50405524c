// Every head of a trace: small in a grid, the chosen one as lines and as a map, one selection. A view
// that has them gives the weights, and hears what the reader does.

import { largest } from "../shared/attention.js";
import { Between, rowsWithin } from "./between.js";
import { colourTable } from "../shared/colours.js";
import { atMostOnceAFrame, hearChanges, onceAFrame, onceForAll, say, taken } from "../shared/dom.js";
import { isLong, MANY_QUERIES } from "./lines.js";
import { LinesPanel } from "./lines_panel.js";
import { Pointed, sameSpot } from "../shared/linked.js";
import { MapPanel } from "./map_panel.js";
import { Pins } from "./pins.js";
import { highest, median, scaleEnd } from "./scale.js";
import { Superseded } from "../shared/requests.js";
import { hasFixedHeight } from "../shared/screen.js";
import { headTag } from "../shared/map_sentences.js";
import { Thumbnails } from "./thumbnails.js";
import { HeadsBase } from "./base.js";

/**
 * @typedef {object} Does what a view does about its heads
 * @property {(layer: number, head: number, event: MouseEvent | KeyboardEvent) => void} chosen a head of the grid
 * @property {(layer: number, head: number) => string} tell what the pointer reads over a head of the grid
 * @property {(spot: import("./state.js").Spot) => void} picked a cell or a token
 * @property {() => void} drawn the head on view has been drawn
 * @property {() => void} [followed] what is pointed at, or locked, has changed
 * @property {(layer: number, head: number) => [string, string] | null} [known] what is known of a head, in a few letters and whole
 */

export class Heads extends HeadsBase {
  /**
   * @param {import("../shared/shell.js").Shell} shell whose `draw` calls this one's
   * @param {import("./state.js").HeadState} state
   * @param {import("./store.js").Maps} maps
   * @param {Does} does
   */
  constructor(shell, state, maps, does) {
    super(shell, state);
    this.maps = maps;
    this.does = does;
    /** @type {Map<number, import("../shared/attention.js").HeadWeights>} */
    this.layerHeads = new Map();
    this.marks = onceAFrame(() => this.#follow());
    this.between = new Between(this);
    this.refreshSoon = onceForAll(atMostOnceAFrame(() => this.refresh())); // layer and head change together
    this.renewed = onceForAll(() => this.#renew());
    this.pointed = new Pointed(this.model, this.signal, () => this.marks());
    this.#build();
    this.#listen();
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { signal, state, does } = this;
    const on = { hover: (spot) => this.pointed.at(spot), pick: (spot) => this.#picked(spot) };
    this.thumbnails = new Thumbnails(
      (layer, head, event) => does.chosen(layer, head, event), signal, (layer, head) => does.tell(layer, head),
    );
    this.linesPanel = new LinesPanel(state, on, this.shell);
    this.mapPanel = new MapPanel(state, on, this.shell);
    this.pins = new Pins(this, on);
    this.place(this.thumbnails, this.linesPanel, this.mapPanel);
  }

  #listen() {
    const { model, signal, state } = this;
    const watch = (names, callback) => hearChanges(model, names, callback, signal);
    watch(["layer", "head", "_options"], () => this.refreshSoon());
    watch(["kind"], () => {
      this.pointed.spot = null;
      this.renew(true);
    });
    watch(["_thumbs"], () => {
      this.maps.forget(); // the model has learned: new maps
      this.renew(true);
    });
    watch(["_note"], () => this.renew(true));
    watch(["selected"], () => this.#follow());
    this.mapPanel.canvas.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !model.get("selected")) return;
      event.stopPropagation();
      state.set({ selected: null });
    }, { signal });
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** The reader points at a spot, in another part of the view. @param {import("./state.js").Spot | null} spot */
  point(spot) {
    this.pointed.at(spot);
  }

  get hover() {
    return this.pointed.spot;
  }

  /** Nothing is no key: the row is chosen, and the sentence says why. */
  #picked(spot) {
    const now = this.state.selected;
    if (!spot.nothing) this.does.picked(spot);
    else if (now?.query !== spot.query || now?.key !== null) this.state.set({ selected: [spot.query, null] });
  }

  #key(event) {
    const { keys } = this.state.kind;
    const [a, b] = this.#spans();
    const moves = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -keys], End: [0, keys],
    };
    const now = this.state.selected;
    const start = now ?? this.hover ?? { query: a[1] - 1, key: null };
    if (event.key === "Enter" || event.key === " ") {
      taken(event);
      if (!now) this.does.picked(start); // arrows have locked it already
      return;
    }
    const move = moves[event.key];
    if (!move) return;
    taken(event);
    this.pointed.spot = null;
    const within = (value, [from, to]) => Math.max(from, Math.min(to - 1, value));
    const query = start.query ?? a[1] - 1;
    const key = start.key ?? largest(rowsWithin(this.rowOf, this.state.block, keys)(query), 1)[0]?.index ?? b[0];
    // The first arrow only shows where the cursor stands.
    const [down, right] = start.query === null || start.key === null ? [0, 0] : move;
    this.state.set({ selected: [within(query + down, a), within(key + right, b)] });
  }

  // ---- drawing ------------------------------------------------------------------------------

  /** Everything anew: at first, and when the kind or the theme has changed. */
  async start() {
    const { kind } = this.state;
    this.headsPanel.start();
    const unit = kind.over ? "position" : "token"; // an average has no tokens
    const tokens = kind.same ? `${kind.all_queries} ${plural(unit, kind.all_queries)}` : `${kind.all_queries} queries × ${kind.all_keys} keys`;
    this.shell.subtitle.textContent = `${kind.layers} ${plural("layer", kind.layers)} × ${kind.heads} ${plural("head", kind.heads)} · ${tokens}`;
    this.mapPanel.restart();
    this.linesPanel.choice.root.hidden = kind.heads < 2;
    const notes = [this.model.get("_note")];
    if (kind.queries < kind.all_queries || kind.keys < kind.all_keys) {
      notes.push(`The first ${Math.max(kind.queries, kind.keys)} of ${Math.max(kind.all_queries, kind.all_keys)} tokens are shown; weights are those of the whole text.`);
    }
    this.showNotes(notes);
    await this.refresh();
  }

  /** Show anew what has changed, once all of it has. @param {boolean} [everything] other texts or kinds too */
  renew(everything = false) {
    this.everything ||= everything;
    this.renewed();
  }

  #renew() {
    if (this.signal.aborted) return;
    const { everything } = this;
    this.everything = false;
    if (everything) this.start();
    else this.refresh();
  }

  async refresh() {
    const turn = ++this.turn;
    const { kindName, layer, head } = this.state;
    this.stepper.show();
    this.thumbnails.choose(layer, head);
    const ended = this.waiting.begin(`Fetching layer ${layer}, head ${head} …`);
    let weights;
    try {
      weights = this.maps.at(kindName, layer, head) ?? (await this.maps.get(kindName, layer, head));
    } catch (error) {
      if (!(error instanceof Superseded) && turn === this.turn) {
        this.waiting.say("");
        this.shell.say(`Layer ${layer}, head ${head} cannot be shown: ${error.message}`);
      }
      return;
    } finally {
      ended();
    }
    if (turn !== this.turn || this.signal.aborted) return; // a later click won
    this.waiting.say("");
    this.shell.say("");
    this.weightsHere = weights;
    this.shown = { kind: kindName, layer, head };
    this.layerHeads = new Map([[head, weights]]);
    this.pins.fetch(() => turn === this.turn && !this.signal.aborted);
    this.shell.draw();
    this.root.dataset.shown = `${kindName}/${layer}/${head}`;
    if (this.linesPanel.wholeLayer) this.#fetchLayer(turn);
  }

  async #fetchLayer(turn) {
    const { kindName, layer, kind } = this.state;
    for (let head = 0; head < kind.heads; head++) {
      try {
        const weights = await this.maps.get(kindName, layer, head, false);
        if (turn !== this.turn || this.signal.aborted) return;
        this.layerHeads.set(head, weights);
      } catch (error) {
        return this.shell.say(`Layer ${layer}, head ${head} cannot be shown: ${error.message}`);
      }
    }
    this.#follow();
  }

  /** The queries and the keys on view, as spans. @returns {import("./between.js").Span[]} */
  #spans() {
    const { block, kind } = this.state;
    return block ? [block.a, block.b] : [[0, kind.queries], [0, kind.keys]];
  }

  /** The queries over which the largest weight of a head is sought. */
  #someQueries() {
    const [[from, to]] = this.#spans();
    const queries = to - from;
    const count = Math.min(queries, queries > MANY_QUERIES ? 256 : queries);
    return Array.from({ length: count }, (_, i) => from + Math.round((i * (queries - 1)) / Math.max(1, count - 1)));
  }

  /** What was fetched last, in the colours of now. */
  draw() {
    if (!this.weightsHere) return;
    const { shell, state, maps } = this;
    // It is asked for before anything is written, so that the page is laid out once.
    const fixed = (this.fixed = hasFixedHeight(this.panels, this.fixed));
    this.sharedPlace.show();
    const { options, valueWeighted, hidden, block } = state;
    const smallTable = colourTable(options.colours ?? "default", shell.theme);
    const table = maps.signed ? colourTable("diverging", shell.theme) : smallTable;
    this.stepper.show();
    this.viewControls.show();
    this.signed = maps.signed;
    this.rowOf = this.rowsOf(this.weightsHere);
    this.nothing = block ? null : this.nothingOf(this.weightsHere);
    const beside = this.pins.scenes();
    const ends = [this, ...beside].map((scene) => this.#ends(scene));
    const most = Math.max(...ends.map((one) => one.most));
    this.end = scaleEnd(Math.max(...ends.map((one) => one.end)), !valueWeighted && !maps.signed);
    this.panels.classList.toggle("tl-pinned", beside.length > 0);
    const layout = this.panels.className;
    say(this.headsPanel.note, hidden || valueWeighted ? "The small maps stay as they are: raw weights, nothing hidden." : block ? "The small maps are of the whole text." : "");
    this.headsPanel.draw(this.maps.thumbnails(state.kindName), smallTable, fixed, shell.inks, layout);
    say(this.mapPanel.title, headTag(this.shown.layer, this.shown.head));
    this.showFlags(this.maps.flags(this.shown));
    this.mapPanel.draw({
      rowOf: this.rowOf, nothing: this.nothing, end: this.end, clipped: most > this.end * 1.0001, table, inks: shell.inks,
      signed: maps.signed, cuts: maps.cuts(this.shown), caption: this.#mapCaption(), fixed, layout,
      beside: beside.map((one) => ({ ...one, table: one.signed ? table : smallTable })),
    }, this.hover);
    this.pins.show(beside);
    this.linesPanel.measure(fixed, layout);
    this.linesPanel.showChoice();
    this.#follow();
    this.does.drawn();
  }

  /** Edges were cut or are whole again: mark them before the weights are here. */
  markCuts() {
    const { scene } = this.mapPanel.map;
    if (!scene) return;
    scene.cuts = this.maps.cuts(this.shown);
    this.marks();
  }

  /** The largest of a map, and where its colours would end. */
  #ends({ rowOf, nothing, signed }) {
    const rows = rowsWithin(rowOf, this.state.block, this.state.kind.keys);
    const tops = this.#someQueries().map((query) => Math.max(highest(rows(query)), Math.abs(nothing?.(query) ?? 0)));
    const most = Math.max(...tops);
    return { most, end: isLong(tops.length) && !signed ? Math.min(most, 2.5 * median(tops)) : most };
  }

  rowsOf(weights) {
    return this.maps.rows(weights, (some) => this.state.shownRows(some));
  }

  /** What goes to nothing of each row in a map, or null where heads of the layer may not look there, and
   * where values weigh in: no key's value is there. */
  nothingOf(weights, layer = this.shown.layer) {
    return this.#sinks(layer) && !this.state.valueWeighted ? this.maps.nothing(weights) : null;
  }

  #sinks(layer = this.shown.layer) {
    return Boolean(this.state.kind.sinks?.includes(layer));
  }

  /** What the numbers of the map are; a flag says it where they were changed here. */
  #mapCaption() {
    const { kind, valueWeighted, hidden } = this.state;
    if (valueWeighted || hidden) return "";
    if (kind.caption) return kind.caption;
    if (this.state.block) return "Raw attention weights from A to B; the rest of each row goes elsewhere.";
    const sum = kind.keys === kind.all_keys || kind.causal;
    const row = this.#sinks() ? "each row, with what goes to nothing, sums" : "each row sums";
    if (this.maps.signed) return `Change of raw attention weights, after less before${sum ? `; ${row} to 0` : ""}.`;
    return `Raw attention weights${this.maps.edited ? ", edited" : ""}${sum ? `; ${row} to 1` : ""}.`;
  }

  /** Draw what follows the selection: marks, lines, sentence, numbers. */
  #follow() {
    if (!this.weightsHere || !this.mapPanel.map.scene || this.signal.aborted) return;
    const { selected } = this.state;
    this.mapPanel.mark(this.hover, selected);
    this.#drawLines();
    this.#speak();
    this.pins.follow(this.hover, selected);
    this.does.followed?.();
    const [a, b] = this.#spans();
    this.showSelected(this.state.block ? `${a},${b}` : "");
    const { layer, head } = this.shown;
    this.mapPanel.canvas.setAttribute("aria-label",
      `Map of layer ${layer}, head ${head}: ${a[1] - a[0]} queries by ${b[1] - b[0]} keys${!this.state.block && this.#sinks() && !this.state.valueWeighted ? ", and what goes to nothing" : ""}. ${this.readout.text} Arrow keys move, Enter locks, Escape frees.`);
  }

  #drawLines() {
    const { shell, shown } = this;
    const shownRows = (some) => this.state.shownRows(some);
    const { block, kind } = this.state;
    const rowsOf = (head, weights) => ({
      head,
      rowOf: rowsWithin(head === shown.head ? this.maps.lineRows(this.weightsHere, shownRows, this.rowOf) : this.rowsOf(weights), block, kind.keys),
      nothing: block ? null : this.nothingOf(this.maps.lineWeights(head === shown.head ? this.weightsHere : weights)),
    });
    this.linesPanel.draw({
      head: shown.head, rows: [...this.layerHeads].map(([head, weights]) => rowsOf(head, weights)),
      hover: this.hover, end: this.end, ground: shell.inks.ground,
    });
  }

  /** What goes to nothing of each row, computed once a head. */
  shares() {
    if (this.sharesOf === this.rowOf) return this.given;
    const of = this.nothingOf(this.weightsHere);
    this.sharesOf = this.rowOf;
    this.given = of && Float32Array.from({ length: this.state.kind.queries }, (_, query) => of(query));
    return this.given;
  }

  #speak() {
    const { shown, maps } = this;
    const { kind, selected, several, valueWeighted, hidden } = this.state;
    this.readout.show({
      seen: {
        kind: shown.kind,
        layer: shown.layer,
        head: shown.head,
        several,
        queries: kind.query_tokens,
        keys: kind.key_tokens,
        causal: kind.causal,
        same: kind.same,
        valueWeighted,
        edited: maps.edited,
        over: kind.over,
        spread: kind.spread,
        nothing: this.shares(),
      },
      signed: maps.signed,
      between: this.between.now,
      focus: this.hover ?? selected,
      locked: Boolean(selected) && (!this.hover || sameSpot(this.hover, selected)),
      rowOf: this.rowOf,
      changed: Boolean(hidden) || valueWeighted,
      error: this.weightsHere.error,
    });
  }
}

const plural = (word, count) => (count === 1 ? word : `${word}s`);
