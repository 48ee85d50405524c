// The memory that a model and its activations live in, and the products over it: in WebAssembly where the
// page may use it, else in JavaScript.

// kernel.c, compiled as it says there.
const BINARY =
  "AGFzbQEAAAABFgJgB39/f39/f38AYAh/f39/f39/fwACDwEDZW52Bm1lbW9yeQIAAQMDAgABBAUBcAEBAQYIAX8BQYDAAAsHFAIGbGluZWFyAAAHbGlu" +
  "ZWFyOAABCo4iArAUBDl/C3sBfwN9I4CAgIAAQSBrIQcCQCAEQQFIDQAgBkEBSA0AIAVBA2whCCAFQQF0IQkgBkECdCEKIAZBBXQhCyAGQQR0IQwgBSAF" +
  "QXxxIg1rIQ4gBUEDdCEPIAVBBHQhECADIAZBGGxqIREgAyAGQQN0IhJqIRMgACANQQJ0IhRqIRUgASAUaiEWIAdBEGpBBHIhFyAHQRBqQRhqIRggB0EQ" +
  "akEIciEZIAMhGkEAIRsgBCEcQQAhHUEAIR4DQCAEIB1BAnRrIhRBBCAUQQRIGyIfIB5qISAgFSAFQQAgBCAeayIhQQQgIUEESBsiIkEBShtBAnQiFGoh" +
  "IyAVIAlBACAiQQJKG0ECdCIkaiElIBUgCEEAICJBA0obQQJ0IiZqIScgACAUaiEoIAAgJGohKSAAICZqISogH0F+aiIrQXxxIixBAnIhLSArQQNLIAZB" +
  "AUZxIS4gH0F6aiIvQQJ2QQFqQQFxITAgHkECciExIAMgHiAGbEECdGohMiAcQQQgHEEESBsiM0F/aiE0IDNBfmpBfHEhNSAzQXpqQQJ2QQFqQf7///8H" +
  "cSE2IBohNyARITggGyE5IBMhOiAWITsgASE8QQAhPQNAIAVBACA9QQFyIj4gBkgbIT8CQAJAIA1BAU4NAP0MAAAAAAAAAAAAAAAAAAAAACJAIUEgQCFC" +
  "IEAhQyBAIUQgQCFFIEAhRiBAIUcMAQsgPCA/QQJ0aiEmQQAhFP0MAAAAAAAAAAAAAAAAAAAAACJHIUZBACEkIEchRSBHIUQgRyFDIEchQiBHIUEgRyFA" +
  "A0AgRSAmIBRq/QAAACJIICogFGr9AAAAIkn95gH95AEhRSBBIDwgFGr9AAAAIkogSf3mAf3kASFBIEQgSCApIBRq/QAAACJJ/eYB/eQBIUQgQCBKIEn9" +
  "5gH95AEhQCBDIEggKCAUav0AAAAiSf3mAf3kASFDIEYgSiBJ/eYB/eQBIUYgQiBIIAAgFGr9AAAAIkn95gH95AEhQiBHIEogSf3mAf3kASFHIBRBEGoh" +
  "FCAkQQRqIiQgDUgNAAsLIEIgQ/0NDA0ODxwdHh8AAAAAAAAAACBE/Q0AAQIDBAUGBxwdHh8AAAAAIEX9DQABAgMEBQYHCAkKCxwdHh8gQiBD/Q0ICQoL" +
  "GBkaGwAAAAAAAAAAIET9DQABAgMEBQYHGBkaGwAAAAAgRf0NAAECAwQFBgcICQoLGBkaGyBCIEP9DQABAgMQERITAAAAAAAAAAAgRP0NAAECAwQFBgcQ" +
  "ERITAAAAACBF/Q0AAQIDBAUGBwgJCgsQERITIEIgQ/0NBAUGBxQVFhcAAAAAAAAAACBE/Q0AAQIDBAUGBxQVFhcAAAAAIEX9DQABAgMEBQYHCAkKCxQV" +
  "Fhf95AH95AH95AEhSiBHIEb9DQwNDg8cHR4fAAAAAAAAAAAgQP0NAAECAwQFBgccHR4fAAAAACBB/Q0AAQIDBAUGBwgJCgscHR4fIEcgRv0NCAkKCxgZ" +
  "GhsAAAAAAAAAACBA/Q0AAQIDBAUGBxgZGhsAAAAAIEH9DQABAgMEBQYHCAkKCxgZGhsgRyBG/Q0AAQIDEBESEwAAAAAAAAAAIED9DQABAgMEBQYHEBES" +
  "EwAAAAAgQf0NAAECAwQFBgcICQoLEBESEyBHIEb9DQQFBgcUFRYXAAAAAAAAAAAgQP0NAAECAwQFBgcUFRYXAAAAACBB/Q0AAQIDBAUGBwgJCgsUFRYX" +
  "/eQB/eQB/eQBIUgCQCANIAVODQAgOyA/QQJ0aiEmQQAhFCAOISQDQCAVIBRq/QkCACAjIBRqKgIA/SABICUgFGoqAgD9IAIgJyAUaioCAP0gAyJHICYg" +
  "FGr9CQIA/eYBIkAgSiJB/eQBIUogRyA7IBRq/QkCAP3mASJHIEgiQv3kASFIIBRBBGohFCAkQX9qIiQNAAsgRyBC/eQBIUggQCBB/eQBIUoLIAcgSv0L" +
  "BAAgByBI/QsEEAJAICFBAUgNACACID1BAnQiFGohPyACID5BAnRqIUsgSP0fACFMAkAgPiAGTg0AIAchJCA3IRQgNCEmIBchPgNAQwAAAAAhTUMAAAAA" +
  "IU4CQCACRQ0AID8qAgAhTgsgFCBMIE6SOAIAICQqAgAhTgJAIAJFDQAgSyoCACFNCyAUQQRqIE4gTZI4AgAgJkUNAiAUIApqIRQgJkF/aiEmICRBBGoh" +
  "JCA+KgIAIUwgPkEEaiE+DAALCwJAIAJFDQAgMiAUaiBMID8qAgCSOAIAICJBAUYNASAyID0gBmpBAnRqIEj9HwEgPyoCAJI4AgAgIkECRg0BQQIhFAJA" +
  "IC5FDQACQCADIDEgPWpBAnRqIEtPDQAgPyADICAgPWpBAnRqSQ0BCyA//QkCACFIIDUhJiA6IRQgGSEkA0AgFCAk/QADACBI/eQB/QsCACAUIAxqIRQg" +
  "JEEQaiEkICZBfGoiJg0ACyAtIRQgKyAsRg0CCyAUQQFqISQCQCAfIBRrQQFxRQ0AIDIgFCAGbCA9akECdGogB0EQaiAUQQJ0aioCACA/KgIAkjgCACAk" +
  "IRQLIB8gJEYNASAzIBRrISYgOSAKIBRsaiE+IDkgCiAUQQFqbGohSyAHQRBqIBRBAnRqIRQgAyEkA0AgJCA+aiAUKgIAID8qAgCSOAIAICQgS2ogFEEE" +
  "aioCACA/KgIAkjgCACAkIBJqISQgFEEIaiEUICZBfmoiJg0ADAILCyAyIBRqIExDAAAAAJI4AgAgIkEBRg0AIDIgPSAGakECdGogSP0fAUMAAAAAkjgC" +
  "ACAiQQJGDQBBAiEUAkAgLkUNAEEAISYCQCAvQQRJDQBBACEUIDYhPiAYISRBACEmA0AgOiAUaiAkQXBq/QADAP0MAAAAAAAAAAAAAAAAAAAAACJI/eQB" +
  "/QsCACA4IBRqICT9AAMAIEj95AH9CwIAICRBIGohJCAUIAtqIRQgJkEIaiEmID5BfmoiPg0ACwsCQCAwRQ0AIDIgJkECciIUIAZsID1qQQJ0aiAHQRBq" +
  "IBRBAnRq/QADAP0MAAAAAAAAAAAAAAAAAAAAAP3kAf0LAgALIC0hFCArICxGDQELIBRBAWohJAJAIB8gFGtBAXFFDQAgMiAUIAZsID1qQQJ0aiAHQRBq" +
  "IBRBAnRqKgIAQwAAAACSOAIAICQhFAsgHyAkRg0AIDMgFGshJiA5IAogFGxqIT4gOSAKIBRBAWpsaiE/IAdBEGogFEECdGohFCADISQDQCAkID5qIBQq" +
  "AgBDAAAAAJI4AgAgJCA/aiAUQQRqKgIAQwAAAACSOAIAICQgEmohJCAUQQhqIRQgJkF+aiImDQALCyA3QQhqITcgOEEIaiE4IDlBCGohOSA6QQhqITog" +
  "OyAPaiE7IDwgD2ohPCA9QQJqIj0gBkgNAAsgGiAMaiEaIBEgDGohESAbIAxqIRsgHEF8aiEcIBMgDGohEyAVIBBqIRUgACAQaiEAIB1BAWohHSAeQQRq" +
  "Ih4gBEgNAAsLC9kNBh5/BHsCfwR7AX0CfyOAgICAAEEQayEIAkAgBUEBSA0AIAdBAUgNACAGQQNsIQkgBkEBdCEKIAdBBHQhCyAGQQR0IQwgBCAHQQN0" +
  "Ig1qIQ4gBCAHQQJ0aiEPIAAgBkFwcSIQQQJ0aiERIAhBBHIhEkEAIRMgBSEUQQAhFQNAIAUgE0ECdGsiFkEEIBZBBEgbIhZBASAWQQFKGyIXQX9qQQFx" +
  "IRggBkEAIAUgFWsiGUEEIBlBBEgbIhZBAUobQQJ0IRogCkEAIBZBAkobQQJ0IRsgCUEAIBZBA0obQQJ0IRwgFEEEIBRBBEgbIh1BASAdQQFKGyIeQX9q" +
  "IhZBAXEhHyAWQX5xISAgFSAHbCEhIA4hIiAPISMgASEkQQAhJQNAAkACQCAQQQFODQD9DAAAAAAAAAAAAAAAAAAAAAAiJiEnICYhKCAmISkMAQtBACEq" +
  "IAAhFv0MAAAAAAAAAAAAAAAAAAAAACIpISggKSEnICkhJgNAICkgFiAcaiIr/QAAACAkICpq/QAAACIs/YcBIi39GACy/RMgLf0YAbL9IAEgLf0YArL9" +
  "IAIgLf0YA7L9IAMiLv3mAf3kASArQRBq/QAAACAt/RgEsv0TIC39GAWy/SABIC39GAay/SACIC39GAey/SADIi/95gH95AEgK0Egav0AAAAgLP2IASIt" +
  "/RgAsv0TIC39GAGy/SABIC39GAKy/SACIC39GAOy/SADIiz95gH95AEgK0Ewav0AAAAgLf0YBLL9EyAt/RgFsv0gASAt/RgGsv0gAiAt/RgHsv0gAyIt" +
  "/eYB/eQBISkgKCAWIBtqIiv9AAAAIC795gH95AEgK0EQav0AAAAgL/3mAf3kASArQSBq/QAAACAs/eYB/eQBICtBMGr9AAAAIC395gH95AEhKCAnIBYg" +
  "GmoiK/0AAAAgLv3mAf3kASArQRBq/QAAACAv/eYB/eQBICtBIGr9AAAAICz95gH95AEgK0Ewav0AAAAgLf3mAf3kASEnICYgFv0AAAAgLv3mAf3kASAW" +
  "QRBq/QAAACAv/eYB/eQBIBZBIGr9AAAAICz95gH95AEgFkEwav0AAAAgLf3mAf3kASEmIBZBwABqIRYgKkEQaiIqIBBIDQALCyAmICf9DQwNDg8cHR4f" +
  "AAAAAAAAAAAgKP0NAAECAwQFBgccHR4fAAAAACAp/Q0AAQIDBAUGBwgJCgscHR4fICYgJ/0NCAkKCxgZGhsAAAAAAAAAACAo/Q0AAQIDBAUGBxgZGhsA" +
  "AAAAICn9DQABAgMEBQYHCAkKCxgZGhsgJiAn/Q0AAQIDEBESEwAAAAAAAAAAICj9DQABAgMEBQYHEBESEwAAAAAgKf0NAAECAwQFBgcICQoLEBESEyAm" +
  "ICf9DQQFBgcUFRYXAAAAAAAAAAAgKP0NAAECAwQFBgcUFRYXAAAAACAp/Q0AAQIDBAUGBwgJCgsUFRYX/eQB/eQB/eQBIS0gESEWIBAhKwJAIBAgBk4N" +
  "AANAIBb9CQIAIBYgGmoqAgD9IAEgFiAbaioCAP0gAiAWIBxqKgIA/SADICQgK2osAACy/RP95gEiLiAtIi/95AEhLSAWQQRqIRYgBiArQQFqIitHDQAL" +
  "IC4gL/3kASEtCyAIIC39CwQAAkAgGUEBSA0AIAIgJUECdCIWaiIqKgIAITACQCADRQ0AIAQgISAlakECdGogLf0fACAwlCADIBZqIjEqAgCSOAIAIB1B" +
  "AkgNAUEBIRYCQCAXQQJGDQBBACEWIBIhK0EAITIDQCAjIBZqICsqAgAgKioCAJQgMSoCAJI4AgAgIiAWaiArQQRqKgIAICoqAgCUIDEqAgCSOAIAIBYg" +
  "DWohFiArQQhqISsgICAyQQJqIjJHDQALIDJBAWohFgsgGEUNASAEIBYgFWogB2wgJWpBAnRqIAggFkECdGoqAgAgKioCAJQgMSoCAJI4AgAMAQsgBCAh" +
  "ICVqQQJ0aiAt/R8AIDCUQwAAAACSOAIAIB1BAkgNAEEBIRYCQCAeQQJGDQBBACEWIBIhK0EAITEDQCAjIBZqICsqAgAgKioCAJRDAAAAAJI4AgAgIiAW" +
  "aiArQQRqKgIAICoqAgCUQwAAAACSOAIAIBYgDWohFiArQQhqISsgICAxQQJqIjFHDQALIDFBAWohFgsgH0UNACAEIBYgFWogB2wgJWpBAnRqIAggFkEC" +
  "dGoqAgAgKioCAJRDAAAAAJI4AgALICJBBGohIiAjQQRqISMgJCAGaiEkICVBAWoiJSAHRw0ACyAOIAtqIQ4gDyALaiEPIBEgDGohESAAIAxqIQAgE0EB" +
  "aiETIBRBfGohFCAVQQRqIhUgBUgNAAsLCw==";

const PAGE = 65536;
const RESERVED = 4096; // numbers, for the stack of the compiled code

/** @typedef {{linear: Function, linear8: Function}} Products */

/** A heap of 32-bit numbers. Numbers are at places; freed places of a size are used again. */
export class NumberHeap {
  /** @param {boolean} [wasm] false: as where WebAssembly is refused */
  constructor(wasm = true) {
    /** @type {Products} */
    this.products = inScript(this);
    this.memory = wasm ? started(this) : null;
    /** @type {Float32Array} */
    this.f = new Float32Array(this.memory?.buffer ?? new ArrayBuffer(PAGE));
    this.end = RESERVED; // place 0 is "none"
    /** @type {Map<number, number[]>} by size */
    this.free = new Map();
  }

  /** Whether products run in WebAssembly. */
  get compiled() {
    return this.memory !== null;
  }

  /** @param {number} n of numbers @returns {number} the place of the first */
  take(n) {
    const size = (n + 15) & ~15;
    const again = this.free.get(size)?.pop();
    if (again !== undefined) return again;
    const at = this.end;
    this.end += size;
    if (this.end > this.f.length) this.#grow();
    return at;
  }

  /** @param {number} at @param {number} n */
  give(at, n) {
    const size = (n + 15) & ~15;
    const places = this.free.get(size);
    if (places) places.push(at);
    else this.free.set(size, [at]);
  }

  #grow() {
    const wanted = Math.ceil(Math.max(this.end * 4, this.f.byteLength * 1.25) / PAGE);
    try {
      if (this.memory) {
        this.memory.grow(wanted - this.f.byteLength / PAGE);
        this.f = new Float32Array(this.memory.buffer);
      } else {
        const more = new Float32Array((wanted * PAGE) / 4);
        more.set(this.f);
        this.f = more;
      }
    } catch {
      throw new Error(`this model needs ${Math.ceil((wanted * PAGE) / 2 ** 20)} MiB, more than this browser gives a page`);
    }
  }
}

/** The compiled products, on a memory of their own; null where WebAssembly is refused. @param {NumberHeap} heap */
function started(heap) {
  try {
    const binary = Uint8Array.from(atob(BINARY), (letter) => letter.charCodeAt(0));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary), { env: { memory } });
    const at = (place) => place * 4; // in bytes
    heap.products = {
      linear: (x, w, b, y, rows, dIn, dOut) => /** @type {Function} */ (exports.linear)(at(x), at(w), at(b), at(y), rows, dIn, dOut),
      linear8: (x, w, s, b, y, rows, dIn, dOut) => /** @type {Function} */ (exports.linear8)(at(x), at(w), at(s), at(b), at(y), rows, dIn, dOut),
    };
    return memory;
  } catch {
    return null;
  }
}

/** The same in JavaScript; x, w, b and y are places. @param {NumberHeap} heap @returns {Products} */
function inScript(heap) {
  const product = (x, weights, w, scale, b, y, rows, dIn, dOut) => {
    const { f } = heap;
    for (let o = 0; o < dOut; o++) {
      const first = w + o * dIn;
      for (let row = 0; row < rows; row++) {
        const start = x + row * dIn;
        let [s0, s1, s2, s3] = [0, 0, 0, 0];
        let k = 0;
        for (; k + 4 <= dIn; k += 4) {
          s0 += f[start + k] * weights[first + k];
          s1 += f[start + k + 1] * weights[first + k + 1];
          s2 += f[start + k + 2] * weights[first + k + 2];
          s3 += f[start + k + 3] * weights[first + k + 3];
        }
        for (; k < dIn; k++) s0 += f[start + k] * weights[first + k];
        f[y + row * dOut + o] = (s0 + s1 + s2 + s3) * (scale ? f[scale + o] : 1) + (b ? f[b + o] : 0);
      }
    }
  };
  return {
    linear: (x, w, b, y, rows, dIn, dOut) => product(x, heap.f, w, 0, b, y, rows, dIn, dOut),
    linear8: (x, w, s, b, y, rows, dIn, dOut) => product(x, new Int8Array(heap.f.buffer), w * 4, s, b, y, rows, dIn, dOut),
  };
}
