// The weights that an Explorer shows: before the edits, after them, or the difference. Used in
// place of a HeadView's `HeadStore`.

import { cutRow, cutsOf, cutsReachOnly, editsOf, headOff, sameEdits } from "./edits.js";
import { WEIGHT_SCALE } from "../shared/codecs.js";
import { HeadStore } from "../heads/store.js";
import { NEEDS_KERNEL } from "./runner.js";
import { sayExplorer } from "./prose.js";

const PACKED = 0.5 / WEIGHT_SCALE; // largest error of a weight in 16 bits
const range = (count) => Array.from({ length: count }, (_, i) => i);

export class EditedMaps {
  /**
   * @param {any} model
   * @param {import("./state.js").ExplorerState} state
   * @param {import("./runner.js").Runner} runner
   * @param {import("../shared/requests.js").Requests} requests
   */
  constructor(model, state, runner, requests) {
    this.model = model;
    this.state = state;
    this.runner = runner;
    this.before = new HeadStore(model, requests);
    this.after = new HeadStore(model, requests, true);
  }

  /** Whether Python has computed the maps with these edits. */
  get here() {
    const { edits_of_maps: edits } = this.model.get("_outcome");
    return sameEdits(editsOf(this.model), editsOf(this.model, edits));
  }

  /** Whether a head's pattern with the edits has been computed, or can be computed here. */
  #has(place) {
    const edits = editsOf(this.model);
    return edits.length > 0 && (this.here || cutsReachOnly(edits, place));
  }

  /** Whether the pattern of the chosen head with the edits is available. */
  get there() {
    return this.#has(this.state.place);
  }

  #modeOf(place) {
    return this.#has(place) ? (this.state.options.map ?? "after") : "before";
  }

  get mode() {
    return this.#modeOf(this.state.place);
  }

  get signed() {
    return this.mode === "difference";
  }

  get edited() {
    return this.mode === "after";
  }

  /** Edges of a head that are cut. */
  cuts(place) {
    return cutsOf(this.runner.edits, place);
  }

  /** Drop the patterns before the edits, since the model has changed. */
  forget() {
    this.before.forget();
  }

  /** Drop the patterns after the edits, since a run with other edits has arrived. */
  arrived() {
    this.after.forget();
  }

  at(kind, layer, head) {
    const before = this.before.at(kind, layer, head);
    const mode = this.#modeOf({ kind, layer, head });
    if (mode === "before" || !before) return before;
    const after = this.here
      ? this.after.at(kind, layer, head)
      : this.#cutMap(before, { kind, layer, head });
    return after && this.#both(before, after, mode);
  }

  /** The pattern of a head with edges cut and unchanged inputs, computed here exactly. */
  #cutMap(before, place) {
    const cuts = cutsOf(editsOf(this.model), place);
    const cut = (query) => cutRow(before.row(query), query, cuts, before.nothing(query));
    // A weight's error is scaled up with it, by a lot where nearly all of a row is cut.
    const rows = cuts.some((edge) => edge.query === null)
      ? range(this.model.get("_kinds")[place.kind].queries)
      : cuts.map((edge) => edge.query);
    const most = rows.reduce((largest, query) => Math.max(largest, cut(query).factor), 1);
    const error = most > 1 ? most * Math.max(before.error, PACKED) : before.error;
    return {
      error,
      norms: before.norms,
      row: (query) => cut(query).row,
      nothing: (query) => cut(query).nothing,
    };
  }

  async get(kind, layer, head, urgent = true) {
    const mode = this.#modeOf({ kind, layer, head });
    if (mode === "before") return this.before.get(kind, layer, head, urgent);
    // One after the other: the second of two urgent questions would replace the first.
    const before =
      this.before.at(kind, layer, head) ?? (await this.before.get(kind, layer, head, false));
    if (!this.here) return this.#both(before, this.#cutMap(before, { kind, layer, head }), mode);
    return this.#both(
      before,
      this.after.at(kind, layer, head) ?? (await this.after.get(kind, layer, head, urgent)),
      mode,
    );
  }

  #both(before, after, mode) {
    return mode === "after"
      ? after
      : {
          ...after,
          row: (query) => after.row(query),
          nothing: (query) => after.nothing(query),
          before,
          after,
          error: before.error + after.error,
        };
  }

  /** Like `HeadStore.reads`. */
  reads() {
    if (this.mode === "before") return `${this.model.get("_facts_of")} before`;
    return this.here ? `${this.model.get("_stamp")} after` : null;
  }

  /** Like `Maps.readsBefore`. */
  readsBefore() {
    return `${this.model.get("_facts_of")} before`;
  }

  thumbnails(kind) {
    return this.mode === "before" || !this.here
      ? this.before.thumbnails(kind)
      : this.after.thumbnails(kind);
  }

  /** Notes that a head's pattern needs. */
  flags(place) {
    const notes = [];
    const { mode } = this;
    if (mode === "difference") notes.push(sayExplorer("difference_after_minus_before"));
    else if (mode === "after") notes.push(sayExplorer("showing_attention_with_your"));
    else if (this.there) notes.push(sayExplorer("showing_attention_without_your"));
    else if (this.model.get("_edits").length)
      notes.push(sayExplorer("the_weights_are_those", { needs_kernel: NEEDS_KERNEL }));
    if (headOff(this.runner.edits, place)) notes.push(sayExplorer("this_head_is_switched"));
    const nothing = this.state.kind.sinks?.includes(place.layer)
      ? sayExplorer("what_goes_to_nothing")
      : "";
    if (this.cuts(place).length) notes.push(sayExplorer("a_cut_edge_gets", { nothing }));
    return notes;
  }
}
