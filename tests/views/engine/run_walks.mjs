// Walks through blocks of models that Python exported.

import { packedWalk } from "../../../transformer_lab/views/block/stages.js";
import { Reading } from "../../../transformer_lab/views/engine/desk.js";
import { blockSteps } from "../../../transformer_lab/views/engine/steps.js";
import { given, last, modelOf, write } from "./shared.mjs";

write(given.map(({ inputs, asked, ...about }) => {
  const reading = new Reading(/** @type {any} */ ({ model: modelOf(about), name: about.name }), inputs, () => null);
  const named = (likely) => likely.map(({ id, probability }) => [String(id), probability]);
  return asked.map(({ walk, around }) => {
    const { steps, answers, error } = last(() => blockSteps(reading, walk));
    return error ? { error } : packedWalk(steps, { ...answers, ...around, lens: named(answers.lens), final: named(answers.final) });
  });
}));
