// Small parts of a PositionView's panels, and how its numbers are written.

import { element } from "../shared/dom.js";

export const distanceText = (d) => (d === 0 ? "the token itself" : `${Math.abs(d)} ${d < 0 ? "before" : "after"}`);

/** A number with four decimals, and a minus sign that is one. */
export const four = (value) => value.toFixed(4).replace(/^-(0\.0+)$/, "$1").replace("-", "−");

/** @param {Node} title @param {Node} [hint] */
export const heading = (title, hint) => element("p", { class: "tl-heading" }, title, " ", ...(hint ? [hint] : []));

/** @param {string} part */
export const pictureCanvas = (part) => element("canvas", { role: "application", tabindex: 0, class: "tl-map", "data-part": part });

/** @param {string} part */
export const numberLine = (part) => element("p", { class: "tl-number-line", role: "status", "data-part": part });

/** @param {string} part */
export const legendBox = (part) => element("div", { class: "tl-legend", "data-part": part });

/** How far a key moves a cursor, [down, right]; the key is then used up. Null for other keys. @param {KeyboardEvent} event */
export function moveOf(event) {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -1e6], End: [0, 1e6] }[event.key];
  if (!move) return null;
  event.preventDefault();
  event.stopPropagation();
  return move;
}
