// Weights from the bytes of a model.safetensors: a length, a table of names as JSON, then the numbers.

import { halvesToFloats, typed } from "../shared/codecs.js";

/** Bytes that are not a model of ours, or have changed since they were written. */
export class DamagedModel extends Error {}

export const NOT_AS_WRITTEN =
  "the model in this page is not as it was written: its checksum differs. Save the page again, or copy it again";

const LONGEST_TABLE = 100_000_000;
const NUMBER_BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2, I8: 1 };
const SCALE = "/scale"; // after the name of an 8-bit tensor

/** Convert bfloat16, the upper half of a 32-bit float. */
function brainFloats(bits) {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return new Float32Array(words.buffer);
}

/** @type {Record<string, (bytes: Uint8Array) => Float32Array | Int8Array>} */
const READERS = {
  F64: (bytes) => Float32Array.from(typed(Float64Array, bytes)),
  F32: (bytes) => typed(Float32Array, bytes),
  F16: (bytes) => halvesToFloats(typed(Uint16Array, bytes)),
  BF16: (bytes) => brainFloats(typed(Uint16Array, bytes)),
  I8: (bytes) => typed(Int8Array, bytes),
};

/**
 * @param {Uint8Array} bytes
 * @param {number} checksum CRC-32 of all of them when they were written
 * @returns {Map<string, {shape: number[], data: Float32Array | any, scale?: Float32Array}>} 8-bit
 *   numbers stay 8-bit, with `scale` of each row
 * @throws {DamagedModel} for bytes that are cut off, changed, or not safetensors
 */
export function readSafetensors(bytes, checksum) {
  if (crc32(bytes) !== checksum >>> 0) throw new DamagedModel(NOT_AS_WRITTEN);
  const [table, start] = headerOf(bytes);
  const tensors = new Map();
  let end = 0;
  const entries = Object.entries(table).filter(([name]) => name !== "__metadata__");
  entries.sort(([, a], [, b]) => (a?.data_offsets?.[0] ?? 0) - (b?.data_offsets?.[0] ?? 0));
  for (const [name, entry] of entries) {
    const { dtype, shape, data_offsets: offsets } = entry ?? {};
    const size =
      Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 0)
        ? shape.reduce((a, b) => a * b, 1)
        : NaN;
    if (!Object.hasOwn(READERS, dtype))
      throw new DamagedModel(`${name} has dtype ${String(dtype)}, which is not that of weights`);
    if (
      !Array.isArray(offsets) ||
      offsets[0] !== end ||
      offsets[1] - end !== size * NUMBER_BYTES[dtype] ||
      start + offsets[1] > bytes.length
    ) {
      throw new DamagedModel(`${name} does not lie in the model's bytes as its table says`);
    }
    end = offsets[1];
    const data = READERS[dtype](bytes.subarray(start + offsets[0], start + end));
    if (!(data instanceof Int8Array) && !data.every(Number.isFinite))
      throw new DamagedModel(`${name} has values that are not finite`);
    tensors.set(name, { shape, data });
  }
  if (start + end !== bytes.length)
    throw new DamagedModel(
      `the model's bytes go on for ${bytes.length - start - end} after its last numbers`,
    );
  for (const [name, { shape, data }] of tensors) {
    if (!(data instanceof Int8Array)) continue;
    tensors.set(name, { shape, data, scale: scaleOf(name, shape, tensors) });
  }
  return tensors;
}

/** The scales of an 8-bit matrix, which are removed from the table. */
function scaleOf(name, shape, tensors) {
  const scale = tensors.get(name + SCALE);
  if (
    shape.length !== 2 ||
    !scale ||
    !(scale.data instanceof Float32Array) ||
    String(scale.shape) !== String(shape.slice(0, 1))
  ) {
    throw new DamagedModel(`${name} has 8 bits and not a scale for each of its rows`);
  }
  tensors.delete(name + SCALE);
  return scale.data;
}

/** The table of names, and where the numbers begin. */
function headerOf(bytes) {
  if (bytes.length < 8)
    throw new DamagedModel(`the model has ${bytes.length} bytes, too few for a safetensors file`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > LONGEST_TABLE || 8 + length > bytes.length)
    throw new DamagedModel("the model is cut off within its table of names");
  try {
    const table = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length)),
    );
    if (table === null || typeof table !== "object" || Array.isArray(table)) throw new TypeError();
    return [table, 8 + length];
  } catch {
    throw new DamagedModel("the model's table of names cannot be read");
  }
}

let remainders = /** @type {Uint32Array | null} */ (null);

/** CRC-32, the checksum of zlib and PNG. It detects damage, not tampering: someone who can change a page can change the checksum too. @param {Uint8Array} bytes */
export function crc32(bytes) {
  remainders ??= Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  let rest = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) rest = remainders[(rest ^ bytes[i]) & 0xff] ^ (rest >>> 8);
  return (rest ^ 0xffffffff) >>> 0;
}
