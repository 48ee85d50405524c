// What a page asks of a model that learns in it: to begin, to train, to stop, and what it makes of a
// text now. Answers are generators, as those of desk.js.

import { likeliest, logProbabilities } from "../engine/predictions.js";
import { tokenizerOf } from "../engine/tokenizers/tokenizer.js";
import { generator } from "../engine/writing.js";
import { initialWeights } from "./initial.js";
import { IGNORED } from "./loss.js";
import { Trainer, whyNotTrained } from "./trainer.js";

/**
 * @typedef {object} Lesson what there is to learn
 * @property {Record<string, any>} config
 * @property {Record<string, number[]>} shapes of the weights
 * @property {any} tokenizer
 * @property {string[]} names of what is told
 * @property {Partial<import("./adamw.js").Recipe> & {steps: number}} recipe
 * @property {number} batch texts a step
 * @property {Int16Array} tokens [example, position]
 * @property {Int16Array} targets [example, position · answers]
 * @property {number} heldOut so many of the examples, the last, are never trained on
 */

const EXAMINED = 50; // texts, for the share that is right

export class School {
  /** @param {{ask: string} & Record<string, any>} question */
  answer({ ask, ...given }) {
    if (!Object.hasOwn(ANSWERS, ask)) throw new Error(`the page does not know the question ${ask}`);
    if (ask !== "begin" && !this.trainer) throw new Error("no model has been made");
    return ANSWERS[ask](this, given);
  }

  /** Some examples; of the last where it is examined. @param {number[]} which */
  examples(which) {
    const { tokens, targets, length, width } = this;
    const row = (all, i, n) => Array.from(all.subarray(i * n, (i + 1) * n));
    return which.map((i) => ({ tokens: row(tokens, i, length), targets: row(targets, i, width) }));
  }

  /** The share of targets of held-out texts that are the likeliest. */
  right() {
    const { rows, heldOut, trainer } = this;
    const count = Math.min(EXAMINED, heldOut);
    const { model } = trainer;
    let [hits, asked] = [0, 0];
    for (const { tokens, targets } of this.examples(Array.from({ length: count }, (_, i) => rows - heldOut + i))) {
      const answers = answersOf(model.run({ tokens }).logits(), targets.length / tokens.length);
      targets.forEach((target, i) => {
        if (target === IGNORED) return;
        asked += 1;
        hits += answers[i].best === target ? 1 : 0;
      });
    }
    return hits / asked;
  }

  /** What the model makes of the text on view now. */
  seen() {
    const { trainer, ids, off, tokenizer, names, length, width, asked } = this;
    const { model } = trainer;
    const pass = model.run({ tokens: ids }, off.map(({ layer, head }) => ({ edit: "ablate", layer, head })));
    const kind = model.defaultKind;
    const places = Array.from({ length: model.layersOf(kind) * model.config.n_heads }, (_, i) => [Math.floor(i / model.config.n_heads), i % model.config.n_heads]);
    return {
      tokens: tokenizer.tokens(ids),
      causal: kind === "decoder",
      heads: places.map(([layer, head]) => ({ layer, head, map: pass.pattern(kind, layer, head) })),
      answers: answersOf(pass.logits(), width / length).map(({ best, chance }, i) => ({ name: names[best], chance, asked: ids.length !== length || asked.has(i) })),
    };
  }
}

/** For each answer its likeliest and how likely: several at a position, each by its own part of the logits. */
function answersOf(logits, several) {
  const classes = logits.columns / several;
  return Array.from({ length: logits.rows * several }, (_, i) => {
    const row = logits.data.subarray(i * classes, (i + 1) * classes);
    const [best] = likeliest(row, 1);
    return { best, chance: Math.exp(logProbabilities(row)[best]) };
  });
}

/** @param {School} school @param {Lesson & {seed: number, text: string}} lesson */
function* begin(school, { config, shapes, tokenizer, names, recipe, batch, tokens, targets, rows, heldOut, seed, text }) {
  if (!Number.isInteger(seed)) throw new Error(`seed must be a whole number, got ${seed}`);
  const weights = initialWeights(config, shapes, seed);
  const why = whyNotTrained(config, weights);
  if (why) throw new Error(`this model cannot be trained in a page: ${why}`);
  Object.assign(school, { tokenizer: tokenizerOf(tokenizer), names, recipe, batch, tokens, targets, rows, heldOut });
  Object.assign(school, { length: tokens.length / rows, width: targets.length / rows, trainer: new Trainer(config, weights, recipe), random: generator(seed + 1) });
  school.stopped = true;
  school.asked = new Set(); // places of answers that some example asks for
  targets.forEach((target, i) => target !== IGNORED && school.asked.add(i % school.width));
  return yield* look(school, { text, off: [] });
}

/** A text, without some heads. @param {School} school @param {{text: string, off: {layer: number, head: number}[]}} given */
function* look(school, { text, off }) {
  const ids = school.tokenizer.encode(text);
  const most = school.trainer.config.n_ctx;
  if (!ids.length) throw new Error("text is empty; type at least one token");
  if (ids.length > most) throw new Error(`text has ${ids.length} tokens but this model reads at most ${most}; shorten it`);
  Object.assign(school, { ids, off });
  return school.seen();
}

/** Step by step, and every so many what has become of it. @param {School} school @param {{every: number}} given */
function* train(school, { every }) {
  const { trainer, recipe, batch, rows, heldOut, random } = school;
  school.stopped = false;
  let losses = [];
  while (!school.stopped && trainer.optimizer.updates < recipe.steps) {
    const which = Array.from({ length: batch }, () => Math.floor(random() * (rows - heldOut)));
    const { step, loss } = yield* trainer.step(school.examples(which));
    losses.push(loss);
    if (step % every && step !== recipe.steps && !school.stopped) continue;
    yield { step, losses, right: school.right(), seen: school.seen() };
    losses = [];
  }
  return { step: trainer.optimizer.updates };
}

/** After the step that is being made. @param {School} school */
function* stop(school) {
  school.stopped = true;
}

/** @type {Record<string, (school: School, given: any) => Generator<any, any>>} */
const ANSWERS = { begin, look, train, stop };
