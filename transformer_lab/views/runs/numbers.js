// The curves of a run as numbers for a file.

import { nested, single } from "../shared/files.js";
import { messages } from "../shared/messages.js";
import runMessages from "./messages.json" with { type: "json" };

export const sayRun = messages(runMessages);

const LOSS = "loss, nats a token";
const STORED = ["training", "held out", "loss"]; // curves that are also stored as arrays

/** Pairs (step, value). @param {ArrayLike<number>} flat */
export const pairsOf = (flat) =>
  nested([flat.length / 2], (i) => [Math.trunc(flat[2 * i]), single(flat[2 * i + 1])]);

/**
 * @param {Record<string, [number, number | null][]>} curves
 * @param {import("../shared/files.js").Numbers | null} heads
 * @param {import("../shared/files.js").Numbers} [more]
 * @returns {import("../shared/files.js").Numbers}
 */
export function curveNumbers(curves, heads, more = { arrays: {}, axes: {} }) {
  const [arrays, axes] = [{}, {}];
  const rows = [];
  for (const [name, points] of Object.entries(curves)) {
    rows.push(...points.map((point) => [name, ...point]));
    if (!STORED.includes(name)) continue;
    axes[`step of ${name}`] = points.map(([step]) => step);
    arrays[name] = {
      axes: [`step of ${name}`],
      means: LOSS,
      values: points.map(([, value]) => value),
    };
  }
  return {
    arrays: { ...arrays, ...more.arrays, ...heads?.arrays },
    axes: { ...axes, ...more.axes, ...heads?.axes },
    table: { header: ["curve", "step", "value"], rows },
    chosen: heads?.chosen,
  };
}

/**
 * A run's loss, every head's score in each snapshot, and the chosen head at this step.
 * @param {import("./scrubber.js").Scrubber} scrubber
 * @param {ArrayLike<number>} loss
 * @param {import("../shared/files.js").Numbers} heads
 */
export function runNumbers(scrubber, loss, heads) {
  const { measure, stops, kind } = scrubber;
  /** @type {Record<string, any>} */
  const curves = { loss: pairsOf(loss) };
  if (!measure) return curveNumbers(curves, heads);
  const score = scrubber.scores(measure);
  const values = nested([stops.length, kind.layers, kind.heads], (at, layer, head) =>
    single(score(at, layer, head)),
  );
  nested([kind.layers, kind.heads], (layer, head) => {
    curves[`${measure}, layer ${layer}, head ${head}`] = stops.map((step, at) => [
      step,
      values[at][layer][head],
    ]);
  });
  return curveNumbers(curves, heads, {
    arrays: { score: { axes: ["snapshot", "layer", "head"], means: measure, values } },
    axes: { snapshot: stops },
  });
}
