// The numbers of the head on view, for a file.

import { numbersOf, single } from "../shared/numbers.js";
import { sayShared } from "../shared/messages.js";
import { sayHeads } from "./scale.js";

/** @param {import("./heads.js").Heads} heads @returns {import("../shared/files.js").Numbers} */
export function headNumbers(heads) {
  const { state, maps, rowOf, weightsHere } = heads;
  if (weightsHere.tiles) return cellNumbers(heads);
  const { kind, hidden, valueWeighted, block } = state;
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
  const left = hidden
    ? Array.from(hidden.keys())
        .filter((key) => hidden[key])
        .join(", ")
    : null;
  const means = sayShared("is_map", {
    change: maps.signed,
    value: valueWeighted,
    measure: kind.measure ?? sayHeads("attention_weight"),
    hidden: left,
    block: Boolean(block),
    q: a[0],
    q_end: a[1] - 1,
    k: b[0],
    k_end: b[1] - 1,
    error: weightsHere.error ? String(single(weightsHere.error)) : "exact",
  });
  const name = kind.spread ? "spread" : maps.signed ? "change" : "weight";
  const arrayOf = (rows) => [["query", "key"], cells(rows), means];
  const pinned = heads.pins.now.map(({ tile: { place }, rowOf: rows }) => [
    `${name}_layer_${place.layer}_head_${place.head}`,
    arrayOf(rows),
  ]);
  const nothing = block ? null : heads.shares();
  return numbersOf(
    { query: queries, key: keys },
    {
      [name]: arrayOf(rowOf),
      ...Object.fromEntries(pinned),
      ...(nothing ? { nothing: [["query"], nothing, sayShared("is_nothing")] } : {}),
    },
    { chosen: chosenIn(heads) },
  );
}

function chosenIn({ state: { model, options, selected }, shown: { kind, layer, head } }) {
  const traits = ["a", "b", "pins"]
    .map((trait) => [trait, model.get(trait)])
    .filter(([, value]) => value !== undefined);
  return {
    kind,
    layer,
    head,
    selected: selected && [selected.query, selected.key],
    ...Object.fromEntries(traits),
    ...options,
  };
}

/**
 * The visible part of a long map, as it is drawn: cells of several tokens with their largest
 * weight, or sentences.
 */
function cellNumbers(heads) {
  const { weightsHere, groups, state } = heads;
  const {
    map: { level, scene },
    part,
  } = heads.mapPanel;
  const found = groups ? null : weightsHere.cells(part, level);
  const { rows, columns } = found?.cells ?? {
    rows: [part.query, part.query + part.queries],
    columns: [part.key, part.key + part.keys],
  };
  const names = ([from, to], tokens) =>
    Array.from({ length: to - from }, (_, i) => {
      const first = (from + i) * 2 ** level;
      return level ? `${first}–${Math.min(tokens.length, first + 2 ** level) - 1}` : tokens[first];
    });
  const what = groups
    ? sayHeads("fraction_of_the_weight")
    : state.valueWeighted
      ? sayHeads("attention_weight_times_the")
      : sayHeads("attention_weight");
  const means = sayHeads("of_the_part_on_view", {
    part: groups ? "" : sayHeads("largest_of", { n: 2 ** level }),
    what,
    part2: weightsHere.letters ? sayHeads("some_keys_left_out") : "",
  });
  const value = found
    ? (row, column) => found.values[row * found.width + column]
    : (row, column) => scene.rowOf(rows[0] + row)[columns[0] + column];
  return numbersOf(
    { query: names(rows, scene.queries), key: names(columns, scene.keys) },
    { largest: [["query", "key"], value, means] },
    { chosen: chosenIn(heads) },
  );
}
