// Small parts of a PositionView's panels, and how its numbers are written.

import { element } from "../shared/dom.js";
import { sayPositions } from "./schemes.js";

export const distanceText = (d) =>
  d === 0 ? sayPositions("the_token_itself") : `${Math.abs(d)} ${d < 0 ? "before" : "after"}`;

/** A number with four decimals and a typographic minus sign. */
export const four = (value) =>
  value
    .toFixed(4)
    .replace(/^-(0\.0+)$/, "$1")
    .replace("-", "−");

/** @param {Node} title @param {Node} [hint] */
export const heading = (title, hint) => element("p.tl-heading", title, " ", hint && hint);

/** @param {string} part */
export const numberLine = (part) => element(`p.tl-number-line#${part}`, { role: "status" });
