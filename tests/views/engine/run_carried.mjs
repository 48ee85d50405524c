// Loads models as pages embed them, intact and damaged in many ways, and returns the engine's responses.

import { packedOf } from "../../../transformer_lab/views/engine/client.js";
import { Desk } from "../../../transformer_lab/views/engine/desk.js";
import { DamagedModel, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";
import { Weights } from "../../../transformer_lab/views/engine/workspace.js";
import { carriedBuffers, given, numbers, write } from "./shared.mjs";

const { models, seed } = given;

/** Mulberry32: the same damage in every run. */
let state = seed;
const chance = (below) => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % below;
};

const flipped = (bytes) => {
  const found = bytes.slice();
  found[chance(found.length)] ^= 1 << chance(8);
  return found;
};
const cut = (bytes) => bytes.slice(0, chance(bytes.length));
const longer = (bytes) => Uint8Array.from([...bytes, chance(256)]);
/** Swap two runs of bytes. */
const exchanged = (bytes) => {
  for (;;) {
    const [length, a, b] = [1 + chance(32), chance(bytes.length - 64), chance(bytes.length - 64)];
    const found = bytes.slice();
    found.set(bytes.subarray(b, b + length), a);
    found.set(bytes.subarray(a, a + length), b);
    if (found.some((byte, i) => byte !== bytes[i])) return found;
  }
};
const WAYS = { flipped, cut, longer, exchanged };

function last(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** "" if the model is refused as damaged and nothing was loaded, else what happened. */
function refusal(info, buffers) {
  const desk = new Desk();
  try {
    last(desk.answer({ ask: "load", ...packedOf(info, buffers) }));
  } catch (error) {
    if (!(error instanceof DamagedModel)) return `${error.constructor.name}: ${error.message}`;
    return desk.model === null ? "" : "it was loaded";
  }
  return "it was taken";
}

write(models.map(({ name, info, text, damages }) => {
  const buffers = carriedBuffers(name);
  const packed = packedOf(info, buffers);
  const weights = new Weights(readSafetensors(packed.weights, packed.checksum));
  const tensors = Object.fromEntries([...weights.known.keys()].map((key) => [key, numbers(weights.on.numbers(weights.wideAt(key)))]));
  const desk = new Desk();
  last(desk.answer({ ask: "load", ...packed }));
  last(desk.answer({ ask: "read", text }));
  const pass = desk.readings.get("").clean.pass;
  const taken = [];
  for (let i = 0; i < damages; i++) {
    const [way, part] = [Object.keys(WAYS)[i % 4], chance(8) ? 1 : 0]; // weights are by far the longer part
    const damaged = buffers.map((bytes, j) => (j === part ? WAYS[way](bytes) : bytes));
    const why = refusal(info, damaged);
    if (why) taken.push(`${way} in part ${part}: ${why}`);
  }
  for (const checksums of [info.checksums.toReversed(), info.checksums.map((x) => x ^ 1), [], undefined]) {
    const why = refusal({ checksums }, buffers);
    if (why) taken.push(`checksums: ${why}`);
  }
  return { tensors, logits: numbers(pass.logits().data), taken };
}));
