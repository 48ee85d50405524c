// Replaces the engine's worker where none may be started (a policy, an old browser): the same
// script in the page itself, run in short slices.

export const IN_PAGE =
  "No worker may be started here: the page computes by itself, a moment at a time, and is slower meanwhile.";

export class InPage {
  /** @param {string} source of a worker */
  constructor(source) {
    const module = `export default (postMessage) => { let onmessage;\n${source}\nreturn (data) => onmessage({ data }); };`;
    const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
    /** @type {(event: {data: any}) => void} */
    this.onmessage = () => {};
    /** @type {(event: {message?: string}) => void} */
    this.onerror = () => {};
    this.take = import(url).then(({ default: start }) => start((message) => this.#tell(message)));
    this.take.catch((error) => this.onerror(error)).finally(() => URL.revokeObjectURL(url));
  }

  #tell(message) {
    if (!this.ended) this.onmessage({ data: structuredClone(message) });
  }

  /** Like a worker's: later changes of the message do not reach the engine. @param {any} message */
  postMessage(message) {
    const sent = structuredClone(message);
    this.take.then((take) => take(sent)).catch(() => {}); // a failed start is reported already
  }

  terminate() {
    this.ended = true;
    this.postMessage(null);
  }
}
