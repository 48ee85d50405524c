// Colours: maps for weights, sixteen head colours, and which theme is in force.

import { listen } from "./dom.js";
import viewPalette from "./palette.json" with { type: "json" };

/** Every colour of the views; see colours.py. */
export const PALETTE = viewPalette;

/** @typedef {"light" | "dark"} Theme */

export const COLOUR_MAPS = ["default", "cividis", "viridis"];

/** The colour of a head, the same in both themes. Colours repeat after sixteen heads; labels tell the heads apart. @param {number} head */
export const headColour = (head) => PALETTE.heads[head % PALETTE.heads.length];

/** 256 colours as [r, g, b, r, g, b, …]. @param {string} hex */
export function parseTable(hex) {
  const table = new Uint8ClampedArray(hex.length / 2);
  for (let i = 0; i < table.length; i++) table[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return table;
}

/** @param {string} name one of COLOUR_MAPS, or "diverging" @param {Theme} theme */
export function colourTable(name, theme) {
  const { tables } = PALETTE;
  const tone = theme === "dark" ? "dark" : "light";
  const usual = `sequential_${tone}`;
  const table = { default: usual, diverging: `diverging_${tone}` }[name] ?? name;
  return parseTable((tables[table] ?? tables[usual]).join(""));
}

/** An entry of a table as a CSS colour. @param {Uint8ClampedArray} table @param {number} at */
export const entry = (table, at) =>
  `rgb(${table[3 * at]},${table[3 * at + 1]},${table[3 * at + 2]})`;

/**
 * Fill a path as out of reach: grey on the page, whatever the colour of 0.
 * @param {CanvasRenderingContext2D} context
 * @param {{ground: string, blocked: string}} inks
 */
export function paintBlocked(context, { ground, blocked }) {
  for (const fill of [ground, blocked]) {
    context.fillStyle = fill;
    context.fill();
  }
}

/**
 * Index of a weight on the colour scale, 0 … 255. The scale follows the square root, so that small
 * weights stay visible beside large ones.
 * @param {number} weight
 * @param {number} largest the weight at the end of the scale
 */
export function shade(weight, largest) {
  if (!(weight > 0)) return 0;
  return weight >= largest ? 255 : Math.round(255 * Math.sqrt(weight / largest));
}

/**
 * Index of a signed value on a diverging scale, with 0 in the middle.
 * @param {number} value
 * @param {number} largest the size of the values at both ends
 */
export function signedShade(value, largest) {
  const part = Math.min(1, Math.sqrt(Math.abs(value) / largest)) || 0;
  return Math.round(127.5 + 127.5 * Math.sign(value) * part);
}

/** Weights labelled in a legend: [weight, place 0 … 1 along the scale]. @param {number} largest @returns {[number, number][]} */
export function legendTicks(largest) {
  return [0, 0.1, 0.4, 1].map((share) => [share * largest, Math.sqrt(share)]);
}

/** The colours of a table as 32-bit pixels. @param {Uint8ClampedArray} table */
export function packedPalette(table) {
  const palette = new Uint32Array(256);
  const bytes = new Uint8ClampedArray(palette.buffer);
  for (let i = 0; i < 256; i++)
    bytes.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  return palette;
}

/** Black or white, whichever reads better on an entry of a table. @param {Uint8ClampedArray} table @param {number} at */
export function inkOn(table, at) {
  return luminance(table[3 * at], table[3 * at + 1], table[3 * at + 2]) > 0.18 ? "black" : "white";
}

/**
 * A colour for text: this one, made darker or lighter until it is readable on a ground: 4.5 to 1.
 * @param {string} colour #rrggbb
 * @param {string} ground #rrggbb
 */
export function readable(colour, ground) {
  const [text, beneath] = [colour, ground].map((hex) => [...parseTable(hex.slice(1))]);
  const light = (rgb) => luminance(rgb[0], rgb[1], rgb[2]) + 0.05;
  const end = light(beneath) > 0.23 ? 0 : 255;
  for (let part = 0; ; part += 0.05) {
    const mixed = text.map((c) => Math.round(c + (end - c) * Math.min(1, part)));
    const [a, b] = [light(mixed), light(beneath)];
    if (Math.max(a, b) / Math.min(a, b) >= 4.5 || part >= 1) return `rgb(${mixed})`;
  }
}

/** WCAG relative luminance of an sRGB colour. */
export function luminance(r, g, b) {
  const linear = [r, g, b].map((c) => {
    const x = c / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

/** The theme around an element, from the nearest opaque background. @param {Element} element @returns {Theme} */
export function themeOf(element) {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, alpha = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(
      Number,
    );
    if (b !== undefined && alpha > 0.5) return luminance(r, g, b) < 0.18 ? "dark" : "light";
  }
  return "light";
}

/**
 * Call back when the theme of the page may have changed. A notebook names its theme before the
 * theme's colours have loaded; once they have, the view's background changes in a transition
 * (view.css).
 * @param {HTMLElement} view
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
export function onThemeChange(view, changed, signal) {
  listen(view, "transitionend", signal, (event) => {
    if (event.target === view && event.propertyName === "background-color") changed();
  });
  const observer = new MutationObserver(changed);
  for (const element of [document.documentElement, document.body]) {
    if (element) observer.observe(element, { attributes: true, attributeFilter: THEME_ATTRIBUTES });
  }
  const query = matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", changed);
  signal.addEventListener("abort", () => {
    observer.disconnect();
    query.removeEventListener("change", changed);
  });
}

const THEME_ATTRIBUTES = [
  "data-jp-theme-light",
  "data-jp-theme-name",
  "data-theme",
  "class",
  "style",
];
