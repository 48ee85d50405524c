// Trains with the page's own code on what Python wrote: models in files, batches in one table. Gives
// back losses, gradients and weights, which Python compares with PyTorch's.

import fs from "node:fs";
import path from "node:path";

import { crc32, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";
import { AdamW } from "../../../transformer_lab/views/learning/adamw.js";
import { Trainer, whyNotTrained } from "../../../transformer_lab/views/learning/trainer.js";

const folder = process.argv[2];
const numbers = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
const plain = (tensors) => Object.fromEntries([...tensors].map(([name, { data }]) => [name, numbers(data)]));
const tensorsOf = (name) => {
  const bytes = new Uint8Array(fs.readFileSync(path.join(folder, `${name}.safetensors`)));
  return readSafetensors(bytes, crc32(bytes));
};

/** Runs a generator to its end. */
function ended(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const ASKED = {
  gradient({ name, config, batches: [batch] }) {
    const trainer = new Trainer(config, tensorsOf(name), { steps: 1 });
    const loss = ended(trainer.gradient(batch));
    return { loss, gradients: plain(trainer.gradients) };
  },
  train({ name, config, batches, recipe }) {
    const trainer = new Trainer(config, tensorsOf(name), recipe);
    const told = batches.map((batch) => ended(trainer.step(batch)));
    const logits = trainer.model.run(batches[0][0]).logits();
    return { told, weights: plain(trainer.tensors), logits: numbers(logits.data) };
  },
  optimizer({ name, recipe, steps }) {
    const weights = tensorsOf(name);
    const optimizer = new AdamW(weights, recipe);
    for (let step = 0; step < steps; step++) optimizer.step(tensorsOf(`${name}.${step}`));
    return { weights: plain(weights) };
  },
  refused: ({ name, config }) => whyNotTrained(config, tensorsOf(name)),
  nothing({ name, config, batches: [batch] }) {
    try {
      return ended(new Trainer(config, tensorsOf(name), { steps: 1 }).step(batch));
    } catch (error) {
      return error.message;
    }
  },
};

const asked = JSON.parse(fs.readFileSync(path.join(folder, "asked.json"), "utf-8"));
const answers = asked.map((one) => ASKED[one.ask](one));
fs.writeFileSync(path.join(folder, "answers.json"), JSON.stringify(answers));
