// The numbers that an Explorer shows, for a file.

import { headNumbers } from "../heads/numbers.js";
import { quoted } from "../shared/messages.js";
import { sayShared } from "../shared/messages.js";
import { sayExplorer } from "./prose.js";

/**
 * The chosen head's numbers, and the predictions without and with the edits.
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
      : `${{ encoder: "at", decoder: "after" }[kind] ?? sayExplorer("written_after")} ${quoted(tokens[position])}`;
  const of = (means, values) => ({ axes: ["prediction"], means, values });
  if (rows?.length) {
    axes.prediction = rows.map(([token]) => token);
    arrays.before = of(
      sayShared("is_prediction", { where, edited: false }),
      rows.map(([, before]) => before),
    );
    if (rows[0][2] !== null)
      arrays.after = of(
        sayShared("is_prediction", { where, edited: true }),
        rows.map(([, , after]) => after),
      );
  } else if (states?.length) {
    axes.prediction = states.map(([, token]) => token);
    arrays.moved = of(
      sayShared("is_moved"),
      states.map(([, , change]) => change),
    );
  }
  return { arrays, axes, chosen };
}
