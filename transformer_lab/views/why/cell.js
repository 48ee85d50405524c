// One score with its parts, as data.py packs it.

import { typed } from "../shared/codecs.js";

/** The index of the largest by size. @param {ArrayLike<number>} values */
export function largestBySize(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++)
    if (Math.abs(values[i]) > Math.abs(values[best])) best = i;
  return best;
}

/**
 * Parts in descending order, each with the start and end of its bar.
 * @param {ArrayLike<number>} values
 * @returns {{index: number, value: number, from: number, to: number}[]}
 */
export function fallingParts(values) {
  const order = [...Array(values.length).keys()].sort((a, b) => values[b] - values[a]);
  let sum = 0;
  return order.map((index) => {
    const from = sum;
    sum += values[index];
    return { index, value: values[index], from, to: sum };
  });
}

/** A place on the diverging scale, −1 … 1, that always contrasts with the background. @param {number} value @param {number} most */
export const shadeOf = (value, most) => Math.sign(value) * (0.3 + (0.7 * Math.abs(value)) / most);

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

/** @param {any} info @param {Uint8Array} bytes */
export const cellOf = (info, bytes) => new WhyCell(info, bytes);
