// Edits as plain values: which heads are off, which edges are cut, and what that is in words and in
// Python. The counterpart of views/explorer_edits.py.

import { quoted } from "./words.js";

/**
 * @typedef {object} Edit as Edit.to_dict gives it; what is left out means all, or the default kind
 * @property {string} edit ablate, knock_out, scale, skip; or "kept" for one that stays in Python
 * @property {number} [layer]
 * @property {number} [head]
 * @property {string} [kind]
 * @property {number} [query]
 * @property {number} [key]
 * @property {number} [by]
 * @property {string} [part]
 * @property {string} [value]
 * @property {string} [words] of a kept one
 *
 * @typedef {{kind: string, layer: number, head: number}} HeadPlace
 * @typedef {{query: number | null, key: number | null}} EdgePlace
 */

const ORDER = ["layer", "head", "query", "key", "value", "by", "part", "kind"];

/** The kind that is meant where none is named. @param {string[]} kinds */
export const defaultKind = (kinds) => (kinds.includes("decoder") ? "decoder" : kinds[0]);

/** @param {Edit} a @param {Edit} b */
export const sameEdit = (a, b) => a.number === b.number && a.edit === b.edit && ORDER.every((name) => (a[name] ?? null) === (b[name] ?? null));

/** @param {Edit[]} a @param {Edit[]} b */
export const sameEdits = (a, b) => a.length === b.length && a.every((edit, i) => sameEdit(edit, b[i]));

/**
 * Whether an edit reaches a head.
 * @param {Edit} edit
 * @param {HeadPlace} place
 * @param {string} usual the kind that is meant where none is named
 */
export function reaches(edit, place, usual) {
  if ((edit.kind ?? usual) !== place.kind) return false;
  return (edit.layer ?? place.layer) === place.layer && (edit.head ?? place.head) === place.head;
}

const isOff = (edit) => edit.edit === "ablate";

/** Whether a head is switched off. @param {Edit[]} edits @param {HeadPlace} place @param {string} usual */
export const headOff = (edits, place, usual) => edits.some((edit) => isOff(edit) && reaches(edit, place, usual));

/** Whether a head is changed in another way. @param {Edit[]} edits @param {HeadPlace} place @param {string} usual */
export const headTouched = (edits, place, usual) => edits.some((edit) => !isOff(edit) && reaches(edit, place, usual));

/**
 * Switch heads off; or on again, where all of them are off.
 * @param {Edit[]} edits
 * @param {HeadPlace[]} places
 * @param {string} usual
 * @returns {Edit[]}
 */
export function toggleHeads(edits, places, usual) {
  const single = (edit, place) => isOff(edit) && edit.layer === place.layer && edit.head === place.head && (edit.kind ?? usual) === place.kind;
  if (places.every((place) => headOff(edits, place, usual))) {
    return edits.filter((edit) => !places.some((place) => single(edit, place)));
  }
  const added = places
    .filter((place) => !headOff(edits, place, usual))
    .map(({ kind, layer, head }) => ({ edit: "ablate", layer, head, ...(kind === usual ? {} : { kind }) }));
  return [...edits, ...added];
}

/**
 * Cut an edge, or mend it where the same cut is there.
 * @param {Edit[]} edits
 * @param {HeadPlace} place
 * @param {EdgePlace} edge
 * @param {"head" | "layer" | "all"} scope
 * @param {string} usual
 * @returns {Edit[]}
 */
export function toggleCut(edits, place, edge, scope, usual) {
  /** @type {Edit} */
  const cut = { edit: "knock_out" };
  if (scope !== "all") cut.layer = place.layer;
  if (scope === "head") cut.head = place.head;
  if (edge.query !== null) cut.query = edge.query;
  if (edge.key !== null) cut.key = edge.key;
  if (place.kind !== usual) cut.kind = place.kind;
  const without = edits.filter((edit) => !sameEdit(edit, cut));
  return without.length < edits.length ? without : [...edits, cut];
}

/**
 * The edges of a head that are cut.
 * @param {Edit[]} edits
 * @param {HeadPlace} place
 * @param {string} usual
 * @returns {EdgePlace[]}
 */
export function cutsOf(edits, place, usual) {
  return edits
    .filter((edit) => edit.edit === "knock_out" && reaches(edit, place, usual))
    .map((edit) => ({ query: edit.query ?? null, key: edit.key ?? null }));
}

/**
 * Whether edits are cuts alone, and none of them changes what this head is given: they lie in its
 * layer or in later ones.
 * @param {Edit[]} edits
 * @param {HeadPlace} place
 * @param {string} usual
 */
export const cutsReachOnly = (edits, place, usual) =>
  edits.every((edit) => edit.edit === "knock_out" && (edit.kind ?? usual) === place.kind && (edit.layer ?? -1) >= place.layer);

/**
 * A row of weights without the edges that are cut, the rest scaled up to its sum.
 * @param {Float32Array} row
 * @param {number} query
 * @param {EdgePlace[]} cuts
 */
export function cutRow(row, query, cuts) {
  const cut = new Set();
  let every = false;
  for (const edge of cuts) {
    if (edge.query !== null && edge.query !== query) continue;
    if (edge.key === null) every = true;
    else cut.add(edge.key);
  }
  if (!every && !cut.size) return row;
  let [whole, kept] = [0, 0];
  for (let key = 0; key < row.length; key++) {
    whole += row[key];
    if (!every && !cut.has(key)) kept += row[key];
  }
  const factor = kept > 1e-6 ? whole / kept : 0;
  return row.map((weight, key) => (every || cut.has(key) ? 0 : weight * factor));
}

/** Whether an edit names tokens of the text. @param {Edit} edit */
export const namesTokens = (edit) => edit.edit === "knock_out" || edit.edit === "kept";

/**
 * An edit in a few words, for a chip.
 * @param {Edit} edit
 * @param {Record<string, {query_tokens: string[], key_tokens: string[]}>} kinds
 */
export function editWords(edit, kinds) {
  if (edit.edit === "kept") return edit.words ?? "an edit made in Python";
  const names = Object.keys(kinds);
  const kind = edit.kind ?? defaultKind(names);
  const side = names.length > 1 ? `${kind} ` : "";
  const layer = edit.layer === undefined ? `every ${side}layer` : `${side}layer ${edit.layer}`;
  const head = edit.head === undefined ? "all heads" : `head ${edit.head}`;
  const where = `${layer}, ${head}`;
  if (edit.edit === "ablate") return `${where} ${edit.value === "mean" ? "at its mean" : "off"}`;
  if (edit.edit === "scale") return `${where} × ${edit.by}`;
  if (edit.edit === "skip") return `${layer}: ${edit.part ?? "attention"} skipped`;
  const query = edit.query === undefined ? "every token" : quoted(kinds[kind]?.query_tokens[edit.query] ?? edit.query);
  const key = edit.key === undefined ? "everywhere" : quoted(kinds[kind]?.key_tokens[edit.key] ?? edit.key);
  return `${query} → ${key} cut in ${where}`;
}

/** The Python that makes an edit. @param {Edit} edit */
export function editCode(edit) {
  if (edit.edit === "kept") return `…  # ${edit.words ?? "made in Python"}`;
  const parts = ORDER.filter((name) => edit[name] !== undefined && edit[name] !== null)
    .map((name) => `${name}=${typeof edit[name] === "string" ? JSON.stringify(edit[name]) : edit[name]}`);
  return `tl.${edit.edit}(${parts.join(", ")})`;
}

/**
 * The Python that makes all of them, and prints the predictions without and with them.
 * @param {Edit[]} edits
 * @param {string} run the Python that runs the text without and with `edits`
 * @param {number | null} position where the model predicts
 */
export function editsCode(edits, run, position) {
  if (!edits.length) return "edits = []";
  const made = `edits = [\n${edits.map((edit) => `    ${editCode(edit)},\n`).join("")}]`;
  const shown = position === null ? [] : [`print(before.predictions(${position}), after.predictions(${position}), sep="\\n")`];
  return [made, run, ...shown].join("\n");
}

/** What can be undone and done again; bounded. @template T */
export class Steps {
  /** @param {number} [most] */
  constructor(most = 200) {
    this.most = most;
    /** @type {T[]} */
    this.past = [];
    /** @type {T[]} */
    this.future = [];
  }

  /** A change was made. @param {T} before */
  push(before) {
    this.past.push(before);
    if (this.past.length > this.most) this.past.shift();
    this.future = [];
  }

  /** @param {T} now @returns {T | undefined} */
  undo(now) {
    const back = this.past.pop();
    if (back !== undefined) this.future.push(now);
    return back;
  }

  /** @param {T} now @returns {T | undefined} */
  redo(now) {
    const next = this.future.pop();
    if (next !== undefined) this.past.push(now);
    return next;
  }
}
