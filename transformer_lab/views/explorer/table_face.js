// The table of heads in an Explorer: its rows hold what the view knows, and a head chosen or
// switched off in it is chosen or switched off in the view.

import { headOff } from "./edits.js";
import { FROM_A_TO_B } from "./facts.js";
import { fileName } from "../shared/files.js";
import { HeadTable } from "./table.js";
import { blockName, shareFound } from "../heads/between.js";
import { sayExplorer } from "./prose.js";

/**
 * @typedef {object} DoesFace
 * @property {(place: {kind: string, layer: number, head: number}) => void} choose
 * @property {(places: {kind: string, layer: number, head: number}[]) => void} toggle
 * @property {(places: {kind: string, layer: number, head: number}[]) => string} whyNot why `toggle` cannot be done
 * @property {() => import("./edits.js").Edit[]} edits that the reader wants
 * @property {import("./table_face.js").Shares} shares
 * @property {() => boolean} canName whether the reader can have the heads named
 */

export class TableFace {
  /** @param {import("./state.js").ExplorerState} state @param {DoesFace} does */
  constructor(state, does) {
    this.state = state;
    this.does = does;
    this.name = "table";
    this.known = [];
    this.table = new HeadTable({
      choose: does.choose,
      toggle: does.toggle,
      whyNot: does.whyNot,
      file: () => fileName({ model: state.model.get("_title") }),
    });
    this.root = this.table.root;
    this.show = () => this.#show(); // the panel calls it without its object
  }

  /** Show what is known now; does nothing while the table is hidden. */
  #show() {
    if (this.root.hidden) return;
    const { state } = this;
    const { model, facts, kindName } = state;
    const edits = this.does.edits();
    const now = { chosen: state.place, isOff: (row) => headOff(edits, row) };
    const between = this.does.shares.now;
    const known = [
      between,
      facts.effects,
      model.get("_labels"),
      model.get("_scores"),
      model.get("_score_names"),
      model.get("_kinds"),
      kindName,
      facts.failed,
    ];
    if (known.length === this.known.length && known.every((one, i) => one === this.known[i]))
      return this.table.mark(now);
    this.known = known;
    const scores = facts.scoresOf(kindName);
    const spans = between ? FROM_A_TO_B : [];
    const short = new Map([...spans, ...scores].map(([name, brief]) => [name, brief]));
    /** @type {Map<string, string>} */
    const means = new Map();
    for (const [name, , meaning] of spans) means.set(name, meaning);
    for (const [name, , , meaning] of scores) means.set(name, meaning);
    this.table.show({
      ...now,
      rows: facts.rows(state, kindName, between),
      names: [...short.keys()],
      shortOf: (name) => short.get(name) ?? name,
      meansOf: (name) => means.get(name) ?? "",
      unnamed: this.#unnamed(),
      effects: [this.#effects(), this.#unscored(scores)].filter(Boolean).join(" "),
    });
  }

  #unnamed() {
    if (this.state.named) return "";
    return this.does.canName()
      ? sayExplorer("the_heads_have_no")
      : sayExplorer("the_heads_have_no_labels");
  }

  /** Why there are no scores, on a page that continues without Python. */
  #unscored(scores) {
    const { model, facts } = this.state;
    if (scores.length || !model.get("_carried")?.travels) return "";
    return facts.failed ? "" : sayExplorer("scores_of_this_text");
  }

  /** A sentence about the effects. */
  #effects() {
    const { facts, model, about, kindName } = this.state;
    if (facts.failed) return sayExplorer("measuring_the_heads_has", { failed: facts.failed });
    if (!Object.keys(facts.effects).some((name) => name.startsWith(`${kindName}/`))) return "";
    const [first] = model.get("_outcome").rows ?? [];
    if (!about.predicts || !first) return sayExplorer("effect_how_far_the");
    return sayExplorer("effect_how_p_changes", { first: first[0] });
  }
}

/** @typedef {{share: Float32Array, even: Float32Array}} EveryShare [layer, head], NaN for a head that does not exist */

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
    /** @type {Map<string, EveryShare | null>} null: requested, or not available */
    this.known = new Map();
  }

  /** Shares for the kind on view, before or after the edits like its maps; null if they are not known. @returns {EveryShare | null} */
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
      const {
        buffers: [bytes],
      } = await this.requests.ask({ type: "block", name }, false);
      const both = new Float32Array(bytes.slice().buffer);
      const half = both.length / 2;
      this.known.set(name, { share: both.subarray(0, half), even: both.subarray(half) });
    } catch {
      this.known.set(name, this.#here(kindName, block, hidden)); // a page does not hold it
    }
    this.changed();
  }

  /** Compute the shares here; null unless every map is available. @returns {EveryShare | null} */
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
