// A text as the page's engine has read it, in the form that Python sends to a view of heads: the
// counterpart of heads/data.py.

import { viewOf } from "../pages/page_model.js";
import { standsFor, TextPage } from "../pages/text_page.js";
import { segmentsOfKind } from "../explorer/segments.js";

export const NO_BYTES = new DataView(new ArrayBuffer(0));

const SMALL_MAPS_UP_TO = 512; // tokens, as in explorer/view.py
const WEIGHTS = { encoding: "weights", error: 0 };
export const ONE_HEAD = /^\w+\/\d+\/\d+$/;
const MAPS = ["_thumbs", "_maps", "_norms"];
const ALL_MAPS_BYTES = 4 * 2 ** 20;
const LONGEST = 1024; // most tokens of a map that are shown
const THUMBNAIL = 32;

/** A key for a text: the same for the same words, masks and tokens. @param {import("../explorer/reading.js").Words} words */
export const readingName = ({ text, target, masked, given }) =>
  JSON.stringify([text, target, masked, given]);

/** Text that JSON and Python can hold. @param {string} text */
export const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "?");

/**
 * Describe each kind of attention on a text, and where its parts are in the bytes of all kinds.
 * @param {Record<string, any>} before the kinds of another text
 * @param {any} texts the engine's answer to "read"
 * @param {import("../explorer/segments.js").Segment[]} [segments] named parts of the text
 */
export function kindsOf(before, texts, segments = []) {
  const kinds = {};
  let [thumbs, maps, norms] = [0, 0, 0];
  for (const [kind, { segments: _, segment_names: __, sinks: ___, ...known }] of Object.entries(
    before,
  )) {
    const [queries, keys] = [
      kind === "encoder" ? texts.text : (texts.target ?? texts.text),
      kind === "decoder" ? (texts.target ?? texts.text) : texts.text,
    ];
    const [allQueries, allKeys] = [queries.tokens.length, keys.tokens.length];
    const [nQueries, nKeys] = [Math.min(LONGEST, allQueries), Math.min(LONGEST, allKeys)];
    const thumbnail = [Math.min(THUMBNAIL, allQueries), Math.min(THUMBNAIL, allKeys)];
    kinds[kind] = {
      ...known,
      queries: nQueries,
      keys: nKeys,
      all_queries: allQueries,
      all_keys: allKeys,
      thumbnail,
      thumbs,
      maps,
      norms,
      has_norms: true,
      query_tokens: queries.tokens.slice(0, nQueries),
      key_tokens: keys.tokens.slice(0, nKeys),
      special: keys.special.filter((i) => i < nKeys),
      ...(kind === "cross" ? {} : segmentsOfKind(segments, nQueries)),
    };
    const count = known.layers * known.heads;
    thumbs += count * thumbnail[0] * thumbnail[1];
    maps += 2 * count * nQueries * nKeys;
    norms += 4 * count * nKeys;
  }
  return kinds;
}

/** The request to the engine for these kinds: their sizes, and whether to send all maps at once. */
function shownOf(kinds) {
  const shown = Object.entries(kinds).map(([kind, { queries, keys }]) => ({ kind, queries, keys }));
  const size = Object.values(kinds).reduce(
    (sum, { layers, heads, all_queries: queries, all_keys: keys }) =>
      sum + 2 * layers * heads * queries * keys,
    0,
  );
  return { shown, whole: size <= ALL_MAPS_BYTES };
}

/** Empty values of the traits that hold maps. @param {string} side "", or "_after" with edits */
export const noMaps = (side) => ({
  ...Object.fromEntries(MAPS.map((name) => [`${side}${name}`, NO_BYTES])),
  [`${side}_first`]: {},
});

/**
 * Traits with the maps of every head, or of only one if all would be too large.
 * @param {(question: Record<string, any>) => Promise<any>} ask
 * @param {Record<string, any>} kinds
 * @param {{kind: string, layer: number, head: number}} place the head on view
 * @param {{side?: string, edits?: any[]}} [of] as in `noMaps`
 */
export async function mapTraits(ask, kinds, { kind, layer, head }, { side = "", edits = [] } = {}) {
  const { shown, whole } = shownOf(kinds);
  const found = await ask({ ask: "pictures", edits, shown, whole });
  const longest = Math.max(...shown.flatMap(({ queries, keys }) => [queries, keys]));
  const traits = { ...noMaps(side), [`${side}_maps`]: viewOf(found.maps) };
  if (!side || longest <= SMALL_MAPS_UP_TO) traits[`${side}_thumbs`] = viewOf(found.thumbs);
  if (whole) return traits;
  const name = `${kind}/${layer}/${head}`;
  const { buffers } = await headBlock(ask, kinds, name, edits);
  return {
    ...traits,
    [`${side}_first`]: { ...WEIGHTS, name },
    [`${side}_maps`]: buffers[0],
    [`${side}_norms`]: buffers[1],
  };
}

/**
 * One head's full pattern, as the answer to a request for its block.
 * @param {(question: Record<string, any>) => Promise<any>} ask
 * @param {Record<string, any>} kinds
 * @param {string} name kind/layer/head
 * @param {any[]} [edits]
 */
export async function headBlock(ask, kinds, name, edits = []) {
  if (!ONE_HEAD.test(name)) throw new Error("this page does not hold it");
  const [kind, layer, head] = name.split("/");
  const { queries, keys } = kinds[kind];
  const { map, norms } = await ask({
    ask: "picture",
    edits,
    shown: { kind, queries, keys, layer: Number(layer), head: Number(head) },
  });
  return { type: "block", info: WEIGHTS, buffers: [viewOf(map), viewOf(norms)] };
}

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const aliveHeads = (model, signal) =>
  standsFor(model, signal, {
    Kernel: HeadsPage,
    answers: ({ type, name }) => type === "block" && ONE_HEAD.test(name),
    wanted: () => Boolean(model.get("_first")?.name),
  });

class HeadsPage extends TextPage {
  async traits([read]) {
    const [before, kind, layer, head] = ["_kinds", "kind", "layer", "head"].map((name) =>
      this.page.get(name),
    );
    const kinds = kindsOf(before, read);
    const maps = await mapTraits(this.#about(read), kinds, { kind, layer, head });
    return { _kinds: kinds, ...maps, selected: null, a: null, b: null };
  }

  answered([read], name) {
    return headBlock(this.#about(read), this.page.get("_kinds"), name);
  }

  #about({ of }) {
    return (question) => this.ask({ ...question, of });
  }
}
