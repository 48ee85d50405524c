// The kinds of attention that a model has, by what it is.

/** A model with `config.kind` and `layersOf`. */
export class ModelOfKinds {
  /** @type {any} */
  config;

  get both() {
    return this.config.kind === "encoder-decoder";
  }

  /** Kinds of attention, and the one that is meant where none is named. */
  get kinds() {
    return this.both ? ["encoder", "decoder", "cross"] : [this.config.kind];
  }

  get defaultKind() {
    return this.config.kind === "encoder" ? "encoder" : "decoder";
  }

  /** @param {string} _kind @returns {number} */
  layersOf(_kind) {
    throw new Error("layersOf is not written");
  }

  /** The how many-th block of a pass this is: an encoder's come first. @param {string} kind @param {number} layer */
  turnOf(kind, layer) {
    return layer + (this.both && kind !== "encoder" ? this.layersOf("encoder") : 0);
  }
}
