// What a model is built from: the fields of a ModelConfig, and the weights that they ask for.

import { DamagedModel } from "./safetensors.js";
import { ACTIVATIONS, matrix } from "./tensors.js";

/** A model that this engine does not know. */
export class UnknownModel extends Error {}

const one = (...names) => (value) => names.includes(value);
const size = (value) => Number.isSafeInteger(value) && value >= 1;
const orNull = (fits) => (value) => value === null || fits(value);
const yes = (value) => typeof value === "boolean";
const above = (value) => Number.isFinite(value) && value > 0;

/** Every field of a config and what it may be. Those that no forward pass reads may be anything. */
const FIELDS = {
  transformer_lab: one(1),
  class: one("Transformer"),
  vocab_size: size,
  kind: one("decoder", "encoder", "encoder-decoder"),
  n_layers: size,
  n_heads: size,
  d_model: size,
  n_ctx: size,
  n_decoder_layers: orNull(size),
  target_vocab_size: orNull(size),
  n_kv_heads: size,
  d_head: size,
  d_ff: size,
  positions: (value) => Object.hasOwn(SCHEMES, value?.name) && Object.keys(value).every((key) => key === "name" || SCHEMES[value.name].includes(key)),
  norm: one("layer", "rms"),
  norm_first: yes,
  norm_affine: yes,
  norm_eps: above,
  activation: (value) => Object.hasOwn(ACTIVATIONS, value),
  bias: yes,
  attention_only: yes,
  head: yes,
  tie_head: yes,
  head_bias: yes,
  head_transform: yes,
  token_types: (value) => value === 0 || size(value),
  scale_embedding: yes,
  embedding_norm: yes,
  qk_norm: yes,
  logit_softcap: orNull(above),
  dropout: () => true, // these three are for training
  zero_init: () => true,
  pad_id: () => true,
};
const OPTIONAL = ["transformer_lab", "class"];

/** Position schemes and their options. */
const SCHEMES = { none: [], sinusoidal: ["base", "halves"], learned: [], rotary: ["base"], alibi: [], relative: ["buckets", "max_distance"] };

/**
 * A config as Python writes it, with every size filled in.
 * @param {Record<string, any>} values
 * @throws {UnknownModel} for a field or a value that this engine does not know, naming it
 */
export function readConfig(values) {
  for (const [name, value] of Object.entries(values)) {
    if (!Object.hasOwn(FIELDS, name)) throw new UnknownModel(`this page's engine does not know the field ${name} of the model's configuration`);
    if (!FIELDS[name](value)) throw new UnknownModel(`${name}=${JSON.stringify(value)} of the model's configuration is not known to this page's engine`);
  }
  for (const name of Object.keys(FIELDS)) {
    if (!Object.hasOwn(values, name) && !OPTIONAL.includes(name)) throw new UnknownModel(`the model's configuration lacks ${name}`);
  }
  if (values.n_heads % values.n_kv_heads) throw new UnknownModel(`n_heads must be divisible by n_kv_heads=${values.n_kv_heads}, got ${values.n_heads}`);
  return values;
}

/**
 * The weights as the model reads them, each with the shape that the config asks for.
 * @param {Record<string, any>} config
 * @param {Map<string, {shape: number[], data: Float32Array}>} tensors
 * @returns {any} a tree: embedding, positions, encoder and decoder ({blocks, norm}), head …
 * @throws {DamagedModel} for a weight that is missing, left over, or of another shape
 */
export function weightsOf(config, tensors) {
  const { d_model: d, d_ff: dFF, bias: biased } = config;
  const [wide, narrow] = [config.n_heads * config.d_head, config.n_kv_heads * config.d_head];
  const left = new Set(tensors.keys());
  const take = (name, ...shape) => {
    const found = tensors.get(name);
    if (!found) throw new DamagedModel(`${name} is missing from the model's weights`);
    if (String(found.shape) !== String(shape)) throw new DamagedModel(`${name} is [${found.shape.join(", ")}] in the weights but [${shape.join(", ")}] in the model`);
    left.delete(name);
    return found.data;
  };
  const table = (name, rows, columns) => matrix(rows, columns, take(`${name}.weight`, rows, columns));
  const linearOf = (name, dIn, dOut, bias = biased) => ({ weight: table(name, dOut, dIn), bias: bias ? take(`${name}.bias`, dOut) : null });
  const normOf = (name) => ({
    weight: config.norm_affine ? take(`${name}.weight`, d) : null,
    bias: config.norm_affine && biased && config.norm === "layer" ? take(`${name}.bias`, d) : null,
  });
  const attentionOf = (name) => ({
    query: linearOf(`${name}.query`, d, wide),
    key: linearOf(`${name}.key`, d, narrow),
    value: linearOf(`${name}.value`, d, narrow),
    out: linearOf(`${name}.out`, wide, d),
  });
  const feedForwardOf = (name) => ({
    up: linearOf(`${name}.up`, d, dFF),
    gate: config.activation === "swiglu" ? linearOf(`${name}.gate`, d, dFF) : null,
    down: linearOf(`${name}.down`, dFF, d),
  });
  const blockOf = (name, cross) => ({
    attention: attentionOf(`${name}.attention`),
    norm1: normOf(`${name}.norm1`),
    cross: cross ? attentionOf(`${name}.cross`) : null,
    norm2: cross ? normOf(`${name}.norm2`) : null,
    feedForward: config.attention_only ? null : feedForwardOf(`${name}.feed_forward`),
    norm3: config.attention_only ? null : normOf(`${name}.norm3`),
  });
  const stackOf = (name, layers, cross) => ({
    blocks: Array.from({ length: layers }, (_, i) => blockOf(`${name}.blocks.${i}`, cross)),
    norm: config.norm_first ? normOf(`${name}.norm`) : null,
  });

  const both = config.kind === "encoder-decoder";
  const outputs = config.target_vocab_size ?? config.vocab_size;
  const embedding = table("embedding", config.vocab_size, d);
  const target = config.target_vocab_size === null ? embedding : table("target_embedding", outputs, d);
  const weights = {
    embedding,
    target,
    tokenTypes: config.token_types ? table("token_types", config.token_types, d) : null,
    positions: positionTables(config, table),
    embeddingNorm: config.embedding_norm ? normOf("embedding_norm") : null,
    encoder: config.kind === "decoder" ? null : stackOf("encoder", config.n_layers, false),
    decoder: config.kind === "encoder" ? null : stackOf("decoder", config.n_decoder_layers ?? config.n_layers, both),
    transform: config.head && config.head_transform ? { ...linearOf("transform", d, d, true), norm: normOf("transform_norm") } : null,
    head: config.head
      ? { weight: config.tie_head ? target : table("head", outputs, d), bias: config.head_bias ? take("head.bias", outputs) : null }
      : null,
  };
  if (left.size) throw new DamagedModel(`${[...left][0]} is in the weights but not in the model`);
  return weights;
}

function positionTables(config, table) {
  const { name, buckets } = config.positions;
  if (name === "learned") return { table: table("positions", config.n_ctx, config.d_model) };
  if (name !== "relative") return {};
  const stacks = ["encoder", "decoder"].filter((stack) => config.kind.split("-").includes(stack));
  return Object.fromEntries(stacks.map((stack) => [stack, table(`positions.${stack}`, buckets, config.n_heads)]));
}
