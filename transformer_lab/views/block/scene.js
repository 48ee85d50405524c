// What a BlockView shows: one token's way through one block as stages, each with its numbers and its
// sentence. stages.json lists what each stage shows.

import { fixed, messages, numbered, short } from "../shared/messages.js";
import { single } from "../shared/numbers.js";
import { callOn, SELECTION } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };
import every from "./stages.json" with { type: "json" };

const say = messages(catalogue);
const SHOWN_HEADS = 16;
const DRAWN_KEYS = 10; // in a still picture
const FRACTIONS = ["weight", "share of z"];

/**
 * @typedef {{needs?: string[], vectors?: any[][], columns?: string[][], beside?: string[]}} Has what a stage shows
 * @typedef {{name: string, values: Float32Array, chosen?: boolean, length?: string, each?: boolean}} Vector each: one of a vector for each head
 */

/** The names of the stages that a block has, in order. @param {any} info @returns {string[]} */
export const stepsOf = ({ sizes, ...info }) =>
  Object.entries(/** @type {Record<string, Has>} */ (every))
    .filter(([, { needs = [] }]) => needs.every((part) => sizes[part] || info[part]))
    .map(([name]) => name);

const nameOf = ({ kind, layer, head, position }) => ["walk", kind, layer, head, position].join("/");

/** The chosen token; by default the last. */
function queryOf({ selected, size: { queries } }) {
  return Math.min(selected?.[0] ?? queries, queries - 1);
}

const wantedBy = (s) => nameOf({ ...s, position: queryOf(s) });

const lengthOf = (x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));

/** Values for the messages about a walk. */
function valuesOf({ info, numbers }, { layers, positions, tokens }, here) {
  const { lens, final, position, softcap, scale } = info;
  const four = (x) => (x === null ? null : String(Number(x.toPrecision(4))));
  const best = ["dots", "scaled", "weights", "shares"].flatMap((name) => {
    const at = info[`best_${name}`];
    return [
      [`best_${name}`, at < tokens.length ? numbered(tokens, at) : null],
      [`value_${name}`, numbers[name][at] ?? 0],
    ];
  });
  const lengths = Object.entries(numbers)
    .filter(([, x]) => typeof x?.[0] === "number")
    .map(([name, x]) => [`${name}_length`, lengthOf(x)]);
  return {
    ...info,
    ...Object.fromEntries([...best, ...lengths]),
    positions,
    here,
    last: info.layer === layers - 1,
    query: numbered(tokens, position),
    heads: numbers.z.length,
    d: numbers.stream.length,
    width: numbers.query.length,
    units: numbers.hidden?.length ?? null,
    biased: Boolean(info.biased),
    root: Math.abs(scale * Math.sqrt(numbers.query.length) - 1) <= 1e-4,
    scale: four(scale),
    cap: four(softcap),
    why: info.why || null,
    token: final[0]?.[0] ?? null,
    chance: final[0]?.[1],
    likeliest: lens[0]?.[0],
    p: lens[0]?.[1],
  };
}

/** The vectors under a label; of a vector for each head, those around the chosen head. @returns {Vector[]} */
function vectorsOf({ info: { head, after }, numbers }, [label, name, chosen = false]) {
  const x = numbers[name];
  const named = (row) =>
    label
      .replace("{head}", String(head))
      .replace("{row}", String(row))
      .replace("{sum}", () => say("formula", { stage: "add", after }));
  const vector = (values, row, on) => ({
    name: named(row),
    values,
    chosen: on,
    length: fixed(lengthOf(values)),
  });
  if (!x || typeof x[0] === "number") return x ? [vector(x, 0, chosen)] : [];
  const first = Math.min(Math.max(0, head - SHOWN_HEADS / 2), Math.max(0, x.length - SHOWN_HEADS));
  return x
    .slice(first, first + SHOWN_HEADS)
    .map((values, i) => ({ ...vector(values, first + i, first + i === head), each: true }));
}

/** A row for each shown key, whose last column is drawn as a bar (−∞: the token may not attend to it). */
function keysOf({ info: { shown }, numbers }, { columns, beside }, tokens) {
  if (!columns) return null;
  const [title, name] = beside ?? [];
  const others = numbers.weights.filter((_, key) => !shown.includes(key));
  const sum = others.reduce((all, x) => all + x, 0);
  const values = columns.map(([, of]) => shown.map((key) => numbers[of][key]));
  const texts = columns.map(([column], i) =>
    values[i].map(FRACTIONS.includes(column) ? (x) => short(x) : (x) => fixed(x)),
  );
  return {
    columns: columns.map(([column], i) => ({ name: column, values: values[i] })),
    beside: title,
    rows: shown.map((key, row) => ({
      key,
      token: tokens[key],
      cells: texts.map((column) => column[row]),
      value: values.at(-1)[row],
      vector: name && {
        name: say("vector_of", { name: title, token: tokens[key] }),
        values: numbers[name][row],
      },
    })),
    others: others.length ? say("others", { n: others.length, sum }) : "",
  };
}

/** One stage with its words. @param {string} name */
function stageOf(walk, name, values, tokens) {
  const [tab, title, formula] = ["tab", "title", "formula"].map((key) =>
    say(key, { ...values, stage: name }),
  );
  /** @type {Has} */
  const has = /** @type {any} */ (every)[name];
  const { lens, final } = walk.info;
  const chances = new Map(final);
  const answers = name === "answer" ? lens : [];
  return {
    name,
    tab,
    title,
    formula,
    vectors: (has.vectors ?? []).flatMap((row) => vectorsOf(walk, /** @type {any} */ (row))),
    keys: keysOf(walk, /** @type {any} */ (has), tokens),
    answers: answers.map(([token, p]) => [token, p, chances.get(token) ?? null]),
  };
}

/** A walk with its stages. */
function read({ info, numbers: flat }, _, { kinds }) {
  let at = 0;
  const take = (n) => flat.subarray(at, (at += n));
  const parts = Object.entries(info.sizes).map(([name, [n, width]]) => [
    name,
    width === undefined ? take(n) : Array.from({ length: n }, () => take(width)),
  ]);
  const { z, cross, middle, ...more } = Object.fromEntries(parts);
  const numbers = { ...more, z, cross, middle, z_head: z[info.head] };
  if (!cross) numbers.uncrossed = middle;
  const walk = { info, numbers };
  const size = kinds[info.kind];
  const values = valuesOf(walk, size, !kinds.decoder);
  const stages = stepsOf(info).map((name) => stageOf(walk, name, values, size.tokens));
  return { ...walk, values, stages };
}

/** The walk on view and its stage: the chosen one, or the first. */
function chosenOf(s, found) {
  const walk = found.get(wantedBy(s));
  const { stages } = walk;
  const at = Math.max(
    0,
    stages.findIndex(({ name }) => name === s.step),
  );
  return { ...walk, at, stage: stages[at] };
}

const equal = (a, b) => a === b || (a.length === b.length && a.every((x, i) => x === b[i]));

/** Every vector once, in the order of computation. */
function vectorsIn(stages) {
  const rows = [];
  for (const { tab, vectors } of stages)
    for (const one of vectors)
      if (!rows.some(({ values }) => equal(values, one.values))) rows.push({ ...one, tab });
  return rows;
}

/** What the head attends to, and the vectors of every step, in a still picture. */
function stillOf({ info, numbers, stages, stage }, tokens) {
  const rows = vectorsIn(stages);
  const names = stage.vectors.map(({ name }) => name);
  const labelled = rows.map((row) => ({
    ...row,
    label: row.tab === row.name ? row.name : `${row.tab}: ${row.name}`,
  }));
  const drawn = labelled.filter(({ each }) => !each);
  const bars = {
    type: "bars",
    values: info.shown.map((key) => numbers.weights[key]),
    rows: { labels: info.shown.map((key) => tokens[key]), tokens: true },
    means: say("attention_weight"),
    most: DRAWN_KEYS,
  };
  const strips = {
    type: "strips",
    vectors: drawn.map(({ values }) => values),
    rows: { labels: drawn.map(({ label }) => label) },
    chosen: [...drawn.keys()].filter((at) => names.includes(drawn[at].name)),
    curves: labelled.map(({ tab, name, label, values }) => ({
      name: label,
      x: [...values.keys()],
      y: values,
      hidden: !names.includes(name) && (names.length > 0 || tab !== "x"),
    })),
  };
  return [
    { title: say("what_it_attends_to", info), mark: bars, width: 0.32 },
    { title: say("the_vectors"), mark: strips, width: 0.68 },
  ];
}

/** Every vector and every table of keys. */
function arraysOf({ stages }) {
  /** @type {Record<string, any[]>} */
  const arrays = {};
  const keep = (name, values, means, axis) => {
    let unique = name;
    for (let count = 2; unique in arrays; count++) unique = `${name} (${count})`;
    arrays[unique] = [[axis ?? say("number_of", { unique })], values, means];
  };
  for (const { tab, name, values } of vectorsIn(stages))
    keep(`${tab}: ${name}`, values, say("a_vector", { tab, name }));
  for (const { tab, formula, keys } of stages)
    for (const { name, values } of keys?.columns ?? [])
      keep(`${tab}, ${name}`, values, formula, "key");
  return arrays;
}

/** A row for every number of every vector. */
function columnsOf({ stages }) {
  const rows = vectorsIn(stages).flatMap(({ tab, name, values }) =>
    Array.from(values, (value, i) => ({ tab, name, i, value })),
  );
  return {
    step: rows.map(({ tab }) => tab),
    vector: rows.map(({ name }) => name),
    number: rows.map(({ i }) => i),
    value: rows.map(({ value }) => single(value)),
  };
}

/** The number that is pointed at. @param {Vector | undefined} vector @param {number} at */
const lineOf = (vector, at) =>
  vector
    ? [
        say("number", { name: vector.name, at }),
        { text: fixed(vector.values[at], 4), part: "number" },
      ]
    : [{ quiet: say("hover_over_a_number") }];

function scene(s, found) {
  const walk = chosenOf(s, found);
  const { info, stage, values } = walk;
  const { tokens } = s.kinds[info.kind];
  const name = [nameOf(info).replace("walk/", ""), stage.name].join("/");
  const strips = [...stage.vectors, ...(stage.keys?.rows ?? []).map(({ vector }) => vector)];
  const { name: where, strip, at } = s.hover.stage ?? {};
  const token = tokens[info.position];
  return {
    name,
    sentence: say(stage.name, { ...values, stage: stage.name }),
    title: say("through", { ...info, token, title: stage.title }),
    subtitle: say("one_block_step_by"),
    note: s.note,
    panels: [
      [
        {
          part: "stage",
          hint: stage.formula,
          ...stage,
          name,
          mark: { type: "strips" },
          line: strips.some(Boolean) ? lineOf(strips[where === name ? strip : -1], at) : null,
          get still() {
            return stillOf(walk, tokens);
          },
        },
      ],
    ],
    axes: { key: info.shown.map((key) => tokens[key]) },
    get arrays() {
      return arraysOf(walk);
    },
    get columns() {
      return columnsOf(walk);
    },
  };
}

/** The token, and the rail of steps. */
function controls(s, found) {
  const { stages, stage } = chosenOf(s, found);
  const { queries, tokens } = s.size;
  return [
    {
      part: "token",
      label: say("token"),
      count: queries,
      chosen: queryOf(s),
      text: (at) => `${at} ${tokens[at]}`,
      set: (at) => ({ selected: [at, null] }),
    },
    {
      part: "step",
      label: say("step"),
      quiet: true,
      chosen: stage.name,
      steps: [say("previous_step"), say("next_step")],
      choices: stages.map(({ name, tab, title }, i) => ({
        value: name,
        text: tab,
        name: say("step_of", { i: i + 1, stages: stages.length, title }),
      })),
    },
  ];
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "block",
  say,
  copies: say("copy_the_numbers_of"),
  traits: [...SELECTION, "step", "_batch", "_note"],
  needs: (s) => [wantedBy(s)],
  names: ({ info }) => [nameOf(info)],
  read,
  scene,
  controls,
  bare: true,
  parts: { stage: { pick: (_, key) => ({ selected: [key, null] }), line: "readout" } },
  part: ({ layer, head }) => `layer-${layer}-head-${head}`,
  failed: (_, why, { held }) =>
    held ? say("this_page_holds_another", { held }) : say("this_block_cannot_be", { why }),
  code: (s) => callOn(s, "block_steps", [s.layer, s.head, queryOf(s)]),
};
