// What the scripts beside this one share: what a test wrote down in a folder, models in it, and the answers.

import fs from "node:fs";
import path from "node:path";

import { GraphModel } from "../../../transformer_lab/views/engine/graph_model.js";
import { crc32, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";

const folder = process.argv[2];
const bytesOf = (file) => new Uint8Array(fs.readFileSync(path.join(folder, file)));

export const given = JSON.parse(fs.readFileSync(path.join(folder, "given.json"), "utf-8"));

/** Numbers as text, to the last bit. @param {Float32Array} data */
export const numbers = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");

/** @param {{name: string, config: any, graph: any, analyses?: any}} about */
export function modelOf({ name, config, graph, analyses }) {
  const bytes = bytesOf(`${name}.safetensors`);
  return new GraphModel(config, graph, readSafetensors(bytes, crc32(bytes)), analyses);
}

/** What a page carries of a model. @param {string} name */
export const carriedBuffers = (name) => ["about", "weights"].map((part) => bytesOf(`${name}.${part}`));

/** The end of an answer; an error as its sentence. @param {() => Generator<any, any>} steps */
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
