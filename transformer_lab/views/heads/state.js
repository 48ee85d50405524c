// What the model's traits say about a view of heads: what is chosen, what is hidden, what is shown.

import { shownRow } from "../shared/attention.js";
import { sameSpot } from "../shared/linked.js";
import { whyNotBetween } from "./between.js";

/** @typedef {import("../shared/linked.js").Spot} Spot */

export class HeadState {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
  }

  /** @returns {Record<string, import("./store.js").Kind>} */
  get kinds() {
    return this.model.get("_kinds");
  }

  get several() {
    return Object.keys(this.kinds).length > 1;
  }

  get options() {
    return this.model.get("_options") ?? {};
  }

  get kindName() {
    return this.model.get("kind");
  }

  get kind() {
    return this.kinds[this.kindName];
  }

  get layer() {
    return Math.min(this.model.get("layer"), this.kind.layers - 1);
  }

  get head() {
    return Math.min(this.model.get("head"), this.kind.heads - 1);
  }

  /** @returns {Spot | null} */
  get selected() {
    const pair = this.model.get("selected");
    if (!pair || pair[0] >= this.kind.queries || pair[1] >= this.kind.keys) return null;
    return { query: pair[0], key: pair[1] };
  }

  /** From span A to span B, if both are marked; null for an average over texts, whose tokens differ. @returns {import("./between.js").Block | null} */
  get block() {
    const [a, b] = [this.model.get("a"), this.model.get("b")];
    const { kind } = this;
    if (!a || !b || kind.over || a[1] > kind.queries || b[1] > kind.keys) return null;
    return whyNotBetween(a, b, kind) ? null : { a, b };
  }

  get place() {
    return { kind: this.kindName, layer: this.layer, head: this.head };
  }

  get valueWeighted() {
    return this.options.weights === "value" && this.kind.has_norms;
  }

  get hidden() {
    if (this.kind.spread) return null; // rows of a spread do not sum to 1, so they cannot be rescaled
    const { hide_first: first, hide_special: special } = this.options;
    if (!first && !(special && this.kind.special.length)) return null;
    const hidden = new Uint8Array(this.kind.keys);
    if (first) hidden[0] = 1;
    if (special) for (const key of this.kind.special) if (key < hidden.length) hidden[key] = 1;
    return hidden;
  }

  /** A head's rows as they are shown: (query) -> [key]. @param {any} weights those of a long text arrive as they are shown */
  shownRows(weights) {
    const { hidden } = this;
    const norms = this.valueWeighted ? weights.norms : null;
    if (weights.tiles || (!hidden && !norms)) return (query) => weights.row(query);
    const known = new Map();
    return (query) => {
      let row = known.get(query);
      if (!row) {
        row = shownRow(weights.row(query), hidden, norms);
        if (known.size > 1100) known.clear();
        known.set(query, row);
      }
      return row;
    };
  }

  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  option(changes) {
    this.set({ _options: { ...this.options, ...changes } });
  }

  /** Lock a cell or a token, or free it. @param {Spot} spot */
  pick(spot) {
    const now = this.selected;
    this.set({ selected: now && sameSpot(now, spot) ? null : [spot.query, spot.key] });
  }

  changeKind(name) {
    const kind = this.kinds[name];
    this.set({
      selected: null,
      layer: Math.min(this.layer, kind.layers - 1),
      head: Math.min(this.head, kind.heads - 1),
      kind: name,
    });
  }

  /** Python code that reads the selection. */
  code() {
    const { layer, head, selected } = this;
    const batch = this.model.get("_batch");
    const more = `${this.several ? `, kind="${this.kindName}"` : ""}${batch ? `, batch=${batch}` : ""}`;
    const call = this.valueWeighted ? "value_weighted" : "pattern";
    const { query = null, key = null } = selected ?? {};
    const { block } = this;
    if (!selected && block)
      return `trace.${call}(layer=${layer}, head=${head}${more})[${block.a.join(":")}, ${block.b.join(":")}]`;
    const index =
      query !== null && key !== null
        ? `[${query}, ${key}]`
        : query !== null
          ? `[${query}]`
          : key !== null
            ? `[:, ${key}]`
            : "";
    return `trace.${call}(layer=${layer}, head=${head}${more})${index}`;
  }
}
