// Training: forward, backward, a step. The forward pass is the engine's own, a text at a time, so that
// no text is padded.

import { weightsOf } from "../engine/config.js";
import { Transformer } from "../engine/model.js";
import { AdamW, clipped, RECIPE } from "./adamw.js";
import { backward } from "./backward.js";
import { counted, crossEntropy } from "./loss.js";

/**
 * @typedef {Map<string, {shape: number[], data: Float32Array}>} Tensors
 *
 * @typedef {object} Example
 * @property {number[]} tokens
 * @property {number[] | null} [target] what an encoder-decoder's decoder reads
 * @property {number[]} targets at each position the token to tell, −100 for none; or several, one after the other
 */

/** Weights up to which a page trains a model. */
export const MOST_WEIGHTS = 50_000;

/** Why a page does not train a model; "" where it does. @param {Record<string, any>} config @param {Tensors} tensors */
export function whyNotTrained(config, tensors) {
  const size = [...tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
  if (size >= MOST_WEIGHTS) return `it has ${size.toLocaleString("en")} weights, and a page trains fewer than ${MOST_WEIGHTS.toLocaleString("en")}`;
  if (!config.head) return "it has no head, and so nothing to be right about";
  if (config.dropout > 0) return `dropout=${config.dropout} draws numbers, and a page has none of Python's; build it with dropout=0`;
  return "";
}

export class Trainer {
  /**
   * @param {Record<string, any>} config
   * @param {Tensors} tensors changed in place
   * @param {Partial<import("./adamw.js").Recipe> & {steps: number}} recipe
   */
  constructor(config, tensors, recipe) {
    Object.assign(this, { config, tensors });
    /** @type {Tensors} */
    this.gradients = new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: new Float32Array(data.length) }]));
    this.tree = weightsOf(config, this.gradients);
    this.optimizer = new AdamW(tensors, { ...RECIPE, ...recipe });
  }

  /** The model with its weights as they are now. */
  get model() {
    return new Transformer(this.config, this.tensors);
  }

  /** The loss of a batch and all its gradients, a text between two steps. @param {Example[]} batch @returns {Generator<null, number>} */
  *gradient(batch) {
    for (const { data } of this.gradients.values()) data.fill(0);
    const count = batch.reduce((sum, { targets }) => sum + counted(targets), 0);
    if (!count) throw new Error("every target of the batch is −100 (ignored); there is nothing to learn");
    const { model } = this;
    let sum = 0;
    for (const { tokens, target = null, targets } of batch) {
      const pass = model.run({ tokens, target });
      const logits = pass.logits();
      const { loss, dLogits } = crossEntropy(logits, targets, count);
      backward(pass, logits, dLogits, this.tree);
      sum += loss;
      yield null;
    }
    return sum;
  }

  /** One update. @param {Example[]} batch @returns {Generator<null, {step: number, loss: number, lr: number, norm: number}>} */
  *step(batch) {
    const loss = yield* this.gradient(batch);
    const step = this.optimizer.updates + 1;
    if (!Number.isFinite(loss)) throw new Error(`the loss is ${loss} at step ${step}; the weights are those of the step before. A lower learning rate may help`);
    const norm = clipped(this.gradients, this.optimizer.recipe.clip);
    const lr = this.optimizer.step(this.gradients);
    return { step, loss, lr, norm };
  }
}
