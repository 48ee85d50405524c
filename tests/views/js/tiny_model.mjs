// A hand-made model, as a page embeds it.

import fs from "node:fs";

import { crc32 } from "../../../transformer_lab/views/engine/safetensors.js";

/** As Python exported it: a decoder of one layer with two heads, 4 numbers wide, for texts of up to 8 tokens. */
const { config, graph, tables } = JSON.parse(fs.readFileSync(new URL("tiny_graph.json", import.meta.url), "utf-8"));

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

/** The graph's weights, by name; no two are equal. */
export function tensors() {
  let place = 0;
  const numbers = (n) => Float32Array.from({ length: n }, () => Math.sin(37 * ++place));
  const made = ([name, { shape }]) => [name, { shape, data: tables[name] ? Float32Array.from(tables[name]) : numbers(shape.reduce((a, b) => a * b, 1)) }];
  return new Map(Object.entries(graph.weights).map(made));
}

/** All that a page embeds: the vocabulary is a, b and the special tokens. */
export function packed() {
  const listed = [...tensors()].map(([name, { shape, data }]) => [name, { dtype: "F32", shape, bytes: data }]);
  const weights = file(Object.fromEntries(listed));
  return { name: "tiny", config, graph, weights, checksum: crc32(weights), tokenizer: letters("a", "b") };
}

/** A tokenizer of single letters, as Python describes it. @param {string[]} vocabulary */
export function letters(...vocabulary) {
  const names = ["<pad>", "<s>", "</s>", "<unk>", "<mask>", ...vocabulary];
  const backend = {
    model: { type: "WordLevel", vocab: names.map((name) => [name]), unk_token: "<unk>" },
    normalizer: { type: "Sequence", normalizers: [] },
    pre_tokenizer: { type: "Split", pattern: { Regex: "[^]" }, behavior: "Isolated" },
    post_processor: null,
    decoder: { type: "Fuse" },
    added_tokens: [],
  };
  return { backend, ids: { pad: 0, bos: 1, eos: 2, unk: 3, mask: 4 }, special: [0, 1, 2, 3, 4], hidden: [0, 1, 2], size: names.length };
}
