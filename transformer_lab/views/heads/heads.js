// Every head of a trace: thumbnails in a grid, the chosen one as lines and as a map, with one
// selection. The view that contains them provides the weights, and is notified of what the reader
// does.

import { largest } from "../shared/attention.js";
import { viewControls } from "./controls.js";
import { headChoice } from "../shared/controls.js";
import { HeadsPanel, SharedPlace } from "./heads_panel.js";
import { Readout } from "./readout.js";
import { Between, rowsWithin, whyNotBetween } from "./between.js";
import { colourTable } from "../shared/colours.js";
import {
  atMostOnceAFrame,
  element,
  hearChanges,
  onceAFrame,
  onceForAll,
  say,
  listen,
} from "../shared/dom.js";
import { Groups } from "./groups.js";
import { isLong, MANY_QUERIES } from "./lines.js";
import { LinesPanel } from "./lines_panel.js";
import { Pointed, sameSpot } from "../shared/linked.js";
import { MapPanel } from "./map_panel.js";
import { crossFade } from "../shared/motion.js";
import { Pins } from "./pins.js";
import { drawnOf } from "./pyramid.js";
import { highest, median, scaleEnd, sayHeads } from "./scale.js";
import { Superseded, Waiting } from "../shared/requests.js";
import { hasFixedHeight } from "../shared/screen.js";
import { headTag } from "../shared/messages.js";
import { Thumbnails } from "../shared/thumbnails.js";

const FADES = 160; // ms

/**
 * @typedef {object} Does callbacks of a view that contains heads
 * @property {(layer: number, head: number, event: MouseEvent | KeyboardEvent) => void} chosen a head of the grid
 * @property {(layer: number, head: number) => string} tell tooltip of a head of the grid
 * @property {(spot: import("./state.js").Spot) => void} picked a cell or a token
 * @property {() => void} drawn the head on view has been drawn
 * @property {() => import("./state.js").Spot | null} [rests] the spot that sentences are about
 *   while nothing is pointed at or locked; null: the whole head
 * @property {() => void} [followed] the spot pointed at or locked has changed
 * @property {(layer: number, head: number) => [string, string] | null} [known] what is known about
 *   a head, in a few letters and in full
 */

export class Heads {
  /**
   * @param {import("../shared/shell.js").Shell} shell whose `draw` calls this one's
   * @param {import("./state.js").HeadState} state
   * @param {import("./store.js").Maps} maps
   * @param {Does} does
   */
  constructor(shell, state, maps, does) {
    const { model, root, signal } = shell;
    this.shell = shell;
    this.state = state;
    this.maps = maps;
    this.does = does;
    this.model = model;
    this.root = root;
    this.signal = signal;
    this.turn = 0;
    /** @type {boolean | undefined} whether the height is fixed rather than that of the panels' content */
    this.fixed = undefined;
    /** @type {Map<number, import("../shared/attention.js").HeadWeights>} */
    this.layerHeads = new Map();
    this.marks = onceAFrame(() => this.#follow());
    this.between = new Between(this);
    /** Sentences or paragraphs, if the map shows those. @type {Groups | null} */
    this.groups = null;
    this.refreshSoon = onceForAll(atMostOnceAFrame(() => this.refresh())); // layer and head change together
    this.renewed = onceForAll(() => this.#renew());
    this.pointed = new Pointed(model, signal, () => this.marks());
    this.#build();
    this.#listen();
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { shell, signal, state, does } = this;
    this.readout = new Readout();
    this.flag = element("p.tl-flag#flag", { hidden: true });
    this.note = element("p.tl-hint#note");
    this.choice = headChoice(state, (place) => state.set(place));
    this.viewControls = viewControls(state);
    this.answer = element("div.tl-answer", this.readout.sentence);
    const on = { hover: (spot) => this.point(spot), pick: (spot) => this.#picked(spot) };
    this.thumbnails = new Thumbnails(
      (layer, head, event) => does.chosen(layer, head, event),
      signal,
      (layer, head) => does.tell(layer, head),
    );
    this.linesPanel = new LinesPanel(state, on, shell);
    this.mapPanel = new MapPanel(
      state,
      {
        ...on,
        step: (move) => this.#step(move),
        brush: (a, b) => this.#brushed(a, b),
        moved: () => this.#seek(),
      },
      shell,
    );
    this.pins = new Pins(this, on);
    this.headsPanel = new HeadsPanel(state, this.thumbnails, shell);
    this.#place();
  }

  #place() {
    const { mapPanel, linesPanel, headsPanel, readout } = this;
    this.waiting = new Waiting(mapPanel.busy);
    mapPanel.foot.append(readout.numbers, readout.details);
    mapPanel.said.prepend(this.flag);
    this.panels = element("div.tl-panels", headsPanel.root, linesPanel.root, mapPanel.root);
    this.sharedPlace = new SharedPlace(this.state, linesPanel, mapPanel, this.panels, headsPanel);
    let height = 0; // of the room, which sentences above it may change
    const observer = new ResizeObserver(([{ contentRect }]) => {
      const other = Math.abs(contentRect.height - height) > 1;
      height = contentRect.height;
      if (other && this.fixed) this.shell.redraw();
    });
    observer.observe(this.panels);
    this.signal.addEventListener("abort", () => observer.disconnect());
  }

  #listen() {
    const { model, signal, state } = this;
    const watch = (names, callback) => hearChanges(model, names, signal, callback);
    watch(["layer", "head", "_options"], () => this.refreshSoon());
    watch(["kind"], () => {
      this.pointed.spot = null;
      this.renew(true);
    });
    watch(["_thumbs"], () => {
      this.maps.forget(); // the model has changed: new maps
      this.renew(true);
    });
    watch(["_note"], () => this.renew(true));
    watch(["selected"], () => this.#follow());
    if (state.kind?.long) watch(["a", "b"], () => this.shell.redraw()); // there is no row of tokens that would redraw
    listen(this.root, "keydown", signal, (event) => {
      if (event.key !== "Escape") return;
      const freed = model.get("selected")
        ? { selected: null }
        : state.kind.long && state.block
          ? { a: null, b: null }
          : null;
      if (!freed) return;
      event.stopPropagation();
      state.set(freed);
    });
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** The reader points at a spot, in this part of the view or in another. @param {import("../shared/map_frame.js").Spot | null} spot */
  point(spot) {
    this.pointed.at(spot, !spot?.level && !this.groups);
  }

  get hover() {
    return this.pointed.spot;
  }

  /**
   * Handle a click on a spot. "Nothing" is not a key: its row is chosen, and the sentence says why.
   * In a cell of many weights, the largest is chosen.
   */
  #picked(spot) {
    const now = this.state.selected;
    if (this.groups)
      return spot.query !== null && spot.key !== null
        ? this.#brushed([spot.query, spot.query + 1], [spot.key, spot.key + 1])
        : undefined;
    if (spot.level) return this.#pickLargest(spot);
    if (!spot.nothing) this.does.picked(spot);
    else if (now?.query !== spot.query || now?.key !== null)
      this.state.set({ selected: [spot.query, null] });
  }

  async #pickLargest(cell) {
    const { weightsHere: pyramid } = this;
    /** @param {number[]} edge */
    const inside = ([query, key]) =>
      query >= cell.query &&
      query < cell.query + cell.queries &&
      key >= cell.key &&
      key < cell.key + cell.keys;
    const strong = pyramid.info.strongest.find(inside);
    try {
      const { query, key } = strong
        ? { query: strong[0], key: strong[1] }
        : await pyramid.peak(cell);
      if (pyramid === this.weightsHere) this.does.picked({ query, key });
    } catch {
      const size = 2 ** cell.level;
      this.shell.say(sayHeads("which_of_these_weights", { size }));
    }
  }

  /** Queries and keys have been marked on the map. */
  #brushed(a, b) {
    const { state, groups } = this;
    if (state.model.get("a") === undefined || state.kind.over) return;
    const [from, to] = groups ? [groups.tokens("queries", a), groups.tokens("keys", b)] : [a, b];
    const why = whyNotBetween(from, to, state.kind);
    this.shell.say(why ? `${why}.` : "");
    if (!why)
      state.set({
        a: from,
        b: to,
        ...(groups ? { _options: { ...state.options, rows: "tokens" } } : {}),
      });
  }

  /** Move the selection by a key; if nothing is selected, only show the cursor. @param {[number, number]} move */
  #step(move) {
    const [a, b] = this.#spans();
    const start = this.state.selected ?? this.hover ?? { query: a[1] - 1, key: null };
    if (!move[0] && !move[1]) return this.does.picked(start);
    this.pointed.spot = null;
    const within = (value, [from, to]) => Math.max(from, Math.min(to - 1, value));
    const query = start.query ?? a[1] - 1;
    const key =
      start.key ??
      largest(rowsWithin(this.rowOf, this.state.block, this.state.kind.keys)(query), 1)[0]?.index ??
      b[0];
    const [down, right] = start.query === null || start.key === null ? [0, 0] : move;
    this.state.set({ selected: [within(query + down, a), within(key + right, b)] });
  }

  // ---- drawing ------------------------------------------------------------------------------

  /** Draw everything: at first, and when the kind, the text, the maps or the note have changed. */
  async start() {
    const { kind } = this.state;
    this.headsPanel.start();
    const unit = kind.over ? "position" : "token"; // an average over texts has no tokens
    const tokens = kind.same
      ? inWords(kind.all_queries, unit)
      : sayHeads("queries_keys", { all_queries: kind.all_queries, all_keys: kind.all_keys });
    this.shell.subtitle.textContent = `${inWords(kind.layers, "layer")} × ${inWords(kind.heads, "head")} · ${tokens}`;
    this.mapPanel.restart(Object.keys(kind.long?.groups ?? {}));
    this.linesPanel.choice.root.hidden = kind.heads < 2 || Boolean(kind.long);
    const notes = [this.model.get("_note")];
    if (kind.queries < kind.all_queries || kind.keys < kind.all_keys) {
      notes.push(
        sayHeads("the_first_of_tokens", {
          max: Math.max(kind.queries, kind.keys),
          max2: Math.max(kind.all_queries, kind.all_keys),
        }),
      );
    }
    this.note.textContent = notes.filter(Boolean).join(" ");
    this.note.hidden = !this.note.textContent;
    await this.refresh();
  }

  /** Redraw what has changed, once all changes have arrived. @param {boolean} [everything] also for other texts or kinds */
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
    this.choice.show();
    this.thumbnails.choose(layer, head);
    const ended = this.waiting.begin(sayHeads("fetching_layer_head", { layer, head }));
    let weights;
    let groups;
    try {
      weights = this.maps.at(kindName, layer, head) ?? (await this.maps.get(kindName, layer, head));
      groups = await Groups.of(weights, this.state);
    } catch (error) {
      if (!(error instanceof Superseded) && turn === this.turn) {
        this.waiting.say("");
        this.shell.say(sayHeads("layer_head_cannot_be", { layer, head, why: error.message }));
      }
      return;
    } finally {
      ended();
    }
    if (turn !== this.turn || this.signal.aborted) return; // a later click has replaced this one
    this.waiting.say("");
    this.shell.say("");
    this.weightsHere = weights;
    this.groups = groups;
    this.shown = { kind: kindName, layer, head };
    this.layerHeads = new Map([[head, weights]]);
    this.pins.fetch(() => turn === this.turn && !this.signal.aborted);
    const other = this.drawnOf && this.drawnOf !== weights; // another head, or the same head under other edits
    this.drawnOf = weights;
    if (other) crossFade(this.mapPanel.canvas, () => this.shell.draw(), FADES);
    else this.shell.draw();
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
        return this.shell.say(
          sayHeads("layer_head_cannot_be", { layer, head, why: error.message }),
        );
      }
    }
    this.#follow();
  }

  /** The queries and the keys on view. @returns {[import("./between.js").Span, import("./between.js").Span]} */
  #spans() {
    const { block, kind } = this.state;
    return block
      ? [block.a, block.b]
      : [
          [0, kind.queries],
          [0, kind.keys],
        ];
  }

  /** The queries among which a head's largest weight is searched. */
  #someQueries() {
    const [[from, to]] = this.#spans();
    const queries = to - from;
    const count = Math.min(queries, queries > MANY_QUERIES ? 256 : queries);
    return Array.from(
      { length: count },
      (_, i) => from + Math.round((i * (queries - 1)) / Math.max(1, count - 1)),
    );
  }

  /** Draw what was fetched last, in the current colours. */
  draw() {
    if (!this.weightsHere) return;
    const { shell, state, maps } = this;
    // Read before anything is written, so that the page is laid out only once.
    const fixed = (this.fixed = hasFixedHeight(this.panels, this.fixed));
    this.sharedPlace.show();
    const { options, valueWeighted, block, kind } = state;
    const smallTable = colourTable(options.colours ?? "default", shell.theme);
    const table = maps.signed ? colourTable("diverging", shell.theme) : smallTable;
    this.choice.show();
    this.viewControls.show();
    this.signed = maps.signed;
    this.rowOf = this.rowsOf(this.weightsHere);
    this.nothing = block ? null : this.nothingOf(this.weightsHere);
    const beside = this.groups ? [] : this.pins.scenes();
    const main = this.groups
      ? this.groups.scene
      : {
          ...drawnOf(this.weightsHere),
          rowOf: this.rowOf,
          nothing: this.nothing,
          signed: maps.signed,
        };
    const ends = [main, ...beside].map((scene) => this.#ends(scene));
    const most = Math.max(...ends.map((one) => one.most));
    this.end = scaleEnd(Math.max(...ends.map((one) => one.end)), !valueWeighted && !maps.signed);
    this.panels.classList.toggle("tl-pinned", beside.length > 0);
    const layout = this.panels.className;
    this.#saySmall();
    const small = this.maps.thumbnails(state.kindName);
    this.headsPanel.draw(small, smallTable, fixed, shell.inks, layout);
    say(this.mapPanel.title, headTag(this.shown.layer, this.shown.head));
    this.#showFlags();
    this.mapPanel.draw({
      queries: kind.query_tokens,
      keys: kind.key_tokens,
      bounds: this.#spans(),
      causal: kind.causal,
      offset: kind.all_keys - kind.all_queries,
      hidden: state.hidden,
      cuts: maps.cuts(this.shown),
      caption: this.#mapCaption(),
      measure: kind.measure ?? sayHeads("attention_weight"),
      signed: maps.signed,
      small: maps.signed || block || this.weightsHere.tiles ? null : this.#smallOf(small),
      ...main,
      end: this.end,
      clipped: most > this.end * 1.0001,
      table,
      inks: shell.inks,
      fixed,
      layout,
      beside: beside.map((one) => ({ ...one, table: one.signed ? table : smallTable })),
    });
    this.pins.show(beside);
    this.linesPanel.measure(fixed, layout);
    this.linesPanel.showChoice();
    this.#seek();
    this.#follow();
    this.does.drawn();
  }

  /** The chosen head's thumbnail. @param {ReturnType<import("./store.js").HeadStore["thumbnails"]>} of */
  #smallOf({ shades, grid: { heads, width, height } }) {
    const from = (this.shown.layer * heads + this.shown.head) * width * height;
    return { width, height, shades: shades.subarray(from, from + width * height) };
  }

  #saySmall() {
    const { kind, hidden, valueWeighted, block } = this.state;
    const rows = kind.long?.small_rows ?? kind.queries;
    const notes =
      rows < kind.queries
        ? [sayHeads("small_maps_sampled", { rows, queries: kind.queries.toLocaleString("en") })]
        : [];
    if (hidden || valueWeighted) notes.push(sayHeads("the_small_maps_stay"));
    else if (block) notes.push(sayHeads("the_small_maps_are"));
    say(this.headsPanel.note, notes.join(" "));
  }

  /** Say that the numbers were changed here. */
  #showFlags() {
    const { options, kind, valueWeighted } = this.state;
    const left = [
      options.hide_first && sayHeads("the_first_token"),
      options.hide_special && kind.special.length && sayHeads("special_tokens"),
    ].filter(Boolean);
    const notes = left.length
      ? [sayHeads("without_what_is_left", { left: left.join(" and ") })]
      : [];
    if (valueWeighted)
      notes.push(sayHeads("each_weight_is_multiplied", { value_note: kind.value_note }));
    notes.push(...this.maps.flags(this.shown));
    say(this.flag, notes.join(" "));
    this.flag.hidden = !notes.length;
  }

  /** Mark the cut edges, before the weights have arrived. */
  markCuts() {
    const { scene } = this.mapPanel.map;
    if (!scene) return;
    scene.cuts = this.maps.cuts(this.shown);
    this.marks();
  }

  /** The largest number of a map, and the end of its colour scale. */
  /** @param {any} scene */
  #ends({ rowOf, nothing, signed, ends }) {
    if (ends) return ends;
    const rows = rowsWithin(rowOf, this.state.block, this.state.kind.keys);
    const tops = this.#someQueries().map((query) =>
      Math.max(highest(rows(query)), Math.abs(nothing?.(query) ?? 0)),
    );
    const most = Math.max(...tops);
    return {
      most,
      end: isLong(tops.length) && !signed ? Math.min(most, 2.5 * median(tops)) : most,
    };
  }

  /** A head's rows as shown; both sides of a difference have the same keys left out. @param {any} weights */
  rowsOf(weights) {
    if (!weights.before) return this.state.shownRows(weights);
    const [before, after] = [weights.before, weights.after].map((one) => this.state.shownRows(one));
    return (query) => {
      const [was, is] = [before(query), after(query)];
      return is.map((weight, key) => weight - was[key]);
    };
  }

  /**
   * Each row's weight to nothing; null if the layer's heads cannot attend to nothing, and with
   * weights times values: nothing has no value.
   */
  nothingOf(weights, layer = this.shown.layer) {
    if (!this.#sinks(layer) || this.state.valueWeighted) return null;
    const { before, after } = weights;
    return before
      ? (query) => after.nothing(query) - before.nothing(query)
      : (query) => weights.nothing(query);
  }

  #sinks(layer = this.shown.layer) {
    return Boolean(this.state.kind.sinks?.includes(layer));
  }

  /** What the numbers of the map are; if they were changed here, a flag says so instead. */
  #mapCaption() {
    const { kind, valueWeighted, hidden } = this.state;
    if (valueWeighted || hidden || this.groups) return "";
    if (kind.caption) return kind.caption;
    if (this.state.block) return sayHeads("raw_attention_weights_from");
    const sum = kind.keys === kind.all_keys || kind.causal;
    if (this.maps.signed)
      return sayHeads("change_of_raw_attention", { sum, nothing: this.#sinks() });
    return sayHeads("raw_attention_weights", {
      edited: this.maps.edited,
      sum,
      nothing: this.#sinks(),
    });
  }

  /**
   * The spot that sentences are about; for a long text only the selected one, since only its rows
   * are fetched.
   */
  get focus() {
    const { selected } = this.state;
    return this.weightsHere.tiles
      ? selected
      : (this.hover ?? selected ?? this.does.rests?.() ?? null);
  }

  /** Whether the weights of the selection are still to arrive. */
  #comes() {
    const { weightsHere: weights } = this;
    const { selected } = this.state;
    const name = JSON.stringify(selected);
    if (!selected || !weights.tiles || this.untold === name) return false;
    const brought = weights.bring(selected);
    brought?.then(
      () => this.marks(),
      (error) => {
        this.untold = name;
        this.shell.say(sayHeads("what_is_selected_cannot", { why: error.message }));
        this.marks();
      },
    );
    return Boolean(brought);
  }

  /** Draw what follows the selection: marks, lines, sentence, numbers. */
  #follow() {
    if (!this.weightsHere || !this.mapPanel.map.scene || this.signal.aborted) return;
    const { selected, block } = this.state;
    this.mapPanel.mark(this.hover, this.groups ? null : selected);
    const [a, b] = this.#spans();
    this.root.classList.toggle("tl-locked", Boolean(selected));
    this.root.dataset.between = block ? `${a},${b}` : "";
    this.root.dataset.selected = selected ? `${selected.query ?? ""},${selected.key ?? ""}` : "";
    if (this.#comes()) return;
    this.#drawLines();
    this.#speak();
    this.pins.follow(this.hover, selected);
    this.does.followed?.();
    const { layer, head } = this.shown;
    const zooms = this.mapPanel.zoomable ? sayHeads("the_wheel_and_zoom") : "";
    this.mapPanel.canvas.ariaLabel = sayHeads("map_of_layer_head", {
      layer,
      head,
      a: a[1] - a[0],
      b: b[1] - b[0],
      part:
        !block && this.#sinks() && !this.state.valueWeighted ? sayHeads("and_what_goes_to") : "",
      text: this.readout.text,
      zooms,
    });
  }

  /** For a long text, fetch the strongest edges of the part on view, or of the marked part. */
  async #seek() {
    const { weightsHere: pyramid, mapPanel, groups } = this;
    const { block, kind } = this.state;
    if (!pyramid?.tiles) return;
    const { query, key, queries, keys } = groups
      ? { query: 0, key: 0, queries: kind.queries, keys: kind.keys }
      : mapPanel.part;
    const whole = !block && queries === kind.queries && keys === kind.keys;
    const name = JSON.stringify([pyramid.name, pyramid.letters, query, key, queries, keys]);
    if (name === this.sought) return;
    this.sought = name;
    const inside = ([q, k]) => q >= query && q < query + queries && k >= key && k < key + keys;
    const known = pyramid.info.strongest.filter(inside);
    this.strongest = {
      edges: known,
      whose: whole
        ? sayHeads("of_this_head")
        : block
          ? sayHeads("from_a_to_b")
          : sayHeads("of_the_part_on"),
    };
    if (whole) return this.marks();
    const edges = await pyramid
      .strongest([query, query + queries], [key, key + keys])
      .catch(() => known);
    if (name !== this.sought || this.signal.aborted) return;
    this.strongest = { ...this.strongest, edges };
    this.marks();
  }

  #drawLines() {
    const { shell, shown } = this;
    const { block, kind } = this.state;
    const rowsOf = (head, given) => {
      const weights = given.before ? given.after : given; // lines show weights, not changes
      return {
        head,
        rowOf: rowsWithin(
          weights === this.weightsHere ? this.rowOf : this.rowsOf(weights),
          block,
          kind.keys,
        ),
        nothing: block ? null : this.nothingOf(weights),
      };
    };
    const { tiles } = this.weightsHere;
    this.linesPanel.draw({
      layer: shown.layer,
      head: shown.head,
      rows: [...this.layerHeads].map(([head, weights]) => rowsOf(head, weights)),
      hover: tiles ? null : this.hover,
      end: this.end,
      inks: shell.inks,
      strongest: tiles && this.strongest,
      columnOf: tiles && ((key) => this.weightsHere.column(key)),
    });
  }

  /** Each row's weight to nothing, computed once per head. */
  shares() {
    const of = this.nothingOf(this.weightsHere);
    if (of && this.weightsHere.tiles) {
      const query = this.state.selected?.query ?? null;
      return query === null ? null : { [query]: of(query) };
    }
    if (this.sharesOf === this.rowOf) return this.given;
    this.sharesOf = this.rowOf;
    this.given =
      of && Float32Array.from({ length: this.state.kind.queries }, (_, query) => of(query));
    return this.given;
  }

  /** The spot whose number is shown, and the number; or the text for a cell of many weights. */
  #number() {
    const { hover, groups, weightsHere: weights } = this;
    const { selected, kind } = this.state;
    const spot = hover ?? selected;
    if (hover && groups) return { words: groups.words(hover) };
    if (hover?.level) return { words: cellWords(hover, weights.cell(hover)) };
    if (!spot || spot.query === null || (spot.key === null && !spot.nothing)) return { spot };
    if (spot.nothing) return { spot, value: this.shares()?.[spot.query] };
    const value = weights.tiles
      ? weights.value(spot.query, spot.key)
      : this.rowOf(spot.query)[spot.key];
    return { spot: spot.query < kind.queries && Number.isFinite(value) ? spot : null, value };
  }

  #speak() {
    const { shown, maps, focus, weightsHere: weights } = this;
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
      focus,
      plain: Boolean(this.does.rests?.()),
      number: this.#number(),
      locked: Boolean(selected) && (!this.hover || sameSpot(this.hover, selected)),
      rowOf: this.rowOf,
      columnOf: weights.tiles ? (key) => weights.column(key) : null,
      overall: weights.tiles && weights.info.sentence,
      changed: Boolean(hidden) || valueWeighted,
      error: weights.error,
    });
  }
}

const inWords = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

const fromTo = (from, count) => (count > 1 ? `${from}–${from + count - 1}` : String(from));

/** The text for a cell of many weights. @param {any} cell @param {{most: number, share: number} | null} found @returns {(string | Node)[]} */
function cellWords({ query, key, queries, keys }, found) {
  if (!found) return [];
  const number = element("b#number", found.most.toFixed(4));
  return [
    sayHeads("at_most", { from_to: fromTo(query, queries), from_to2: fromTo(key, keys) }),
    number,
    sayHeads("a_query_gives_them", { share: found.share }),
  ];
}
