// One token's way through a block as a row of stages, each with its numbers and its sentence, where the
// page computes them. The counterpart of stages.py, for models that run in a page.

import { messages } from "../shared/messages.js";
import blockMessages from "./messages.json" with { type: "json" };

const sayBlock = messages(blockMessages);

const SHOWN_KEYS = 14; // rows of a table of keys; of more, those with most weight
const WHOLE = 1e-20; // a square below it is of nothing

/**
 * @typedef {ArrayLike<number>} Numbers
 * @typedef {import("../engine/steps.js").Steps} Steps
 * @typedef {{name: string, values: Numbers, chosen: boolean}} Vector
 * @typedef {{columns: string[], numbers: Numbers[], vectors?: Numbers[], vectorName?: string}} Keys
 * @typedef {{name: string, tab: string, title: string, formula: string, sentence: string, vectors: Vector[], keys: Keys | null, answers: any[]}} Stage
 *
 * @typedef {object} Around what stands around the block
 * @property {string[]} tokens
 * @property {boolean} last whether this is the last block
 * @property {boolean} here whether logits say what stands at a position, not what comes next
 * @property {[string, number][]} lens what the stream after the block would predict, the likeliest first
 * @property {[string, number][]} final what the model predicts
 * @property {number} without the probability of its first answer with the head off
 * @property {string} why there are none of these
 */

const lengthOf = (values) => Math.sqrt(inner(values, values));
const inner = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const vector = (name, values, chosen = false) => ({ name, values, chosen });

/**
 * @param {string} name @param {Steps} s @param {Around} a @param {Record<string, any>} values of its messages
 * @param {{vectors?: Vector[], keys?: Keys | null, answers?: any[]}} [parts]
 * @returns {Stage}
 */
function stage(name, s, a, values, { vectors = [], keys = null, answers = [] } = {}) {
  const every = { stage: name, query: a.tokens[s.position], layer: s.layer, head: s.head, after: s.after, d: s.stream.length, width: s.query.length, ...values };
  const [tab, title, formula, sentence] = ["tab", "title", "formula", name].map((key) => sayBlock(key, every));
  return { name, tab, title, formula, sentence, vectors, keys, answers };
}

/**
 * What Python sends of a walk: all stages, in their order, and their numbers.
 * @param {Steps} s @param {Around} around
 * @returns {{info: any, numbers: Float32Array}}
 */
export function packedWalk(s, around) {
  const shown = shownKeys(s.weights);
  const parts = [];
  let size = 0;
  const put = (values) => {
    parts.push(values);
    size += values.length;
    return size - values.length;
  };
  /** @param {Keys} keys */
  const table = ({ columns, numbers, vectors, vectorName }) => ({
    columns,
    numbers: numbers.map((column) => shown.map((key) => (Number.isFinite(column[key]) ? column[key] : null))),
    vectors: vectors ? { name: vectorName, n: vectors[0].length, at: put(shown.flatMap((key) => Array.from(vectors[key]))) } : null,
  });
  const stages = stagesOf(s, around).map((one) => ({
    ...one,
    vectors: one.vectors.map(({ name, values, chosen }) => ({ name, at: put(values), n: values.length, chosen })),
    keys: one.keys && table(one.keys),
  }));
  const sum = (weights) => weights.reduce((a, b) => a + b, 0);
  const { kind, layer, head, position } = s;
  const info = { kind, layer, head, position, shown, all: s.weights.length, stages, rest: sum(s.weights) - sum(shown.map((key) => s.weights[key])) };
  return { info, numbers: Float32Array.from(parts.flatMap((part) => Array.from(part))) };
}

/** In the order of the text: of many those with most weight. */
function shownKeys(weights) {
  const all = Array.from(weights.keys());
  return all.length <= SHOWN_KEYS ? all : all.sort((a, b) => weights[b] - weights[a]).slice(0, SHOWN_KEYS).sort((a, b) => a - b);
}

/** @param {Steps} s @param {Around} a @returns {Stage[]} */
function stagesOf(s, a) {
  return [streamStage, normStage, productStage, scaleStage, maskStage, softmaxStage, valueStage, headStage, sumStage, crossStage, mlpNormStage, mlpStage, mlpSumStage, answerStage]
    .map((tell) => tell(s, a))
    .filter((one) => one !== null);
}

/** The key with the largest number, and that number; of equals the first. */
function topKey(a, values, among) {
  const reached = Array.from(values.keys()).filter(among);
  if (!reached.length) return { best: null };
  const most = Math.max(...reached.map((i) => values[i]));
  const room = 1e-5 * reached.reduce((size, i) => Math.max(size, Math.abs(values[i])), 1);
  const at = reached.find((i) => values[i] >= most - room);
  return { best: a.tokens[at], value: values[at] };
}

const streamStage = (s, a) => stage("stream", s, a, { length: lengthOf(s.stream) }, { vectors: [vector("x", s.stream)] });

function normStage(s, a) {
  if (!s.norm) return null;
  return stage("norm", s, a, { norm: s.norm, from: lengthOf(s.stream), to: lengthOf(s.reads) }, { vectors: [vector("x", s.stream), vector("norm(x)", s.reads)] });
}

const isReached = (s) => (i) => Number.isFinite(s.scores[i]);

const productStage = (s, a) => stage("product", s, a, topKey(a, s.dots, isReached(s)),
  { vectors: [vector("query", s.query, true)], keys: { columns: ["q · k"], numbers: [s.dots], vectors: s.keys, vectorName: "key" } });

function scaleStage(s, a) {
  const [scale, cap] = [s.scale, s.softcap].map((x) => (x === null ? null : String(Number(x.toPrecision(4)))));
  const root = Math.abs(s.scale * Math.sqrt(s.query.length) - 1) <= 1e-4;
  return stage("scale", s, a, { root, scale, cap, ...topKey(a, s.scaled, isReached(s)) }, { keys: { columns: ["q · k", "scaled"], numbers: [s.dots, s.scaled] } });
}

function maskStage(s, a) {
  const reached = Array.from(s.scores.keys()).filter(isReached(s));
  const bias = reached.map((i) => s.bias[i]);
  return stage("mask", s, a, { hidden: s.scores.length - reached.length, biased: bias.some(Boolean), from: Math.min(...bias), to: Math.max(...bias) },
    { keys: { columns: ["scaled", "bias", "score"], numbers: [s.scaled, s.bias, s.scores] } });
}

const softmaxStage = (s, a) => stage("softmax", s, a, { nothing: s.nothing, ...topKey(a, s.weights, () => s.scores.some(Number.isFinite)) },
  { keys: { columns: ["score", "weight"], numbers: [s.scores, s.weights] } });

function valueStage(s, a) {
  const z = s.z[s.head];
  const parts = Array.from(s.values, (value, i) => value.map((x) => x * s.weights[i]));
  const size = inner(z, z);
  const shares = parts.map((part) => (size > WHOLE ? inner(part, z) / size : 0));
  return stage("values", s, a, { length: lengthOf(z), ...topKey(a, shares, () => true) },
    { vectors: [vector("z", z, true)], keys: { columns: ["weight", "share of z"], numbers: [s.weights, shares], vectors: parts, vectorName: "weight · value" } });
}

function headStage(s, a) {
  const n = s.z.length;
  let rows = s.z.map((z, head) => vector(`z of head ${head}`, z, head === s.head));
  if (n > 16) { // those beside the chosen one
    const first = Math.min(Math.max(0, s.head - 8), n - 16);
    rows = rows.slice(first, first + 16);
  }
  return stage("heads", s, a, { n, written: lengthOf(s.written), length: lengthOf(s.attention) },
    { vectors: [...rows, vector(`W_O of head ${s.head}`, s.written, true), vector("attention", s.attention)] });
}

const middleName = ({ after }) => sayBlock("formula", { stage: "add", after });

const sumStage = (s, a) => stage("add", s, a, { stream: lengthOf(s.stream), attention: lengthOf(s.attention), length: lengthOf(s.middle) },
  { vectors: [vector("x", s.stream), vector("attention", s.attention), vector(middleName(s), s.middle)] });

function crossStage(s, a) {
  if (!s.cross) return null;
  return stage("cross", s, a, { length: lengthOf(s.cross) }, { vectors: [vector("before", s.middle), vector("cross-attention", s.cross)] });
}

function mlpNormStage(s, a) {
  if (!s.mlp || !s.mlpNorm) return null;
  const read = vector("norm", s.mlpReads);
  return stage("norm2", s, a, { norm: s.mlpNorm, length: lengthOf(s.mlpReads) }, { vectors: s.cross ? [read] : [vector("stream", s.middle), read] });
}

function mlpStage(s, a) {
  if (!s.mlp) return null;
  const { hidden } = s;
  const unit = hidden?.reduce((best, x, i) => (Math.abs(x) > Math.abs(hidden[best]) ? i : best), 0);
  return stage("mlp", s, a, { units: hidden?.length ?? null, positive: hidden?.filter((x) => x > 0).length, unit, value: hidden?.[unit], length: lengthOf(s.mlp) },
    { vectors: [vector("reads", s.mlpReads), ...(hidden ? [vector("hidden", hidden)] : []), vector("feed-forward", s.mlp)] });
}

function mlpSumStage(s, a) {
  if (!s.mlp) return null;
  const cosine = inner(s.stream, s.out) / Math.max(lengthOf(s.stream) * lengthOf(s.out), 1e-12);
  return stage("add2", s, a, { length: lengthOf(s.out), cosine },
    { vectors: [...(s.cross ? [] : [vector(middleName(s), s.middle)]), vector("feed-forward", s.mlp), vector("out", s.out), vector("x, as it came", s.stream)] });
}

function answerStage(s, a) {
  if (!a.lens.length) return stage("answer", s, a, { token: null, why: a.why || null });
  const [[token, chance], [told, p]] = [a.final[0], a.lens[0]];
  const final = new Map(a.final);
  return stage("answer", s, a, { token, chance, last: a.last, told, p, here: a.here, without: a.without },
    { answers: a.lens.map(([name, odds]) => [name, odds, final.get(name) ?? null]) });
}
