// One flow as it is sent: its edges, the largest first, and what stands at each token. See data.py.

import { bytesOf } from "../shared/codecs.js";

/**
 * @typedef {object} Edge
 * @property {number} layer
 * @property {number} head
 * @property {number} query
 * @property {number} key
 * @property {number} value what it carries toward the logit
 */

export class FlowFound {
  /** @param {any} info @param {any} data @param {number} layers @param {number} tokens */
  constructor(info, data, layers, tokens) {
    this.info = info;
    const given = bytesOf(data);
    const bytes = given.byteOffset % 4 ? given.slice() : given;
    const flat = new Float32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / 4));
    let at = 0;
    const take = (n) => flat.subarray(at, (at += n));
    const places = take(4 * info.edges);
    const values = take(info.edges);
    /** @type {Edge[]} */
    this.edges = Array.from(values, (value, i) => {
      const [layer, head, query, key] = places.subarray(4 * i, 4 * i + 4);
      return { layer, head, query, key, value };
    });
    this.stream = take((layers + 1) * tokens);
    this.stays = take(layers * tokens);
    this.mlps = take(layers * tokens);
    this.largest = Math.abs(values[0] ?? 0);
  }

  /** How many edges are at least so large a share of the largest. @param {number} threshold */
  shown(threshold) {
    const least = threshold * this.largest;
    return this.edges.filter(({ value }) => Math.abs(value) >= least).length;
  }
}

/** @param {{layer: number, head: number, query: number, key: number}} edge */
export const cutOf = ({ layer, head, query, key }) => [layer, head, query, key];

/** @param {number[]} a @param {number[]} b */
export const sameCut = (a, b) => a.every((place, i) => place === b[i]);

/** In the order of Python's tuples. @param {number[][]} cuts */
export const sortedCuts = (cuts) => [...cuts].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);

/** By what name a flow is asked for. @param {number} position @param {number | null} token @param {number[][]} cuts */
export function flowName(position, token, cuts) {
  const told = sortedCuts(cuts).map((cut) => cut.join(".")).join("+") || "-";
  return `flow/${position}/${token ?? "-"}/${told}`;
}
