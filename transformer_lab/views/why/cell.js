// One score with its parts, as Python sends it. The counterpart of data.py.

import { bytesOf, typed } from "../shared/codecs.js";
import { numbersOf } from "../shared/files.js";
import { messages } from "../shared/messages.js";
import whyMessages from "./messages.json" with { type: "json" };

export const sayWhy = messages(whyMessages);

/** The index of the largest by size. @param {ArrayLike<number>} values */
export function largestBySize(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++)
    if (Math.abs(values[i]) > Math.abs(values[best])) best = i;
  return best;
}

export class WhyCell {
  /** @param {any} info @param {Uint8Array} bytes */
  constructor(info, bytes) {
    this.info = info;
    const flat = typed(Float32Array, bytes);
    let at = 0;
    const take = (count) => flat.subarray(at, (at += count));
    const { d, keys, mean, splits, sources } = info;
    this.q = take(d);
    this.k = take(d);
    this.products = take(d);
    this.scores = take(keys);
    this.weights = take(keys);
    this.aboveK = mean === null ? null : take(d);
    this.aboveProducts = mean === null ? null : take(d);
    /** @type {Record<string, {query: Float32Array, key: Float32Array, table: Float32Array, rows: number[], columns: number[], shape: number[], total: number}>} */
    this.splits = {};
    for (const [name, split] of Object.entries(splits)) {
      this.splits[name] = {
        ...split,
        query: take(sources.query.names.length),
        key: take(sources.key.names.length),
        table: take(split.shape[0] * split.shape[1]),
      };
    }
  }

  /** @param {string[]} tokens of the keys */
  forFile(tokens) {
    const { info } = this;
    const d = ["dimension"];
    /** @type {Parameters<typeof numbersOf>[1]} */
    const arrays = {
      q: [d, this.q, sayWhy("is_q")],
      k: [d, this.k, sayWhy("is_k")],
      product: [d, this.products, sayWhy("is_product")],
      score: [["key"], this.scores, sayWhy("is_score")],
      weight: [["key"], this.weights, sayWhy("is_weight")],
    };
    if (this.aboveProducts) arrays.product_above_mean = [d, this.aboveProducts, sayWhy("is_above")];
    for (const [name, split] of Object.entries(this.splits)) {
      for (const side of ["query", "key"])
        arrays[`${name}_by_${side}_source`] = [
          [`${side}_source`],
          split[side],
          sayWhy("is_by", { name, side }),
        ];
    }
    const sources = Object.keys(this.splits).length
      ? { query_source: info.sources.query.names, key_source: info.sources.key.names }
      : {};
    return numbersOf({ key: tokens.slice(0, info.keys), ...sources }, arrays);
  }

  /** The products on view: those of the score, or of its excess over the row's mean. */
  productsOf(above) {
    return above ? this.aboveProducts : this.products;
  }

  /** Sums of the products by rotary pair; a dimension that is not rotated is on its own. */
  byPair(above) {
    const sums = new Float32Array(this.pairs.length);
    this.productsOf(above).forEach((product, i) => (sums[this.info.pairs[i]] += product));
    return sums;
  }

  /** The dimensions of each rotary pair. @returns {number[][]} */
  get pairs() {
    const found = Array.from({ length: Math.max(...this.info.pairs) + 1 }, () => []);
    this.info.pairs.forEach((pair, i) => found[pair].push(i));
    return found;
  }

  /** The largest part of one side: its name and value. */
  best(side, above) {
    const split = this.splits[above ? "above" : "score"];
    if (!split) return [null, null];
    const i = largestBySize(split[side]);
    return [this.info.sources[side].names[i], split[side][i]];
  }
}

/** The score of the first screen. @param {any} model */
export const firstCell = (model) =>
  new WhyCell(model.get("_cell"), bytesOf(model.get("_cell_data")));
