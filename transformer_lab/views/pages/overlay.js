// The traits of a live view, overridden for as long as the page answers in place of Python. Python
// does not receive the overriding values, and its own changes to these traits are not shown
// meanwhile.

export class Overlay {
  /** @param {any} widget @param {AbortSignal} signal */
  constructor(widget, signal) {
    this.widget = widget;
    this.signal = signal;
    /** @type {Map<string, any>} */
    this.over = new Map();
    /** @type {Map<string, Set<(...values: any[]) => void>>} by event */
    this.handlers = new Map();
  }

  get(name) {
    return this.over.has(name) ? this.over.get(name) : this.widget.get(name);
  }

  /**
   * Like the model of a saved page: set all values before notifying of any. The reader's choices go
   * to Python too.
   */
  set(name, value) {
    const given = Object.entries(typeof name === "object" ? name : { [name]: value });
    const chosen = given.filter(([key]) => key[0] !== "_" && key !== "link");
    const shown = given.filter(([key, next]) => key[0] === "_" && this.get(key) !== next);
    for (const [key, next] of shown) this.over.set(key, next);
    for (const [key, next] of chosen) this.widget.set(key, next);
    if (chosen.length) this.#tellOfIt();
    for (const [key, next] of shown) this.fire(`change:${key}`, this, next);
  }

  #tellOfIt() {
    try {
      this.widget.save_changes();
    } catch {
      // There is no Python.
    }
  }

  save_changes() {}

  on(names, handler) {
    for (const name of names.split(" ")) {
      if (!this.handlers.has(name)) this.#hear(name);
      this.handlers.get(name).add(handler);
    }
  }

  off(names, handler) {
    for (const name of names.split(" ")) this.handlers.get(name)?.delete(handler);
  }

  /** Pass on Python's events, except for overridden traits. */
  #hear(name) {
    this.handlers.set(name, new Set());
    const trait = name.startsWith("change:") ? name.slice(7) : null;
    const heard = (...values) => {
      if (trait === null || !this.over.has(trait)) this.fire(name, ...values);
    };
    this.widget.on(name, heard);
    this.signal.addEventListener("abort", () => this.widget.off(name, heard));
  }

  fire(name, ...values) {
    for (const handler of [...(this.handlers.get(name) ?? [])]) handler(...values);
  }

  /** Remove the overriding values, so that Python's traits are on view again. */
  lift() {
    const others = [...this.over]
      .filter(([name, value]) => this.widget.get(name) !== value)
      .map(([name]) => name);
    this.over.clear();
    for (const name of others) this.fire(`change:${name}`, this, this.widget.get(name));
  }
}
