// Two traces on the same axes: every head by how much it differs, both maps, and the difference.

import { fixed, messages, numbered, percentText } from "../shared/messages.js";
import { SELECTION, tokensOf, within } from "../shared/scene.js";
import { align } from "./align.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const LONGEST = 256; // tokens of the aligned texts
const LEAST_MOVE = 5e-4; // smaller changes of a weight do not count
const DEEP_FROM = 5; // ratio of layers to heads from which cells are not square, since they would be specks
const fourDigits = (value) => (Number.isNaN(value) ? "–" : fixed(value, 4));

const headOf = ({ kind, layer, head }) => `${kind}/${layer}/${head}`;
const movedOf = ({ kind }) => `moved/${kind}`;

/** Both maps of a head, and what follows from them. */
class Compared {
  /** @param {any} s @param {Float32Array} numbers both maps @param {Float32Array} moved [layer, head] */
  constructor(s, numbers, moved) {
    const { queries, keys } = s.size;
    this.s = s;
    this.cells = queries * keys;
    this.first = numbers.subarray(0, this.cells);
    this.second = numbers.subarray(this.cells, 2 * this.cells);
    this.difference = Float64Array.from(this.second, (y, i) => y - this.first[i]);
    this.change = `${s.names[1]} − ${s.names[0]}`;
    this.moved = moved;
    this.most = Math.max(...this.moved.filter((x) => !Number.isNaN(x)));
  }

  /** Whether a key comes after a query that cannot attend to later keys. */
  ahead(query, key) {
    const { causal, nothing, keys } = this.s.size;
    return causal && key > query && !(nothing && key === keys - 1);
  }

  /** The pairs with the largest differences, in one row or in all. */
  largest(count, row = null, least = 0.00005) {
    const { keys } = this.s.size;
    const [from, to] = row === null ? [0, this.cells] : [row * keys, (row + 1) * keys];
    const found = [];
    for (let i = from; i < to; i++)
      if (Math.abs(this.difference[i]) >= least)
        found.push({ query: Math.floor(i / keys), key: i % keys, at: i });
    const by = ({ at }) => Math.abs(this.difference[at]);
    return found.sort((a, b) => by(b) - by(a)).slice(0, count);
  }

  /** Values for a message about two tokens. */
  pair(query, key) {
    const { query_names: queries, key_names: names, keys, nothing, causal } = this.s.size;
    const [x, y] = [this.first, this.second]
      .map((map) => map[query * keys + key])
      .map((value) => (Number.isNaN(value) ? null : value));
    const isNothing = Boolean(nothing) && key === keys - 1;
    const later = causal && key > query && !isNothing;
    return {
      query: numbered(queries, query),
      key: numbered(names, key),
      nothing: isNothing,
      later,
      x,
      y,
    };
  }

  /** Values of the sentence. */
  values(query, key) {
    const { s, moved, most: top } = this;
    const {
      kind,
      layer,
      head,
      several,
      names: [a, b],
      size: { keys, heads, query_names: queries, query_parts: parts },
    } = s;
    const values = { kind, layer, head, several, a, b };
    if (query !== null && key !== null)
      return { ...values, focus: "pair", ...this.pair(query, key) };
    const [largest] = this.largest(1, query, LEAST_MOVE);
    const change = largest ? say("pair", { a, b, ...this.pair(largest.query, largest.key) }) : null;
    if (query !== null) {
      const [x, y] = [this.first, this.second].map((map) =>
        map.subarray(query * keys, (query + 1) * keys),
      );
      const only = x.every(Number.isNaN) ? b : y.every(Number.isNaN) ? a : null;
      const share = x.reduce((sum, value, i) => sum + Math.abs((y[i] || 0) - (value || 0)), 0) / 2;
      return { ...values, focus: "query", change, query: numbered(queries, query), only, share };
    }
    const [best, here] = [moved.indexOf(top), layer * heads + head];
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

  get note() {
    const {
      names: [name, name2],
      size: kind,
    } = this.s;
    const { key_names: names, key_parts: keys, query_parts: queries, counts, heads } = kind;
    const swapped = names.some((one, i) => one.includes("/") && keys.every((side) => side[i] >= 0));
    const notes = [
      ["x_y_x_in", swapped],
      ["grey_rows_and_columns", [...keys, ...queries].some((side) => side.includes(-1))],
      ["grey_above_the_diagonal", kind.causal],
      ["dashed_what_goes_to", kind.nothing],
      ["grey_in_the_grid", counts.some((count) => count < heads)],
    ];
    const shown = notes.filter(([, is]) => is);
    return shown.map(([key]) => say(key, { name, name2 })).join(" ");
  }

  /** The grid of heads. */
  get grid() {
    const { s, moved, most } = this;
    const { layers, heads, counts } = s.size;
    const { grid: over } = s.hover;
    const there = over && over.row !== null && over.column !== null;
    const hover = there && over.column < counts[over.row] ? over : null;
    const { row, column } = hover ?? { row: s.layer, column: s.head };
    const [start, text, rest] = [
      say("layer_head", { row, column }),
      percentText(moved[row * heads + column], 1),
      say("of_its_attention_moved"),
    ];
    return {
      part: "grid",
      title: say("how_much_each_head"),
      hint: say("layer_head_click_one"),
      hover,
      line: [start, { part: "moved", text }, rest],
      says: say("every_head_by_how", { grid_line: `${start}${text}${rest}` }),
      mark: {
        type: "matrix",
        values: { shape: [layers, heads], values: moved },
        rows: { title: say("layer") },
        columns: { title: say("head_axis") },
        end: most > 0.5 ? 1 : most > 0.05 ? Math.ceil(most * 10) / 10 : 0.05,
        square: layers < DEEP_FROM * heads,
        means: say("fraction_of_attention_that"),
        chosen: [s.layer, s.head],
      },
    };
  }

  /** Both maps, and their difference. @param {string} title @param {string} sentence */
  maps(title, sentence) {
    const { names, selected, size } = this.s;
    const { query_names: rows, key_names: columns, nothing } = size;
    const keys = columns.length - (nothing ? 1 : 0);
    const beside = (values) => ({
      beside: rows.map((_, query) => values[(query + 1) * columns.length - 1]),
      beside_name: columns[keys],
    });
    const sides = [
      [names[0], this.first],
      [names[1], this.second],
      [this.change, this.difference],
    ];
    const maps = sides.map(([name, all], i) => {
      const values = Float32Array.from(all, (x, at) =>
        this.ahead(Math.floor(at / columns.length), at % columns.length) ? NaN : x,
      );
      return {
        type: "matrix",
        name,
        every: values, // with attention to no key
        values: {
          shape: [rows.length, keys],
          values: values.filter((_, at) => at % columns.length < keys),
        },
        rows: { title: "query", labels: rows, tokens: true },
        columns: { title: "key", labels: columns.slice(0, keys), tokens: true },
        end: i < 2 ? 1 : Math.max(0.1, ...all.map((x) => Math.abs(x) || 0)),
        signed: i === 2,
        power: 0.5,
        chosen: selected?.[1] === keys ? [selected[0], null] : selected,
        ...(nothing ? beside(values) : {}),
      };
    });
    const mark = { type: "maps", maps, rows, columns, apart: Boolean(nothing), sentence };
    return { part: "maps", title, hint: say("row_attends_to_column"), mark };
  }

  /** The numbers of the cell in focus. */
  readout(spot) {
    if (!spot || spot.query === null || spot.key === null) return null;
    const {
      names: [a, b],
      size: { keys, query_names: queries, key_names: names },
    } = this.s;
    const at = spot.query * keys + spot.key;
    const number = (part) => ({ part: `number-${part}`, text: fourDigits(this[part][at]) });
    const pair = [{ token: queries[spot.query] }, " → ", { token: names[spot.key] }, ": "];
    const sides = [
      number("first"),
      " in ",
      { token: a },
      ", ",
      number("second"),
      " in ",
      { token: b },
    ];
    return [...pair, ...sides, say("difference_word"), number("difference")];
  }

  table(title) {
    const {
      names,
      size: { query_names: queries, key_names: keys },
    } = this.s;
    return {
      name: say("the_five_largest_changes"),
      caption: say("the_largest_changes", { map_title: title }),
      names: [say("edge"), ...names, say("difference_2")],
      rows: this.largest(5).map(({ query, key, at }) => [
        [{ token: queries[query] }, " → ", { token: keys[key] }],
        ...[this.first, this.second, this.difference].map((map) => fourDigits(map[at])),
      ]),
    };
  }

  /** What a file holds. */
  get files() {
    const {
      names: [a, b],
      kind,
      layer,
      head,
      selected,
      size: { query_names, key_names, keys, nothing, layers, heads },
    } = this.s;
    const arrays = {};
    const sides = Object.entries({ a: this.first, b: this.second, difference: this.difference });
    for (const [name, map] of sides)
      arrays[name] = [
        ["query", "key"],
        (q, k) => (this.ahead(q, k) ? null : map[q * keys + k]),
        say("is_map", { name, a, b }),
      ];
    for (const [name, map] of nothing ? sides : [])
      arrays[`${name}_nothing`] = [
        ["query"],
        (q) => map[(q + 1) * keys - 1],
        say("is_nothing", { name, a, b }),
      ];
    arrays.moved = [["layer", "head"], this.moved, say("is_moved")];
    const key = nothing ? key_names.slice(0, -1) : key_names;
    const axes = {
      query: query_names,
      key,
      layer: [...Array(layers).keys()],
      head: [...Array(heads).keys()],
    };
    return { axes, arrays, chosen: { kind, layer, head, selected } };
  }
}

/** What the reader points at, or else the chosen pair, if the maps have it. */
function focusOf({ hover, selected, size: { queries, keys } }) {
  const focus = hover.maps ?? (selected && { query: selected[0], key: selected[1] });
  return focus && (focus.query ?? 0) < queries && (focus.key ?? 0) < keys ? focus : null;
}

function scene(s, found) {
  const compared = new Compared(s, found.get(headOf(s)).numbers, found.get(movedOf(s)).numbers);
  const { layers, heads, queries } = s.size;
  const title = say("head", s);
  const [first, second] = s.names;
  const focus = focusOf(s);
  const [{ query, key } = { query: queries - 1, key: 0 }] = compared.largest(1);
  const sentence = say("sentence", compared.values(focus?.query ?? null, focus?.key ?? null));
  return {
    name: headOf(s),
    title: say("title", { first, second, layer: s.layer, head: s.head }),
    subtitle: say("texts_compared", { layers, heads, first, second }),
    note: compared.note,
    sentence,
    panels: [[compared.grid, compared.maps(title, sentence)]],
    start: [query, key],
    readout: compared.readout(focus),
    table: compared.table(title),
    marked: { selected: s.selected ? s.selected.map((x) => x ?? "").join() : "" },
    ...compared.files,
  };
}

// ---- other texts ------------------------------------------------------------------------------

/** The axes of both texts: equal tokens side by side. */
function alignedAxis(texts) {
  const found = align(texts[0], texts[1]);
  const count = found.names.length;
  if (count > LONGEST)
    throw new Error(`the aligned texts have ${count} tokens; up to ${LONGEST} can be shown`);
  if (!found.first.some((i, place) => i >= 0 && found.second[place] >= 0))
    throw new Error("the two texts have no token in common; there is nothing to compare");
  return found;
}

function taken({ kinds }, texts) {
  const others = Object.entries(kinds).map(([kind, before]) => {
    const queries = alignedAxis(texts.map((read) => tokensOf(read, kind)));
    const ownKeys = (read) => (kind === "cross" ? read.text.tokens : tokensOf(read, kind));
    const keys = alignedAxis(texts.map(ownKeys));
    const now = {
      queries: queries.names.length,
      keys: keys.names.length,
      query_names: queries.names,
      key_names: keys.names,
      query_parts: [queries.first, queries.second],
      key_parts: [keys.first, keys.second],
    };
    return [kind, { ...before, ...now }];
  });
  return { _kinds: Object.fromEntries(others) };
}

/** Whether the patterns of every head are there. */
const complete = ({ kinds }, found) =>
  Object.entries(kinds).every(([kind, { layers, heads }]) =>
    Array.from({ length: layers * heads }, (_, i) => i).every((i) =>
      found.has(headOf({ kind, layer: Math.floor(i / heads), head: i % heads })),
    ),
  );

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "compare",
  say,
  traits: [...SELECTION, "_names"],
  texts: { taken, complete },
  least: 2,
  needs: (s) => [headOf(s), movedOf(s)],
  scene,
  parts: {
    grid: {
      size: [300, 420],
      pick: ({ size: { counts } }, { row, column }) =>
        column !== null && row !== null && column < counts[row] ? { layer: row, head: column } : {},
      move({ having, layer, head, size: { counts } }, [down, right]) {
        const to = having[within(having.indexOf(layer) + down, having.length)];
        return { layer: to, head: within(head + right, counts[to]) };
      },
    },
    maps: {
      names: ["first", "second"],
      widths: [480, 660],
      size: [Infinity, 470],
      start: ({ start }) => start,
    },
  },
  spot: ({ hover }) => hover.maps ?? null,
  pointed: (_, spot) => (spot ? { maps: spot } : {}),
  part: ({ layer, head }) => `layer-${layer}-head-${head}`,
  code({ kind, layer, head, selected }) {
    const at = selected?.every((x) => x !== null)
      ? `; view.selected = (${selected.join(", ")})`
      : "";
    return `view.kind, view.layer, view.head = "${kind}", ${layer}, ${head}${at}`;
  },
  failed(name, why) {
    const [, split, split2] = name.split("/");
    return say("layer_head_cannot_be", { split, split2, why });
  },
};
