// Bytes to numbers; the counterpart of codecs.py.

/**
 * A weight w is sent as floor(w · 60000) in 16 bits, so that it rounds to four decimals as w does.
 */
export const WEIGHT_SCALE = 60000;

/**
 * The bytes of what ipywidgets hands over (a DataView), or of any buffer.
 * @param {DataView<ArrayBuffer> | ArrayBuffer | Uint8Array<ArrayBuffer> | null | undefined} data
 */
export function bytesOf(data) {
  if (!data) return new Uint8Array(0);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Several buffers as one. @param {Uint8Array<ArrayBuffer>[]} buffers */
export function joined(buffers) {
  if (buffers.length === 1) return buffers[0];
  const bytes = new Uint8Array(buffers.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const one of buffers) {
    bytes.set(one, at);
    at += one.byteLength;
  }
  return bytes;
}

/**
 * A typed array over bytes, copied only where they are not aligned.
 * @template T
 * @param {{new (buffer: ArrayBufferLike, offset?: number, length?: number): T, BYTES_PER_ELEMENT: number}} type
 * @param {Uint8Array} bytes
 * @returns {T}
 */
export function typed(type, bytes) {
  const size = type.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new type(aligned.buffer, aligned.byteOffset, Math.floor(bytes.byteLength / size));
}

/**
 * A weight from its 16 bits. It is the middle of the interval of these bits, so that it rounds as
 * the original weight does; 0 stays 0.
 * @param {number} bits
 */
export function weightOf(bits) {
  if (bits === 0) return 0;
  return bits >= WEIGHT_SCALE ? 1 : (bits + 0.5) / WEIGHT_SCALE;
}

/** A number from its IEEE half-precision bits. @param {number} bits */
export function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

let halves = /** @type {Float32Array | null} */ (null);

/** @param {Uint16Array} bits @returns {Float32Array} */
export function halvesToFloats(bits) {
  if (!halves) halves = Float32Array.from({ length: 65536 }, (_, i) => halfToNumber(i));
  const floats = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) floats[i] = halves[bits[i]];
  return floats;
}
