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

/** What a graph writes under edits: with keys and values that grow, and in whole passes. */
function writtenTwice(packed, text, lists) {
  const sides = [true, false].map((grows) => {
    const desk = new Desk();
    last(desk, { ask: "load", ...packed });
    const { graph } = desk.model.model;
    if (grows && !graph.description.growth) throw new Error("this graph does not grow");
    if (!grows) graph.description.growth = null;
    last(desk, { ask: "read", text });
    return lists.map((edits) => last(desk, { ask: "write", n: 12, edits, sampling: { temperature: 1, seed: 1 } }));
  });
  return lists.map((_, i) => sides.map((side) => side[i]));
}

const answers = models.map(({ name, info, questions, written }) => {
  const desk = new Desk();
  const buffers = ["about", "weights"].map((part) => new Uint8Array(fs.readFileSync(path.join(folder, `${name}.${part}`))));
  const loaded = last(desk, { ask: "load", ...packedOf(info, buffers) });
  const twice = written && writtenTwice(packedOf(info, buffers), written.text, written.lists);
  return { loaded, found: questions.map((question) => last(desk, question)), twice };
});
const chances = draws.map(({ logits, options }) => Array.from(samplingDistribution(logits, options)));
const plain = (_, value) => (value instanceof Float32Array || value instanceof Uint8Array ? Array.from(value) : value);
fs.writeFileSync(path.join(folder, "answers.json"), JSON.stringify({ answers, chances }, plain));
