// The head on view as numbers for a file.

import { numbersOf, single } from "../shared/files.js";
import { gathered } from "./zoom.js";
import { sayMap } from "../shared/map_sentences.js";

/** @param {import("./heads.js").Heads} heads @returns {import("../shared/files.js").Numbers} */
export function headNumbers(heads) {
  const { state, maps, shown, rowOf, weightsHere } = heads;
  const { kind, hidden, options, valueWeighted, block } = state;
  const { a, b } = block ?? { a: [0, kind.queries], b: [0, kind.keys] };
  const [queries, keys] = [kind.query_tokens.slice(...a), kind.key_tokens.slice(...b)];
  const reach = (query) => (kind.causal ? query + kind.keys - kind.queries : kind.keys);
  const cells = (rows) => {
    const [last, row] = [{ query: -1 }, { weights: /** @type {ArrayLike<number>} */ ([]) }];
    return (down, across) => {
      const [query, key] = [a[0] + down, b[0] + across];
      if (query !== last.query) [last.query, row.weights] = [query, rows(query)];
      return key > reach(query) || hidden?.[key] ? null : row.weights[key];
    };
  };
  const left = hidden ? Array.from(hidden.keys()).filter((key) => hidden[key]).join(", ") : null;
  const means = sayMap("is_map", {
    change: maps.signed, value: valueWeighted, measure: kind.measure ?? "attention weight", hidden: left, block: Boolean(block),
    q: a[0], q_end: a[1] - 1, k: b[0], k_end: b[1] - 1, error: String(single(weightsHere.error ?? 0)),
  });
  const name = kind.spread ? "spread" : maps.signed ? "change" : "weight";
  const arrayOf = (rows) => [["query", "key"], cells(rows), means];
  const pinned = heads.pins.now.map(({ tile: { place }, rowOf: rows }) => [`${name}_layer_${place.layer}_head_${place.head}`, arrayOf(rows)]);
  const nothing = block ? null : heads.shares();
  const selected = state.selected && [state.selected.query, state.selected.key];
  return numbersOf({ query: queries, key: keys }, {
    [name]: arrayOf(rowOf), ...Object.fromEntries(pinned), ...(nothing ? { nothing: [["query"], nothing, sayMap("is_nothing")] } : {}),
  }, {
    chosen: { kind: shown.kind, layer: shown.layer, head: shown.head, selected, ...Object.fromEntries(["a", "b", "pins"].map((trait) => [trait, state.model.get(trait)]).filter(([, value]) => value !== undefined)), ...options },
  });
}

/**
 * The part of a long map that is seen, as it is drawn: cells of so many tokens, each its largest weight.
 * @param {import("./long_heads.js").LongHeads} heads
 * @returns {import("../shared/files.js").Numbers}
 */
export function longNumbers({ mapPanel, shown, state, pyramid, grouped }) {
  const { drawing } = mapPanel;
  const { scene, level, cells } = drawing;
  const { size, pyramid: drawn } = scene;
  const { values, width } = gathered((...at) => drawn.tile(...at), level, cells, size.tile, drawn.info.level);
  const names = ([from, to], tokens) => Array.from({ length: to - from }, (_, i) => {
    const first = (from + i) * 2 ** level;
    return level ? `${first}–${Math.min(tokens.length, first + 2 ** level) - 1}` : tokens[first];
  });
  const selected = state.selected && [state.selected.query, state.selected.key];
  const what = grouped ? "share of the weight of a row's tokens that goes to a column's" : state.valueWeighted ? "attention weight times the length of what the value adds" : "attention weight";
  const largest = level || !grouped ? `largest of ${2 ** level} × ${2 ** level}: ` : "";
  return numbersOf({ query: names(cells.rows, scene.queries), key: names(cells.columns, scene.keys) }, {
    largest: [["query", "key"], (row, column) => values[row * width + column] * drawn.info.scale, `${largest}${what}; of the part on view${pyramid.letters ? ", some keys left out or weighted" : ""}`],
  }, { chosen: { kind: shown.kind, layer: shown.layer, head: shown.head, selected, a: state.model.get("a"), b: state.model.get("b"), ...state.options } });
}
