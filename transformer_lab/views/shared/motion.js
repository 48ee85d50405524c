// Motion for every view: a clock that plays steps, and elements that glide from their old position
// to the new one. Where motion is unwanted (prefers-reduced-motion), a clock jumps from step to
// step and nothing glides.

const TRAVELS = 320; // ms
const KEY = "data-moves";

export const motionIsUnwanted = () =>
  Boolean(globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches);

/**
 * Redraw a part, and let elements with `data-moves="name"` before and after glide from their old
 * box to the new one: a bar grows from its old length, a row comes from its old position. A new
 * element comes from the one that its `data-from` names, or appears at once: text that fades in
 * cannot be read meanwhile.
 * @param {HTMLElement} root
 * @param {() => void} redraw
 * @param {number} [ms]
 */
export function travel(root, redraw, ms = TRAVELS) {
  if (motionIsUnwanted() || !root.animate || !root.clientWidth) return redraw();
  const parts = () => /** @type {HTMLElement[]} */ ([...root.querySelectorAll(`[${KEY}]`)]);
  const boxes = () => {
    const { left, top } = root.getBoundingClientRect();
    return new Map(
      parts().map((part) => {
        const box = part.getBoundingClientRect();
        return [
          part.getAttribute(KEY),
          new DOMRect(box.left - left, box.top - top, box.width, box.height),
        ];
      }),
    );
  };
  const before = boxes();
  redraw();
  const after = boxes();
  for (const part of parts()) {
    const [was, now] = [
      before.get(part.getAttribute(KEY)) ?? before.get(part.getAttribute("data-from")),
      /** @type {DOMRect} */ (after.get(part.getAttribute(KEY))),
    ];
    if (!was || !now.width) continue;
    if (
      Math.abs(was.left - now.left) +
        Math.abs(was.top - now.top) +
        Math.abs(was.width - now.width) <
      1
    )
      continue;
    const from = `translate(${was.left - now.left}px, ${was.top - now.top}px) scale(${Math.max(was.width, 0.5) / now.width}, ${Math.max(was.height, 0.5) / (now.height || 1)})`;
    part.animate(
      [
        { transform: from, transformOrigin: "0 0" },
        { transform: "none", transformOrigin: "0 0" },
      ],
      { duration: ms, easing: "cubic-bezier(0.3, 0, 0.2, 1)" },
    );
  }
}

/** Fade out what a canvas shows now over what is drawn next. @param {HTMLCanvasElement} canvas in a part with a position @param {() => void} redraw @param {number} [ms] */
export function crossFade(canvas, redraw, ms = TRAVELS) {
  const box = canvas.parentElement;
  const { offsetLeft, offsetTop, clientWidth, clientHeight } = canvas; // read before anything changes
  if (motionIsUnwanted() || !canvas.animate || !box || !clientWidth) return redraw();
  const old = document.createElement("canvas");
  Object.assign(old, { width: canvas.width, height: canvas.height });
  /** @type {CanvasRenderingContext2D} */ (old.getContext("2d")).drawImage(canvas, 0, 0);
  old.setAttribute("aria-hidden", "true");
  old.style.cssText = `position:absolute;pointer-events:none;left:${offsetLeft}px;top:${offsetTop}px;width:${clientWidth}px;height:${clientHeight}px`;
  redraw();
  if (canvas.width !== old.width || canvas.height !== old.height) return; // two sizes at once would look double
  box.append(old);
  old.animate([{ opacity: 1 }, { opacity: 0 }], { duration: ms }).onfinish = () => old.remove();
}

/** Draw the states between 0 and 1 frame by frame; only the last one if motion is unwanted. @param {(share: number) => void} draw @param {AbortSignal} signal @param {number} [ms] @returns {() => void} stops it */
export function glide(draw, signal, ms = TRAVELS) {
  let stopped = motionIsUnwanted();
  if (stopped) draw(1);
  const start = performance.now();
  const frame = (/** @type {number} */ now) => {
    if (stopped || signal.aborted) return;
    const share = Math.min(1, Math.max(0, now - start) / ms);
    draw(share * share * (3 - 2 * share));
    if (share < 1) requestAnimationFrame(frame);
  };
  if (!stopped) requestAnimationFrame(frame);
  return () => (stopped = true);
}

/** A clock that plays from step to step; `at` is between two steps while it plays. */
export class Clock {
  /**
   * @param {object} of
   * @param {() => number} of.last the number of the last step
   * @param {() => number} of.pace seconds a step takes
   * @param {(at: number) => void} of.tick draws
   * @param {(playing: boolean) => void} of.changed called when it starts or stops
   * @param {AbortSignal} signal
   */
  constructor(of, signal) {
    this.of = of;
    this.at = 0;
    /** @type {number | null} where it stops */
    this.until = null;
    this.single = false; // whether it plays a single step
    this.run = 0; // number of the current play
    signal.addEventListener("abort", () => this.run++);
  }

  get playing() {
    return this.until !== null;
  }

  /** Jump to a step. @param {number} at */
  seek(at) {
    this.#rest();
    this.at = Math.max(0, Math.min(this.of.last(), at));
    this.of.tick(this.at);
  }

  pause() {
    if (!this.playing) return;
    this.#rest();
    if (motionIsUnwanted()) this.at = Math.round(this.at);
    this.of.tick(this.at);
  }

  /** Play to the end; from the beginning if the end has been reached. */
  play() {
    this.single = false;
    this.#play(this.of.last());
  }

  /** @param {number} until */
  #play(until) {
    if (this.at >= this.of.last()) this.at = 0;
    const run = ++this.run;
    this.until = until;
    this.of.changed(true);
    if (motionIsUnwanted()) this.#stepping(run);
    else this.#flowing(run);
  }

  /** Play one step forwards, or jump one back; between two steps, jump either way. @param {number} by */
  step(by) {
    const to = by > 0 ? Math.floor(this.at + 1e-6) + 1 : Math.ceil(this.at - 1e-6) - 1;
    const between = Math.abs(this.at - Math.round(this.at)) > 1e-6;
    if (by < 0 || between || to > this.of.last() || motionIsUnwanted()) return this.seek(to);
    this.single = true;
    this.#play(to);
  }

  #rest() {
    const played = this.playing;
    this.run++;
    this.until = null;
    if (played) this.of.changed(false);
  }

  /** @param {number} run */
  #flowing(run) {
    let before = performance.now();
    const frame = (/** @type {number} */ now) => {
      if (run !== this.run || this.until === null) return;
      this.at = Math.min(
        this.until,
        this.at + Math.min(0.1, Math.max(0, now - before) / 1000) / this.of.pace(),
      );
      before = now;
      const over = this.at >= this.until;
      if (over) this.#rest();
      this.of.tick(this.at);
      if (!over) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** @param {number} run */
  #stepping(run) {
    if (run !== this.run || this.until === null) return;
    this.at = Math.min(this.until, Math.floor(this.at + 1e-6) + 1);
    const over = this.at >= this.until;
    if (over) this.#rest();
    this.of.tick(this.at);
    if (!over) setTimeout(() => this.#stepping(run), 1000 * Math.max(0.6, this.of.pace()));
  }
}
