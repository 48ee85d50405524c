// Colours: maps for weights, sixteen head colours for each theme, and which theme is in force.

import {
  CIVIDIS,
  DIVERGING_DARK,
  DIVERGING_LIGHT,
  SEQUENTIAL_DARK,
  SEQUENTIAL_LIGHT,
  VIRIDIS,
} from "./colour_tables.js";

/** @typedef {"light" | "dark"} Theme */

export const COLOUR_MAPS = ["default", "cividis", "viridis"];

// Chosen as far apart as possible in Oklab among colours that reach 3:1 against the background.
const HEADS_LIGHT = [
  "#0066ac", "#df500c", "#4c9d00", "#730063", "#543f00", "#a061e1", "#928282", "#d64992",
  "#451b9e", "#007461", "#810014", "#ae7c02", "#705491", "#6178f7", "#0296b0", "#004a5e",
];
const HEADS_DARK = [
  "#3d9be6", "#d5dc03", "#da3f58", "#f1bafe", "#1eeee9", "#648e50", "#a556d0", "#e98a00",
  "#9da5b1", "#f36cc1", "#fec2a3", "#58f390", "#aa678f", "#9499fd", "#0c9298", "#0bc193",
];

/**
 * The colour of a head. Beyond sixteen heads colours come again: labels tell them apart.
 * @param {number} head
 * @param {Theme} theme
 */
export function headColour(head, theme) {
  const colours = theme === "dark" ? HEADS_DARK : HEADS_LIGHT;
  return colours[head % colours.length];
}

/**
 * 256 colours as [r, g, b, r, g, b, …].
 * @param {string} hex
 */
export function parseTable(hex) {
  const table = new Uint8ClampedArray(hex.length / 2);
  for (let i = 0; i < table.length; i++) table[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return table;
}

/**
 * @param {string} name one of COLOUR_MAPS, or "diverging"
 * @param {Theme} theme
 */
export function colourTable(name, theme) {
  const dark = theme === "dark";
  if (name === "viridis") return parseTable(VIRIDIS);
  if (name === "cividis") return parseTable(CIVIDIS);
  if (name === "diverging") return parseTable(dark ? DIVERGING_DARK : DIVERGING_LIGHT);
  return parseTable(dark ? SEQUENTIAL_DARK : SEQUENTIAL_LIGHT);
}

/**
 * Where a weight stands on the colour scale, 0 … 255. The scale follows the square root, so that
 * small weights stay visible beside large ones.
 * @param {number} weight
 * @param {number} largest the weight at the end of the scale
 */
export function shade(weight, largest) {
  if (!(weight > 0)) return 0;
  return weight >= largest ? 255 : Math.round(255 * Math.sqrt(weight / largest));
}

/**
 * The same for a signed value on a diverging scale: 0 stands in its middle.
 * @param {number} value
 * @param {number} largest the size of the values at both ends
 */
export function signedShade(value, largest) {
  const part = Math.min(1, Math.sqrt(Math.abs(value) / largest)) || 0;
  return Math.round(127.5 + 127.5 * Math.sign(value) * part);
}

/**
 * Weights named by a legend: [weight, place 0 … 1 along the scale].
 * @param {number} largest
 * @returns {[number, number][]}
 */
export function legendTicks(largest) {
  return [0, 0.1, 0.3, 0.6, 1].map((share) => [share * largest, Math.sqrt(share)]);
}

/**
 * Black or white, whichever reads better on a colour.
 * @param {number} r
 * @param {number} g
 * @param {number} b
 */
export function inkOn(r, g, b) {
  return luminance(r, g, b) > 0.18 ? "#000" : "#fff";
}

/** WCAG relative luminance of an sRGB colour. */
export function luminance(r, g, b) {
  const linear = [r, g, b].map((c) => {
    const x = c / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

/**
 * The theme that an element stands in, from the background it has been given.
 * @param {Element} element
 * @returns {Theme}
 */
export function themeOf(element) {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, alpha = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (b !== undefined && alpha > 0.5) return luminance(r, g, b) < 0.18 ? "dark" : "light";
  }
  return "light";
}

/**
 * Call back when the theme of the page may have changed. A notebook names its theme before the
 * theme's colours have loaded, so it is asked again a little later.
 * @param {() => void} callback
 * @param {AbortSignal} signal
 */
export function onThemeChange(callback, signal) {
  let later = [];
  const stop = () => later.forEach(clearTimeout);
  const changed = () => {
    stop();
    callback();
    later = [100, 400, 1500, 4000].map((delay) => setTimeout(callback, delay));
  };
  const observer = new MutationObserver(changed);
  for (const element of [document.documentElement, document.body]) {
    if (element) observer.observe(element, { attributes: true, attributeFilter: THEME_ATTRIBUTES });
  }
  const query = matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", changed);
  signal.addEventListener("abort", () => {
    stop();
    observer.disconnect();
    query.removeEventListener("change", changed);
  });
}

const THEME_ATTRIBUTES = ["data-jp-theme-light", "data-jp-theme-name", "data-theme", "class", "style"];
