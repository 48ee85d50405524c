// Another text in a WhyView, on a page that carries its model.

import { viewOf } from "../pages/page_model.js";
import { aliveTextPage, tokensOf } from "../pages/text_page.js";

const CELL = /^cell\/(\w+)\/(\d+)\/(\d+)\/(\d+|-)\/(\d+|-)$/;

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const aliveScores = (model, signal) =>
  aliveTextPage(model, signal, { traits: scoreTraits, block: scoreBlock, names: CELL });

async function scoreTraits(ask, [read], page) {
  const kinds = {};
  for (const [kind, before] of Object.entries(page.get("_kinds"))) {
    const queries = tokensOf(read, kind);
    const keys = kind === "cross" ? read.text.tokens : queries;
    kinds[kind] = {
      ...before,
      queries: queries.length,
      keys: keys.length,
      query_tokens: queries,
      key_tokens: keys,
    };
  }
  const { info, buffers } = await cellOf(ask, read, {
    kind: page.get("kind"),
    layer: page.get("layer"),
    head: page.get("head"),
  });
  return { _kinds: kinds, _cell: info, _cell_data: buffers[0], _held: "" };
}

async function scoreBlock(ask, [read], name) {
  const [, kind, layer, head, ...places] = name.match(CELL) ?? [];
  if (!kind) throw new Error("this page does not hold it");
  const [query, key] = places.map((place) => (place === "-" ? null : Number(place)));
  return cellOf(ask, read, { kind, layer: Number(layer), head: Number(head), query, key });
}

async function cellOf(ask, { of }, place) {
  const { info, numbers, lastQuery, mostOfRow, mostOfKey } = await ask({
    ask: "score",
    of,
    ...place,
  });
  const { kind, layer, head, query, key } = info;
  const pairs = [
    [query, key],
    ...(mostOfRow ? [[query, "-"]] : []),
    ...(mostOfKey ? [["-", key]] : []),
    ...(lastQuery && mostOfRow ? [["-", "-"]] : []),
  ];
  const names = pairs.map((pair) => ["cell", kind, layer, head, ...pair].join("/"));
  return { type: "block", info: { ...info, names }, buffers: [viewOf(numbers)] };
}
