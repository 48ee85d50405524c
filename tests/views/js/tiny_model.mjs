// A model small enough to be made by hand, as a page carries it.

import { crc32 } from "../../../transformer_lab/views/engine/safetensors.js";

export const config = {
  vocab_size: 7, kind: "decoder", n_layers: 1, n_heads: 2, d_model: 4, n_ctx: 8, n_decoder_layers: null, target_vocab_size: null,
  n_kv_heads: 2, d_head: 2, d_ff: 8, positions: { name: "rotary", base: 10000 }, norm: "rms", norm_first: true, norm_affine: false,
  norm_eps: 1e-5, activation: "gelu", bias: false, dropout: 0, attention_only: false, head: true, tie_head: true, head_bias: false,
  head_transform: false, token_types: 0, scale_embedding: false, embedding_norm: false, qk_norm: false, logit_softcap: null,
  zero_init: false, pad_id: null,
};

/** A safetensors file of some tensors. */
export function file(tensors, more = {}) {
  let end = 0;
  const table = { __metadata__: { by: "a test" }, ...more };
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) table[name] = { dtype, shape, data_offsets: [end, (end += bytes.byteLength)] };
  let head = JSON.stringify(table);
  head += " ".repeat((8 - (head.length % 8)) % 8);
  const whole = new Uint8Array(8 + head.length + end);
  new DataView(whole.buffer).setBigUint64(0, BigInt(head.length), true);
  whole.set(new TextEncoder().encode(head), 8);
  let at = 8 + head.length;
  for (const { bytes } of Object.values(tensors)) {
    whole.set(new Uint8Array(bytes.buffer), at);
    at += bytes.byteLength;
  }
  return whole;
}

/** The weights that the config asks for, by name; no two alike. */
export function tensors() {
  const shapes = { "embedding.weight": [7, 4], "decoder.blocks.0.feed_forward.up.weight": [8, 4], "decoder.blocks.0.feed_forward.down.weight": [4, 8] };
  for (const name of ["query", "key", "value", "out"]) shapes[`decoder.blocks.0.attention.${name}.weight`] = [4, 4];
  let place = 0;
  const numbers = (n) => Float32Array.from({ length: n }, () => Math.sin(37 * ++place));
  return new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape, data: numbers(shape[0] * shape[1]) }]));
}

/** All that a page carries of it: letters a and b beside the special tokens. */
export function packed() {
  const listed = [...tensors()].map(([name, { shape, data }]) => [name, { dtype: "F32", shape, bytes: data }]);
  const weights = file(Object.fromEntries(listed));
  return { name: "tiny", config, weights, checksum: crc32(weights), tokenizer: { kind: "char", vocabulary: ["a", "b"] } };
}
