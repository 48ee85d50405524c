// Weights to begin with, drawn as transformer_lab/model.py draws them, from a generator of the page's own.

import { generator } from "../engine/writing.js";

/**
 * Embeddings normal, linear layers uniform (Glorot and Bengio 2010) and those that write to the stream
 * smaller, gains 1, biases 0.
 * @param {Record<string, any>} config
 * @param {Record<string, number[]>} shapes by name
 * @param {number} seed
 * @returns {import("./trainer.js").Tensors}
 */
export function initialWeights(config, shapes, seed) {
  const random = generator(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const uniform = ([rows, columns]) => (2 * random() - 1) * Math.sqrt(6 / (rows + columns));
  const spread = config.scale_embedding ? config.d_model ** -0.5 : 0.02;
  const number = (name, shape) => {
    if (shape.length === 1) return name.includes("norm") && name.endsWith(".weight") ? 1 : 0;
    if (name === "positions.weight") return 0.02 * normal();
    if (/^(target_)?embedding\.|^positions\.|^token_types\./.test(name)) return spread * normal();
    if (name === "head.weight") return config.zero_init ? 0 : uniform(shape);
    if (!/\.(out|down)\.weight$/.test(name)) return uniform(shape);
    const layers = name.startsWith("encoder.") ? config.n_layers : (config.n_decoder_layers ?? config.n_layers);
    return config.zero_init ? 0 : uniform(shape) / Math.sqrt(2 * layers);
  };
  const drawn = ([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return /** @type {const} */ ([name, { shape, data: Float32Array.from({ length: size }, () => number(name, shape)) }]);
  };
  return new Map(Object.entries(shapes).map(drawn));
}
