// Sentences about an Explorer's results, where Python does not write them.

import { digitsApart, messages, percentText } from "../shared/messages.js";
import explorerMessages from "./messages.json" with { type: "json" };

export const sayExplorer = messages(explorerMessages);

/** The beginning of a sentence about the effect of edits. @param {import("./edits.js").Edit[]} edits */
export const subjectOf = (edits) =>
  edits.length === 1 ? edits[0].subject : sayExplorer("several", { n: edits.length });

/** How a probability changes, for a sentence. @param {number} before @param {number} after */
export function changed(before, after) {
  const digits = digitsApart(before, after);
  const same = percentText(before, digits) === percentText(after, digits);
  return { before, after, way: same ? "same" : after < before ? "down" : "up" };
}

/** A sentence about the effect of edits at a position. @param {string} subject @param {{kl: number | null, rows: any[], states: any[], mean: number | null}} outcome */
export function outcomeSentence(subject, { kl, rows, states, mean }) {
  if (states.length) {
    const [, token, change] = states[0];
    return sayExplorer("states", { subject, mean: mean ?? 0, token, change });
  }
  if (kl === null || !rows.length) return "";
  const [token, before, after] = rows[0];
  const best = rows.reduce((a, b) => (b[2] > a[2] ? b : a));
  return sayExplorer("outcome", {
    subject,
    token,
    ...changed(before, after),
    kl,
    best: best === rows[0] ? null : best[0],
    best_after: best[2],
  });
}

/** Index of the first token at which two texts differ; null if they are the same. @param {number[]} plain @param {number[] | null} edited */
export function partsAt(plain, edited) {
  if (!edited || (plain.length === edited.length && plain.every((id, i) => id === edited[i])))
    return null;
  const shorter = Math.min(plain.length, edited.length);
  const first = plain.slice(0, shorter).findIndex((id, i) => id !== edited[i]);
  return first < 0 ? shorter : first;
}

/**
 * Python that runs a text without and with `edits`: `run_code` of edits.py.
 * @param {string} text
 * @param {string | null} target null: the model's own answer
 * @param {number[]} masked
 * @param {string} kind of the model
 * @param {number[] | null} ids exact tokens of the side with the predictions, if its words would be
 *   read as others
 */
export function runCode(text, target, masked, kind, ids) {
  const listed = (numbers) => `[${numbers.join(", ")}]`;
  const words = JSON.stringify(text);
  const exact = ids ? `torch.tensor(${listed(ids)})` : "";
  const why = "  # exactly these tokens: the words would be split into others";
  const given =
    kind === "encoder-decoder" ? "before.tokens[0], before.target[0]" : "before.tokens[0]";
  let first;
  if (kind === "encoder-decoder" && exact)
    first = [
      sayExplorer("target", { exact, why }),
      `before = model.trace_ids(model.encode(${words}), target)`,
    ];
  else if (kind === "encoder-decoder") {
    first = [
      target === null
        ? `before = model.trace(${words})  # it writes its own answer`
        : `before = model.trace(${words}, ${JSON.stringify(target)})`,
    ];
  } else if (masked.length) {
    first = [
      exact ? `ids = ${exact}${why}` : `ids = model.encode(${words})`,
      `ids[${listed(masked)}] = model.tokenizer.mask_id`,
      "before = model.trace_ids(ids)",
    ];
  } else
    first = exact
      ? [`ids = ${exact}${why}`, "before = model.trace_ids(ids)"]
      : [`before = model.trace(${words})`];
  return [
    ...(exact ? ["import torch"] : []),
    ...first,
    "with tl.edit(model, *edits):",
    `    after = model.trace_ids(${given})  # the same tokens`,
  ].join("\n");
}
