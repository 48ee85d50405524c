// Compares the engine's answers with those that PyTorch gave when the page was saved.

import { Pass } from "./pass.js";
import { matrix, softmax } from "./tensors.js";

const CLOSE = 1e-3;

/**
 * What `_check` of views/pages/carried.py writes.
 * @typedef {object} Check
 * @property {Record<string, any>} inputs token ids; of an image, its shape
 * @property {number[] | null} places positions that are compared; null: of an image
 * @property {number[][]} ids of the largest answers at each
 * @property {number[][]} chances probabilities, or fractions of the largest number
 */

/**
 * @param {import("./graph_model.js").GraphModel} model
 * @param {Check} check
 * @returns {Generator<null, void>}
 * @throws {Error} if an answer differs
 */
export function* verified(model, { inputs, places, ids, chances }) {
  const given = inputs.pixel_values ? { pixel_values: waves(inputs.pixel_values) } : inputs;
  const pass = new Pass(model, given, [], {});
  yield* pass.steps();
  const { columns, data } = places ? pass.answersAt(places) : asRows(pass.answer);
  model.forget(given);
  const rows = ids.map((_, i) => data.slice(i * columns, (i + 1) * columns));
  if (model.weights.head) rows.forEach((row) => softmax(row));
  const most = model.weights.head
    ? 1
    : rows.reduce((most, row) => row.reduce((a, x) => Math.max(a, Math.abs(x)), most), 1);
  ids.forEach((list, i) =>
    list.forEach((id, k) => {
      const [here, there] = [rows[i][id] / most, chances[i][k]];
      if (Math.abs(here - there) <= CLOSE) return; // NaN goes on
      throw new Error(
        `this page does not compute what PyTorch computed with the same weights (${here.toFixed(4)} instead of ${there.toFixed(4)}), so it computes nothing`,
      );
    }),
  );
}

const asRows = ({ shape, data }) => matrix(data.length / shape.at(-1), shape.at(-1), data);

/** The image that `_waves` makes in Python. @param {number[]} shape */
function waves(shape) {
  const n = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float32Array.from({ length: n }, (_, i) => Math.sin(i)) };
}
