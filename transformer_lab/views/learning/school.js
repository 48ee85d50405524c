// Answers questions on a model that learns in a page: begin, train, stop, and run it on a text.
// Answers are generators, as in desk.js. Every number comes from a graph.

import { GraphModel } from "../engine/graph_model.js";
import { crc32, readSafetensors } from "../engine/safetensors.js";
import { tokenizerOf } from "../engine/tokenizers/tokenizer.js";
import { generator } from "../engine/writing.js";
import { initialWeights } from "./initial.js";

/**
 * @typedef {object} Lesson what there is to learn; see `Course` of page.py
 * @property {import("../engine/graph_model.js").About} config
 * @property {import("../engine/graph.js").Description} graph of the model's pass
 * @property {Record<string, import("../engine/graph.js").Description>} analyses "update", "right" and "answers"
 * @property {Record<string, import("./initial.js").Drawn>} drawn weights and the optimizer's state at first
 * @property {Uint8Array} constants the other weights, a safetensors
 * @property {any} tokenizer
 * @property {string[]} names of the answers
 * @property {number} steps
 * @property {number} batch texts per step
 * @property {number} examined held-out texts, for the accuracy
 * @property {Int16Array} tokens [example, position]
 * @property {Int16Array} targets [example, position · answers]
 * @property {number} rows
 * @property {number} heldOut number of examples at the end that are never trained on
 */

const IGNORED = -100; // a target that the loss ignores, as in Python

export class School {
  /** @param {{ask: string} & Record<string, any>} question */
  answer({ ask, ...given }) {
    if (!Object.hasOwn(ANSWERS, ask)) throw new Error(`the page does not know the question ${ask}`);
    if (ask !== "begin" && !this.model) throw new Error("no model has been made");
    return ANSWERS[ask](this, given);
  }

  /** @param {Lesson & {seed: number}} given */
  begin({ seed, ...lesson }) {
    if (!Number.isInteger(seed)) throw new Error(`seed must be a whole number, got ${seed}`);
    const { config, graph, analyses, drawn, constants, tokens, targets, rows } = lesson;
    const weights = new Map([
      ...initialWeights(drawn, generator(seed)),
      ...readSafetensors(constants, crc32(constants)),
    ]);
    this.lesson = lesson;
    this.model = new GraphModel(config, graph, weights, analyses);
    this.tokenizer = tokenizerOf(lesson.tokenizer);
    this.length = tokens.length / rows;
    this.width = targets.length / rows;
    this.random = generator(seed + 1);
    this.step = 0;
    this.stopped = true;
    this.asked = new Set(); // positions of answers that some example has a target for
    targets.forEach((target, i) => target !== IGNORED && this.asked.add(i % this.width));
    /** @type {number[]} the text on view */
    this.ids = [];
    /** @type {{layer: number, head: number}[]} */
    this.off = [];
  }

  /** Some examples as inputs of a graph. @param {number[]} which */
  examples(which) {
    const { lesson, length, width } = this;
    const rows = (all, n) => which.flatMap((i) => Array.from(all.subarray(i * n, (i + 1) * n)));
    const size = which.length;
    return {
      tokens: { shape: [size, length], data: rows(lesson.tokens, length) },
      targets: { shape: [size, length, width / length], data: rows(lesson.targets, width) },
    };
  }

  /** Accuracy on held-out texts: the fraction of targets that are the likeliest answer. */
  right() {
    const { rows, heldOut, examined } = this.lesson;
    const texts = this.examples(Array.from({ length: examined }, (_, i) => rows - heldOut + i));
    return this.model.analysis("right", texts).right.data[0];
  }

  /** Run the model on the text on view. */
  seen() {
    const { model, ids, off, tokenizer, lesson, length, asked } = this;
    const pass = model.run(
      { tokens: ids },
      off.map(({ layer, head }) => ({ edit: "ablate", layer, head })),
    );
    const kind = model.defaultKind;
    const places = Array.from({ length: model.layersOf(kind) * model.config.n_heads }, (_, i) => [
      Math.floor(i / model.config.n_heads),
      i % model.config.n_heads,
    ]);
    const { rows, columns, data } = pass.logits();
    const answers = model.analysis("answers", { logits: { shape: [1, rows, columns], data } });
    const [best, chance] = ["best", "chance"].map((name) => Array.from(answers[name].data));
    return {
      tokens: tokenizer.tokens(ids),
      causal: kind === "decoder",
      heads: places.map(([layer, head]) => ({ layer, head, map: pass.pattern(kind, layer, head) })),
      answers: best.map((id, i) => ({
        name: lesson.names[id],
        chance: chance[i],
        asked: ids.length !== length || asked.has(i),
      })),
    };
  }
}

/** @param {School} school @param {Lesson & {seed: number, text: string}} given */
function* begin(school, { text, ...given }) {
  school.begin(given);
  return yield* look(school, { text, off: [] });
}

/** Run the model on a text, with some heads off. @param {School} school @param {{text: string, off: {layer: number, head: number}[]}} given */
function* look(school, { text, off }) {
  const ids = school.tokenizer.encode(text);
  const most = school.model.config.n_ctx;
  if (!ids.length) throw new Error("text is empty; type at least one token");
  if (ids.length > most)
    throw new Error(
      `text has ${ids.length} tokens but this model reads at most ${most}; shorten it`,
    );
  school.ids = ids;
  school.off = off;
  return school.seen();
}

/** Train step by step, and report after every `every` steps. @param {School} school @param {{every: number}} given */
function* train(school, { every }) {
  const { steps, batch, rows, heldOut } = school.lesson;
  school.stopped = false;
  let losses = [];
  while (!school.stopped && school.step < steps) {
    const which = Array.from({ length: batch }, () =>
      Math.floor(school.random() * (rows - heldOut)),
    );
    const results = school.model.analysis("update", school.examples(which));
    const [loss, norm] = ["loss", "norm"].map((name) => results[name].data[0]);
    if (!Number.isFinite(loss + norm))
      throw new Error(
        `the loss is ${loss} at step ${school.step + 1}; the weights are those of the step before. A lower learning rate may help`,
      );
    losses.push(loss);
    const step = ++school.step;
    yield null;
    if (step % every && step !== steps && !school.stopped) continue;
    yield { step, losses, right: school.right(), seen: school.seen() };
    losses = [];
  }
  return { step: school.step };
}

/** Stop after the current step. @param {School} school */
function* stop(school) {
  school.stopped = true;
}

/** @type {Record<string, (school: School, given: any) => Generator<any, any>>} */
const ANSWERS = { begin, look, train, stop };
