// A flow as numbers for a file, named as Python names them (exported.py).

import { nested, single } from "../shared/files.js";

/**
 * @param {import("./found.js").FlowFound} found
 * @param {number} shown
 * @param {string[]} tokens
 * @param {number} layers
 * @returns {import("../shared/files.js").Numbers}
 */
export function flowNumbers(found, shown, tokens, layers) {
  const n = tokens.length;
  const edges = found.edges.slice(0, shown);
  const of = (name, means) => ({ axes: ["edge"], means, values: edges.map((edge) => (name === "value" ? single(edge.value) : edge[name])) });
  const grid = (axis, size, means, flat) => ({ axes: [axis, "position"], means, values: nested([size, n], (row, at) => single(flat[row * n + at])) });
  return {
    arrays: {
      layer: of("layer", "of the head that carries"),
      head: of("head", "that carries"),
      query: of("query", "position that it is carried to"),
      key: of("key", "position that it is carried from"),
      carried: of("value", "toward the logit; all edges, and not only those shown, sum with the rest to it"),
      stream: grid("after", layers + 1, "what stands at a token, toward the logit", found.stream),
      stays: grid("layer", layers, "what goes on at its token past a layer", found.stays),
      mlp: grid("layer", layers, "what an mlp writes, toward the logit", found.mlps),
    },
    axes: { after: ["start", ...Array.from({ length: layers }, (_, i) => `layer ${i}`)], position: tokens, edge: edges.map((_, i) => i) },
  };
}
