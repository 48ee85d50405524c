// Asks the page's engine what Python wrote down, model by model, and gives back its answers: an error
// is its sentence.

import fs from "node:fs";
import path from "node:path";

import { packedOf } from "../../../transformer_lab/views/engine/client.js";
import { Desk } from "../../../transformer_lab/views/engine/desk.js";
import { samplingDistribution } from "../../../transformer_lab/views/engine/writing.js";

const folder = process.argv[2];
const { models, draws } = JSON.parse(fs.readFileSync(path.join(folder, "questions.json"), "utf-8"));

/** The end of an answer. */
function last(desk, question) {
  try {
    const steps = desk.answer(question);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  } catch (error) {
    return { error: error.message };
  }
}

const answers = models.map(({ name, info, questions }) => {
  const desk = new Desk();
  const buffers = ["about", "weights"].map((part) => new Uint8Array(fs.readFileSync(path.join(folder, `${name}.${part}`))));
  const loaded = last(desk, { ask: "load", ...packedOf(info, buffers) });
  return { loaded, found: questions.map((question) => last(desk, question)) };
});
const chances = draws.map(({ logits, options }) => Array.from(samplingDistribution(logits, options)));
const plain = (_, value) => (value instanceof Float32Array || value instanceof Uint8Array ? Array.from(value) : value);
fs.writeFileSync(path.join(folder, "answers.json"), JSON.stringify({ answers, chances }, plain));
