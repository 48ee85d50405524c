// One token's way through a block as stages, from numbers of the page's engine: the counterpart of
// stages.py. stages.json lists what each stage shows.

import { messages, numbered } from "../shared/messages.js";
import blockMessages from "./messages.json" with { type: "json" };
import blockStages from "./stages.json" with { type: "json" };

export const sayBlock = messages(blockMessages);

const SHOWN_KEYS = 14; // rows of a table of keys; of more keys, those with the largest weights
const SHOWN_HEADS = 16;

/**
 * @typedef {import("../engine/steps.js").Steps} Steps
 * @typedef {{needs?: string[], vectors?: any[], columns?: string[][], beside?: string[]}} Has what a stage shows
 *
 * @typedef {object} Around facts about the text and the predictions; see stages.py
 * @property {string[]} tokens
 * @property {boolean} positions whether their embeddings are added
 * @property {boolean} last
 * @property {boolean} here
 * @property {[string, number][]} lens
 * @property {[string, number][]} final
 * @property {number} without
 * @property {string} why
 */

/** Values for the messages about a walk. @param {Steps} steps @param {Around} around @returns {Record<string, any>} */
function valuesOf(
  { facts, numbers, layer, head, position, after, nothing, norm, mlp_norm, scale, softcap },
  around,
) {
  const { tokens, lens, final } = around;
  const four = (x) => (x === null ? null : String(Number(x.toPrecision(4))));
  const best = ["dots", "scaled", "weights", "shares"].map((name) => {
    const at = facts[`best_${name}`];
    return [
      [`best_${name}`, at < tokens.length ? numbered(tokens, at) : null],
      [`value_${name}`, numbers[name][at] ?? 0],
    ];
  });
  return {
    ...facts,
    ...Object.fromEntries(best.flat()),
    ...around,
    layer,
    head,
    after,
    nothing,
    norm,
    mlp_norm,
    query: numbered(tokens, position),
    heads: numbers.z.length,
    d: numbers.stream.length,
    width: numbers.query.length,
    units: numbers.hidden?.length ?? null,
    biased: Boolean(facts.biased),
    root: Math.abs(scale * Math.sqrt(numbers.query.length) - 1) <= 1e-4,
    scale: four(scale),
    cap: four(softcap),
    why: around.why || null,
    token: final[0]?.[0] ?? null,
    chance: final[0]?.[1],
    likeliest: lens[0]?.[0],
    p: lens[0]?.[1],
  };
}

/** The vectors under a label; of a vector for each head, those around the chosen head. */
function vectorsOf({ numbers, head, after }, [label, name, chosen = false]) {
  const x = numbers[name];
  const named = (row) =>
    label
      .replace("{head}", String(head))
      .replace("{row}", String(row))
      .replace("{sum}", () => sayBlock("formula", { stage: "add", after }));
  if (!x || typeof x[0] === "number") return x ? [{ name: named(0), values: x, chosen }] : [];
  const first = Math.min(Math.max(0, head - SHOWN_HEADS / 2), Math.max(0, x.length - SHOWN_HEADS));
  return x
    .slice(first, first + SHOWN_HEADS)
    .map((values, i) => ({ name: named(first + i), values, chosen: first + i === head }));
}

/** The keys with the largest weights, in the order of the text. */
const shownKeys = (weights) =>
  Array.from(weights.keys())
    .sort((a, b) => weights[b] - weights[a])
    .slice(0, SHOWN_KEYS)
    .sort((a, b) => a - b);

/**
 * Pack a walk as Python sends it: all stages, in order, and their numbers.
 * @param {Steps} steps @param {Around} around
 * @returns {{info: any, numbers: Float32Array}}
 */
export function packedWalk(steps, around) {
  const { numbers, kind, layer, head, position } = steps;
  const values = valuesOf(steps, around);
  const shown = shownKeys(numbers.weights);
  const final = new Map(around.final);
  const parts = [];
  let size = 0;
  const put = (x) => {
    parts.push(...x);
    size += x.length;
    return size - x.length;
  };
  const finite = (x) => (Number.isFinite(x) ? x : null);
  /** @param {string} name @param {Has} has */
  const stage = (name, { vectors = [], columns = [], beside = [] }) => {
    const [tab, title, formula, sentence] = ["tab", "title", "formula", name].map((key) =>
      sayBlock(key, { ...values, stage: name }),
    );
    const rows = vectors
      .flatMap((row) => vectorsOf(steps, /** @type {[string, string, boolean?]} */ (row)))
      .map((one) => ({
        name: one.name,
        at: put(one.values),
        n: one.values.length,
        chosen: one.chosen,
      }));
    const of = numbers[beside[1]];
    const keys = columns.length
      ? {
          columns: columns.map(([label]) => label),
          numbers: columns.map(([, column]) => shown.map((key) => finite(numbers[column][key]))),
          vectors: of
            ? {
                name: beside[0],
                n: of[0].length,
                at: put(shown.flatMap((key) => Array.from(of[key]))),
              }
            : null,
        }
      : null;
    const answers =
      name === "answer"
        ? around.lens.map(([token, p]) => [token, p, final.get(token) ?? null])
        : [];
    return { name, tab, title, formula, sentence, vectors: rows, keys, answers };
  };
  const has = Object.entries(/** @type {Record<string, Has>} */ (blockStages)).filter(
    ([, { needs = [] }]) => needs.every((part) => numbers[part] || steps[part]),
  );
  const sum = (weights) => weights.reduce((a, b) => a + b, 0);
  const info = {
    kind,
    layer,
    head,
    position,
    shown,
    all: numbers.weights.length,
    stages: has.map(([name, one]) => stage(name, one)),
    rest: sum(numbers.weights) - sum(shown.map((key) => numbers.weights[key])),
  };
  return { info, numbers: Float32Array.from(parts) };
}
