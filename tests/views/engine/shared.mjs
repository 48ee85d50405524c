// Shared by the scripts in this folder: input that a test wrote, models in it, and answers.

import fs from "node:fs";
import path from "node:path";

import { GraphModel } from "../../../transformer_lab/views/engine/graph_model.js";
import { crc32, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";

const folder = process.argv[2];
const bytesOf = (file) => new Uint8Array(fs.readFileSync(path.join(folder, file)));

export const given = JSON.parse(fs.readFileSync(path.join(folder, "given.json"), "utf-8"));

/** Numbers as text, exact to the last bit. @param {Float32Array} data */
export const numbers = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");

/** @param {{name: string, config: any, graph: any, analyses?: any}} about */
export function modelOf({ name, config, graph, analyses }) {
  const bytes = bytesOf(`${name}.safetensors`);
  return new GraphModel(config, graph, readSafetensors(bytes, crc32(bytes)), analyses);
}

/** The buffers of a model as a page embeds it. @param {string} name */
export const carriedBuffers = (name) => ["about", "weights"].map((part) => bytesOf(`${name}.${part}`));

/** The final value of an answer; an error as its message. @param {() => Generator<any, any>} steps */
export function last(steps) {
  try {
    const all = steps();
    for (;;) {
      const { done, value } = all.next();
      if (done) return value;
    }
  } catch (error) {
    return { error: error.message };
  }
}

/** @param {any} answers */
export function write(answers) {
  const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(/** @type {Float32Array} */ (value)) : value);
  fs.writeFileSync(path.join(folder, "answers.json"), JSON.stringify(answers, plain));
}
