// How much of A's attention goes into B, of every head: from Python, or found from the maps of a page.

import { blockName, shareFound } from "../heads/between.js";

/** @typedef {{share: Float32Array, even: Float32Array}} EveryShare [layer, head], NaN where there is no such head */

export class Shares {
  /**
   * @param {import("./state.js").ExplorerState} state
   * @param {import("./maps.js").EditedMaps} maps
   * @param {import("../shared/requests.js").Requests} requests
   * @param {() => void} changed
   */
  constructor(state, maps, requests, changed) {
    this.state = state;
    this.maps = maps;
    this.requests = requests;
    this.changed = changed;
    /** @type {Map<string, EveryShare | null>} null: asked for, or not to be had */
    this.known = new Map();
  }

  /** Of the kind on view, before the edits or after them, as its maps; null where that is not known. @returns {EveryShare | null} */
  get now() {
    const { state, maps } = this;
    const { block, hidden, kindName } = state;
    if (!block) return null;
    const reads = maps.reads();
    const name = `every-between|${reads}|${kindName}|${blockName(block, hidden)}`;
    if (reads !== null && !this.known.has(name)) this.#ask(name);
    return this.known.get(name) ?? null;
  }

  async #ask(name) {
    this.known.set(name, null);
    const { block, hidden, kindName } = this.state;
    try {
      const { buffers: [bytes] } = await this.requests.ask({ type: "block", name }, false);
      const both = new Float32Array(bytes.slice().buffer);
      const half = both.length / 2;
      this.known.set(name, { share: both.subarray(0, half), even: both.subarray(half) });
    } catch {
      this.known.set(name, this.#here(kindName, block, hidden)); // a page does not hold it
    }
    this.changed();
  }

  /** What can be found without asking: where every map is here. @returns {EveryShare | null} */
  #here(kindName, block, hidden) {
    const { layers, heads, headless = {} } = this.state.kinds[kindName];
    const [share, even] = [new Float32Array(layers * heads), new Float32Array(layers * heads)];
    for (let at = 0; at < layers * heads; at++) {
      const layer = Math.floor(at / heads);
      const weights = this.maps.at(kindName, layer, at % heads);
      if (!weights) return null;
      const { after = weights } = weights;
      const found = headless[layer] ? { share: NaN, even: NaN } : shareFound(after, block, hidden);
      [share[at], even[at]] = [found.share, found.even];
    }
    return { share, even };
  }
}
