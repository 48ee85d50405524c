// What a PositionView shows: the encoding, the curve by distance, the weights before and after a
// test.

import { alibiSlopes, attention, largestDifference, permutation, putBack } from "./math.js";
import {
  known,
  say,
  schemeCurves,
  schemeInHead,
  schemeMap,
  schemeNames,
  schemeNumbers,
} from "./schemes.js";
import { headTag } from "../shared/messages.js";
import { nested } from "../shared/numbers.js";
import { within } from "../shared/scene.js";
import { nearestStop } from "../shared/ticks.js";

const STOPS = {
  d_model: [4, 8, 16, 32, 64, 128, 256, 512],
  n_heads: [1, 2, 3, 4, 6, 8, 12, 16],
  base: [10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 500000, 1000000],
  length: [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512],
};
const LISTED = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256]; // distances of the table
const NAMED = 8; // curves with the word "head" before their number
const STATE = [
  "scheme",
  ...Object.keys(STOPS),
  "shift",
  "causal",
  "test",
  "shuffle",
  "layer",
  "head",
];

/** The part of the state that concerns the scheme. @param {any} state */
function schemeFacts(state) {
  const { scheme, given } = state;
  const own = given.scheme === scheme;
  const { vector } = known(scheme);
  const perHead = Math.max(2, 2 * Math.floor(state.d_model / state.n_heads / 2));
  const width = own ? (vector ? given.d_model : given.d_head) : vector ? state.d_model : perHead;
  const measured = !given.words ? null : own ? "own" : scheme === "none" ? "none" : null;
  const heads = own || measured ? given.n_heads : state.n_heads; // measured weights have the model's heads
  return {
    scheme,
    own,
    width,
    heads,
    measured,
    given,
    base: own ? given.base : state.base,
    halves: own && given.halves,
    head: Math.min(state.head, heads - 1),
    causal: own || measured ? given.causal : state.causal,
    trained: own && state.table.length > 0 ? state.table : null,
  };
}

/** Distances key − query, and the scheme's value for each. */
function byDistance({ scheme, length }, facts) {
  const x = [];
  for (let d = -(length - 1); d <= (facts.causal ? 0 : length - 1); d++) x.push(d);
  return { x, what: known(scheme).by_distance, ...schemeCurves(facts, x, length) };
}

/** Weights before and after the test; of a model's heads, the largest change `everywhere`. */
function changeOf(state, facts) {
  const { names, own, before, changed, order, ...more } = facts.measured
    ? measured(state, facts)
    : random(state, facts);
  const after = order ? changed.map((weights) => putBack(weights, order)) : changed;
  const largest = before.map((weights, at) => largestDifference(weights, after[at]));
  return {
    ...more,
    names,
    n: names.length,
    order,
    causal: facts.causal,
    before: before[own],
    after: after[own],
    largest: largest[own],
    everywhere: facts.measured ? Math.max(...largest) : null,
  };
}

/** What every head of the model did. */
function measured({ given, maps, test, layer, shift, shuffle }, { measured: variant, head }) {
  const { layers, n_heads: heads, words, orders, shifts, changes } = given;
  const n = words.length;
  // In the order of the bytes: each variant's moves, the first of them by 0, then its shuffles.
  const from = variant === "own" ? 0 : Object.values(changes.own).flat().length;
  const every = (index) =>
    Array.from({ length: layers * heads }, (_, at) => {
      const first = (index * layers * heads + at) * n * n;
      return maps.subarray(first, first + n * n);
    });
  const [moves, moved] = [test === "move", test === "move" && variant === "own"];
  const which = moved ? nearestStop(shifts, shift) : moves ? 0 : shuffle % orders.length;
  return {
    names: words,
    own: Math.min(layer, layers - 1) * heads + head,
    before: every(from),
    changed: every(from + which + (moves ? 0 : changes[variant].move.length)),
    order: moves ? null : orders[which],
    output: changes[variant][test][which].output,
    shift: moved ? shifts[which] : shift,
  };
}

/** What one head with random queries and keys does. */
function random({ words: { names, ids }, shift, test, shuffle }, facts) {
  const scheme = { width: facts.width, ...schemeInHead(facts, shift + ids.length) };
  const weights = (of, first) => [attention(scheme, of, first, facts.causal)];
  const order = test === "shuffle" ? permutation(ids.length, shuffle) : null;
  const changed = order
    ? weights(
        order.map((i) => ids[i]),
        0,
      )
    : weights(ids, shift);
  return { names, own: 0, before: weights(ids, 0), changed, order, output: null, shift };
}

// ---- how it is written ------------------------------------------------------------------------

const distanceText = (d) =>
  !d ? say("the_token_itself") : `${Math.abs(d)} ${d < 0 ? "before" : "after"}`;

const stepText = (d) => (d > 0 ? `+${d}` : d < 0 ? `−${-d}` : "0");

/** A number with four decimals and a typographic minus sign. @param {number} value */
const four = (value) =>
  value
    .toFixed(4)
    .replace(/^-(0\.0+)$/, "$1")
    .replace("-", "−");

/** A number of the encoding's legend. @param {number} value */
const ofLegend = (value) =>
  four(Number(value.toPrecision(3)))
    .replace(/0{1,3}$/, "")
    .replace(/\.$/, "");

/** A line of pieces as one text. @param {any[]} line */
const textOf = (line) => line.map((one) => one.text ?? one.quiet ?? one).join("");

// ---- the parts --------------------------------------------------------------------------------

/** @template T @param {() => T} make @returns {() => T} */
function once(make) {
  const kept = [];
  return () => (kept.length ? kept[0] : kept[kept.push(make()) - 1]);
}

/** What is shown of some choices, whatever the reader points at. */
class Positions {
  /** @param {any} s @param {Map<string, any>} found @param {string} [name] of the choices */
  constructor(s, found, name = "") {
    const { given } = s;
    const [table, maps] = ["table", "maps"].map(
      (name) => found.get(name)?.numbers ?? new Float32Array(0),
    );
    const state = { ...s, given: given ?? {}, table, maps };
    const facts = schemeFacts(state);
    this.name = name;
    this.read = [given, found.size];
    this.state = state;
    this.facts = facts;
    this.words = known(s.scheme);
    this.change = changeOf(state, facts);
    this.title = this.words.added.replace("{head}", String(facts.head));
    this.unit = this.words.unit ?? "dimension";
    this.map = once(() => schemeMap(facts, s.length));
    this.mark = once(() => this.#picture());
    this.curve = once(() => byDistance(state, facts));
  }

  get sentence() {
    const { state, facts, change } = this;
    const { scheme, given, test } = state;
    const { own, width, heads, head, causal } = facts;
    return say("sentence", {
      scheme,
      own,
      width,
      pairs: Math.floor(width / 2),
      name: given.words ? given.name : null,
      head,
      causal,
      slope: alibiSlopes(heads)[head],
      test,
      shift: change.shift,
      largest: change.largest,
    });
  }

  get note() {
    const { facts, state } = this;
    const { own, measured, trained, given } = facts;
    const { name } = given;
    const part = measured ? say("its_own_weights_with") : say("computed_from_the_formula");
    const other = () =>
      say("has_positions_these_are", { name, name2: known(given.scheme).name, part });
    const of = name && (own ? say("the_sizes_are_those", { name }) : other());
    const more = say("note", { ...facts, scheme: state.scheme, trained: Boolean(trained) });
    return [of, more].filter(Boolean).join(" ");
  }

  // ---- the encoding ---------------------------------------------------------------------------

  /** What the encoding is drawn with. */
  #picture() {
    const map = this.map();
    if (!map) return { type: "note", text: this.words.nothing ?? "" };
    const { rows, columns, value, largest } = map;
    const [row, column] = this.names;
    return {
      type: "matrix",
      values: {
        shape: [rows, columns],
        values: Float64Array.from(nested([rows, columns], value).flat()),
      },
      rows: { title: row },
      columns: { title: column },
      end: largest || 1,
      signed: true,
    };
  }

  get names() {
    return this.map().what === "bias" ? ["query", "key"] : ["position", this.unit];
  }

  /** @param {any} cell pointed at */
  encoding(cell) {
    const { words, title, unit, state, change } = this;
    const [map, mark] = [this.map(), this.mark()];
    const panel = { part: "encoding", label: say("the_encoding"), title, note: words.source, mark };
    const still = [{ title: words.scale ?? title, mark }];
    if (!map) return { ...panel, still, line: [words.nothing] };
    const bias = map.what === "bias";
    const value = map.clipped ? say("value_larger_ones_have") : say("value");
    const line = this.#cellLine(map, cell);
    const { n, shift } = change;
    const brackets = [{ from: 0, to: n, ink: "quiet" }];
    if (state.test === "move" && shift)
      brackets.push({ from: shift, to: shift + n, ink: "accent" });
    return {
      ...panel,
      still,
      line,
      hint: bias ? say("query_key") : say("position", { unit_of: unit }),
      means: words.scale || (bias ? say("added_to_the_score") : value),
      write: (x, row) => (row === undefined ? ofLegend(x) : ""),
      square: bias,
      size: [Infinity, bias ? 340 : 320],
      brackets: bias ? [] : brackets.filter(({ to }) => to <= state.length),
      hover: cell.row === null ? null : cell,
      says: say("by_arrow_keys_move", {
        encoding: title,
        rows: map.rows,
        columns: map.columns,
        line: textOf(line),
      }),
    };
  }

  #cellLine(map, { row, column }) {
    const bias = map.what === "bias";
    if (row === null || column === null) {
      const marks = bias ? "" : say("bars_at_the_left");
      return [{ quiet: say("hover_over_a_cell_for", { marks }) }];
    }
    const value = map.value(row, column);
    const number = (x) => ({ text: four(x), part: "encoding-number" });
    if (Number.isNaN(value)) return [say("a_key_to_come")];
    if (bias) {
      const place = { row, column, distance_text: distanceText(column - row) };
      return [say("query_key_of", place), number(value)];
    }
    if (!map.angle) return [say("position_dimension", { row, column }), number(value)];
    const angle = map.angle(row, column);
    const degrees = ((angle * 180) / Math.PI) % 360;
    const more = say("rad_of_a_turn", { degrees, four: four(value) });
    return [say("position_pair_turned_by", { row, column }), number(angle), more];
  }

  /** Some columns of the encoding over the positions, if it has any. @param {any} cell */
  curves({ row, column }) {
    const { words, unit, state } = this;
    const map = this.map();
    if (!map || map.what === "bias") return [];
    // From fast to slow waves; for a learned table, some columns.
    const some = [0, 1 / 8, 1 / 4, 1 / 2].map((share) =>
      Math.min(map.columns - 1, 2 * Math.round((share * map.columns) / 2)),
    );
    const columns = [...new Set([...some, column ?? 0])].sort((a, b) => a - b);
    const x = Array.from({ length: state.length }, (_, p) => p);
    const curves = columns.map((at) => ({
      name: `${unit} ${at}`,
      x,
      y: x.map((p) => map.value(p, at)),
      ...(at === column ? { colour: "accent", thick: 2.5 } : {}),
    }));
    const says = columns.map((at) => `${unit} ${at}`).join(", ");
    const axes = { x: { title: "position" }, y: { title: map.what } };
    return [
      {
        part: "curves",
        title: words.curves,
        says: say("curves_over_positions_of", { state: state.length, columns: says }),
        mark: {
          type: "curves",
          curves,
          ...axes,
          y_range: words.curves_range,
          at: row,
          lock: false,
        },
        still: [],
      },
    ];
  }

  // ---- the distances --------------------------------------------------------------------------

  /** @param {number | null} at the distance pointed at @param {number} height */
  distances(at, height) {
    const { words, facts } = this;
    const { x, what, series, sampled } = this.curve();
    const single = series.length < 2;
    /** @param {import("./schemes.js").Series} one @param {boolean} short */
    const drawn = ({ name, head, y, band }, short) => ({
      name: single ? "" : short && series.length > NAMED ? String(head) : name,
      x,
      y: Float64Array.from(y),
      strong: !single && head === facts.head,
      ...(short && single && { thick: 2 }),
      ...(band && { band: [band.low, band.high].map((edge) => Float64Array.from(edge)) }),
    });
    const of = (short) => ({
      type: "curves",
      curves: series.map((one) => drawn(one, short)),
      x: { title: say("key_query_tokens") },
    });
    const line = this.#distanceLine(at, sampled);
    const { distance: title, distance_range: range } = words;
    return {
      part: "distances",
      label: say("by_position_and_by"),
      title,
      hint: words.hint,
      page: series.length > 0,
      size: [Infinity, height],
      line,
      says: say("arrow_keys_move_escape", { title, line: textOf(line) }),
      mark: { ...of(true), y: { title: what }, y_range: range, at, lock: false },
      still: [{ title, mark: { ...of(false), legend: !single && series.length <= NAMED } }],
    };
  }

  #distanceLine(at, sampled) {
    const { x, series } = this.curve();
    if (at === null || !series.length) {
      const more = sampled ? say("means_are_over_up") : "";
      return [{ quiet: say("hover_over_the_curve", { sampled: more }) }];
    }
    const i = x.indexOf(at);
    const { head } = this.facts;
    const { y, band } = series[Math.min(head, series.length - 1)];
    return [
      `${series.length > 1 ? say("head_of", { head }) : ""}${distanceText(at)} (${stepText(at)}): `,
      { text: four(y[i]), part: "distance-number" },
      band ? ` (${four(band.low[i])} … ${four(band.high[i])})` : "",
    ];
  }

  get table() {
    const { x, what, series } = this.curve();
    const listed = LISTED.map((d) => x.indexOf(-d)).filter((i) => i >= 0);
    const several = series.length > 1;
    return {
      name: say("by_distance_as_a"),
      caption: say("by_tokens_before_the", { name: this.words.name, what }),
      names: [
        say("before"),
        ...(several ? series.map(({ head }) => say("head_2", { head })) : [what]),
      ],
      rows: listed.map((i) => [String(Math.abs(x[i])), ...series.map(({ y }) => four(y[i]))]),
    };
  }

  // ---- the weights ----------------------------------------------------------------------------

  /** The cell in focus: its names and its numbers. @param {any} focus */
  #cell(focus) {
    const { query = null, key = null } = focus ?? {};
    const { n, names, before, after } = this.change;
    if (query === null || key === null || Math.max(query, key) >= n) return null;
    const [was, is] = [before, after].map((weights) => four(weights[query * n + key]));
    return { from: names[query], to: names[key], before: was, after: is };
  }

  /** What the test changes. @param {any} focus the pair pointed at, or else chosen */
  weights(focus) {
    const { state, facts, change, captions } = this;
    const { names, order, everywhere, output } = change;
    const cell = this.#cell(focus);
    const largest = (value) => say("largest", { largest: value });
    const min = Math.min(state.layer, state.given.layers - 1);
    const more = [];
    if (everywhere !== null) more.push(say("of_any_head", { largest: largest(everywhere) }));
    if (typeof output === "number")
      more.push(say("of_a_logit", { part: output < 5e-5 ? largest(output) : output.toFixed(2) }));
    return {
      part: "change",
      label: say("what_changes"),
      title: facts.measured
        ? say("what_changes_in_layer", { min, head: facts.head })
        : say("what_changes_in_one"),
      controls: this.tests,
      line: [
        say("largest_change_of_a"),
        { text: largest(change.largest), part: "largest" },
        ...more,
        ".",
        ...(order ? [" Order: ", ...order.flatMap((i) => [{ token: names[i] }, " "])] : []),
      ],
      cell: cell
        ? [
            { token: cell.from },
            " → ",
            { token: cell.to },
            ": ",
            { text: cell.before, part: "number-before" },
            " before, ",
            { text: cell.after, part: "number-after" },
            " after",
          ]
        : [{ quiet: say("hover_over_a_cell") }],
      mark: {
        type: "maps",
        maps: captions.map((name, i) => ({ name, ...this.#weightsMark(i) })),
        rows: names,
        columns: names,
        captions: [...captions, say("after_before")],
        sentence: cell ? say("to_before_after", cell) : "",
      },
    };
  }

  /** Titles of the weights before and after. */
  get captions() {
    const { n, shift } = this.change;
    return this.state.test === "move"
      ? [say("positions", { n: n - 1 }), say("positions_of", { shift, n: shift + n - 1 })]
      : [say("as_written"), say("shuffled_words_put_back")];
  }

  #weightsMark(i) {
    const { before, after, n, names, causal } = this.change;
    const most = Math.max(...before, ...after);
    const axis = { labels: names, tokens: true };
    const every = Float64Array.from([before, after][i], (x, at) =>
      causal && at % n > Math.floor(at / n) ? NaN : x,
    );
    return {
      type: "matrix",
      values: { shape: [n, n], values: Float32Array.from(every) },
      every,
      rows: axis,
      columns: axis,
      means: i ? say("weight_label") : "",
      end: most > 0.5 ? 1 : most || 1,
      power: 0.5,
      square: true,
    };
  }

  // ---- controls, and numbers ------------------------------------------------------------------

  /** The controls of the scheme and its sizes. */
  get sizes() {
    const { state, words, facts } = this;
    const { given } = state;
    const schemes = [...new Set([...schemeNames(), given.scheme ?? "none"])];
    const may = (part, value) =>
      (part !== "n_heads" || !words.heads_divide || state.d_model % (2 * value) === 0) &&
      (part !== "length" || !facts.own || !given.n_ctx || value <= given.n_ctx);
    const size = (part, label, title, text) => {
      const off = facts.own && part !== "length";
      const value = (off ? given : state)[part] ?? state[part];
      const stops = STOPS[part].filter((one) => may(part, one));
      const values = stops.includes(value) ? stops : [...stops, value].sort((a, b) => a - b);
      const hidden = part !== "length" && !words.sizes.includes(part);
      return { part, label, title, text, value, values, off, hidden };
    };
    const grouped = (value) => value.toLocaleString("en");
    return [
      {
        part: "scheme",
        label: say("positions_label"),
        chosen: state.scheme,
        choices: schemes.map((value) => ({ value, text: known(value).name })),
      },
      size("d_model", "d_model", say("numbers_in_the_residual")),
      size("n_heads", say("heads"), say("heads_that_share_d")),
      size("base", say("base"), say("the_slowest_wave_turns"), grouped),
      size("length", say("length"), say("positions_that_are_shown"), tokens),
    ];
  }

  /** The controls of the test, and of the head on view if heads differ. */
  get tests() {
    const { state, words, facts, change } = this;
    const { given, length, shift, shuffle, test } = state;
    const { own, measured, heads, causal, head } = facts;
    const moves =
      measured === "own"
        ? given.shifts
        : Array.from({ length: Math.max(0, length - change.n) + 1 }, (_, i) => i);
    const layers = measured ? given.layers : 0;
    const count = measured || words.per_head ? heads * (layers || 1) : 0;
    const choice = (value, text) => ({ value, text });
    return [
      {
        part: "test",
        label: say("test"),
        quiet: true,
        chosen: test,
        choices: [
          choice("move", say("move_the_sentence")),
          choice("shuffle", say("shuffle_the_words")),
        ],
      },
      {
        part: "shift",
        label: say("move_by"),
        title: say("where_the_sentence_begins"),
        values: moves,
        value: shift,
        text: tokens,
        hidden: test !== "move",
      },
      test === "shuffle" && {
        part: "again",
        label: say("shuffle_again"),
        sets: { shuffle: shuffle + 1 },
      },
      {
        part: "causal",
        label: say("causal_mask"),
        title: say("whether_each_word_attends"),
        on: causal,
        hidden: own || measured,
      },
      count > 1 && {
        part: "head",
        label: say("head_label"),
        count,
        chosen: (layers && Math.min(state.layer, layers - 1)) * heads + head,
        around: true,
        text: (at) => (layers ? headTag(Math.floor(at / heads), at % heads) : `H${at}`),
        set: (at) => ({ layer: Math.floor(at / heads), head: at % heads }),
      },
    ].filter(Boolean);
  }

  /** The numbers of a file: weights before and after, the curve by distance, the encoding. */
  get files() {
    const { change, captions, words } = this;
    const { n, names, causal } = change;
    const [map, { x, what, series }] = [this.map(), this.curve()];
    const weights = (part, i) => [
      ["query", "key"],
      (query, key) => (causal && key > query ? null : change[part][query * n + key]),
      say("attention_weight", { caption: captions[i] }),
    ];
    const [first] = series;
    const banded = Boolean(first?.band);
    const lines = banded ? [first.y, first.band.low, first.band.high] : series.map(({ y }) => y);
    const axes = {
      query: names,
      key: names,
      distance: x,
      ...(banded ? { line: ["mean", "least", "most"] } : { head: lines.map((_, head) => head) }),
    };
    const arrays = {
      before: weights("before", 0),
      after: weights("after", 1),
      by_distance: [
        [banded ? "line" : "head", "distance"],
        (at, i) => lines[at][i],
        say("by_key_query_in", { what }),
      ],
    };
    if (map) {
      const [row, column] = this.names.map((name) => say("encoding", { name }));
      Object.assign(axes, {
        [row]: [...Array(map.rows).keys()],
        [column]: [...Array(map.columns).keys()],
      });
      arrays.encoding = [[row, column], map.value, words.scale ?? this.title];
    }
    return { axes, arrays };
  }
}

const tokens = (n) => say("tokens", { n });

/** What was shown last with some answers: the reader may only have pointed at something else. @type {WeakMap<Map<string, any>, Positions>} */
const last = new WeakMap();

function positionsOf(s, found) {
  const name = JSON.stringify(STATE.map((trait) => s[trait]));
  const kept = last.get(found);
  if (kept?.name === name && kept.read[0] === s.given && kept.read[1] === found.size) return kept;
  const made = new Positions(s, found, name);
  last.set(found, made);
  return made;
}

/** The cell of the encoding that is pointed at, there or on its curves. */
function cellOf({ hover }, map) {
  const { row = null, column = null } = hover.encoding ?? {};
  const at = hover.curves == null ? row : Math.round(hover.curves);
  const beyond = !map || at >= map.rows || column >= map.columns; // the map is smaller now
  return beyond ? { row: null, column: null } : { row: at, column };
}

function scene(s, found) {
  const shown = positionsOf(s, found);
  const { facts, change, words, state } = shown;
  const { own, width, heads, causal } = facts;
  const [query, key] = s.selected ?? [null, null];
  return {
    shown,
    name: shown.name,
    title: words.name,
    subtitle: words.name,
    sentence: shown.sentence,
    note: shown.note,
    change,
    sizes: { own, width, heads, causal },
    marked: { largest: String(change.largest), selected: String(s.selected ?? "") },
    get encoding() {
      return schemeNumbers(facts, state.length);
    },
    get panels() {
      const cell = cellOf(s, shown.map());
      const curves = shown.curves(cell);
      const [first, end] = [1 - s.length, causal ? 0 : s.length - 1];
      const { distances: x = null } = s.hover;
      const at = x === null ? null : Math.max(first, Math.min(end, Math.round(x)));
      const distances = shown.distances(at, curves.length ? 180 : 300);
      return [
        [shown.encoding(cell), ...curves, distances],
        [shown.weights(s.hover.change ?? { query, key })],
      ];
    },
    get table() {
      return shown.curve().series.length ? shown.table : null;
    },
    get axes() {
      return shown.files.axes;
    },
    get arrays() {
      return shown.files.arrays;
    },
  };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "positions",
  say,
  traits: [...STATE, "selected", "_given", "_words"],
  needs: ({ given }) => [...(given?.table ? ["table"] : []), ...(given?.words ? ["maps"] : [])],
  scene,
  bare: true,
  controls: (s, found) => positionsOf(s, found).sizes,
  parts: {
    encoding: {
      reach({ shown }, [down, right], at) {
        const { rows, columns } = shown.map();
        const { row, column } = at ?? { row: -down, column: -right };
        return {
          row: within((row ?? 0) + down, rows),
          column: within((column ?? 0) + right, columns),
        };
      },
    },
    distances: { reach: (_, [, right], at) => (at ?? -right) + right, line: "distance-line" },
    change: {
      names: ["before", "after"],
      widths: [320, 560, 900],
      size: [Infinity, 300],
      start: ({ change }) => [change.n - 1, 0],
    },
  },
  spot: ({ hover }) => hover.change ?? null,
  pointed: (_, spot) => (spot ? { change: spot } : {}),
  part: ({ scheme }) => scheme,
  failed: (_, why) => why,
  code(s) {
    const model = s.given?.name ? "model" : `"${s.scheme}"`;
    const size = s.given?.name
      ? ""
      : `, d_model=${s.d_model}, n_heads=${s.n_heads}, base=${s.base}`;
    return `tl.views.PositionView(${model}${size}, length=${s.length}, shift=${s.shift}, test="${s.test}")`;
  },
};
