// The legend of a map's colours, and the end of their scale.

import { legendTicks, signedShade } from "../shared/colours.js";
import { changeText, messages, short } from "../shared/messages.js";
import headsMessages from "./messages.json" with { type: "json" };
import { colourLegend } from "../shared/shell.js";
import { roundUp } from "../shared/ticks.js";

export const sayHeads = messages(headsMessages);

/**
 * The end of the colour scale: 1, or less if no weight comes near it.
 * @param {number} most the largest weight
 * @param {boolean} isWeight whether values are weights, which cannot exceed 1
 */
export function scaleEnd(most, isWeight) {
  if (!(most > 0)) return 1;
  if (isWeight && most > 0.5) return 1;
  return roundUp(0.9999 * most);
}

/** @param {Float32Array} row */
export function highest(row) {
  let most = 0;
  for (let i = 0; i < row.length; i++) if (Math.abs(row[i]) > most) most = Math.abs(row[i]);
  return most;
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/**
 * @param {Uint8ClampedArray} table
 * @param {number} end the value at the end of the scale
 * @param {boolean} valueWeighted
 * @param {boolean} clipped whether some values lie beyond the end
 * @param {boolean} [isChange] whether values are changes, on a diverging table
 * @param {string} [measure] what values are, if not weights
 * @returns {Node[]}
 */
export function legend(
  table,
  end,
  valueWeighted,
  clipped,
  isChange = false,
  measure = sayHeads("attention_weight"),
) {
  const decimals = end >= 1 ? 1 : Math.ceil(-Math.log10(end)) + 1;
  const name = (value) => {
    if (value === 0) return "0";
    if (value >= 10) return value.toFixed(0);
    return short(value, Number.isInteger(value) ? 0 : decimals);
  };
  const places = isChange
    ? [-end, 0, end].map((value) => [value, signedShade(value, end) / 255])
    : legendTicks(end);
  const what = `${isChange ? sayHeads("change_of") : ""}${valueWeighted ? sayHeads("weight_value_length") : measure}`;
  const cut = clipped ? sayHeads("one_colour_from_up", { name: name(end) }) : "";
  return colourLegend(
    table,
    what + cut,
    places.map(([value, place]) => [place, isChange ? changeText(value) : name(value)]),
  );
}
