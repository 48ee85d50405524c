// What scenes of weights over a picture share.

import { digitsApart, percentText, sayShared } from "./messages.js";

/** @typedef {import("./scene.js").SceneOf} SceneOf @typedef {import("./scene.js").State} State */

/** A slider of how opaque weights over a picture are. @param {string} label @param {number} value */
export const fadeControl = (label, value) => ({
  label,
  part: "fade",
  values: Array.from({ length: 21 }, (_, i) => i / 20),
  value,
  text: (share) => `${Math.round(100 * share)}%`,
});

/** What views of weights over a picture have in common: rows that the pointer asks for, too. @param {SceneOf["say"]} say @param {(at: number, s: State) => string} cannot what cannot be shown; "" to say nothing */
export const overlaid = (say, cannot) => ({
  say,
  bare: true,
  least: 1,
  working: () => say("reading_what_it_attends"),
  failed(name, why, s) {
    const what = cannot(Number(name.split("/")[1]), s);
    return what && say("cannot_be_shown", { cannot: what, why });
  },
});

/** The effect of edits in words. @param {any} effect as `Effect.plain` of passes.py has it */
export function effectSentence({ rows, now, chance, ...turned }) {
  if (!rows.length) return sayShared("state_change", turned);
  const [[name, ...shares]] = rows;
  const [before, after] = shares.map((x) => percentText(x, digitsApart(shares[0], shares[1])));
  const values = { name, same: before === after, before, after, about: "" };
  return sayShared("answer_change", { ...values, now, chance });
}

/** The panel of every head, small, over the picture of a part. @param {SceneOf["say"]} say @param {{says: string, over: string, counts: number[], also: number[][], aspect: number, widest: number, weights: (layer: number, head: number) => ArrayLike<number>}} of @param {() => any[]} still */
export const everyHead = (say, of, still) => ({
  part: "heads",
  title: say("heads"),
  hint: say("layer_head_each_to"),
  picture: say("every_head_layer_head"),
  mark: { type: "heads" },
  get still() {
    return still();
  },
  ...of,
});
