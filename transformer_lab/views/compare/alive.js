// Other texts in a CompareView of two, on a page that carries its model. The counterpart of data.py.

import { everyHead, viewOf } from "../pages/page_model.js";
import { aliveTextPage, tokensOf } from "../pages/text_page.js";
import { align } from "./align.js";
import { bytesOf } from "../shared/codecs.js";

const LONGEST = 256; // tokens of the aligned texts
const ALL_MAPS_BYTES = 4 * 2 ** 20;

/** The model of a view, alive where its page carries one. @param {any} model @param {AbortSignal} signal */
export const aliveTexts = (model, signal) =>
  aliveTextPage(model, signal, {
    traits: compareTraits,
    block: comparedHead,
    names: /^\w+\/\d+\/\d+$/,
    wanted: () => !bytesOf(model.get("_maps")).byteLength,
  });

const axesOf = (read, kind) => ({
  queries: tokensOf(read, kind),
  keys: kind === "cross" ? read.text.tokens : tokensOf(read, kind),
});

async function compareTraits(ask, texts, page) {
  const kinds = {};
  const all = [];
  const moved = [];
  for (const [kind, before] of Object.entries(page.get("_kinds"))) {
    const [queries, keys] = ["queries", "keys"].map((axis) =>
      aligned(texts.map((one) => axesOf(one, kind)[axis])),
    );
    const shape = {
      ...before,
      queries: queries.names.length,
      keys: keys.names.length,
      query_names: queries.names,
      key_names: keys.names,
    };
    kinds[kind] = {
      ...shape,
      query_parts: [queries.first, queries.second],
      key_parts: [keys.first, keys.second],
      moved: moved.length,
      maps: all.reduce((sum, one) => sum + one.length, 0),
    };
    const maps = await mapsOf(ask, texts, kind, kinds[kind]);
    for (const both of maps) moved.push(await movedShare(ask, texts, both, kinds[kind]));
    all.push(...maps);
  }
  const size = all.reduce((sum, one) => sum + one.length, 0);
  const whole = new Float32Array(4 * size <= ALL_MAPS_BYTES ? size : 0);
  if (whole.length) all.reduce((at, one) => (whole.set(one, at), at + one.length), 0);
  return {
    _kinds: kinds,
    _moved: viewOf(Float32Array.from(moved)),
    _maps: viewOf(whole),
    _first: {},
    _first_data: viewOf(new Float32Array(0)),
  };
}

function aligned([a, b]) {
  const found = align(a, b);
  const count = found.names.length;
  if (count > LONGEST)
    throw new Error(`the aligned texts have ${count} tokens; up to ${LONGEST} can be shown`);
  if (!found.first.some((i, place) => i >= 0 && found.second[place] >= 0)) {
    throw new Error("the two texts have no token in common; there is nothing to compare");
  }
  return found;
}

/** Both maps of every head, or of one, on the aligned axes: [2, query, key] each, NaN where a token is missing. */
async function mapsOf(ask, texts, kind, shape, places = everyHead(kind, shape)) {
  const [first, second] = await Promise.all(texts.map(({ of }) => ask({ ask: "map", of, places })));
  const widths = texts.map((one) => axesOf(one, kind).keys.length);
  return first.map((_, i) => {
    const { queries, keys, query_parts: rows, key_parts: columns } = shape;
    const both = new Float32Array(2 * queries * keys).fill(NaN);
    [first[i], second[i]].forEach(({ weights }, side) => {
      rows[side].forEach((row, q) => {
        if (row < 0) return;
        columns[side].forEach((column, k) => {
          if (column >= 0)
            both[(side * queries + q) * keys + k] = weights[row * widths[side] + column];
        });
      });
    });
    return both;
  });
}

async function movedShare(ask, [{ of }], both, { queries, keys, query_parts: [first, second] }) {
  const [a, b] = [0, 1].map((side) => ({
    shape: [1, queries, keys],
    data: both.subarray(side * queries * keys, (side + 1) * queries * keys),
  }));
  const shared = Int32Array.from(first, (at, i) => Number(at >= 0 && second[i] >= 0));
  return (
    await ask({ ask: "compute", of, name: "moved", inputs: { first: a, second: b, both: shared } })
  ).moved.data[0];
}

/** The maps of one head, by its name. */
async function comparedHead(ask, texts, name, page) {
  const [kind, layer, head] = name.split("/");
  const shape = page.get("_kinds")[kind];
  if (!shape) throw new Error("this page does not hold it");
  const [both] = await mapsOf(ask, texts, kind, shape, [
    { kind, layer: Number(layer), head: Number(head) },
  ]);
  return { type: "block", info: {}, buffers: [viewOf(both)] };
}
