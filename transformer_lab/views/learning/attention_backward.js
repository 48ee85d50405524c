// The derivative of attention, beside attention.js: z = A·v with A = softmax(S), S = q·kᵀ/√d + bias.

import { EPSILON, keyHead, patternOf } from "../engine/attention.js";
import { dot, linear, matrix } from "../engine/tensors.js";
import { linearBackward, normBackward } from "./derivatives.js";

/**
 * @typedef {import("../engine/tensors.js").Matrix} Matrix
 * @typedef {import("../engine/attention.js").Call} Call
 */

/**
 * dv = Aᵀ·dz,  dA = dz·vᵀ,  dS = A · (dA − Σ A·dA) of each row,  dq = dS·k/√d,  dk = dSᵀ·q/√d.
 * @param {Call} call
 * @param {Matrix} dz [query, head · dHead]
 * @param {(head: number, distance: number, dS: number) => void} [biased] hears what was added to scores
 * @returns {{query: Matrix, key: Matrix, value: Matrix}} their derivatives
 */
export function attendBackward(call, dz, biased) {
  const { query, key, value, dHead, heads } = call;
  const d = { query: matrix(query.rows, query.columns), key: matrix(key.rows, key.columns), value: matrix(value.rows, value.columns) };
  const n = key.rows;
  const dA = new Float64Array(n);
  for (let head = 0; head < heads; head++) {
    const map = patternOf(call, head);
    const [q, k] = [head * dHead, keyHead(call, head) * dHead];
    for (let i = 0; i < query.rows; i++) {
      const seen = call.causal ? i + 1 : n;
      const [row, mine] = [i * n, i * query.columns + q];
      let whole = 0;
      for (let j = 0; j < seen; j++) {
        dA[j] = dot(dz.data, mine, value.data, j * value.columns + k, dHead);
        whole += map[row + j] * dA[j];
      }
      for (let j = 0; j < seen; j++) {
        const weight = map[row + j];
        const dS = weight * (dA[j] - whole);
        const other = j * key.columns + k;
        biased?.(head, j - i, dS);
        const step = dS / Math.sqrt(dHead);
        for (let c = 0; c < dHead; c++) {
          d.value.data[other + c] += weight * dz.data[mine + c];
          d.query.data[mine + c] += step * key.data[other + c];
          d.key.data[other + c] += step * query.data[mine + c];
        }
      }
    }
  }
  return d;
}

/**
 * From dz to what queries are made of, x, and what keys and values are made of, source: the same for
 * self-attention.
 * @param {Matrix} dz
 * @param {Call} call
 * @param {{x: Matrix, source: Matrix}} made of these
 * @param {any} weights of the layer
 * @param {any} gradients
 * @param {object} how
 * @param {any} how.config
 * @param {import("../engine/positions.js").Positions | null} how.positions none for cross-attention
 * @param {(head: number, distance: number, dS: number) => void} [how.biased]
 * @returns {{x: Matrix, source: Matrix[]}} derivatives; of the source by way of keys, and of values
 */
export function headsBackward(dz, call, { x, source }, weights, gradients, { config, positions, biased }) {
  const d = attendBackward(call, dz, biased);
  const back = (name, dy, from) => {
    const turned = positions && config.positions.name === "rotary" ? turnedBack(dy, config.d_head, positions) : dy;
    const plain = config.qk_norm ? headNormBackward(turned, linear(from, weights[name]), config.d_head) : turned;
    return linearBackward(plain, from, weights[name], gradients[name]);
  };
  return { x: back("query", d.query, x), source: [back("key", d.key, source), linearBackward(d.value, source, weights.value, gradients.value)] };
}

/** Turned by as much the other way: rotation between two mirrors. */
function turnedBack(dy, dHead, positions) {
  const mirrored = (y) => matrix(y.rows, y.columns, y.data.map((v, i) => (i % dHead < dHead / 2 ? v : -v)));
  const turned = positions.rotate(mirrored(dy), dHead, 0);
  return mirrored(turned);
}

function headNormBackward(dy, x, dHead) {
  const vectors = (y) => matrix(y.data.length / dHead, dHead, y.data);
  const none = { weight: null, bias: null };
  const dx = normBackward(vectors(dy), vectors(x), none, none, { norm: "rms", norm_eps: EPSILON });
  return matrix(x.rows, x.columns, dx.data);
}
