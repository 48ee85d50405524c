// Another text in a BlockView, on a page that carries its model. The counterpart of data.py.

import { viewOf } from "../pages/page_model.js";
import { aliveTextPage, tokensOf } from "../pages/text_page.js";
import { packedWalk } from "./stages.js";

const WALK = /^walk\/(\w+)\/(\d+)\/(\d+)\/(\d+)$/;

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const aliveWalks = (model, signal) =>
  aliveTextPage(model, signal, { traits: walkTraits, block: walkBlock, names: WALK });

async function walkTraits(ask, [texts], page) {
  const kinds = {};
  for (const [kind, before] of Object.entries(page.get("_kinds"))) {
    const tokens = tokensOf(texts, kind);
    kinds[kind] = { ...before, queries: tokens.length, keys: tokens.length, tokens };
  }
  const kind = page.get("kind");
  const { layers, heads, queries } = kinds[kind];
  const place = {
    kind,
    layer: Math.min(page.get("layer"), layers - 1),
    head: Math.min(page.get("head"), heads - 1),
    position: queries - 1,
  };
  const { info, buffers } = await walkOf(ask, texts, place, kinds);
  return { _kinds: kinds, _walk: info, _walk_data: buffers[0], _held: "" };
}

export async function walkBlock(ask, [texts], name, page) {
  const [, kind, ...places] = name.match(WALK) ?? [];
  if (!kind || !page.get("_kinds")[kind]) throw new Error("this page does not hold it");
  const [layer, head, position] = places.map(Number);
  return walkOf(ask, texts, { kind, layer, head, position }, page.get("_kinds"));
}

async function walkOf(ask, { of }, place, kinds) {
  const { steps, answers } = await ask({ ask: "steps", of, ...place });
  const { tokens, layers, positions } = kinds[place.kind];
  const named = async (likely) => {
    const names = await ask({ ask: "names", of, ids: likely.map(({ id }) => id) });
    return likely.map(({ probability }, i) => [names[i], probability]);
  };
  const around = {
    ...answers,
    tokens,
    positions,
    last: place.layer === layers - 1,
    here: !kinds.decoder,
    lens: await named(answers.lens),
    final: await named(answers.final),
  };
  const { info, numbers } = packedWalk(steps, around);
  return { type: "block", info, buffers: [viewOf(numbers)] };
}
