// The head on view as numbers for a file, named as Python names them (exported.py).

import { shortest } from "../shared/files.js";

/**
 * @param {import("./heads.js").Heads} heads
 * @returns {import("../shared/files.js").Numbers}
 */
export function headNumbers(heads) {
  const { state, maps, shown, rowOf, weightsHere } = heads;
  const { kind, hidden, options, valueWeighted } = state;
  const [queries, keys] = [kind.query_tokens.slice(0, kind.queries), kind.key_tokens.slice(0, kind.keys)];
  const reach = (query) => (kind.causal ? query + keys.length - queries.length : keys.length);
  const values = queries.map((_, query) => {
    const row = rowOf(query);
    return keys.map((_, key) => (key > reach(query) || hidden?.[key] ? null : shortest(row[key])));
  });
  const means = [
    maps.signed ? "difference, after the edits less before: " : "",
    valueWeighted ? "attention weight times the length of what the value adds" : kind.measure ?? "attention weight",
    hidden ? ", some keys left out and the rest scaled to the same sum" : "",
    `; this page holds each weight of the model to ${shortest(weightsHere.error ?? 0)}; empty where a query cannot look`,
  ].join("");
  const selected = state.selected && [state.selected.query, state.selected.key];
  return {
    arrays: { [kind.spread ? "spread" : maps.signed ? "change" : "weight"]: { axes: ["query", "key"], means, values } },
    axes: { query: queries, key: keys },
    chosen: { kind: shown.kind, layer: shown.layer, head: shown.head, selected, ...options },
  };
}
