// Answers by name: what Python's views answer under the same names (their `_part_named`), as facts
// and numbers.

import { analysis } from "./analyses.js";
import { tokenFlow } from "./attribution.js";
import { answerChange, answerChanges, distances, rowCodes } from "./images.js";
import { blockShares, logitLens } from "./predictions.js";
import { score } from "./scores.js";
import { blockSteps, packed } from "./steps.js";

const LENS = [5, 3]; // tokens in a cell of ResidualView, and in a row of ModelView
const NOT_HELD = "this page does not hold it";

/**
 * @typedef {import("./desk.js").Reading} Reading
 * @typedef {{info?: Record<string, any>, numbers?: any[], codes?: Uint16Array}} Found
 * @typedef {Generator<null, Found>} Finding
 */

/** From the texts, the rest of the name, and `about`. @type {Record<string, (...given: any[]) => Finding>} */
const NAMED = {
  ...{ stream, lens, cell, flow, walk, pass, likely, map, moved },
  ...{ rows, far, effect, every },
};
for (const kind of ["decoder", "encoder", "cross"])
  NAMED[kind] = (readings, places, { kinds }) =>
    aligned(readings, [kind, ...places], kinds[kind] ?? missing());

/**
 * @param {Reading[]} readings the texts of the view
 * @param {{name: string, about: any}} given about: what the view shows them by; its `kinds`, and more
 * @returns {Generator<null, {info: Record<string, any>, numbers: Float32Array | Uint16Array}>}
 */
export function* named(readings, { name, about }) {
  const [what, ...places] = name.split("/");
  if (!Object.hasOwn(NAMED, what)) missing();
  const { info = {}, numbers = [], codes } = yield* NAMED[what](readings, places, about);
  return { info, numbers: codes ?? Float32Array.from(numbers.flatMap((part) => Array.from(part))) };
}

/** @returns {never} */
function missing() {
  throw new Error(NOT_HELD);
}

/** @param {string[]} places kind, layer, head, …; "-" where none is named */
function placeOf([kind, layer, head, ...more]) {
  const [query, key] = more.map((at) => (at === "-" ? null : Number(at)));
  return { kind, layer: Number(layer), head: Number(head), query, key };
}

/** Tokens of a stack. @param {import("./pass.js").Pass} pass @param {string} kind */
const lengthOf = (pass, kind) => pass.streamRows(kind)[0].rows;

// ---- ResidualView -----------------------------------------------------------------------------

/** @returns {Finding} */
function* stream([reading], [kind], { longest }) {
  const pass = yield* reading.pass([]);
  const shares = yield* blockShares(pass, kind);
  const added = ["share", "cosine"].flatMap((what) => shares.flatMap((part) => part[what]));
  return { numbers: [...pass.norms(kind), ...added].map((row) => row.subarray(0, longest)) };
}

/** @returns {Finding} */
function* lens([reading], [from], { columns, longest }) {
  const pass = yield* reading.pass([]);
  const first = Number(from);
  const end = Math.min(longest, lengthOf(pass, pass.model.defaultKind), first + columns);
  if (!(first % columns === 0 && first < end)) missing();
  const positions = Array.from({ length: end - first }, (_, i) => first + i);
  const rows = yield* lensRows(pass, positions, LENS[0]);
  const cells = rows.flat();
  const answers = rows[0].map(({ answer }) => answer);
  const top = cells.flatMap((cell) => cell.cells);
  const ids = [...new Set([...top.map(({ id }) => id), ...answers])].sort((a, b) => a - b);
  const [count, k] = [positions.length, rows[0][0].cells.length];
  return {
    info: { from: first, count, rows: rows.length, k, names: reading.names(ids) },
    numbers: [
      top.map(({ id }) => ids.indexOf(id)),
      top.map(({ probability }) => probability),
      answers.map((id) => ids.indexOf(id)),
      cells.map(({ probability }) => probability),
    ],
  };
}

/** The logit lens at some positions: [layer + 1][position]. @param {import("./pass.js").Pass} pass @param {number[]} positions @param {number} k */
function* lensRows(pass, positions, k) {
  const columns = [];
  for (const position of positions) {
    columns.push(logitLens(pass, [position], k).map(([cell]) => cell));
    yield null;
  }
  return columns[0].map((_, layer) => columns.map((cells) => cells[layer]));
}

// ---- WhyView, FlowView, BlockView -------------------------------------------------------------

/** @returns {Finding} */
function* cell([reading], places) {
  const found = yield* score(reading, placeOf(places));
  const { kind, layer, head, query, key } = found.info;
  const pairs = [
    [query, key],
    ...(found.mostOfRow ? [[query, "-"]] : []),
    ...(found.mostOfKey ? [["-", key]] : []),
    ...(found.lastQuery && found.mostOfRow ? [["-", "-"]] : []),
  ];
  const names = pairs.map((pair) => ["cell", kind, layer, head, ...pair].join("/"));
  return { info: { ...found.info, names }, numbers: [found.numbers] };
}

/** @returns {Finding} */
function* flow([reading], [at, asked, named], { against }) {
  const cuts = named === "-" ? [] : named.split("+").map((cut) => cut.split(".").map(Number));
  const edits = cuts.map(([layer, head, query, key]) => {
    return { edit: "knock_out", layer, head, query, key };
  });
  const position = Number(at);
  const token = asked === "-" ? null : Number(asked);
  const found = yield* tokenFlow(reading, { edits, position, token, against });
  const { edges, stream, stays, mlps, most, count, answers, ...info } = found;
  const ids = [info.token, against ?? info.token, ...answers.map(({ id }) => id)];
  const [name, other, ...names] = reading.names(ids);
  const nameFor = (token) => ["flow", position, token, named].join("/");
  return {
    info: {
      ...info,
      names: [nameFor(info.token), ...(info.token === most ? [nameFor("-")] : [])],
      position,
      name,
      against: against === null ? null : other,
      against_id: against,
      n: count,
      edges: edges.length,
      answers: answers.map(({ id, before, after }, i) => [id, names[i], before, after]),
      cuts,
    },
    numbers: [
      edges.flatMap(({ place }) => place),
      edges.map(({ value }) => value),
      ...stream,
      ...stays,
      ...mlps,
    ],
  };
}

/** @returns {Finding} */
function* walk([reading], places) {
  const { query: position, ...place } = placeOf(places);
  const { steps, answers } = yield* blockSteps(reading, { ...place, position });
  const told = (likely) => {
    const names = reading.names(likely.map(({ id }) => id));
    return likely.map(({ probability }, i) => [names[i], probability]);
  };
  return packed(steps, { ...answers, lens: told(answers.lens), final: told(answers.final) });
}

// ---- CompareView ------------------------------------------------------------------------------

/** Both patterns of a head on the axes of both texts, [2, query, key], NaN where a token is missing. @returns {Finding} */
function* aligned(readings, places, { queries, keys, query_parts: rows, key_parts: columns }) {
  const { kind, layer, head } = placeOf(places);
  const both = new Float32Array(2 * queries * keys).fill(NaN);
  for (const [side, reading] of readings.entries()) {
    const pass = yield* reading.pass([]);
    const weights = pass.pattern(kind, layer, head);
    const width = weights.length / rows[side].filter((row) => row >= 0).length;
    rows[side].forEach((row, q) => {
      if (row < 0) return;
      columns[side].forEach((column, k) => {
        if (column < 0) return;
        both[(side * queries + q) * keys + k] = weights[row * width + column];
      });
    });
  }
  return { numbers: [both] };
}

/** How much of its weight each head has moved, [layer, head]. @returns {Finding} */
function* moved(readings, [kind], { kinds }) {
  const { layers, heads, queries, keys, query_parts: parts } = kinds[kind] ?? missing();
  const cells = queries * keys;
  const both = Int32Array.from(parts[0], (at, i) => Number(at >= 0 && parts[1][i] >= 0));
  const found = [];
  for (let i = 0; i < layers * heads; i++) {
    const place = [kind, String(Math.floor(i / heads)), String(i % heads)];
    const { numbers } = yield* aligned(readings, place, kinds[kind]);
    const [first, second] = [0, cells].map((at) => {
      return { shape: [1, queries, keys], data: numbers[0].subarray(at, at + cells) };
    });
    found.push(analysis("moved", { first, second, both }).moved.data[0]);
    yield null;
  }
  return { numbers: [found] };
}

// ---- ModelView --------------------------------------------------------------------------------

/** Edits at the end of a name. @param {string[]} parts */
const editsIn = (parts) => JSON.parse(parts.join("/"));

/** @returns {Finding} */
function* map([reading], [kind, layer, head, ...named]) {
  const pass = yield* reading.pass(editsIn(named));
  return { numbers: [pass.pattern(kind, Number(layer), Number(head))] };
}

/** What is predicted after a token, in the end and after each layer, without and with edits. @returns {Finding} */
function* likely([reading], [at, ...named]) {
  const [position, edits] = [Number(at), editsIn(named)];
  const info = { position, why: "", rows: [], answers: [], risen: 0 };
  const clean = yield* reading.pass([]);
  const pass = edits.length ? yield* reading.pass(edits) : null;
  try {
    const found = [];
    for (const one of [clean, pass ?? clean]) {
      const rows = yield* lensRows(one, [position], LENS[1]);
      found.push(rows.map(([{ cells }]) => cells));
    }
    info.rows = found.map((rows) =>
      rows.map((row) => {
        const names = reading.names(row.map(({ id }) => id));
        return row.map(({ probability }, i) => [names[i], probability]);
      }),
    );
  } catch (error) {
    info.why = error.message; // a model whose logits depend on more than the stream
  }
  const { rows } = reading.compared(clean, pass, position);
  info.risen = rows.filter(({ risen }) => risen).length;
  info.answers = rows.map(({ token, before, after }) => [token, before, after ?? before]);
  return { info };
}

/** A pass like ModelData of data.py packs it. @returns {Finding} */
function* pass([reading], [from, ...named], { kinds, main, window, none }) {
  const edits = editsIn(named);
  const passes = [yield* reading.pass([]), yield* reading.pass(edits)];
  const numbers = [];
  let size = 0;
  const put = (...parts) => {
    const at = size;
    for (const part of parts) {
      numbers.push(part);
      size += part.length;
    }
    return at;
  };
  const steps = /** @type {any[]} */ ([{ what: "start", stack: main, layer: 0 }]);
  const [stacks, drawn] = [{}, []];
  for (const stack of Object.keys(kinds).filter((kind) => kind !== "cross")) {
    const n = lengthOf(passes[0], stack);
    const first = stack === main ? Math.min(Number(from), Math.max(0, n - window)) : 0;
    const to = Math.min(n, first + window);
    const shares = [];
    for (const one of passes) shares.push(yield* blockShares(one, stack));
    const both = (rows) => put(...rows.flat().map((row) => row.subarray(first, to)));
    const parts = shares[0].map(({ part }) => part);
    const added = (i) => both(shares.map((one) => one[i].share));
    stacks[stack] = {
      first,
      count: to - first,
      norms: both(passes.map((one) => one.norms(stack))),
      shares: Object.fromEntries(parts.map((part, i) => [part, added(i)])),
    };
    const last = ["MLP", "block"].find((part) => parts.includes(part));
    const attending = stack === "decoder" && kinds.cross ? [stack, "cross"] : [stack];
    for (let layer = 0; layer < kinds[stack].layers; layer++) {
      for (const kind of attending) {
        const what = kind === "cross" ? kind : "attention";
        const why = none[kind][layer];
        if (why) {
          steps.push({ what: "none", stack, layer, kind, why });
          continue;
        }
        const { edges, sums } = carried(passes, { kind, layer, from: first, to });
        const step = { what, stack, layer, kind, edges: edges[0].length, at: 0, sums };
        steps.push(step);
        drawn.push({ step, edges });
        yield null;
      }
      if (last) steps.push({ what: last, stack, layer });
    }
  }
  for (const { step, edges } of drawn) step.at = put(...edges); // after all stacks
  steps.push({ what: "end", stack: main, layer: kinds[main].layers - 1 });
  return { info: { edited: edits.length > 0, stacks, steps }, numbers };
}

/** The edges of a layer that carry most to some queries: head, query, key, and what they carry without and with edits. @param {import("./pass.js").Pass[]} passes */
function carried(passes, { kind, layer, from, to }) {
  const [before, after] = passes.map((pass) => pass.carriers(kind, layer, from, to));
  const own = Int32Array.from({ length: to - from }, (_, i) => (kind === "cross" ? -1 : from + i));
  const found = analysis("carried", {
    before: before.maps,
    after: after.maps,
    before_lengths: before.lengths,
    after_lengths: after.lengths,
    own,
  });
  const n = before.lengths.shape[1];
  const at = (read) => Float32Array.from(found.places.data, read);
  return {
    edges: [
      at((i) => Math.floor(i / (n * (to - from)))),
      at((i) => (Math.floor(i / n) % (to - from)) + from),
      at((i) => i % n),
      found.before.data,
      found.after.data,
    ],
    sums: Array.from(found.sums.data),
  };
}

// ---- PatchView --------------------------------------------------------------------------------

/** @returns {Finding} */
function* rows([reading], [query], { grid: { heads, labels } }) {
  if (!(Number(query) < labels.length)) missing();
  return { codes: yield* rowCodes(reading, Number(query), heads) };
}

/** @returns {Finding} */
function* far([reading], _, { grid }) {
  return { info: { values: yield* distances(reading, grid) } };
}

/** The effect of edits, like `Effect.plain` of passes.py. @returns {Finding} */
function* effect([reading], _, { edits, names, what, pool }) {
  const found = yield* answerChange(reading, edits, pool);
  const { size, listed, now, chance, cosine, lengths } = found;
  if (!listed)
    return { info: { size, rows: [], what, cosine, before: lengths[0], after: lengths[1] } };
  const rows = listed.map(({ id, before, after }) => [names[id], before, after]);
  return { info: { size, rows, now: now === null ? null : names[now], chance } };
}

/** What each head of a layer does, beside what is known of others. @returns {Finding} */
function* every([reading], [at], { grid: { heads }, every: known, pool }) {
  const layer = Number(at);
  if (!heads[layer]) missing();
  const sizes = yield* answerChanges(reading, layer, heads[layer], pool);
  const nothing = Array(Math.max(...heads)).fill(null);
  return { info: { values: heads.map((_, i) => (i === layer ? sizes : (known[i] ?? nothing))) } };
}
