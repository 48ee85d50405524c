// Asks the page's engine Python's questions, model by model, and returns its answers; an error is its message.

import { packedOf } from "../../../transformer_lab/views/engine/client.js";
import { Desk } from "../../../transformer_lab/views/engine/desk.js";
import { samplingDistribution } from "../../../transformer_lab/views/engine/writing.js";
import { carriedBuffers, given, last, write } from "./shared.mjs";

const { models, draws = [] } = given;
const answer = (desk, question) => last(() => desk.answer(question));

/** Text that a graph generates under edits: with a cache, and in whole passes. */
function writtenTwice(packed, text, lists) {
  const sides = [true, false].map((grows) => {
    const desk = new Desk();
    answer(desk, { ask: "load", ...packed });
    const { graph } = desk.model.model;
    if (grows && !graph.description.growth) throw new Error("this graph does not grow");
    if (!grows) graph.description.growth = null;
    answer(desk, { ask: "read", text });
    return lists.map((edits) => answer(desk, { ask: "write", n: 12, edits, sampling: { temperature: 1, seed: 1 } }));
  });
  return lists.map((_, i) => sides.map((side) => side[i]));
}

const answers = models.map(({ name, info, questions, written }) => {
  const desk = new Desk();
  const buffers = carriedBuffers(name);
  const loaded = answer(desk, { ask: "load", ...packedOf(info, buffers) });
  const twice = written && writtenTwice(packedOf(info, buffers), written.text, written.lists);
  return { loaded, found: questions.map((question) => answer(desk, question)), twice };
});
const chances = draws.map(({ logits, options }) => Array.from(samplingDistribution(logits, options)));
write({ answers, chances });
