// Runs the page's engine on what Python wrote: models in files, and cases in one table. Returns the
// engine's numbers for Python to compare with PyTorch's.

import { given, modelOf, numbers, write } from "./shared.mjs";

const largest = (a, b) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);

/** Everything that a pass holds, by name. */
function told(pass) {
  const { model } = pass;
  const found = {};
  if (model.weights.head) found.logits = numbers(pass.logits().data);
  for (const kind of model.kinds) {
    for (let layer = 0; layer < model.layersOf(kind); layer++) {
      for (let head = 0; head < model.config.n_heads; head++) {
        found[`map/${kind}/${layer}/${head}`] = numbers(pass.pattern(kind, layer, head));
        found[`value/${kind}/${layer}/${head}`] = numbers(pass.valueNorms(kind, layer, head));
      }
    }
    if (kind === "cross") continue;
    pass.norms(kind).forEach((row, i) => (found[`norm/${kind}/${i}`] = numbers(row)));
    for (let layer = 0; layer < model.layersOf(kind); layer++) {
      for (const [place, x] of pass.streams) {
        const [of, at, name] = place.split("/");
        if (of === kind && Number(at) === layer) found[`${name}/${kind}/${layer}`] = numbers(x.data);
      }
    }
  }
  return found;
}

/** Largest difference between passes that reuse others' values and a full pass. */
function shortcuts(model, inputs, edits, options, whole, others) {
  const apart = others.map((from) => largest(model.run(inputs, edits, { ...options, from: [from] }).answer.data, whole.answer.data));
  return Math.max(0, ...apart);
}

write(given.map(({ inputs, edits: lists, ...about }) => {
  const model = modelOf(about);
  const options = { read: (source) => model.run(source) };
  const others = [];
  return lists.map((edits) => {
    const pass = model.run(inputs, edits, options);
    const apart = shortcuts(model, inputs, edits, options, pass, others);
    others.push(pass);
    return { found: told(pass), apart };
  });
}));
