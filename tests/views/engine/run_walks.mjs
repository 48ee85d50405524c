// Walks through blocks of models that Python exported, and Python's, as stages.

import { view } from "../../../transformer_lab/views/block/scene.js";
import { Reading } from "../../../transformer_lab/views/engine/desk.js";
import { blockSteps, packed } from "../../../transformer_lab/views/engine/steps.js";
import { given, last, modelOf, write } from "./shared.mjs";

/** What is shown of a walk, without its numbers. */
function stagesOf(info, numbers, kinds) {
  const { stages, values } = view.read({ info, bytes: new Uint8Array(0), numbers }, "", { kinds });
  return stages.map(({ vectors, keys, ...stage }) => ({
    ...stage,
    sentence: view.say(stage.name, { ...values, stage: stage.name }),
    vectors: vectors.map(({ name, values: { length }, chosen }) => ({ name, length, chosen })),
    keys: keys && {
      columns: keys.columns.map(({ name }) => name),
      beside: keys.beside ?? null,
      keys: keys.rows.map(({ key, token }) => [key, token]),
      numbers: keys.columns.map(({ values: column }) => column.map((x) => (Number.isFinite(x) ? x : null))),
      vectors: keys.rows.map(({ vector }) => vector?.name ?? null),
    },
  }));
}

write(given.map(({ inputs, asked, ...about }) => {
  const reading = new Reading(/** @type {any} */ ({ model: modelOf(about), name: about.name }), inputs, () => null);
  const named = (likely) => likely.map(({ id, probability }) => [String(id), probability]);
  return asked.map(({ walk, kinds, python }) => {
    const { steps, answers, error } = last(() => blockSteps(reading, walk));
    if (error) return { error };
    const { info, numbers: parts } = packed(steps, { ...answers, lens: named(answers.lens), final: named(answers.final) });
    const numbers = Float32Array.from(parts.flatMap((part) => Array.from(part)));
    return {
      info,
      numbers: Object.fromEntries(numbersOf(info, numbers)),
      python: Object.fromEntries(numbersOf(python.info, Float32Array.from(python.numbers, Number))),
      stages: stagesOf(info, numbers, kinds),
      told: stagesOf(python.info, Float32Array.from(python.numbers, Number), kinds),
    };
  });
}));

/** Each array, flat, by name. */
function numbersOf({ sizes }, flat) {
  let at = 0;
  return Object.entries(sizes).map(([name, size]) => [
    name,
    Array.from(flat.subarray(at, (at += size.reduce((a, b) => a * b, 1)))).map((x) => (Number.isFinite(x) ? x : null)),
  ]);
}
