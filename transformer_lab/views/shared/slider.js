// A slider over a list of values, with its name and number beside it.

import { element } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.part
 * @param {number[]} options.values rising; the slider stops at these
 * @param {number} options.value
 * @param {(value: number) => void} options.change
 * @param {(value: number) => string} [options.text]
 * @param {string} [options.title]
 */
export function slider({ label, part, values, value, change, text = String, title }) {
  let stops = values;
  const shown = element("output", { class: "tl-slider-value" });
  const input = element("input", { type: "range", min: 0, step: 1, "aria-label": label, "data-part": part, title });
  const root = element("label", { class: "tl-slider", title }, element("span", { class: "tl-label" }, label), input, shown);
  const say = (at) => {
    const said = text(stops[at]);
    shown.textContent = said;
    input.setAttribute("aria-valuetext", said);
  };
  input.addEventListener("input", () => {
    say(Number(input.value));
    change(stops[Number(input.value)]);
  });
  // Arrow keys belong to the slider, not to the view or the notebook around it.
  input.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(event.key)) event.stopPropagation();
  });
  const set = (to, among = stops, disabled = false) => {
    stops = among;
    const at = nearestStop(stops, to);
    input.max = String(Math.max(0, stops.length - 1));
    input.value = String(at);
    input.disabled = disabled || stops.length < 2;
    say(at);
  };
  set(value);
  return { root, input, set };
}

/** @param {number[]} stops @param {number} value */
export function nearestStop(stops, value) {
  let best = 0;
  stops.forEach((stop, i) => {
    if (Math.abs(stop - value) < Math.abs(stops[best] - value)) best = i;
  });
  return best;
}
