// Reads logits and residual streams: the likeliest tokens, how predictions differ under edits, what
// blocks add. The numbers come from graphs/analyses.py.

import { analysis } from "./analyses.js";
import { matrix } from "./tensors.js";

/** @typedef {import("./tensors.js").Matrix} Matrix */

/**
 * Predictions at one position without and with edits: the likeliest before, then those that have
 * risen among the likeliest after.
 * @param {Float32Array} before logits
 * @param {Float32Array | null} after
 */
export function outcome(before, after) {
  const {
    tokens,
    before: first,
    after: then,
    risen,
    kl,
  } = analysis("outcome", { before, after: after ?? before });
  const rows = Array.from(tokens.data, (id, i) => ({
    id,
    before: first.data[i],
    after: after ? then.data[i] : null,
    risen: Boolean(risen.data[i]),
  }));
  return { kl: after ? kl.data[0] : null, rows };
}

/**
 * Predictions from the stream before the first block and after every block, through the model's own
 * final norm and head. Source: nostalgebraist 2020.
 * @param {import("./pass.js").Pass} pass
 * @param {number[]} places
 * @param {number} [k] tokens per cell, at most 8
 */
export function logitLens(pass, places, k = 5) {
  const { model } = pass;
  const columns = places.map((place) => {
    const streams = pass.streamRows(model.defaultKind);
    const rows = matrix(streams.length, streams[0].columns);
    streams.forEach(({ data }, i) =>
      rows.data.set(
        data.subarray(place * rows.columns, (place + 1) * rows.columns),
        i * rows.columns,
      ),
    );
    const [
      {
        cells: [answer],
      },
    ] = likely(pass.logits([place]), [0], 1);
    return likely(
      model.read(rows),
      streams.map(() => answer.id),
      k,
    );
  });
  return columns[0].map((_, layer) => columns.map((cells) => cells[layer]));
}

/** The k likeliest tokens of each row of logits, and the probability and rank of a chosen one. @param {Matrix} logits @param {number[]} answers @param {number} k */
function likely(logits, answers, k) {
  const { tokens, probabilities, answer, rank } = analysis("likely", {
    logits,
    answers: Int32Array.from(answers),
  });
  const width = tokens.shape[1];
  return answers.map((id, row) => ({
    cells: Array.from({ length: Math.min(k, width) }, (_, i) => ({
      id: tokens.data[row * width + i],
      probability: probabilities.data[row * width + i],
    })),
    answer: id,
    probability: answer.data[row],
    rank: rank.data[row],
  }));
}

/**
 * What each part of every block adds to the stream: its norm, the norm relative to the stream that
 * it is added to, and the cosine with that stream (1: makes it longer, −1: erases it). Like
 * `block_share` of circuits/stream.py.
 * @param {import("./pass.js").Pass} pass
 * @param {string} kind of the stack
 * @returns {Generator<null, {part: string, norm: Float32Array[], share: Float32Array[], cosine: Float32Array[]}[]>} each [layer][position]
 */
export function* blockShares(pass, kind) {
  const layers = Array.from({ length: pass.model.layersOf(kind) }, (_, layer) => layer);
  const at = (name, layer) => pass.streamAt(name, kind, layer);
  const sum = (layer) =>
    analysis("sums", { x: at("resid_pre", layer), y: at("attn_out", layer) }).sum;
  /** @type {[string, (layer: number) => Matrix | import("./analyses.js").Numbers, (layer: number) => Matrix | import("./analyses.js").Numbers][]} */
  const parts = [];
  if (
    !at("attn_out", 0) ||
    !layers.every((layer) => at("resid_mid", layer) || !at("mlp_out", layer) || addsUp(layer, at))
  ) {
    parts.push([
      "block",
      (layer) =>
        analysis("sums", { x: at("resid_post", layer), y: at("resid_pre", layer) }).difference,
      (layer) => at("resid_pre", layer),
    ]);
  } else {
    parts.push(["attention", (layer) => at("attn_out", layer), (layer) => at("resid_pre", layer)]);
    if (at("cross_out", 0)) {
      const middles = [];
      for (const layer of layers) middles.push((yield* pass.middle(kind, layer)) ?? sum(layer));
      parts.push(["cross-attention", (layer) => at("cross_out", layer), (layer) => middles[layer]]);
    }
    if (at("mlp_out", 0))
      parts.push([
        "MLP",
        (layer) => at("mlp_out", layer),
        (layer) => at("resid_mid", layer) ?? sum(layer),
      ]);
  }
  return parts.map(([part, added, stream]) => {
    const found = layers.map((layer) =>
      analysis("shares", { added: added(layer), stream: stream(layer) }),
    );
    const of = (name) => found.map((layer) => layer[name].data);
    return { part, norm: of("norm"), share: of("share"), cosine: of("cosine") };
  });
}

const addsUp = (layer, at) =>
  Boolean(
    analysis("adds_up", {
      before: at("resid_pre", layer),
      attention: at("attn_out", layer),
      mlp: at("mlp_out", layer),
      after: at("resid_post", layer),
    }).adds_up.data[0],
  );
