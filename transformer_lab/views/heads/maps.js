// The weights that a view of heads shows, where they are those of the trace. A view that changes heads
// gives another object with the same members.

/** @typedef {Omit<HeadMaps, "store"> & {readsBefore?: () => string}} Maps readsBefore: as `reads`, of the weights that a difference is taken from */

export class HeadMaps {
  /** @param {import("./store.js").HeadStore} store */
  constructor(store) {
    this.store = store;
    this.signed = false; // values are changes, which may lie below 0
    this.edited = false; // the weights are those after edits
  }

  /** A head that needs no asking, or null. */
  at(kind, layer, head) {
    return this.store.at(kind, layer, head);
  }

  /** @returns {Promise<any>} */
  get(kind, layer, head, urgent = true) {
    return this.store.get(kind, layer, head, urgent);
  }

  /** A name of the weights on view, as Python has it too; null: Python does not have these. @returns {string | null} */
  reads() {
    const { model } = this.store;
    return model.get("_carried")?.moved ? null : String(model.get("text"));
  }

  thumbnails(kind) {
    return this.store.thumbnails(kind);
  }

  /** The model has other weights now. */
  forget() {
    this.store.forget();
  }

  /**
   * A head's rows in the map.
   * @param {any} weights
   * @param {(weights: any) => (query: number) => Float32Array} shown with what is hidden left out
   */
  rows(weights, shown) {
    return shown(weights);
  }

  /** What goes to nothing of each row in the map: (query) -> share. */
  nothing(weights) {
    return (query) => weights.nothing(query);
  }

  /** The rows that lines are drawn of. */
  lineRows(_weights, _shown, rowOf) {
    return rowOf;
  }

  /** The weights that lines are drawn of. */
  lineWeights(weights) {
    return weights;
  }

  /** Edges of a head that were cut. @returns {import("./state.js").Spot[]} */
  cuts(_place) {
    return [];
  }

  /** What else must be said of the map. @returns {string[]} */
  flags(_place) {
    return [];
  }
}
