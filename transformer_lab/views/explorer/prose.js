// What an Explorer says of a result, where no Python says it: the counterpart of the sentences in
// runs.py, edits.py and written.py.

import { klText } from "./predictions.js";
import { percentText, quoted, short } from "../shared/messages.js";

const someOf = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** The beginning of a sentence on what edits do. @param {import("./edits.js").Edit[]} edits */
export const subjectOf = (edits) => (edits.length === 1 ? edits[0].subject : `With these ${edits.length} edits`);

/**
 * What edits do at a position.
 * @param {string} subject
 * @param {{kl: number | null, rows: any[], states: any[], mean: number | null}} outcome
 */
export function outcomeSentence(subject, { kl, rows, states, mean }) {
  if (states.length) {
    const [, token, change] = states[0];
    return `${subject}, the final states move by ${percentText(mean ?? 0, 1)} on average, that of ${quoted(token)} most (${percentText(change, 1)}).`;
  }
  if (kl === null || !rows.length) return "";
  const [token, was, is] = rows[0];
  const [before, after] = [short(was), short(is)];
  let told = `${subject}, P(${quoted(token)}) `;
  told += before === after ? `stays at ${before}` : `${is < was ? "falls" : "rises"} from ${before} to ${after}`;
  const best = rows.reduce((a, b) => (b[2] > a[2] ? b : a));
  if (best !== rows[0]) told += `; ${quoted(best[0])} is now likeliest (${short(best[2])})`;
  return `${told}. KL ${klText(kl)} nats.`;
}

/** What went with an old text. @param {number} dropped */
export const droppedNote = (dropped) => (dropped ? `${someOf(dropped, "cut")} went with the old text, whose tokens were named.` : "");

/**
 * What was written on, and where the text with edits parts from the one without.
 * @param {object} given
 * @param {number} given.n how many tokens were asked for
 * @param {number} given.count how many came
 * @param {string} given.how "the likeliest each time", or how tokens were drawn
 * @param {string} given.subject of the edits
 * @param {boolean} given.edited
 * @param {number | null} given.parts
 * @param {string | null} given.rest words of the text with edits from there on; null: nothing
 * @param {[string | null, string | null]} given.names of the tokens at which they part; null: the end
 */
export function writtenSentence({ n, count, how, subject, edited, parts, rest, names }) {
  if (!edited) return `It wrote ${someOf(count, "token")}, ${how}${count === n ? "." : ", and ended there."}`;
  if (parts === null) return `${subject}, it writes the same ${someOf(count, "token")}.`;
  const [here, there] = names.map((name) => (name === null ? "the end" : quoted(name)));
  const goesOn = rest === null ? "it ends there" : `it goes on ${quoted(rest)}`;
  return `${subject}, the two texts diverge at token ${parts}: ${here} / ${there}. With edits ${goesOn}.`;
}

/** The first token at which two texts part; null where they do not. @param {number[]} plain @param {number[] | null} edited */
export function partsAt(plain, edited) {
  if (!edited || (plain.length === edited.length && plain.every((id, i) => id === edited[i]))) return null;
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
 * @param {number[] | null} ids of the side that is predicted on, where its words would give others
 */
export function runCode(text, target, masked, kind, ids) {
  const listed = (numbers) => `[${numbers.join(", ")}]`;
  const words = JSON.stringify(text);
  const exact = ids ? `torch.tensor(${listed(ids)})` : "";
  const why = "  # exactly these tokens: the words would be split into others";
  const given = kind === "encoder-decoder" ? "before.tokens[0], before.target[0]" : "before.tokens[0]";
  let first;
  if (kind === "encoder-decoder" && exact) first = [`target = ${exact}${why}`, `before = model.trace_ids(model.encode(${words}), target)`];
  else if (kind === "encoder-decoder") {
    first = [target === null ? `before = model.trace(${words})  # it writes its own answer` : `before = model.trace(${words}, ${JSON.stringify(target)})`];
  } else if (masked.length) {
    first = [exact ? `ids = ${exact}${why}` : `ids = model.encode(${words})`, `ids[${listed(masked)}] = model.tokenizer.mask_id`, "before = model.trace_ids(ids)"];
  } else first = exact ? [`ids = ${exact}${why}`, "before = model.trace_ids(ids)"] : [`before = model.trace(${words})`];
  return [...(exact ? ["import torch"] : []), ...first, "with tl.edit(model, *edits):", `    after = model.trace_ids(${given})  # the same tokens`].join("\n");
}
