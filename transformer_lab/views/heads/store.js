// Provides heads: those on the first screen come with the view, others are requested.

import { HeadWeights } from "../shared/attention.js";
import { bytesOf } from "../shared/codecs.js";
import { Pyramid } from "./pyramid.js";

const KEPT = 48;
const KEPT_BYTES = 16 * 2 ** 20;

/**
 * @typedef {object} Kind one kind of attention of the trace
 * @property {number} layers
 * @property {number} heads
 * @property {number} queries how many are shown
 * @property {number} keys
 * @property {number} all_queries how many the text has
 * @property {number} all_keys
 * @property {boolean} causal
 * @property {boolean} same queries and keys are the same tokens
 * @property {string[]} query_tokens
 * @property {string[]} key_tokens
 * @property {number[]} special indices of special keys
 * @property {[number, number]} thumbnail height and width
 * @property {number} thumbs where its thumbnails begin
 * @property {number} maps where its maps begin, if all are sent
 * @property {number} norms where its value norms begin, if all are sent
 * @property {boolean} has_norms
 * @property {string} value_note what the norms measure
 * @property {string} [over] of averages: text after a head's name
 * @property {boolean} [spread] of averages: whether numbers are standard deviations
 * @property {string} [measure] of averages: what colours mean
 * @property {string} [caption] of averages: what the numbers are
 * @property {[number, number][]} [segments] that the text was read with, as spans
 * @property {string[]} [segment_names]
 * @property {Record<string, string>} [headless] what layers without heads are
 * @property {{tile: number, groups: Record<string, any>, small_rows: number}} [long] for a long
 *   text: cells along a tile, where sentences and paragraphs begin, rows of the small maps
 * @property {number[]} [sinks] layers where a part of each row goes to nothing: maps have one more
 *   column
 */

/** @typedef {Pick<HeadStore, "at" | "get" | "thumbnails" | "reads" | "cuts" | "flags" | "forget" | "signed" | "edited"> & {readsBefore?: () => string}} Maps
 *   readsBefore: like `reads`, for the weights that a difference is taken from */

export class HeadStore {
  /** @param {any} model @param {import("../shared/requests.js").Requests} requests @param {boolean} [edited] whether it holds the heads with the edits */
  constructor(model, requests, edited = false) {
    this.model = model;
    this.requests = requests;
    this.side = edited ? "_after" : "";
    this.signed = false; // values are changes, which may be negative
    this.edited = false; // the weights are those after edits
    /** @type {Map<string, HeadWeights | Pyramid>} */
    this.known = new Map();
    this.bytes = 0;
  }

  /** A trait of the model for this side. */
  #given(name) {
    return this.model.get(`${this.side}${name}`);
  }

  /** @returns {Kind} */
  kind(kind) {
    return this.model.get("_kinds")[kind];
  }

  thumbnails(kind) {
    const {
      layers,
      heads,
      thumbnail,
      thumbs,
      headless = {},
      causal,
      all_queries: queries,
      all_keys: keys,
    } = this.kind(kind);
    const [height, width] = thumbnail;
    const given = bytesOf(this.#given("_thumbs"));
    const shades = given.byteLength ? given : bytesOf(this.model.get("_thumbs"));
    return {
      grid: {
        layers,
        heads,
        width,
        height,
        headless,
        reach: causal ? reachOf(width, height, queries, keys) : null,
      },
      shades: shades.subarray(thumbs, thumbs + layers * heads * width * height),
    };
  }

  /** Letters for what is hidden and weighted, in requests to Python for a long text. */
  #letters(kind) {
    const options = this.model.get("_options") ?? {};
    const { special, has_norms: norms } = this.kind(kind);
    return `${options.hide_first ? "f" : ""}${options.hide_special && special.length ? "s" : ""}${options.weights === "value" && norms ? "v" : ""}`;
  }

  /** A head of a long text that is loaded, or null. */
  #pyramidAt(kind, name) {
    const letters = this.#letters(kind);
    const first = this.#given("_first");
    const known = this.known.get(`${name}|${letters}`);
    if (known || letters || first.name !== name) return known ?? null;
    return this.#keepPyramid(
      kind,
      name,
      "",
      first,
      ["_maps", "_norms"].map((trait) => bytesOf(this.#given(trait))),
    );
  }

  #keepPyramid(kind, name, letters, info, buffers) {
    const {
      queries,
      keys,
      long: { tile },
    } = this.kind(kind);
    const made = new Pyramid(
      name,
      letters,
      info,
      buffers,
      { queries, keys, tile },
      this.requests,
      this.model.get("_saved"),
    );
    return this.#keep(`${name}|${letters}`, made);
  }

  /** A head that is loaded, or null. @returns {any} */
  at(kind, layer, head) {
    const name = `${kind}/${layer}/${head}`;
    const shape = this.kind(kind);
    if (shape.long) return this.#pyramidAt(kind, name);
    const weighs = shape.has_norms && this.model.get("_options")?.weights === "value";
    const known = /** @type {HeadWeights | undefined} */ (this.known.get(name));
    if (known && !(weighs && !known.norms)) return known;
    const maps = bytesOf(this.#given("_maps"));
    const first = this.#given("_first");
    let found = null;
    if (maps.byteLength && !first.name) {
      const place = layer * shape.heads + head;
      const size = 2 * shape.queries * (shape.keys + (shape.sinks ? 1 : 0));
      const norms = bytesOf(this.#given("_norms"));
      if (weighs && !norms.byteLength) return null; // norms of maps with edits come only on request
      const buffers = [maps.subarray(shape.maps + place * size, shape.maps + (place + 1) * size)];
      if (shape.has_norms) {
        const from = shape.norms + place * 4 * shape.keys;
        buffers.push(norms.subarray(from, from + 4 * shape.keys));
      }
      found = new HeadWeights({ encoding: "weights", error: 0 }, buffers, shape);
    } else if (first.name === name) {
      const buffers = [maps, bytesOf(this.#given("_norms"))];
      found = new HeadWeights(first, buffers, shape);
    }
    return found && this.#keep(name, found);
  }

  /** @param {string} kind @param {number} layer @param {number} head @param {boolean} [urgent] @returns {Promise<any>} */
  async get(kind, layer, head, urgent = true) {
    const here = this.at(kind, layer, head);
    if (here) return here;
    const name = `${kind}/${layer}/${head}`;
    if (this.kind(kind).long) {
      const letters = this.#letters(kind);
      const { message, buffers } = await this.requests.ask(
        { type: "block", name: letters ? `${name}|${letters}|` : name },
        urgent,
      );
      return this.#keepPyramid(kind, name, letters, message.info, buffers);
    }
    const { message, buffers } = await this.requests.ask(
      { type: "block", name: this.side ? `after/${name}` : name },
      urgent,
    );
    return this.#keep(name, new HeadWeights(message.info, buffers, this.kind(kind)));
  }

  /** A name of the weights on view that Python knows too; null: Python does not have these weights. @returns {string | null} */
  reads() {
    return this.model.get("_carried")?.moved ? null : String(this.model.get("text"));
  }

  /** Edges of a head that are cut. @param {any} _place @returns {import("./state.js").Spot[]} */
  cuts(_place) {
    return [];
  }

  /** Notes that a map needs. @param {any} _place @returns {string[]} */
  flags(_place) {
    return [];
  }

  /** Drop all maps, since they have changed. */
  forget() {
    this.known.clear();
    this.bytes = 0;
  }

  #keep(name, weights) {
    const bytes = weights.bytes;
    while (this.known.size && (this.known.size >= KEPT || this.bytes + bytes > KEPT_BYTES)) {
      const [oldest, gone] = this.known.entries().next().value;
      this.known.delete(oldest);
      this.bytes -= gone.bytes;
    }
    this.known.set(name, weights);
    this.bytes += bytes;
    return weights;
  }
}

/**
 * How many pixels of each row of a causal thumbnail hold a key that a query can attend to.
 * @param {number} width in pixels, each the largest of some weights
 * @param {number} height
 * @param {number} queries
 * @param {number} keys
 */
export function reachOf(width, height, queries, keys) {
  return Array.from({ length: height }, (_, y) => {
    const last = Math.ceil(((y + 1) * queries) / height) - 1 + keys - queries; // the last key within reach
    let reach = 0;
    while (reach < width && Math.floor((reach * keys) / width) <= last) reach++;
    return reach;
  });
}
