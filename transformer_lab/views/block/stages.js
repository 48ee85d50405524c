// One token's way through a block as a row of stages, each with its numbers and its sentence, where the
// page computes them. The counterpart of stages.py, for models that run in a page.

import { fixed, quoted, short } from "../shared/messages.js";

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

/** A number to two decimals, or to so many. @param {number | null} x null: −∞ @param {number} [decimals] */
export const numberText = (x, decimals = 2) => (x === null || x === -Infinity ? "−∞" : `${x < 0 ? "−" : ""}${fixed(Math.abs(x), decimals)}`);

const lengthOf = (values) => Math.sqrt(inner(values, values));
const inner = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const capital = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
const vector = (name, values, chosen = false) => ({ name, values, chosen });

/** @returns {Stage} */
const stage = (name, tab, title, formula, sentence, { vectors = [], keys = null, answers = [] } = {}) =>
  ({ name, tab, title, formula, sentence, vectors, keys, answers });

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

const tokenOf = (s, a) => quoted(a.tokens[s.position]);

/** The key with the largest number, and that number; of equals the first. */
function topKey(a, values, among, text = numberText) {
  const reached = Array.from(values.keys()).filter(among);
  if (!reached.length) return ["no key", "−"];
  const most = Math.max(...reached.map((i) => values[i]));
  const room = 1e-5 * reached.reduce((size, i) => Math.max(size, Math.abs(values[i])), 1);
  const at = reached.find((i) => values[i] >= most - room);
  return [quoted(a.tokens[at]), text(values[at])];
}

function streamStage(s, a) {
  const below = s.layer === 0 ? "the embedding of its token and its position" : `its embedding, and what ${s.layer === 1 ? "one block" : `${s.layer} blocks`} below wrote into it`;
  return stage("stream", "x", "The residual stream", "x",
    `${tokenOf(s, a)} comes to layer ${s.layer} as ${s.stream.length} numbers, of length ${numberText(lengthOf(s.stream))}: ${below}.`,
    { vectors: [vector("x", s.stream)] });
}

function normStage(s) {
  if (!s.norm) return null;
  return stage("norm", "norm", "Norm", "norm(x)",
    `${s.norm} brings the ${s.stream.length} numbers to one size, however long the stream has grown, and times a gain: their length goes from ${numberText(lengthOf(s.stream))} to ${numberText(lengthOf(s.reads))}. The stream itself stays.`,
    { vectors: [vector("x", s.stream), vector("norm(x)", s.reads)] });
}

const isReached = (s) => (i) => Number.isFinite(s.scores[i]);

function productStage(s, a) {
  const [best, value] = topKey(a, s.dots, isReached(s));
  return stage("product", "q·k", "Query · keys", "q · k = Σ qᵢ kᵢ",
    `Head ${s.head} makes a query of ${tokenOf(s, a)}, ${s.query.length} numbers, and a key of every token. Query times key is largest for ${best} (${value}).`,
    { vectors: [vector("query", s.query, true)], keys: { columns: ["q · k"], numbers: [s.dots], vectors: s.keys, vectorName: "key" } });
}

function scaleStage(s, a) {
  const [best, value] = topKey(a, s.scaled, isReached(s));
  const d = s.query.length;
  const isRoot = Math.abs(s.scale * Math.sqrt(d) - 1) <= 1e-4;
  const [scale, cap] = [s.scale, s.softcap].map((x) => (x === null ? "" : String(Number(x.toPrecision(4)))));
  const by = isRoot ? `1/√${d}. A sum of many products is large, and the softmax would see one key alone.` : `${scale}, which is not 1/√${d} in this model.`;
  const capped = s.softcap === null ? "" : ` They are capped too: ${cap} · tanh(score / ${cap}).`;
  return stage("scale", "× scale", "Scale", isRoot ? "q · k / √d" : `q · k × ${scale}`,
    `The products are multiplied by ${by}${capped} ${best} has ${value} now.`,
    { keys: { columns: ["q · k", "scaled"], numbers: [s.dots, s.scaled] } });
}

function maskStage(s, a) {
  const reached = Array.from(s.scores.keys()).filter(isReached(s));
  const hidden = s.scores.length - reached.length;
  const bias = reached.map((i) => s.bias[i]);
  const token = tokenOf(s, a);
  const parts = [];
  if (hidden) parts.push(`${token} may not look at ${hidden === 1 ? "1 key" : `${hidden} keys`}: their score becomes −∞`);
  if (bias.some(Boolean)) parts.push(`a bias from ${numberText(Math.min(...bias))} to ${numberText(Math.max(...bias))} is added for where the keys stand`);
  const text = parts.join("; ") || `${token} may look at every key, and nothing is added`;
  return stage("mask", "+ mask", "Mask and bias", "score = scaled + bias", `${capital(text)}.`,
    { keys: { columns: ["scaled", "bias", "score"], numbers: [s.scaled, s.bias, s.scores] } });
}

function softmaxStage(s, a) {
  const [best, value] = topKey(a, s.weights, () => true, short);
  const whole = s.nothing > 0.005 ? `weights and ${short(s.nothing)}, which goes to nothing, sum to 1` : "weights sum to 1";
  const text = s.scores.some(Number.isFinite) ? `e to each score, over the sum of all: ${best} gets ${value}. The ${whole}.` : `${tokenOf(s, a)} may look at nothing, so every weight is 0.`;
  return stage("softmax", "softmax", "Softmax", "weight = eˢ / Σ eˢ", text,
    { keys: { columns: ["score", "weight"], numbers: [s.scores, s.weights] } });
}

function valueStage(s, a) {
  const z = s.z[s.head];
  const parts = Array.from(s.values, (value, i) => value.map((x) => x * s.weights[i]));
  const size = inner(z, z);
  const shares = parts.map((part) => (size > WHOLE ? inner(part, z) / size : 0));
  const [best, value] = topKey(a, shares, () => true, short);
  return stage("values", "Σ w·v", "Values", "z = Σ weight · v",
    `Each key’s value, times its weight, and the sum: that is what head ${s.head} takes to ${tokenOf(s, a)}, ${z.length} numbers of length ${numberText(lengthOf(z))}. ${best} gives ${value} of it.`,
    { vectors: [vector("z", z, true)], keys: { columns: ["weight", "share of z"], numbers: [s.weights, shares], vectors: parts, vectorName: "weight · value" } });
}

function headStage(s) {
  const [count, d] = [s.z.length, s.stream.length];
  let rows = s.z.map((z, head) => vector(`z of head ${head}`, z, head === s.head));
  if (count > 16) { // those beside the chosen one
    const first = Math.min(Math.max(0, s.head - 8), count - 16);
    rows = rows.slice(first, first + 16);
  }
  const several = count === 1 ? `W_O makes ${d} numbers of it` : `The ${count} heads stand side by side, and W_O makes ${d} numbers of them`;
  return stage("heads", "W_O", "The heads together", "attention = W_O [z₀ z₁ …]",
    `${several}. Head ${s.head} writes a vector of length ${numberText(lengthOf(s.written))}, all together ${numberText(lengthOf(s.attention))}.`,
    { vectors: [...rows, vector(`W_O of head ${s.head}`, s.written, true), vector("attention", s.attention)] });
}

const middleName = (s) => (s.after ? "norm(x + attention)" : "x + attention");

function sumStage(s) {
  return stage("add", "+ x", "The residual connection", middleName(s),
    `Attention is added to the stream, not put in its place${s.after ? ", and the norm comes after the sum" : ""}: ${numberText(lengthOf(s.stream))} and ${numberText(lengthOf(s.attention))} give a length of ${numberText(lengthOf(s.middle))}.`,
    { vectors: [vector("x", s.stream), vector("attention", s.attention), vector(middleName(s), s.middle)] });
}

function crossStage(s) {
  if (!s.cross) return null;
  return stage("cross", "+ cross", "Cross-attention", "… + cross-attention",
    `Cross-attention looks at the encoder’s text and adds a vector of length ${numberText(lengthOf(s.cross))}: choose kind "cross" in a HeadView to see where.`,
    { vectors: [vector("before", s.middle), vector("cross-attention", s.cross)] });
}

function mlpNormStage(s) {
  if (!s.mlp || !s.mlpNorm) return null;
  const read = vector("norm", s.mlpReads);
  return stage("norm2", "norm", "Norm again", "norm(x)",
    `${s.mlpNorm} brings the numbers to one size once more, for the feed-forward to read: length ${numberText(lengthOf(s.mlpReads))}.`,
    { vectors: s.cross ? [read] : [vector("stream", s.middle), read] });
}

function mlpStage(s, a) {
  if (!s.mlp) return null;
  const { hidden } = s;
  const furthest = hidden?.reduce((best, x, i) => (Math.abs(x) > Math.abs(hidden[best]) ? i : best), 0);
  const units = hidden
    ? `${hidden.length} hidden units, each with what it looks for; ${hidden.filter((x) => x > 0).length} of them are above 0, and unit ${furthest} is furthest from it (${numberText(hidden[furthest])}). They add`
    : `Some of its experts read ${tokenOf(s, a)} and add`;
  return stage("mlp", "MLP", "Feed-forward", "W₂ · act(W₁ · x)",
    `${units} a vector of length ${numberText(lengthOf(s.mlp))}. No other token is looked at here.`,
    { vectors: [vector("reads", s.mlpReads), ...(hidden ? [vector("hidden", hidden)] : []), vector("feed-forward", s.mlp)] });
}

function mlpSumStage(s) {
  if (!s.mlp) return null;
  const cosine = inner(s.stream, s.out) / Math.max(lengthOf(s.stream) * lengthOf(s.out), 1e-12);
  return stage("add2", "+ x", "The stream goes on", s.after ? "norm(… + MLP)" : "… + MLP",
    `The feed-forward’s vector is added.${s.after ? " Then comes the norm." : ""} The stream leaves layer ${s.layer} with length ${numberText(lengthOf(s.out))}; its direction is ${cosine >= 0.9 ? "much as" : "other than"} it came (cosine ${cosine < 0 ? "−" : ""}${short(Math.abs(cosine))}).`,
    { vectors: [...(s.cross ? [] : [vector(middleName(s), s.middle)]), vector("feed-forward", s.mlp), vector("out", s.out), vector("x, as it came", s.stream)] });
}

function answerStage(s, a) {
  if (!a.lens.length) {
    return stage("answer", "logits", "Towards an answer", "W_U · norm(x)", `What the stream would predict is not known: ${a.why}.`);
  }
  const what = a.here ? "stands here" : "comes next";
  const [top, chance] = a.final[0];
  const [told, p] = a.lens[0];
  const first = a.last
    ? `After this last block the model says ${quoted(top)} ${what} (${short(chance)}).`
    : `If the model stopped here it would say that ${quoted(told)} ${what} (${short(p)}); after its last layer it says ${quoted(top)} (${short(chance)}).`;
  const stays = Math.abs(a.without - chance) < 0.005;
  const off = stays ? `that stays ${short(a.without)}` : `${quoted(top)} has ${short(a.without)}`;
  const final = new Map(a.final);
  return stage("answer", "logits", "Towards an answer", "softmax(W_U · norm(x))", `${first} With head ${s.head} of this layer off, ${off}.`,
    { answers: a.lens.map(([name, chance]) => [name, chance, final.get(name) ?? null]) });
}
