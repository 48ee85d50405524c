// The page's side of the engine: questions go to its worker, answers come back as promises.

import { InPage } from "./in_page.js";
import { Superseded } from "../shared/requests.js";
import { crc32, DamagedModel, NOT_AS_WRITTEN } from "./safetensors.js";

/**
 * Unpack the model that a page carries, for the question "load"; views/pages/carried.py writes it.
 * @param {{checksums: number[], check?: import("./verified.js").Check}} info
 * @param {Uint8Array[]} buffers about the model, and its weights
 * @returns {import("./text_model.js").Packed}
 * @throws {DamagedModel}
 */
export function packedOf({ checksums, check }, [about, weights]) {
  if (!about || !weights || !Array.isArray(checksums) || crc32(about) !== checksums[0])
    throw new DamagedModel(NOT_AS_WRITTEN);
  const packed = JSON.parse(new TextDecoder().decode(about));
  return { ...packed, weights, check, checksum: checksums[1] };
}

export class Engine {
  /**
   * @param {Worker | InPage} worker
   * @param {AbortSignal} [signal] ends it
   * @param {string} [source] the worker's script, if it may run in the page instead
   */
  constructor(worker, signal, source) {
    this.number = 0;
    this.source = source;
    /** @type {Map<number, {message: any, resolve: Function, reject: Function, part: Function}>} */
    this.open = new Map();
    /** Resolves once the worker runs, or once the engine has ended. @type {Promise<void>} */
    this.began = new Promise((begin) => (this.begin = begin));
    this.#hire(worker);
    signal?.addEventListener("abort", () => this.end(new Error("this view is gone")));
  }

  /** Start from the engine's source, one script. @param {string} source @param {AbortSignal} [signal] */
  static start(source, signal) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    signal?.addEventListener("abort", () => URL.revokeObjectURL(url));
    try {
      return new Engine(new Worker(url), signal, source);
    } catch {
      return new Engine(new InPage(source), signal);
    }
  }

  /** Whether it runs in the page because no worker may be started. */
  get inPage() {
    return this.worker instanceof InPage;
  }

  #hire(worker) {
    this.worker = worker;
    worker.onmessage = ({ data }) => {
      this.source = undefined; // it runs
      this.begin();
      this.heard(data);
    };
    worker.onerror = (event) => this.#failed(event.message);
  }

  /** Handle a worker's error. One that may not be started fails first thing, without a message. */
  #failed(why) {
    const { source } = this;
    this.source = undefined;
    if (source === undefined || why)
      return this.end(
        new Error(`the engine of this page stopped: ${why ?? "its worker could not be started"}`),
      );
    this.#hire(new InPage(source));
    for (const { message } of this.open.values()) this.worker.postMessage(message);
  }

  /**
   * The engine of a page that carries its model, and its description of the model.
   * @param {import("../shared/requests.js").Requests} requests
   * @param {AbortSignal} signal
   * @returns {Promise<{engine: Engine, about: any}>}
   */
  static async ofPage(requests, signal) {
    const script = await requests.ask({ type: "block", name: "engine" }, false);
    const engine = Engine.start(new TextDecoder().decode(script.buffers[0]), signal);
    const { message, buffers } = await requests.ask({ type: "block", name: "model" }, false);
    return { engine, about: await engine.load(packedOf(message.info, buffers)) };
  }

  /**
   * Like `ofPage`, from an engine and model fetched before.
   * @param {{engine: {parts: Blob[]}, model: {info: any, parts: Blob[]}}} held
   * @param {AbortSignal} signal
   */
  static async of({ engine: script, model }, signal) {
    const engine = Engine.start(await script.parts[0].text(), signal);
    const buffers = await Promise.all(
      model.parts.map(async (part) => new Uint8Array(await part.arrayBuffer())),
    );
    return { engine, about: await engine.load(packedOf(model.info, buffers)) };
  }

  /** Hand the weights over to the worker; since the page then no longer has them, wait until the worker runs. @param {import("./text_model.js").Packed} packed */
  async load(packed) {
    await this.began;
    return this.ask({ ask: "load", ...packed }, { transfer: [packed.weights.buffer] });
  }

  /**
   * @param {{ask: string} & Record<string, any>} question see `Desk`
   * @param {object} [how]
   * @param {string} [how.lane] a newer question in a lane replaces the older one, which rejects
   *   with `Superseded`
   * @param {boolean} [how.background] whether other questions go first
   * @param {(part: any) => void} [how.part] called with each part of an answer before it is
   *   complete
   * @param {ArrayBufferLike[]} [how.transfer] buffers that the page no longer has afterwards
   * @returns {Promise<any>}
   */
  ask(question, { lane, background, part = () => {}, transfer = [] } = {}) {
    return new Promise((resolve, reject) => {
      if (this.ended) return reject(this.ended);
      const id = ++this.number;
      const message = { id, lane, background, question };
      this.open.set(id, { message, resolve, reject, part });
      this.worker.postMessage(message, /** @type {any} */ (transfer));
    });
  }

  /** Abandon texts that are being read. */
  stopReading() {
    for (const [id, { message }] of this.open)
      if (message.question.ask === "read") this.worker.postMessage({ ended: id });
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
    this.begin();
    this.worker.terminate();
    for (const { reject } of this.open.values()) reject(why);
    this.open.clear();
  }
}
