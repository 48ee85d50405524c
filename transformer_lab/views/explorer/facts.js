// What is known about all heads: measured effects, which arrive in messages while Python measures,
// estimates, and scores on the text.

import { hearChanges, hearOf } from "../shared/dom.js";
import { floatsOf } from "../shared/shell.js";
import { rowsOf } from "./table_rows.js";
import { changed, sayExplorer } from "./prose.js";

/** Name, short name and meaning of a head's share from A to B, and of its control. */
export const FROM_A_TO_B = [
  [sayExplorer("from_a_to_b"), "A → B", sayExplorer("the_fraction_of_as")],
  ["even", "even", sayExplorer("what_would_go_from")],
];

/** @typedef {Record<string, any>} Effects kind/layer/head -> effect of ablating the head, with `estimate` if it was not measured */

export class Facts {
  /** @param {any} model @param {AbortSignal} signal @param {(failed: string) => void} changed */
  constructor(model, signal, changed) {
    this.model = model;
    /** @type {Effects} */
    this.arrived = {};
    this.failed = "";
    this.position = model.get("_outcome").position; // that of a saved page's estimates
    const heard = (message) => {
      if (message?.type !== "effects" || message.of !== model.get("_facts_of")) return;
      this.arrived = { ...this.arrived, ...message.found };
      this.failed = message.failed ?? "";
      changed(this.failed);
    };
    const renewed = () => {
      this.arrived = {};
      this.failed = "";
      changed("");
    };
    const known = () => changed(this.failed);
    hearOf(model, ["msg:custom"], signal, heard);
    hearChanges(model, ["_facts_of"], signal, renewed);
    hearChanges(model, ["_estimates", "_scores"], signal, known);
  }

  /** Effects of all heads; the same object until something new is known. @returns {Effects} */
  get effects() {
    const { model } = this;
    const from = [
      model.get("_effects"),
      this.arrived,
      model.get("_estimates"),
      model.get("_outcome"),
      model.get("_live"),
    ];
    if (!this.from || from.some((one, i) => one !== this.from[i])) {
      this.from = from;
      this.made = { ...this.#estimates(), ...from[0], ...from[1] };
    }
    return this.made;
  }

  /** @returns {Effects} */
  #estimates() {
    const { model } = this;
    const { rows, position } = model.get("_outcome");
    const found = {};
    if (!rows?.length || (model.get("_live") === false && position !== this.position)) return found;
    const [token, before] = rows[0];
    for (const kind of Object.keys(model.get("_kinds"))) {
      const { heads } = model.get("_kinds")[kind];
      this.#estimatesOf(kind).forEach((change, at) => {
        if (Number.isNaN(change)) return;
        const [layer, head] = [Math.floor(at / heads), at % heads];
        const after = Math.max(0, Math.min(1, before + change));
        found[`${kind}/${layer}/${head}`] = {
          kl: null,
          mean: null,
          token,
          before,
          after,
          estimate: true,
          if_off: sayExplorer("estimate", { layer, head, token, ...changed(before, after) }),
        };
      });
    }
    return found;
  }

  /** Estimates for a kind, [layer, head]; empty if there are none. */
  #estimatesOf(kind) {
    return this.#part("_estimates", kind, () => 1);
  }

  /** A kind's part of a trait that holds all kinds in turn. */
  #part(trait, kind, times) {
    const kinds = this.model.get("_kinds");
    const all = floatsOf(this.model, trait);
    let start = 0;
    for (const [name, { layers, heads }] of Object.entries(kinds)) {
      const size = layers * heads * times(name);
      if (name === kind) return all.slice(start, start + size);
      start += size;
    }
    return new Float32Array();
  }

  /** @param {string} kind @returns {[string, string, string, string][]} name, short name, unit and meaning of each score */
  scoresOf(kind) {
    return this.model.get("_score_names")?.[kind] ?? [];
  }

  /**
   * The heads of a kind as rows.
   * @param {import("./state.js").ExplorerState} state
   * @param {string} kind
   * @param {import("./table_face.js").EveryShare | null} [between] shares from A to B, if known
   */
  rows(state, kind, between = null) {
    const { layers, heads, headless } = state.kinds[kind];
    const scores = this.scoresOf(kind);
    const { effects } = this;
    const times = (name) => this.scoresOf(name).length;
    const found = scores.length ? this.#part("_scores", kind, times) : new Float32Array();
    return rowsOf({
      kind,
      layers,
      heads,
      headless,
      names: [
        ...(between ? FROM_A_TO_B.map(([name]) => name) : []),
        ...scores.map(([name]) => name),
      ],
      shares: scores.filter(([, , unit]) => unit === "share").map(([name]) => name),
      scores: between ? Float32Array.from([...between.share, ...between.even, ...found]) : found,
      labelOf: (layer, head) => state.labelOf(layer, head, kind),
      effectOf: (layer, head) => {
        const one = effects[`${kind}/${layer}/${head}`];
        return one ? { change: changeOf(one), estimated: Boolean(one.estimate) } : null;
      },
    });
  }
}

/** How a prediction changes; for a model without predictions, how far its states move. */
export const changeOf = ({ mean, before, after }) => mean ?? (after ?? 0) - (before ?? 0);
