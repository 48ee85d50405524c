// Generation, one token at a time: greedy or sampled, as in transformer_lab/writing.py. Samples
// come from the page's own generator, so that a seed gives the same text here every time, but not
// the same as in Python.

import { analysis } from "./analyses.js";
import { Pass } from "./pass.js";
import { likeliest } from "./tensors.js";

/**
 * @typedef {object} Sampling
 * @property {number} [temperature] 0: greedy
 * @property {number | null} [topK] sample from this many tokens
 * @property {number | null} [topP] sample from the fewest tokens that reach this probability
 * @property {number} [seed]
 */

/** @param {Sampling} options @param {number} vocabulary @throws {Error} for a value out of its range */
export function checkSampling({ temperature = 0, topK = null, topP = null, seed = 0 }, vocabulary) {
  if (!(temperature >= 0 && temperature < Infinity))
    throw new Error(`temperature must be 0 (greedy) or more, got ${temperature}`);
  if (topK !== null && !(Number.isInteger(topK) && topK >= 1))
    throw new Error(`top_k must be at least 1, got ${topK}; None samples from all tokens`);
  if (topP !== null && !(topP > 0 && topP <= 1))
    throw new Error(`top_p must be above 0 and at most 1, got ${topP}`);
  if (!Number.isInteger(seed)) throw new Error(`seed must be a whole number, got ${seed}`);
  if ((topK ?? 0) > vocabulary) {
    throw new Error(
      `top_k must be at most ${vocabulary}, the tokens of the vocabulary, got ${topK}; None samples from all tokens`,
    );
  }
}

/** The distribution to sample from: probabilities after temperature, top-k and top-p. @param {ArrayLike<number>} logits @param {Sampling} options */
export function samplingDistribution(logits, { temperature = 1, topK = null, topP = null }) {
  return analysis("drawn_from", {
    logits: Float32Array.from(logits),
    temperature,
    top_k: { shape: [], data: Int32Array.of(Math.min(topK ?? Infinity, logits.length)) },
    top_p: topP ?? 1,
  }).chances.data;
}

/** Random numbers in [0, 1) from a seed (mulberry32). @param {number} seed */
export function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @param {Sampling} options @returns {(logits: ArrayLike<number>) => number} */
function taker(options) {
  if (!options.temperature) return (logits) => likeliest(logits, 1)[0];
  const random = generator(options.seed ?? 0);
  return (logits) => {
    const chances = samplingDistribution(logits, options);
    let left = random();
    let last = 0;
    for (let id = 0; id < chances.length; id++) {
      if (chances[id] <= 0) continue;
      last = id;
      left -= chances[id];
      if (left < 0) return id;
    }
    return last; // reached only through rounding
  };
}

/**
 * Generate tokens, one step each; if the graph can grow, each pass after the first computes only
 * the new token.
 * @param {import("./graph_model.js").GraphModel} model
 * @param {import("./pass.js").Inputs} inputs an encoder-decoder's `target` holds the start token
 *   and the tokens generated so far
 * @param {number} most
 * @param {object} options
 * @param {Set<number>} [options.ends] tokens that end a text; the one that does is returned too
 * @param {any[]} [options.edits]
 * @param {(source: any) => import("./pass.js").Pass} [options.read]
 * @param {() => Generator<null, import("./pass.js").Pass>} [options.first] the pass over the
 *   inputs, if one may exist already
 * @param {Sampling} [options.sampling]
 * @returns {Generator<number | null, number[]>} the tokens; yields null between two blocks of a
 *   pass
 */
export function* writing(
  model,
  inputs,
  most,
  { ends = new Set(), edits = [], read, first, sampling = {} },
) {
  if (model.config.kind === "encoder")
    throw new Error("an encoder cannot generate text; use a decoder or an encoder-decoder");
  const take = taker(sampling);
  const written = [];
  const start = model.both ? inputs.target : inputs.tokens;
  let pass = null; // each continues the one before
  while (written.length < most) {
    const ids = [...start, ...written];
    if (first && !pass) pass = yield* first();
    else {
      pass = new Pass(model, model.both ? { ...inputs, target: ids } : { tokens: ids }, edits, {
        before: pass,
        read,
      });
      yield* pass.steps();
    }
    const token = take(pass.logits([ids.length - 1]).data);
    written.push(token);
    yield token;
    if (ends.has(token)) break;
  }
  return written;
}
