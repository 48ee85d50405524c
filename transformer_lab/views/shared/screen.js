// The height of a view that fits on one screen.

import { zoomOf, listen } from "./dom.js";

const LOWEST = 560;
const HIGHEST = 1000;
const MARGIN = 28; // around an output in a notebook
const LEAST_PANELS = 300; // as their min-height
const A_LINE = 24; // room for one more line of the sentence
const FRAMED = 0.74; // height over width in a frame: it is as high as its content, so its height says nothing

/**
 * Height, in CSS pixels, of a view that should be visible as a whole.
 * @param {number} width of the view
 * @param {number | null} window the height of the window, or of what scrolls in it; null: unknown
 */
export const screenHeight = (width, window) =>
  Math.round(Math.max(LOWEST, Math.min(HIGHEST, window === null ? FRAMED * width : window)));

/** The outermost scrolling element around an element; inner ones are as high as their content. @param {Element} element */
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
 * @param {() => number} [above] height of what is above it within a larger view and should be
 *   visible with it
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
 * Whether panels have a fixed height rather than that of their content. While they are hidden no
 * container query matches, so the answer is `before`.
 * @param {HTMLElement} panels
 * @param {boolean} [before]
 */
export function hasFixedHeight(panels, before) {
  const now = getComputedStyle(panels).getPropertyValue("--tl-fixed").trim() === "1";
  return panels.clientWidth ? now : (before ?? now);
}

/**
 * Reduce the height of a view by what its panels leave empty, as with a short text. To be called
 * when they are drawn at full height, which `giveSpare` restores first.
 * @param {HTMLElement} root
 * @param {HTMLElement} panels all of the same height
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

/** @typedef {{width: number, height: number}} Size in CSS pixels; 0 if the box is hidden */

export class Room {
  /**
   * @param {HTMLElement} box gets the height that its panel leaves it, to be measured
   * @param {HTMLElement[]} around its panel, and what shares the panel's height with it
   * @param {AbortSignal} signal
   * @param {() => void} changed called when the room has changed: draw again soon
   */
  constructor(box, around, signal, changed) {
    this.box = box;
    this.around = around;
    /** @type {Size | null} */
    this.size = null;
    /** @type {number | null} */
    this.taken = null;
    /** @type {Size[]} of the elements around, when it was measured */
    this.then = [];
    this.unseen = false;
    /** @type {Size | null} the last one that was not 0 */
    this.seen = null;
    const observer = (this.observer = new ResizeObserver(() => {
      // When it starts to observe, it is notified of a box without a size, too.
      if (this.unseen ? !this.box.clientWidth : !(this.size && this.#moved())) return;
      this.size = null;
      this.unseen = false;
      changed();
    }));
    for (const one of around) observer.observe(one);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /**
   * @param {boolean} fixed whether the height is fixed rather than that of the content
   * @param {...any} values whatever affects the room and may just have changed
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
    // Measure it again as soon as it is visible. A host that changes its theme may hide the box and
    // show it again within a frame, before the observer runs; one that starts again reports it.
    if (this.unseen) {
      this.observer.unobserve(this.box);
      this.observer.observe(this.box);
    }
    this.size = this.unseen ? null : size;
    // While hidden, it keeps its last room: otherwise a drawing without room is what a reader sees
    // first when the host shows the view again, before the observer runs.
    this.seen = this.size ?? this.seen ?? size;
    return this.seen;
  }

  /** Limit the box to part of its room, so that what follows is close to it. @param {number | null} height null: all of it */
  take(height) {
    if (height === this.taken) return;
    this.taken = height;
    this.box.style.maxHeight = height === null ? "" : `${height}px`;
  }

  /**
   * Whether the room has changed. If the box has the height of its content, heights around it
   * change with it, so only widths count.
   */
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
