// How much room a box is left by what stands around it. To ask a page costs it a layout of everything
// that was changed since, so it is asked again only where something has become larger or smaller.

/** @typedef {{width: number, height: number}} Size in CSS pixels; 0 where the box is not in sight */

export class Room {
  /**
   * @param {HTMLElement} box is made as high as its panel leaves it, to be measured
   * @param {HTMLElement[]} around its panel, and what shares the panel's height with it
   * @param {AbortSignal} signal
   * @param {() => void} changed there is more room now, or less: draw again, soon
   */
  constructor(box, around, signal, changed) {
    this.box = box;
    this.around = around;
    /** @type {Size | null} */
    this.size = null;
    /** @type {number | null} */
    this.taken = null;
    /** @type {Size[]} of what stands around, when it was measured */
    this.then = [];
    this.unseen = false;
    /** @type {Size | null} the last one that was not nothing */
    this.seen = null;
    const observer = (this.observer = new ResizeObserver(() => {
      // One that begins to observe is told of a box without a size, too.
      if (this.unseen ? !this.box.clientWidth : !(this.size && this.#moved())) return;
      this.size = null;
      this.unseen = false;
      changed();
    }));
    for (const one of around) observer.observe(one);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /**
   * @param {boolean} fixed whether the height is given, and not what the box needs
   * @param {...any} told what decides how much room there is, and has been changed just now
   * @returns {Size}
   */
  of(fixed, ...told) {
    const key = JSON.stringify([fixed, ...told]);
    if (this.size && this.key === key) return this.size;
    this.take(null);
    this.key = key;
    this.fixed = fixed;
    const size = { width: this.box.clientWidth, height: this.box.clientHeight };
    this.then = this.around.map(placeTaken);
    this.unseen = !size.width;
    // It is measured again as soon as it can be seen. A host that changes its theme may have hidden it
    // within a frame, and shown it again before an observer looks: to one that begins anew it is new.
    if (this.unseen) {
      this.observer.unobserve(this.box);
      this.observer.observe(this.box);
    }
    this.size = this.unseen ? null : size;
    // Out of sight it has the room that it had: what is drawn for none at all would be what a reader sees
    // first when a host shows the view again, before that was told.
    this.seen = this.size ?? this.seen ?? size;
    return this.seen;
  }

  /** The box takes so much of its room, and what follows it stands close to it. @param {number | null} height null: all of it */
  take(height) {
    if (height === this.taken) return;
    this.taken = height;
    this.box.style.maxHeight = height === null ? "" : `${height}px`;
  }

  /** What stands around a box that takes what it needs moves with it: then its width alone is of interest. */
  #moved() {
    return this.around.some((one, i) => {
      const [was, is] = [this.then[i], placeTaken(one)];
      return Math.abs(was.width - is.width) > 0.5 || (this.fixed && Math.abs(was.height - is.height) > 0.5);
    });
  }
}

/** @param {HTMLElement} element @returns {Size} */
function placeTaken(element) {
  const { width, height } = element.getBoundingClientRect();
  return { width, height };
}
