// Parts that views are made of, and what the reader does with them.

import { element } from "./dom.js";

/** What is said of what is on view. */
export const sentencePart = (part = "sentence") => element("p", { class: "tl-sentence", role: "status", "aria-live": "polite", "data-part": part });

/** A picture that keys work on. @param {string} part @param {string} [look] */
export const picturePart = (part, look) => element("canvas", { role: "application", tabindex: 0, class: look, "data-part": part });

/** @param {string} part */
export const legendPart = (part = "legend") => element("div", { class: "tl-legend", "data-part": part });

/** A panel below its title. @param {string} name @param {string} title @param {Node | string} hint @param {...(Node | string)} content */
export const panelPart = (name, title, hint, ...content) => element("section", { class: `tl-panel tl-panel-${name}`, "aria-label": title },
  element("p", { class: "tl-heading" }, element("b", {}, title), " ", typeof hint === "string" ? element("span", { class: "tl-quiet" }, hint) : hint), ...content);

/** The head and the body of a table. @param {(string | Node)[]} names @param {Node[]} rows */
export const tableParts = (names, rows) => [
  element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows),
];

/** A share as a bar. @param {number} share 0 … 1 @param {string} look @param {string} [colour] */
export const barPart = (share, look, colour) => element("span", { class: "tl-stripe", "aria-hidden": "true" },
  element("span", { class: `tl-fill ${look}`, style: `width:${Math.max(0, Math.min(100, 100 * share)).toFixed(1)}%${colour ? `;background:${colour}` : ""}` }));

/** The place that is nearest to a number. @param {number} at @param {number} count */
export const within = (at, count) => Math.max(0, Math.min(count - 1, at));

const MOVES = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -1e6], End: [0, 1e6],
};

/** A key is used up: neither the page nor a notebook hears of it. @param {Event} event */
export function taken(event) {
  event.preventDefault();
  event.stopPropagation();
}

/** How far a key moves a cursor, [down, right]; the key is then used up. Null for other keys. @param {KeyboardEvent} event @returns {[number, number] | null} */
export function moveOf(event) {
  const move = MOVES[event.key];
  if (!move) return null;
  taken(event);
  return move;
}

/**
 * What a pointer means.
 * @template T
 * @param {HTMLElement} target
 * @param {(x: number, y: number) => T | null} at what lies there, in CSS pixels
 * @param {{hover?: (spot: T | null) => void, pick?: (spot: T) => void}} on
 * @param {AbortSignal} [signal]
 */
export function hearPointer(target, at, on, signal) {
  const under = (/** @type {MouseEvent} */ event) => {
    const { left, top } = target.getBoundingClientRect();
    return at(event.clientX - left, event.clientY - top);
  };
  target.addEventListener("pointermove", (event) => on.hover?.(under(event)), { signal });
  target.addEventListener("pointerleave", () => on.hover?.(null), { signal });
  target.addEventListener("click", (event) => {
    const spot = under(event);
    if (spot !== null && spot !== undefined) on.pick?.(spot);
  }, { signal });
}
