// Runs a graph that Python exported: a list of primitive operations, of which attention is one. It
// knows operations and no architecture; edits act at attention and at named points.

import { attendOn, maskOf, sinkOf } from "./attention.js";
import { OPERATIONS } from "./operations.js";
import { countOf } from "./strided.js";
import { beside, matrix, stacked } from "./tensors.js";

/**
 * @typedef {import("./strided.js").Tensor} Tensor
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {import("./attention.js").Call} Call
 * @typedef {import("./workspace.js").Weights} Weights
 *
 * @typedef {object} Description what Python's `Graph.description()` returns
 * @property {number} format
 * @property {string[]} inputs
 * @property {[string, string, any[], Record<string, any>][]} nodes
 * @property {Record<string, string>} results names -> nodes; a model's pass has one
 * @property {Record<string, string>} [updates] weights -> nodes whose results replace them after a
 *   pass
 * @property {Record<string, [number, number]>} lengths shortest and longest, of tokens and target
 * @property {Record<string, {shape: number[], type: "float" | "int" | "bool"}>} weights
 * @property {string} [tail] the node that answers are computed from, each from its own row
 * @property {{input: string, letters: string, axes: Record<string, number>} | null} [growth] how to
 *   continue a text that grows
 *
 * @typedef {{order: number[], gone: string[][]}} Plan nodes in order, and after each the results
 *   that are no longer needed
 *
 * @typedef {object} Hooks functions that change a pass; each returns what the model continues with
 * @property {(call: Call) => Call} call
 * @property {(call: Call, z: Matrix) => Matrix} heads
 * @property {(name: string, kind: string, layer: number, x: Matrix, start: number) => Matrix} stream
 *   start: position of its first row in the text
 */

const FORMAT = 2;
const OURS = "transformer_lab.";
const STRETCH = 32; // most nodes between two steps
/** @type {Hooks} */
const NO_HOOKS = {
  call: (call) => call,
  heads: (_, z) => z,
  stream: (_name, _kind, _layer, x) => x,
};

/** This engine does not run the graph of a page; the message says why. */
export class UnknownGraph extends Error {}

/** A graph over weights, ready to run. */
export class Graph {
  /** @param {Description} description @param {Weights} loaded @throws {UnknownGraph} */
  constructor(description, loaded) {
    checkDescription(description);
    this.description = description;
    this.loaded = loaded;
    this.on = loaded.on;
    const { nodes } = description;
    /** @type {Map<string, any[]>} the nodes that read a result */
    this.readers = new Map(nodes.map(([, name]) => [name, []]));
    for (const node of nodes)
      if (node[0] !== "weight" && node[0] !== "input")
        for (const name of new Set(namesIn([node[2], Object.values(node[3])])))
          this.readers.get(name)?.push(node);
    /** @type {Map<string, Tensor>} by the name of the node */
    this.weights = new Map();
    for (const [operation, name, [weight, order]] of nodes) {
      if (operation === "permute" && this.weights.has(weight.n)) {
        // products read most weights transposed
        this.weights.set(
          name,
          OPERATIONS.permute(this.on, [this.weights.get(weight.n), order], {}),
        );
      }
      if (operation !== "weight") continue;
      this.weights.set(name, { ...this.#loaded(weight), type: description.weights[weight].type });
    }
    this.on.made = [];
    const [answer] = Object.values(description.results);
    /**
     * Nodes that a pass computes: the results, or the node that answers are computed from, each
     * from its own row.
     */
    this.wanted = description.tail ? [description.tail] : Object.values(description.results);
    this.answer = answer;
    /** @type {Map<string, Plan>} */
    this.plans = new Map();
    /** How each node depends on an input that grows; see `Growth` in Python. @type {Map<string, string>} */
    this.letters = new Map(
      nodes.map(([, name], i) => [name, description.growth?.letters[i] ?? "f"]),
    );
    /** Where blocks begin, at the first point of every layer: "kind/layer" -> index of the node. @type {Map<string, number>} */
    this.blocks = new Map();
    nodes.forEach(([operation, , args], i) => {
      if (operation === `${OURS}point` && args[1] === "resid_pre")
        this.blocks.set(`${args[2]}/${args[3]}`, i);
    });
  }

  /** The tensor of a weight; in 8 bits only if all its readers are products and embeddings. @param {string} weight */
  #loaded(weight) {
    const { nodes } = this.description;
    const asRows = ([operation, name, args], read) =>
      operation === "embedding"
        ? args[0].n === read
        : operation === "permute" &&
          this.readers
            .get(name)
            ?.every(
              ([by, , given]) => ["mm", "addmm"].includes(by) && given[given.length - 1].n === name,
            );
    const names = nodes
      .filter(([operation, , args]) => operation === "weight" && args[0] === weight)
      .map(([, name]) => name);
    const narrow = names.every((name) =>
      this.readers.get(name)?.every((node) => asRows(node, name)),
    );
    return narrow ? this.loaded.at(weight) : this.loaded.wideAt(weight);
  }

  /**
   * The nodes to compute for some results.
   * @param {string[]} wanted
   * @param {string[]} known nodes whose results are supplied
   * @param {boolean} grown whether keys and values that do not depend on the growing input are
   *   known already
   */
  plan(wanted, known, grown) {
    const key = JSON.stringify([wanted, known, grown]);
    const before = this.plans.get(key);
    if (before) return before;
    const { nodes } = this.description;
    const needed = new Set(wanted);
    const read = new Set(wanted);
    const plan = /** @type {Plan} */ ({ order: [], gone: [] });
    for (let i = nodes.length - 1; i >= 0; i--) {
      const [operation, name, args, named] = nodes[i];
      if (!needed.has(name) || known.includes(name) || this.weights.has(name)) continue;
      const kept = (x, at) =>
        grown &&
        operation === `${OURS}attend` &&
        (at === 1 || at === 2) &&
        this.letters.get(x.n) === "f";
      const names =
        operation === "input"
          ? []
          : namesIn([args.filter((x, at) => !kept(x, at)), Object.values(named)]);
      plan.order.push(i);
      plan.gone.push([...new Set(names)].filter((one) => !read.has(one) && !this.weights.has(one)));
      for (const one of names) for (const list of [needed, read]) list.add(one);
    }
    plan.order.reverse();
    plan.gone.reverse();
    this.plans.set(key, plan);
    return plan;
  }

  /** @param {Record<string, any>} inputs @param {Partial<Hooks>} [hooks] @param {From | null} [from] */
  run(inputs, hooks = {}, from = null) {
    const pass = new GraphPass(this, inputs, { hooks, from });
    for (const _ of pass.steps());
    return pass;
  }

  /** Compute answers from rows of the tail node: [row, answer]. @param {Matrix} rows @returns {Matrix} */
  read(rows) {
    const { tail = "", inputs, nodes } = this.description;
    const shape = nodes.some(([operation, name]) => name === tail && operation === `${OURS}point`)
      ? [1, rows.rows, rows.columns]
      : [rows.rows, rows.columns];
    const text = Array(rows.rows).fill(0); // only its length is read
    const pass = new GraphPass(this, Object.fromEntries(inputs.map((name) => [name, text])), {
      wanted: [this.answer],
      known: new Map([[tail, { shape, data: rows.data }]]),
    });
    for (const _ of pass.steps());
    const { data } = pass.result;
    return matrix(rows.rows, data.length / rows.rows, data);
  }
}

/**
 * @typedef {{pass: GraphPass, block: string | null}} From an earlier pass: over the same inputs,
 *   reused up to a block; or (null) over a text that has grown since, so that only new tokens are
 *   computed
 * @typedef {{shape: number[], data: Float32Array}} Numbers
 */

/** One pass: the inputs of attention, the points of the stream, and the results. */
export class GraphPass {
  /** Live results. @type {Map<string, any>} by node */
  #live = new Map();
  /** Live results as for a text of the new tokens alone. @type {Map<string, any>} by node */
  #few = new Map();
  /** The last point of the stream, since the end of a block is the start of the next. @type {{store: any, at: number, numbers: Matrix} | null} */
  #last = null;

  /**
   * @param {Graph} graph
   * @param {Record<string, any>} inputs numbers, {shape, data}, or a function that gives either
   * @param {object} [options]
   * @param {Partial<Hooks>} [options.hooks]
   * @param {From | null} [options.from]
   * @param {string[]} [options.wanted] nodes
   * @param {Map<string, Numbers>} [options.known] results that are supplied, by node
   */
  constructor(
    graph,
    inputs,
    { hooks = {}, from = null, wanted = graph.wanted, known = new Map() } = {},
  ) {
    this.graph = graph;
    /** @type {Record<string, any>} */
    this.inputs = inputs;
    this.hooks = { ...NO_HOOKS, ...hooks };
    this.from = from;
    this.wanted = wanted;
    this.known = known;
    const { growth } = graph.description;
    /** Position of the first token that is computed. */
    this.start = from && from.block === null && growth ? from.pass.inputs[growth.input].length : 0;
    /** @type {Map<string, {call: Call, z: Matrix}>} by "kind/layer"; calls of one layer joined */
    this.attention = new Map();
    /** Keys and values before edits. @type {Map<string, Call>} by node */
    this.unedited = new Map();
    /** @type {Map<string, Matrix>} by "kind/layer/name" */
    this.streams = new Map();
    /** @type {Map<string, Map<string, any>>} live results at the start of each block */
    this.kept = new Map();
    /** @type {Map<string, Numbers>} by the name of the result, or else by node */
    this.results = new Map();
  }

  /** The first result. */
  get result() {
    return /** @type {Numbers} */ (this.results.values().next().value);
  }

  /** All answers. */
  get answer() {
    const { shape, data } = this.result;
    if (!this.graph.description.tail) return this.result;
    const answers = this.graph.read(
      matrix(data.length / shape[shape.length - 1], shape[shape.length - 1], data),
    );
    return { shape: [1, answers.rows, answers.columns], data: answers.data };
  }

  /** Answers at some positions, [row, answer]. @param {number[]} places @returns {Matrix} */
  answersAt(places) {
    const { shape, data } = this.result;
    const [rows, d] = shape.slice(-2);
    const [first, n] = [this.start, this.start + rows];
    const read = matrix(places.length, d);
    places.forEach((place, i) => {
      if (!(Number.isInteger(place) && place >= first && place < n))
        throw new Error(`position=${place} is outside the ${n} tokens (${first} … ${n - 1})`);
      read.data.set(data.subarray((place - first) * d, (place - first + 1) * d), i * d);
    });
    return this.graph.description.tail ? this.graph.read(read) : read;
  }

  /** Run the pass; a step is a block or some nodes. */
  *steps() {
    const { graph, from, start } = this;
    const { nodes, results, updates = {} } = graph.description;
    const { order, gone } = graph.plan(
      [...this.wanted, ...Object.values(updates)],
      [...this.known.keys()],
      start > 0,
    );
    let done = false;
    try {
      for (const [name, { shape, data }] of this.known)
        this.#live.set(name, graph.on.of(shape, data));
      graph.on.made = [];
      let first = 0;
      if (from && from.block !== null) {
        first = graph.blocks.get(from.block) ?? 0;
        this.#live = this.#hold(from.pass.kept.get(from.block) ?? new Map());
        this.#takeOver(from.pass, first);
      }
      let nodesSince = 0;
      for (let k = 0; k < order.length; k++) {
        const i = order[k];
        if (i < first) continue;
        const [operation, name, args] = nodes[i];
        const begun = operation === `${OURS}point` && args[1] === "resid_pre";
        if (begun && !start) this.kept.set(`${args[2]}/${args[3]}`, this.#hold(this.#live));
        this.#live.set(name, this.#result(nodes[i]));
        for (const old of gone[k]) this.#letGo(old);
        if (!begun && ++nodesSince < STRETCH) continue;
        nodesSince = 0;
        yield null;
      }
      const names = new Map(Object.entries(results).map(([name, node]) => [node, name]));
      for (const node of this.wanted) {
        const t = graph.weights.get(node) ?? this.#live.get(node);
        this.results.set(names.get(node) ?? node, {
          shape: t.shape,
          data: graph.on.numbers(graph.on.whole(t)),
        });
      }
      this.#update(Object.entries(updates));
      done = true;
    } finally {
      // also of a pass that was abandoned
      if (!done) this.release();
      graph.on.settle([]);
      for (const name of [...this.#live.keys()]) this.#letGo(name);
      this.#last = this.from = null;
    }
  }

  /** Replace weights by the results computed for them, unless a result is not finite. @param {[string, string][]} updates */
  #update(updates) {
    const { on, loaded } = this.graph;
    if (
      !updates.length ||
      ![...this.results.values()].every(({ data }) => data.every(Number.isFinite))
    )
      return;
    for (const [name, node] of updates) on.copy(this.#live.get(node), loaded.at(name));
    on.forgetTurned();
  }

  /** Release what a later pass could start from. */
  release() {
    for (const live of this.kept.values()) for (const value of live.values()) this.#free(value);
    this.kept.clear();
  }

  #letGo(name) {
    for (const values of [this.#live, this.#few]) {
      this.#free(values.get(name));
      values.delete(name);
    }
  }

  #free(value) {
    for (const t of Array.isArray(value) ? value : [value]) if (t?.store) this.graph.on.release(t);
  }

  #hold(live) {
    for (const value of live.values()) for (const t of [value].flat()) if (t?.store) t.store.uses++;
    return new Map(live);
  }

  /** Reuse what an earlier pass computed before a node. @param {GraphPass} pass @param {number} first */
  #takeOver(pass, first) {
    const { nodes } = this.graph.description;
    for (const [operation, node, args] of nodes.slice(0, first)) {
      if (operation === `${OURS}attend`) {
        const site = `${args[8]}/${args[9]}`;
        this.attention.set(site, /** @type {any} */ (pass.attention.get(site)));
        this.unedited.set(node, /** @type {any} */ (pass.unedited.get(node)));
      }
      if (operation !== `${OURS}point`) continue;
      const [, name, kind, layer] = args;
      this.streams.set(
        `${kind}/${layer}/${name}`,
        /** @type {Matrix} */ (pass.streams.get(`${kind}/${layer}/${name}`)),
      );
      if (name === "resid_pre")
        this.kept.set(
          `${kind}/${layer}`,
          this.#hold(pass.kept.get(`${kind}/${layer}`) ?? new Map()),
        );
    }
  }

  /** @param {[string, string, any[], Record<string, any>]} node */
  #result([operation, name, args, named]) {
    const { on, letters } = this.graph;
    const letter = this.start ? letters.get(name) : "f";
    if (letter === "n") return this.#length(name);
    const value = letter === "r" && operation !== `${OURS}attend` ? this.#fewOf : this.#valueOf;
    const calls = (value) =>
      OPERATIONS[operation](
        on,
        args.map((x) => valueIn(x, value)),
        namedIn(named, value),
      );
    let result;
    if (operation === "input") result = this.#input(args[0]);
    else if (operation === `${OURS}attend`)
      result = this.#attend(
        name,
        args.map((x) => valueIn(x, value)),
        args,
      );
    else if (operation === `${OURS}point`) result = this.#point(args.map((x) => valueIn(x, value)));
    else result = calls(value);
    const own = (t) =>
      Array.isArray(t)
        ? t.map(own)
        : t?.store && !on.made.includes(t)
          ? on.view(t, t.shape, t.strides)
          : t;
    result = own(result);
    if (letter === "b") this.#few.set(name, own(calls(this.#fewOf)));
    on.settle(letter === "b" ? [result, this.#few.get(name)].flat() : result);
    return result;
  }

  #valueOf = (name) => this.graph.weights.get(name) ?? this.#live.get(name);

  /** The value as rows of the new tokens read it. */
  #fewOf = (name) => {
    if (this.#few.has(name)) return this.#few.get(name);
    const axis = this.graph.description.growth?.axes[name];
    const value = this.#valueOf(name);
    return axis === undefined ? value : this.#lastRows(value, axis);
  };

  #lastRows(t, axis) {
    const size = t.shape[axis];
    const n = size - this.start;
    return size === 1
      ? t
      : this.graph.on.view(
          t,
          t.shape.with(axis, n),
          t.strides,
          t.at + this.start * t.strides[axis],
        );
  }

  /** Length of the text that grows. @param {string} name of its node */
  #length(name) {
    const n = this.inputs[/** @type {any} */ (this.graph.description.growth).input].length;
    this.#few.set(name, n - this.start);
    return n;
  }

  /** @param {string} name */
  #input(name) {
    const given = typeof this.inputs[name] === "function" ? this.inputs[name]() : this.inputs[name];
    if (given.store) return given; // a view of weights
    if (!Array.isArray(given)) return this.graph.on.of(given.shape, given.data);
    const ids = name === this.graph.description.growth?.input ? given.slice(this.start) : given;
    return this.graph.on.of([1, ids.length], ids, "int");
  }

  /** @param {string} node @param {any[]} read @param {any[]} args */
  #attend(node, [query, key, value, bias, sinks, causal, scale, softcap, kind, layer], args) {
    const { on, letters } = this.graph;
    const before = this.start ? this.from?.pass.unedited.get(node) : undefined;
    const [, heads, , dHead] = query.shape;
    const grown = (at, t, known) => {
      const letter = letters.get(args[at].n);
      return !known || letter === "l"
        ? on.rows(t)
        : letter === "f"
          ? known
          : stacked(known, on.rows(t));
    };
    const [keys, values] = [grown(1, key, before?.key), grown(2, value, before?.value)];
    const groups = value ? value.shape[1] : /** @type {any} */ (before).groups;
    const dValue = values.columns / groups;
    const ofRows = (at, t) =>
      before && t?.shape.length > 1 && letters.get(args[at].n) === "l"
        ? this.#lastRows(t, t.shape.length - 2)
        : t;
    const site = `${kind}/${layer}`;
    const part = this.attention.get(site); // the same patterns over other values
    /** @type {Call} */
    const given = {
      kind,
      layer,
      part: part ? part.call.part + 1 : 0,
      heads,
      groups,
      dHead,
      dValue,
      query: on.rows(query),
      key: keys,
      value: values,
      scale,
      softcap,
      mask: maskOf(on, ofRows(3, bias)),
      sink: sinkOf(on, ofRows(4, sinks)),
      causal,
      start: causal ? keys.rows - query.shape[2] : this.start,
      changes: [],
    };
    const call = this.hooks.call(given);
    const z = this.hooks.heads(call, attendOn(on, call));
    this.attention.set(site, part ? joined(part, call, z) : { call, z });
    this.unedited.set(node, given);
    const n = z.rows;
    const y = on.of([n, heads, dValue], z.data);
    return on.view(y, [1, heads, n, dValue], [n * heads * dValue, dValue, heads * dValue, 1]);
  }

  /** @param {any[]} read */
  #point([x, name, kind, layer]) {
    const { on } = this.graph;
    const whole = on.whole(x);
    const columns = x.shape.at(-1);
    const rows = countOf(x.shape) / columns;
    const before =
      this.#last?.store === x.store && this.#last.at === x.at
        ? this.#last.numbers
        : matrix(rows, columns, on.heap.f.slice(whole.at, whole.at + rows * columns));
    const after = this.hooks.stream(name, kind, layer, before, this.start);
    this.streams.set(`${kind}/${layer}/${name}`, after);
    const y = after === before ? x : on.of(x.shape, after.data);
    this.#last = { store: y.store, at: y.at, numbers: after };
    return y;
  }
}

/** A call with those before it at its site: each head has the values and outputs of all. @param {{call: Call, z: Matrix}} before @param {Call} call @param {Matrix} z */
const joined = (before, call, z) => ({
  call: {
    ...call,
    value: beside(before.call.value, call.value, call.groups),
    dValue: before.call.dValue + call.dValue,
  },
  z: beside(before.z, z, call.heads),
});

/** An argument with names replaced by results. @param {any} x @param {(name: string) => any} value */
function valueIn(x, value) {
  if (x === null || typeof x !== "object") return x;
  if (Array.isArray(x)) return x.map((one) => valueIn(one, value));
  return "inf" in x ? x.inf * Infinity : value(x.n);
}

const NONE = Object.freeze({});
/** @param {Record<string, any>} named @param {(name: string) => any} value */
function namedIn(named, value) {
  let given = NONE;
  for (const key in named) given = { ...given, [key]: valueIn(named[key], value) };
  return given;
}

/** @param {any} x @returns {string[]} */
function namesIn(x) {
  if (x === null || typeof x !== "object") return [];
  return Array.isArray(x) ? x.flatMap(namesIn) : typeof x.n === "string" ? [x.n] : [];
}

/** @param {Description} description @throws {UnknownGraph} */
function checkDescription({ format, nodes, weights }) {
  if (format !== FORMAT)
    throw new UnknownGraph(
      `this page's graph has format ${format}, and its engine reads format ${FORMAT}`,
    );
  const known = new Set();
  for (const [operation, name, args, named] of nodes) {
    if (
      !["input", "weight", `${OURS}attend`, `${OURS}point`].includes(operation) &&
      !Object.hasOwn(OPERATIONS, operation)
    ) {
      throw new UnknownGraph(`this page's engine does not know the operation ${operation}`);
    }
    if (operation === "weight" && !Object.hasOwn(weights, args[0]))
      throw new UnknownGraph(`the graph of this page lacks the weight ${args[0]}`);
    for (const read of operation === "weight" || operation === "input"
      ? []
      : namesIn([args, Object.values(named)])) {
      if (!known.has(read))
        throw new UnknownGraph(
          `the graph of this page is damaged: ${name} reads ${read}, which comes later or not at all`,
        );
    }
    known.add(name);
  }
}
