// Questions on an image model: rows of its attention patterns, how far its heads attend, and how
// edits change its answer.

import { analysis } from "./analyses.js";
import { patternsOf } from "./attention.js";
import { GraphModel } from "./graph_model.js";
import { readSafetensors } from "./safetensors.js";

/** @typedef {import("./desk.js").Reading} Reading @typedef {import("./pass.js").Pass} Pass */

export class ImageModel {
  /** @param {import("./text_model.js").Packed} packed @throws {import("./safetensors.js").DamagedModel} */
  constructor({ name, config, graph, analyses = {}, weights, checksum }) {
    this.name = name;
    this.model = new GraphModel(config, graph, readSafetensors(weights, checksum), analyses);
  }

  /**
   * The model's inputs and, if the image was prepared, its appearance, [3, height, width].
   * @param {{shape: number[], data: any}} pixels as the model reads them, or (`prepare`) bytes [3,
   *   height, width] of another image
   * @param {boolean} prepare
   * @returns {Generator<null, {inputs: import("./pass.js").Inputs, seen: Float32Array | null}>}
   */
  *read(pixels, prepare) {
    if (!prepare) return { inputs: { pixel_values: pixels }, seen: null };
    const made = yield* this.model.analysing("prepare", { pixels });
    const of = (name) => /** @type {import("./analyses.js").Numbers} */ (made.get(name));
    return { inputs: { pixel_values: of("pixel_values") }, seen: of("seen").data };
  }
}

/** Every layer of a pass, with its attention call if it has one. @param {Reading} reading @param {Pass} pass */
const layersOf = ({ text: { model } }, pass) =>
  Array.from({ length: model.layersOf(model.defaultKind) }, (_, layer) => ({
    layer,
    call: pass.attention.get(`${model.defaultKind}/${layer}`)?.call,
  }));

/** Attention weights of one query in every head, in 16 bits: [layer, head, key]. @param {Reading} reading @param {number} query @param {number[]} heads of each layer */
export function* rowCodes(reading, query, heads) {
  const pass = yield* reading.pass([]);
  const columns = Math.max(...heads);
  let found = new Uint16Array(0);
  for (const { layer, call } of layersOf(reading, pass)) {
    if (!call) continue;
    const [n, all] = [call.key.rows, Array.from({ length: call.heads }, (_, head) => head)];
    const weights = patternsOf(reading.text.model.graph.on, call, all, [query, query + 1]);
    if (!found.length) found = new Uint16Array(heads.length * columns * n);
    const { codes } = analysis("codes", { weights: { shape: [call.heads, n], data: weights } });
    found.set(codes.data, layer * columns * n);
    yield null;
  }
  return found;
}

/** How far each head attends, [layer][head]: see `patch_distance`. @param {Reading} reading @param {import("../patches/scene.js").Grid} grid */
export function* distances(reading, { heads, rows, columns, start, labels }) {
  const patches = labels.map((_, i) => Number(i >= start && i < start + rows * columns));
  const at = patches.flatMap((is, i) =>
    is ? [Math.floor((i - start) / columns), (i - start) % columns] : [0, 0],
  );
  const n = labels.length;
  const pass = yield* reading.pass([]);
  const found = heads.map((count) => Array(count).fill(null));
  for (const { layer, call } of layersOf(reading, pass)) {
    if (!call) continue;
    const maps = pass.patterns(call.kind, layer);
    const { distance } = analysis("patch_distances", {
      maps: { shape: [call.heads, n, n], data: maps },
      at: { shape: [n, 2], data: at },
      patches: Float32Array.from(patches),
    });
    found[layer] = Array.from(distance.data, (x) =>
      Number.isNaN(x) ? null : Number(x.toFixed(1)),
    );
    yield null;
  }
  return found;
}

/** How edits change the answer. @param {Reading} reading @param {any[]} edits @param {number[]} pool */
export function* answerChange(reading, edits, pool) {
  const clean = yield* reading.pass([]);
  return changeOf(reading, clean, yield* reading.pass(edits), pool);
}

/** Size of the change when each head of a layer is ablated alone. @param {Reading} reading @param {number} layer @param {number} heads @param {number[]} pool */
export function* answerChanges(reading, layer, heads, pool) {
  const clean = yield* reading.pass([]);
  const sizes = [];
  for (let head = 0; head < heads; head++) {
    const pass = yield* reading.fresh([{ edit: "ablate", layer, head }]);
    sizes.push(changeOf(reading, clean, pass, pool).size);
  }
  return sizes;
}

/** Like Python's `Effect`: the change of the classes, or of the embedding, which is the mean of the final states weighted by `pool`. @param {Reading} reading @param {Pass} clean @param {Pass} pass @param {number[]} pool */
function changeOf(reading, clean, pass, pool) {
  const read = ({ result: { shape, data } }) =>
    "answers" in reading.text.model.graph.description.results
      ? analysis("chances", { logits: data }).chances.data
      : analysis("pooled", {
          states: { shape: shape.slice(1), data },
          weights: Float32Array.from(pool),
        }).state.data;
  const [before, after] = [read(clean), read(pass)];
  if (!("answers" in reading.text.model.graph.description.results)) {
    const { cosine, lengths } = analysis("turned", { before, after });
    return {
      size: Math.max(0, 1 - cosine.data[0]),
      cosine: cosine.data[0],
      lengths: Array.from(lengths.data),
    };
  }
  const watched = before.indexOf(before.reduce((a, b) => Math.max(a, b)));
  const found = analysis("answer_changes", { before, after, watched: Int32Array.of(watched) });
  const [was, now] = [found.was.data[0], found.now.data[0]];
  const listed = Array.from(found.listed.data, (id, i) => ({
    id,
    before: found.before.data[i],
    after: found.after.data[i],
  }));
  return { size: found.change.data[0], listed, now: now === was ? null : now, chance: after[now] };
}
