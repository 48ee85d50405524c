// What an Explorer shows as numbers for a file.

import { headNumbers } from "../heads/numbers.js";
import { quoted } from "../shared/messages.js";
import { sayMap } from "../shared/map_sentences.js";

/**
 * The chosen head, and what is predicted without and with the edits.
 * @param {import("../heads/heads.js").Heads} heads
 * @param {import("./state.js").ExplorerState} state
 * @returns {import("../shared/files.js").Numbers}
 */
export function explorerNumbers(heads, state) {
  const { arrays, axes, chosen } = headNumbers(heads);
  const { rows, states, position } = state.model.get("_outcome");
  const { kind, tokens } = state.about;
  const where =
    position === null
      ? ""
      : `${{ encoder: "at", decoder: "after" }[kind] ?? "written after"} ${quoted(tokens[position])}`;
  const of = (means, values) => ({ axes: ["prediction"], means, values });
  if (rows?.length) {
    axes.prediction = rows.map(([token]) => token);
    arrays.before = of(
      sayMap("is_prediction", { where, edited: false }),
      rows.map(([, before]) => before),
    );
    if (rows[0][2] !== null)
      arrays.after = of(
        sayMap("is_prediction", { where, edited: true }),
        rows.map(([, , after]) => after),
      );
  } else if (states?.length) {
    axes.prediction = states.map(([, token]) => token);
    arrays.moved = of(
      sayMap("is_moved"),
      states.map(([, , change]) => change),
    );
  }
  return { arrays, axes, chosen };
}
