// Runs functions that Python exported as graphs, by name: those that views compute from a pass, and
// others that a page carries over its model's weights.

import { ANALYSES } from "./analysis_graphs.js";
import { Graph, GraphPass } from "./graph.js";
import { Weights } from "./workspace.js";

/**
 * @typedef {import("./graph.js").Description} Description
 * @typedef {number | number[] | Float32Array | Int32Array | Float64Array | import("./tensors.js").Matrix | {shape: number[], data: ArrayLike<number>}} Given
 *   a number, token ids, a row of numbers, a matrix, or numbers with a shape
 * @typedef {{shape: number[], data: Float32Array}} Numbers
 */

export class Analyses {
  /**
   * @param {Record<string, Description>} described
   * @param {Weights} [weights]
   */
  constructor(described, weights = new Weights(new Map())) {
    this.described = described;
    this.weights = weights;
    /** @type {Map<string, Graph>} built on first use */
    this.graphs = new Map();
  }

  /**
   * @param {string} name @param {Record<string, Given | (() => Given)>} inputs
   * @param {string[] | null} [wanted] the only results that are computed
   * @returns {Generator<null, Map<string, Numbers>>} results by name
   */
  *steps(name, inputs, wanted = null) {
    let graph = this.graphs.get(name);
    if (!graph) {
      if (!Object.hasOwn(this.described, name))
        throw new Error(`this page does not carry the graph of ${name}`);
      graph = new Graph(this.described[name], this.weights);
      this.graphs.set(name, graph);
    }
    const { results } = graph.description;
    const given = Object.fromEntries(
      Object.entries(inputs).map(([input, x]) => [input, shaped(x)]),
    );
    const pass = new GraphPass(
      graph,
      given,
      wanted ? { wanted: wanted.map((one) => results[one]) } : {},
    );
    yield* pass.steps();
    return pass.results;
  }

  /** Like `steps`, in one go. @param {string} name @param {Record<string, Given>} inputs */
  run(name, inputs) {
    const steps = this.steps(name, inputs);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return /** @type {Map<string, Numbers>} */ (value);
    }
  }
}

/** An input in the form that a graph takes; a list holds token ids. @param {any} x */
function shaped(x) {
  if (typeof x === "number") return { shape: [], data: [x] };
  if (typeof x === "function" || x.shape || Array.isArray(x)) return x;
  return x.data ? { shape: [x.rows, x.columns], data: x.data } : { shape: [x.length], data: x };
}

const withoutWeights = new Analyses(ANALYSES);

/** Run a function of graphs/analyses.py; its results by name. @param {string} name @param {Record<string, Given>} inputs @returns {Record<string, Numbers>} */
export const analysis = (name, inputs) => Object.fromEntries(withoutWeights.run(name, inputs));
