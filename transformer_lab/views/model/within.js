// The model of a BlockView inside a ModelView: it passes choices and questions on to the ModelView.

export class Within {
  /** @param {any} viewer @param {{name: string, info: any, bytes: Uint8Array}} walk the first @param {string} note */
  constructor({ model }, { name, info, bytes }, note) {
    this.model = model;
    this.own = /** @type {Record<string, any>} */ ({
      step: "stream",
      link: "",
      _carried: null,
      _held: "",
      _answers: [[name, info, bytes.byteLength]],
      _answers_data: bytes,
      _title: "",
      _how: null,
      _note: note,
      _kinds: Object.fromEntries(
        Object.entries(model.get("_stacks")).map(([kind, tokens]) => [
          kind,
          { ...model.get("_kinds")[kind], tokens, positions: model.get("_about").positions },
        ]),
      ),
    });
    /** @type {Set<() => void>} */
    this.heard = new Set();
  }

  get(name) {
    if (Object.hasOwn(this.own, name)) return this.own[name];
    return name === "kind" && this.model.get(name) === "cross" ? "decoder" : this.model.get(name);
  }

  set(name, value) {
    if (!Object.hasOwn(this.own, name)) return this.model.set(name, value);
    this.own[name] = value;
    for (const heard of [...this.heard]) heard();
  }

  save_changes() {
    this.model.save_changes();
  }

  send(message) {
    this.model.send(message);
  }

  on(name, heard) {
    if (name === "change:step") this.heard.add(heard);
    else this.model.on(name, heard);
  }

  off(name, heard) {
    this.heard.delete(heard);
    this.model.off(name, heard);
  }
}
