// The last product of a graph, which makes logits of final states, is a large part of a pass. It is
// computed for those positions alone that somebody asks about.

import { OPERATIONS } from "./operations.js";

/**
 * @typedef {import("./strided.js").Tensor} Tensor
 * @typedef {import("./workspace.js").Workspace} Workspace
 */

const RESHAPING = new Set(["view", "_unsafe_view", "reshape", "_to_copy", "clone"]);
const BY_NUMBER = new Set(["mul.Tensor", "div.Tensor", "add.Tensor", "sub.Tensor", "tanh"]); // soft caps, scales, biases

export class Tail {
  /**
   * @param {import("./graph.js").Description} description
   * @param {Map<string, Tensor>} weights by the name of the node
   * @param {Map<string, any[]>} readers the nodes that read a result
   */
  constructor({ nodes, results }, weights, readers) {
    const [output, more] = Object.values(results);
    const at = new Map(nodes.map((node, i) => [node[1], i]));
    /** @type {number[]} indices of nodes, the product first; none where the graph does not end so */
    this.nodes = [];
    this.from = ""; // the final states, [position, d]
    const found = [];
    if (more) return;
    for (let name = output; ; ) {
      const i = at.get(name);
      if (i === undefined || (name !== output && readers.get(name)?.length !== 1)) return;
      const [operation, , args] = nodes[i];
      found.unshift(i);
      if (operation === "mm" || operation === "addmm") {
        const [x, w] = args.slice(-2);
        if (weights.has(x.n) || !weights.has(w.n)) return;
        this.nodes = found;
        this.from = x.n;
        return;
      }
      if (!RESHAPING.has(operation) && !BY_NUMBER.has(operation)) return;
      const inputs = args.filter((x) => x?.n !== undefined && !weights.has(x.n));
      if (inputs.length !== 1) return;
      const other = args.find((x) => x?.n !== undefined && weights.has(x.n));
      if (other && /** @type {Tensor} */ (weights.get(other.n)).shape.length > 1) return;
      name = inputs[0].n;
    }
  }

  /**
   * Answers at some rows of the final states.
   * @param {Workspace} on
   * @param {import("./graph.js").Description} description
   * @param {(x: any) => any} value of a weight or a plain argument
   * @param {Tensor} states [row, d]
   * @returns {Tensor} [row, answer]
   */
  run(on, { nodes }, value, states) {
    const inside = new Set([this.from, ...this.nodes.map((i) => nodes[i][1])]);
    let result = states;
    for (const i of this.nodes) {
      const [operation, , args, named] = nodes[i];
      if (RESHAPING.has(operation)) continue;
      const read = (x) => (inside.has(x?.n) ? result : value(x));
      result = OPERATIONS[operation](on, args.map(read), Object.fromEntries(Object.entries(named).map(([name, x]) => [name, read(x)])));
    }
    return result;
  }
}
