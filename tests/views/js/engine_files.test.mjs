import assert from "node:assert/strict";
import { test } from "node:test";

import { UnknownGraph } from "../../../transformer_lab/views/engine/graph.js";
import { GraphModel } from "../../../transformer_lab/views/engine/graph_model.js";
import { crc32, DamagedModel, readSafetensors } from "../../../transformer_lab/views/engine/safetensors.js";
import { file, packed, tensors as weights } from "./tiny_model.mjs";

const floats = (dtype, bytes, ...shape) => ({ dtype, shape, bytes });
const read = (bytes) => readSafetensors(bytes, crc32(bytes));

test("every width of number is read", () => {
  const tensors = read(file({
    a: floats("F32", Float32Array.of(1.5, -2), 2),
    b: floats("F16", Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff), 2, 2),
    c: floats("BF16", Uint16Array.of(0x3f80, 0xc040), 2),
    d: floats("F64", Float64Array.of(0.1), 1, 1),
    e: floats("F32", new Float32Array(0), 0, 3),
  }));
  assert.deepEqual(Object.fromEntries([...tensors].map(([name, { data }]) => [name, [...data]])), {
    a: [1.5, -2], b: [1, -2, 2 ** -24, 65504], c: [1, -3], d: [Math.fround(0.1)], e: [],
  });
  assert.deepEqual(tensors.get("b").shape, [2, 2]);
});

test("the checksum is zlib's", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
});

test("bytes that were cut off, flipped or exchanged are one sentence", () => {
  const whole = file({ a: floats("F32", Float32Array.of(1, 2, 3, 4), 4) });
  const sum = crc32(whole);
  assert.equal(readSafetensors(whole, sum | 0).get("a").data[3], 4); // a checksum may be signed
  const damaged = [new Uint8Array(0), whole.subarray(0, 5), whole.subarray(0, whole.length - 1)];
  for (let i = 0; i < whole.length; i += 3) damaged.push(Uint8Array.from(whole, (byte, at) => (at === i ? byte ^ 0x10 : byte)));
  const last = whole.length - 16;
  damaged.push(Uint8Array.from(whole, (byte, at) => (at < last ? byte : whole[last + ((at - last + 4) % 16)])));
  for (const bytes of damaged) assert.throws(() => readSafetensors(bytes, sum), { constructor: DamagedModel, message: /its checksum differs/ });
});

test("a file that was written wrong is refused, whatever its checksum", () => {
  const good = file({ a: floats("F32", Float32Array.of(1, 2), 2) });
  const table = (value) => file({}, value);
  const long = Uint8Array.from(good);
  new DataView(long.buffer).setBigUint64(0, 2n ** 60n, true);
  const refused = [
    [new Uint8Array(3), /3 bytes, too few/],
    [long, /cut off within its table/],
    [good.subarray(0, good.length - 4), /a does not lie/],
    [Uint8Array.from([...good, 0]), /go on for 1 after/],
    [file({ a: floats("I64", BigInt64Array.of(1n), 1) }), /a has dtype I64/],
    [file({ a: floats("F32", Float32Array.of(NaN), 1) }), /a has values that are not finite/],
    [file({ a: floats("F32", Float32Array.of(1, 2), 3) }), /a does not lie/],
    [file({ a: floats("F32", Float32Array.of(1), -1) }), /a does not lie/],
    [table({ a: null }), /a has dtype undefined/],
    [table({ constructor: { dtype: "constructor", shape: [], data_offsets: [0, 4] } }), /has dtype constructor/],
    [Uint8Array.from([2, 0, 0, 0, 0, 0, 0, 0, 0x5b, 0x5d]), /table of names cannot be read/],
    [Uint8Array.from([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x5d]), /table of names cannot be read/],
  ];
  for (const [bytes, why] of refused) assert.throws(() => read(bytes), { constructor: DamagedModel, message: why });
});

test("weights that do not fit the graph are named", () => {
  const numbers = (...shape) => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  const { config, graph } = packed();
  const tensors = weights();
  assert.deepEqual(new GraphModel(config, graph, tensors).layersOf("decoder"), 1);
  const name = "decoder.blocks.0.attention.key.weight";
  const changed = (value) => new Map([...tensors].map(([n, x]) => [n, n === name ? value : x]));
  assert.throws(() => new GraphModel(config, graph, changed(numbers(4, 2))), { constructor: UnknownGraph, message: /attention\.key\.weight is \[4,2\] in the weights and \[4,4\] in the graph/ });
  assert.throws(() => new GraphModel(config, graph, new Map([...tensors].filter(([n]) => n !== name))), { constructor: UnknownGraph, message: /attention\.key\.weight is missing/ });
});
