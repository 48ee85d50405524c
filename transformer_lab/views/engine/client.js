// The page's side of the engine: questions go to its worker, answers come back as promises.

import { Superseded } from "../shared/requests.js";
import { crc32, DamagedModel, NOT_AS_WRITTEN } from "./safetensors.js";

/**
 * What a page carries of a model, for the question "load"; views/pages/carried.py writes it.
 * @param {{checksums: number[]}} info
 * @param {Uint8Array[]} buffers about the model, and its weights
 * @returns {import("./text_model.js").Packed}
 * @throws {DamagedModel}
 */
export function packedOf({ checksums }, [about, weights]) {
  if (!about || !weights || !Array.isArray(checksums) || crc32(about) !== checksums[0]) throw new DamagedModel(NOT_AS_WRITTEN);
  return { ...JSON.parse(new TextDecoder().decode(about)), weights, checksum: checksums[1] };
}

export class Engine {
  /** @param {Worker} worker @param {AbortSignal} [signal] ends it */
  constructor(worker, signal) {
    this.worker = worker;
    this.number = 0;
    /** @type {Map<number, {resolve: Function, reject: Function, part: Function}>} */
    this.open = new Map();
    worker.onmessage = ({ data }) => this.heard(data);
    worker.onerror = (event) => this.end(new Error(`the engine of this page stopped: ${event.message ?? "its worker could not be started"}`));
    signal?.addEventListener("abort", () => this.end(new Error("this view is gone")));
  }

  /** From the engine's source, as one script. @param {string} source @param {AbortSignal} [signal] */
  static start(source, signal) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const engine = new Engine(new Worker(url), signal);
    signal?.addEventListener("abort", () => URL.revokeObjectURL(url));
    return engine;
  }

  /**
   * The engine of a page that carries its model, and what it says of the model.
   * @param {import("../shared/requests.js").Requests} requests
   * @param {AbortSignal} signal
   * @returns {Promise<{engine: Engine, about: any}>}
   */
  static async ofPage(requests, signal) {
    const script = await requests.ask({ type: "block", name: "engine" }, false);
    const engine = Engine.start(new TextDecoder().decode(script.buffers[0]), signal);
    const { message, buffers } = await requests.ask({ type: "block", name: "model" }, false);
    return { engine, about: await engine.ask({ ask: "load", ...packedOf(message.info, buffers) }) };
  }

  /**
   * @param {{ask: string} & Record<string, any>} question see `Desk`
   * @param {object} [how]
   * @param {string} [how.lane] a newer question of a lane replaces the older, which is then `Superseded`
   * @param {boolean} [how.background] whether it lets others go first
   * @param {(part: any) => void} [how.part] is given what there is of an answer before its end
   * @param {Transferable[]} [how.give] what the page has no more use for
   * @returns {Promise<any>}
   */
  ask(question, { lane, background, part = () => {}, give = [] } = {}) {
    return new Promise((resolve, reject) => {
      if (this.ended) return reject(this.ended);
      const id = ++this.number;
      this.open.set(id, { resolve, reject, part });
      this.worker.postMessage({ id, lane, background, question }, give);
    });
  }

  heard({ id, part, value, error, replaced }) {
    const waiting = this.open.get(id);
    if (!waiting) return;
    if (part !== undefined) return waiting.part(part);
    this.open.delete(id);
    if (replaced) waiting.reject(new Superseded());
    else if (error !== undefined) waiting.reject(new Error(error));
    else waiting.resolve(value);
  }

  /** @param {Error} why */
  end(why) {
    this.ended = why;
    this.worker.terminate();
    for (const { reject } of this.open.values()) reject(why);
    this.open.clear();
  }
}
