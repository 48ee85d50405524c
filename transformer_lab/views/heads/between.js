// From span A of the queries to span B of the keys: which spans can be compared, and how much of
// A's attention goes to B. The counterpart of spans.py.

import { shownRow } from "../shared/attention.js";
import { WEIGHT_SCALE } from "../shared/codecs.js";
import { short } from "../shared/messages.js";
import { sayHeads } from "./scale.js";

/** @typedef {[number, number]} Span start and end, as in a slice */
/** @typedef {{a: Span, b: Span}} Block */

/** Why two spans cannot be compared, or "". @param {Span} a @param {Span} b @param {import("./store.js").Kind} kind */
export function whyNotBetween(a, b, kind) {
  if (kind.causal && b[0] >= a[1] + kind.all_keys - kind.all_queries) {
    return sayHeads("comes_after_and_no");
  }
  const equal = a[0] === b[0] && a[1] === b[1];
  if (kind.same && !equal && a[0] < b[1] && b[0] < a[1]) {
    return sayHeads("and_share_tokens_end");
  }
  return "";
}

/**
 * Rows of weights, set to 0 outside the block.
 * @param {(query: number) => Float32Array} rowOf
 * @param {Block | null} block
 * @param {number} keys
 * @returns {(query: number) => Float32Array}
 */
export function rowsWithin(rowOf, block, keys) {
  if (!block) return rowOf;
  const { a, b } = block;
  const empty = new Float32Array(keys);
  const known = new Map();
  return (query) => {
    if (query < a[0] || query >= a[1]) return empty;
    let row = known.get(query);
    if (!row) {
      row = new Float32Array(keys);
      row.set(rowOf(query).subarray(...b), b[0]);
      if (known.size > 1100) known.clear();
      known.set(query, row);
    }
    return row;
  };
}

/**
 * The share of A's attention that goes to B, computed from the page's weights. These are rounded;
 * `about` says that their sum does not determine the two decimals of the share.
 * @param {import("../shared/attention.js").HeadWeights} weights
 * @param {Block} block
 * @param {Uint8Array | null} hidden
 */
export function shareFound(weights, { a, b }, hidden) {
  let [share, even] = [0, 0];
  for (let query = a[0]; query < a[1]; query++) {
    const row = shownRow(weights.row(query), hidden, null);
    let [seen, inside] = [0, 0];
    row.forEach((weight, key) => {
      if (!(weight > 0)) return;
      seen++;
      if (key < b[0] || key >= b[1]) return;
      inside++;
      share += weight;
    });
    even += inside / Math.max(1, seen);
  }
  const count = a[1] - a[0];
  share /= count;
  const off = (b[1] - b[0]) * Math.max(weights.error, 1 / WEIGHT_SCALE);
  const about = Boolean(hidden) || short(Math.max(0, share - off)) !== short(share + off);
  return { share, even: even / count, about };
}

export class Between {
  /** @param {import("./heads.js").Heads} heads */
  constructor(heads) {
    this.heads = heads;
    /** @type {Map<string, {share: number, even: number, about: boolean} | null>} null: requested, or not available */
    this.known = new Map();
  }

  /** Shares of the block for the head on view: Python's if it was requested, else computed here. */
  get now() {
    const { state, maps, weightsHere: weights } = this.heads;
    const { block } = state;
    if (!block) return null;
    const { before, after } = weights;
    if (!before) {
      const share = this.#share(maps.reads(), weights);
      return share && { ...block, ...share };
    }
    return {
      ...block,
      ...this.#share(maps.reads(), after),
      was: this.#share(maps.readsBefore(), before),
    };
  }

  #share(reads, weights) {
    const { state, shown } = this.heads;
    const { block, hidden } = state;
    const found = weights.tiles ? null : shareFound(weights, block, hidden);
    if (reads === null) return found;
    const name = `between|${reads}|${shown.kind}/${shown.layer}/${shown.head}|${blockName(block, hidden)}`;
    if (!this.known.has(name)) this.#ask(name);
    return this.known.get(name) ?? found;
  }

  async #ask(name) {
    const { shell, marks } = this.heads;
    this.known.set(name, null);
    try {
      const { message } = await shell.requests.ask({ type: "block", name }, false);
      const [share, even] = message.info.values;
      this.known.set(name, { share, even, about: false });
      marks();
    } catch (error) {
      // A page does not hold it: keep what was computed here.
      if (this.heads.weightsHere.tiles)
        shell.say(sayHeads("what_goes_from_a", { why: error.message }));
    }
  }
}

/** The end of a block's name in requests. @param {Block} block @param {Uint8Array | null} hidden */
export const blockName = ({ a, b }, hidden) =>
  `${[...a, ...b]}|${hidden ? Array.from(hidden.keys()).filter((key) => hidden[key]) : []}`;
