// How high a view may be, so that all of it is on one screen.

import { zoomOf, listen } from "./dom.js";

const LOWEST = 560;
const HIGHEST = 1000;
const MARGIN = 28; // what a notebook puts around an output
const LEAST_PANELS = 300; // as their min-height
const A_LINE = 24; // for a line more, which what is said may take
const FRAMED = 0.74; // of its width: a frame is as high as what it holds, and tells nothing

/**
 * The height of a view that is to be seen at once, in CSS pixels.
 * @param {number} width of the view
 * @param {number | null} window the height of the window, or of what scrolls in it; null: not known
 */
export const screenHeight = (width, window) =>
  Math.round(Math.max(LOWEST, Math.min(HIGHEST, window === null ? FRAMED * width : window)));

/** What scrolls around an element, the outermost: those within are as high as what they hold. @param {Element} element */
function scroller(element) {
  let found = null;
  for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
    if (/auto|scroll/.test(getComputedStyle(at).overflowY) && at.clientHeight > LOWEST / 2)
      found = at;
  }
  return found;
}

/**
 * Keep the style property --tl-height of a view at the height of a screen.
 * @param {HTMLElement} root
 * @param {AbortSignal} signal
 * @param {() => void} changed
 * @param {() => number} [above] what stands above it within a larger view, and is to be seen with it
 */
export function keepHeight(root, signal, changed, above = () => 0) {
  const set = () => {
    const around = window.parent === window ? scroller(root) : null;
    const known =
      window.parent !== window ? null : around ? around.clientHeight - MARGIN : window.innerHeight;
    const zoom = zoomOf(root);
    const style = getComputedStyle(root);
    const edge = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    const height = `${screenHeight(root.clientWidth, known === null ? null : known / zoom) - edge - above()}px`;
    if (root.style.getPropertyValue("--tl-height") === height) return;
    root.style.setProperty("--tl-height", height);
    changed();
  };
  set();
  listen(window, "resize", signal, set);
  const observer = new ResizeObserver(set);
  observer.observe(root);
  signal.addEventListener("abort", () => observer.disconnect());
}

/**
 * Whether panels have a height that is given, and not what they need. Where they are hidden no container
 * query holds, and it is as it was.
 * @param {HTMLElement} panels
 * @param {boolean} [before]
 */
export function hasFixedHeight(panels, before) {
  const now = getComputedStyle(panels).getPropertyValue("--tl-fixed").trim() === "1";
  return panels.clientWidth ? now : (before ?? now);
}

/**
 * Take from the height of a view what its panels leave empty, which a short text does. To be called when
 * they are drawn as high as there is room; `giveSpare` gives them that room before.
 * @param {HTMLElement} root
 * @param {HTMLElement} panels each as high as the others
 */
export function takeSpare(root, panels) {
  const edge = (part) => part.getBoundingClientRect().bottom;
  const seen = (parts) => [...parts].filter((part) => part.getClientRects().length);
  const empty = seen(panels.children).map(
    (panel) => edge(panel) - Math.max(...seen(panel.children).map(edge)),
  );
  const spare = Math.floor(Math.min(...empty, panels.clientHeight - LEAST_PANELS) - A_LINE);
  if (spare > 0) root.style.setProperty("--tl-spare", `${spare}px`);
}

/** @param {HTMLElement} root */
export const giveSpare = (root) => root.style.removeProperty("--tl-spare");

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
   * @param {...any} values what decides how much room there is, and has been changed just now
   * @returns {Size}
   */
  of(fixed, ...values) {
    const key = JSON.stringify([fixed, ...values]);
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
      return (
        Math.abs(was.width - is.width) > 0.5 ||
        (this.fixed && Math.abs(was.height - is.height) > 0.5)
      );
    });
  }
}

/** @param {HTMLElement} element @returns {Size} */
function placeTaken(element) {
  const { width, height } = element.getBoundingClientRect();
  return { width, height };
}
