// Runs a graph that Python exported: a list of primitive operations in which attention is one. It knows
// operations and no architecture; what edits change, they change at attention and at named points.

import { attend } from "./attention.js";
import { OPERATIONS } from "./operations.js";
import { countOf, stridesAs } from "./strided.js";
import { rescaled } from "./safetensors.js";
import { Tail } from "./tail.js";
import { matrix } from "./tensors.js";
import { Workspace } from "./workspace.js";

/**
 * @typedef {import("./strided.js").Tensor} Tensor
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {import("./attention.js").Call} Call
 * @typedef {import("./workspace.js").Weight} Weight
 *
 * @typedef {object} Description what `Graph.description()` of Python gives
 * @property {number} format
 * @property {string[]} inputs
 * @property {[string, string, any[], Record<string, any>][]} nodes
 * @property {Record<string, string>} results their names -> nodes; of a model's pass there is one
 * @property {Record<string, [number, number]>} lengths of tokens and target
 * @property {Record<string, {shape: number[], type: "float" | "int" | "bool"}>} weights
 *
 * @typedef {object} Hooks what changes a pass; each gives back what the model goes on with
 * @property {(call: Call) => Call} call
 * @property {(call: Call, z: Matrix) => Matrix} heads
 * @property {(name: string, kind: string, layer: number, x: Matrix) => Matrix} stream
 */

const FORMAT = 2;
const OURS = "transformer_lab.";
/** @type {Hooks} */
const NO_HOOKS = { call: (call) => call, heads: (_, z) => z, stream: (_name, _kind, _layer, x) => x };

/** A page that holds a graph which this engine does not run, and why. */
export class UnknownGraph extends Error {}

/** A graph with its weights, ready to run. */
export class Graph {
  /**
   * @param {Description} description
   * @param {(name: string) => Weight} weightOf
   * @param {{on?: Workspace, loaded?: Map<string, Tensor>}} [shared] of a graph over the same weights
   * @throws {UnknownGraph}
   */
  constructor(description, weightOf, { on = new Workspace(), loaded = new Map() } = {}) {
    checkDescription(description);
    this.description = description;
    this.on = on;
    /** @type {Map<string, Tensor>} by the name of the weight */
    this.loaded = loaded;
    const { nodes } = description;
    /** @type {Map<string, any[]>} the nodes that read a result */
    this.readers = new Map(nodes.map(([, name]) => [name, []]));
    for (const node of nodes) if (node[0] !== "weight" && node[0] !== "input") for (const name of new Set(namesIn([node[2], Object.values(node[3])]))) this.readers.get(name)?.push(node);
    /** @type {Map<string, Tensor>} by the name of the node */
    this.weights = new Map();
    for (const [operation, name, [weight, order]] of nodes) {
      if (operation === "permute" && this.weights.has(weight.n)) { // products read most weights turned
        this.weights.set(name, OPERATIONS.permute(this.on, [this.weights.get(weight.n), order], {}));
      }
      if (operation !== "weight") continue;
      this.weights.set(name, this.#loaded(weight, weightOf));
    }
    this.on.made = [];
    this.tail = new Tail(description, this.weights, this.readers);
    const kept = this.tail.nodes.length ? [this.tail.from] : Object.values(description.results);
    /** @type {Map<string, number>} the last node that reads a result */
    this.lastUse = new Map(kept.map((name) => [name, Infinity]));
    nodes.forEach(([, , args, named], i) => {
      for (const name of namesIn([args, Object.values(named)])) if (this.lastUse.get(name) !== Infinity) this.lastUse.set(name, i);
    });
    /** @type {string[][]} by node: results that nothing reads after it */
    this.gone = nodes.map(() => /** @type {string[]} */ ([]));
    for (const [name, i] of this.lastUse) if (i !== Infinity && !this.weights.has(name)) this.gone[i].push(name);
    /** Where blocks begin: the first point of every layer, "kind/layer" -> node. @type {Map<string, number>} */
    this.blocks = new Map();
    nodes.forEach(([operation, , args], i) => {
      if (operation === `${OURS}point` && args[1] === "resid_pre") this.blocks.set(`${args[2]}/${args[3]}`, i);
    });
  }

  /** Weights of 8 bits stay so where only products and embeddings read them. @param {string} weight @param {(name: string) => Weight} weightOf */
  #loaded(weight, weightOf) {
    const { nodes, weights } = this.description;
    const { shape, type } = weights[weight];
    const asRows = ([operation, name, args], read) =>
      operation === "embedding" ? args[0].n === read : operation === "permute" && this.readers.get(name)?.every(([by, , given]) => ["mm", "addmm"].includes(by) && given[given.length - 1].n === name);
    const names = nodes.filter(([operation, , args]) => operation === "weight" && args[0] === weight).map(([, name]) => name);
    const { data, scale } = weightOf(weight);
    const narrow = scale && names.every((name) => this.readers.get(name)?.every((node) => asRows(node, name)));
    const key = narrow ? `${weight} in 8 bits` : weight;
    let t = this.loaded.get(key);
    if (!t) this.loaded.set(key, (t = this.on.constant(shape, type, !scale || narrow ? { data, scale } : { data: rescaled(shape, /** @type {Int8Array} */ (data), scale) })));
    return t;
  }

  /** @param {Record<string, any>} inputs @param {Partial<Hooks>} [hooks] @param {{pass: GraphPass, block: string} | null} [from] */
  run(inputs, hooks = {}, from = null) {
    const pass = new GraphPass(this, inputs, hooks, from);
    for (const _ of pass.steps());
    return pass;
  }
}

/** One pass: what attention was given, the points of the stream, and the answers. */
export class GraphPass {
  /**
   * @param {Graph} graph
   * @param {Record<string, any>} inputs numbers, or {shape, data}
   * @param {Partial<Hooks>} hooks
   * @param {{pass: GraphPass, block: string} | null} from an earlier pass over the same inputs, taken over up to this block
   */
  constructor(graph, inputs, hooks, from) {
    this.graph = graph;
    this.inputs = inputs;
    this.hooks = { ...NO_HOOKS, ...hooks };
    this.from = from;
    /** @type {Map<string, {call: Call, z: Matrix}>} by "kind/layer" */
    this.attention = new Map();
    /** @type {Map<string, Matrix>} by "kind/layer/name" */
    this.streams = new Map();
    /** @type {Map<string, Map<string, any>>} what is live where a block begins */
    this.kept = new Map();
    /** What a graph gives that does not end in a product. @type {Map<string, {shape: number[], data: Float32Array}>} */
    this.results = new Map();
    /** The final states, or the first result of a graph that does not end in a product. */
    this.states = { shape: /** @type {number[]} */ ([]), data: new Float32Array(0) };
  }

  /** All answers. */
  get answer() {
    const { shape, data } = this.states;
    if (!this.graph.tail.nodes.length) return this.states;
    const d = shape[shape.length - 1];
    const answers = this.#answers(this.graph.on.of([data.length / d, d], data));
    return { shape: [1, ...answers.shape], data: answers.data };
  }

  /** Answers at some positions, [row, answer]. @param {number[]} places @returns {Matrix} */
  answersAt(places) {
    const { shape, data } = this.states;
    const [n, d] = shape.slice(-2);
    const rows = matrix(places.length, d);
    places.forEach((place, i) => {
      if (!(Number.isInteger(place) && place >= 0 && place < n)) throw new Error(`position=${place} is outside the ${n} tokens (0 … ${n - 1})`);
      rows.data.set(data.subarray(place * d, (place + 1) * d), i * d);
    });
    if (!this.graph.tail.nodes.length) return rows;
    const answers = this.#answers(this.graph.on.of([places.length, d], rows.data));
    return matrix(answers.shape[0], answers.shape[1], answers.data);
  }

  #answers(rows) {
    const { tail, on, description } = this.graph;
    const result = tail.run(on, description, (x) => this.#value(x, new Map()), rows);
    const answers = { shape: result.shape, data: on.numbers(on.whole(result)) };
    on.settle([]);
    return answers;
  }

  /** Compute it, a block between two steps. */
  *steps() {
    const { graph, from } = this;
    const { nodes, results: asked } = graph.description;
    let first = 0;
    let results = new Map();
    if (from) {
      first = graph.blocks.get(from.block) ?? 0;
      results = this.#hold(from.pass.kept.get(from.block) ?? new Map());
      this.#takeOver(from.pass, first);
    }
    this.from = null;
    const later = new Set(graph.tail.nodes);
    for (let i = first; i < nodes.length; i++) {
      const [operation, name, args, named] = nodes[i];
      if (graph.weights.has(name) || later.has(i)) continue;
      const begun = operation === `${OURS}point` && args[1] === "resid_pre";
      if (begun) this.kept.set(`${args[2]}/${args[3]}`, this.#hold(results));
      results.set(name, this.#result(operation, args, named, results));
      for (const old of graph.gone[i]) {
        for (const t of [results.get(old)].flat()) if (t?.store) graph.on.release(t);
        results.delete(old);
      }
      if (begun) yield;
    }
    const numbers = (name) => {
      const t = graph.weights.get(name) ?? results.get(name);
      return { shape: t.shape, data: graph.on.numbers(graph.on.whole(t)) };
    };
    if (graph.tail.nodes.length) this.states = numbers(graph.tail.from);
    else {
      for (const [name, node] of Object.entries(asked)) this.results.set(name, numbers(node));
      [this.states] = this.results.values();
    }
    graph.on.settle([]);
    for (const value of results.values()) for (const one of [value].flat()) if (one?.store) graph.on.release(one);
  }

  /** Let go of what a later pass could begin from. */
  release() {
    for (const live of this.kept.values()) for (const value of live.values()) for (const t of [value].flat()) if (t?.store) this.graph.on.release(t);
    this.kept.clear();
  }

  #hold(results) {
    for (const value of results.values()) for (const t of [value].flat()) if (t?.store) t.store.uses++;
    return new Map(results);
  }

  /** What an earlier pass found before a node. @param {GraphPass} pass @param {number} first */
  #takeOver(pass, first) {
    const { nodes } = this.graph.description;
    for (const [operation, , args] of nodes.slice(0, first)) {
      if (operation === `${OURS}attend`) this.attention.set(`${args[8]}/${args[9]}`, /** @type {any} */ (pass.attention.get(`${args[8]}/${args[9]}`)));
      if (operation !== `${OURS}point`) continue;
      const [, name, kind, layer] = args;
      this.streams.set(`${kind}/${layer}/${name}`, /** @type {Matrix} */ (pass.streams.get(`${kind}/${layer}/${name}`)));
      if (name === "resid_pre") this.kept.set(`${kind}/${layer}`, this.#hold(pass.kept.get(`${kind}/${layer}`) ?? new Map()));
    }
  }

  #result(operation, args, named, results) {
    const { on } = this.graph;
    const value = (x) => this.#value(x, results);
    const read = args.map(value);
    let result;
    if (operation === "input") result = this.#input(args[0]);
    else if (operation === `${OURS}attend`) result = this.#attend(read);
    else if (operation === `${OURS}point`) result = this.#point(read);
    else result = OPERATIONS[operation](on, read, Object.fromEntries(Object.entries(named).map(([name, x]) => [name, value(x)])));
    if (result?.store && !on.made.includes(result)) result = on.view(result, result.shape, result.strides);
    else if (Array.isArray(result)) result = result.map((t) => (t?.store && !on.made.includes(t) ? on.view(t, t.shape, t.strides) : t));
    on.settle(result);
    return result;
  }

  #value(x, results) {
    if (x === null || typeof x !== "object") return x;
    if (Array.isArray(x)) return x.map((one) => this.#value(one, results));
    if ("inf" in x) return x.inf * Infinity;
    return this.graph.weights.get(x.n) ?? results.get(x.n);
  }

  /** @param {string} name */
  #input(name) {
    const given = this.inputs[name];
    if (Array.isArray(given)) return this.graph.on.of([1, given.length], given, "int");
    return this.graph.on.of(given.shape, given.data);
  }

  #attend([query, key, value, bias, sinks, causal, scale, softcap, kind, layer]) {
    const { on } = this.graph;
    const [, heads, , dHead] = query.shape;
    const [, groups, , dValue] = value.shape;
    /** @type {Call} */
    const given = {
      kind, layer, heads, groups, dHead, dValue, query: on.rows(query), key: on.rows(key), value: on.rows(value),
      scale, softcap, mask: maskOf(on, bias), sink: sinkOf(on, sinks), bias: null, causal, start: causal ? key.shape[2] - query.shape[2] : 0, changes: [],
    };
    const call = this.hooks.call(given);
    const z = this.hooks.heads(call, attend(call));
    this.attention.set(`${kind}/${layer}`, { call, z });
    const n = z.rows;
    const y = on.of([n, heads, dValue], z.data);
    return on.view(y, [1, heads, n, dValue], [n * heads * dValue, dValue, heads * dValue, 1]);
  }

  #point([x, name, kind, layer]) {
    const { on } = this.graph;
    const whole = on.whole(x);
    const columns = x.shape.at(-1);
    const rows = countOf(x.shape) / columns;
    const before = matrix(rows, columns, on.heap.f.slice(whole.at, whole.at + rows * columns));
    const after = this.hooks.stream(name, kind, layer, before);
    this.streams.set(`${kind}/${layer}/${name}`, after);
    return after === before ? x : on.of(x.shape, after.data);
  }
}

/** @param {Workspace} on @param {Tensor | null} bias @returns {import("./attention.js").Mask | null} */
function maskOf(on, bias) {
  if (!bias) return null;
  const shape = [...Array(4 - bias.shape.length).fill(1), ...bias.shape].slice(1);
  const strides = stridesAs(bias, shape);
  const [heads, rows, columns] = shape.map((n, i) => (strides[i] === 0 ? 1 : n)); // what is broadcast is read once
  const y = on.tensor([heads, rows, columns]);
  on.copy({ ...bias, shape: y.shape, strides }, y);
  return { heads, rows, columns, data: on.heap.f.slice(y.at, y.at + heads * rows * columns), bool: bias.type === "bool" };
}

/** @param {Workspace} on @param {Tensor | null} sinks [head], or [batch, head, query or 1, 1] */
function sinkOf(on, sinks) {
  if (!sinks) return null;
  const [h, q] = sinks.shape.length === 1 ? [sinks.strides[0], 0] : [sinks.strides[1], sinks.shape[2] > 1 ? sinks.strides[2] : 0];
  return (head, query) => on.heap.f[sinks.at + head * h + query * q];
}

/** @param {any} x @returns {string[]} */
function namesIn(x) {
  if (x === null || typeof x !== "object") return [];
  return Array.isArray(x) ? x.flatMap(namesIn) : typeof x.n === "string" ? [x.n] : [];
}

/** @param {Description} description @throws {UnknownGraph} */
function checkDescription({ format, nodes, weights }) {
  if (format !== FORMAT) throw new UnknownGraph(`this page's graph has format ${format}, and its engine reads format ${FORMAT}`);
  const known = new Set();
  for (const [operation, name, args, named] of nodes) {
    if (!["input", "weight", `${OURS}attend`, `${OURS}point`].includes(operation) && !Object.hasOwn(OPERATIONS, operation)) {
      throw new UnknownGraph(`this page's engine does not know the operation ${operation}`);
    }
    if (operation === "weight" && !Object.hasOwn(weights, args[0])) throw new UnknownGraph(`the graph of this page lacks the weight ${args[0]}`);
    for (const read of operation === "weight" || operation === "input" ? [] : namesIn([args, Object.values(named)])) {
      if (!known.has(read)) throw new UnknownGraph(`the graph of this page is damaged: ${name} reads ${read}, which comes later or not at all`);
    }
    known.add(name);
  }
}
