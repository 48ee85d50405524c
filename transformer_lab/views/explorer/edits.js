// Edits as Python sends them, each with words, code and an id: which heads are off, and which edges
// are cut. Only edits.py knows what each kind of edit does.

/**
 * @typedef {object} Edit
 * @property {string} id edits with the same one are the same
 * @property {string} words for readers
 * @property {string} subject the beginning of a sentence about it alone
 * @property {string} code the Python that makes it
 * @property {"off" | "cut" | "other"} does
 * @property {string} kind
 * @property {number | null} layer null: all
 * @property {number | null} head
 * @property {number | null} query of an edge that is cut
 * @property {number | null} key
 * @property {string | null} alone kind/layer/head, if it switches off a single head
 * @property {object} made for Python
 *
 * @typedef {{kind: string, layer: number, head: number}} HeadPlace
 * @typedef {{query: number | null, key: number | null}} EdgePlace
 */

/** @param {Edit[]} a @param {Edit[]} b */
export const sameEdits = (a, b) =>
  a.length === b.length && a.every((edit, i) => edit.id === b[i].id);

/** Whether an edit applies to a head. @param {Edit} edit @param {HeadPlace} place */
export const reaches = (edit, place) =>
  edit.kind === place.kind &&
  (edit.layer ?? place.layer) === place.layer &&
  (edit.head ?? place.head) === place.head;

/** Whether a head is switched off. @param {Edit[]} edits @param {HeadPlace} place */
export const headOff = (edits, place) =>
  edits.some((edit) => edit.does === "off" && reaches(edit, place));

/** Whether a head is changed in another way. @param {Edit[]} edits @param {HeadPlace} place */
export const headTouched = (edits, place) =>
  edits.some((edit) => edit.does !== "off" && reaches(edit, place));

/**
 * Make an edit: one of Python's patterns with a place filled in.
 * @param {Record<string, any>} patterns
 * @param {string} name
 * @param {Record<string, number>} place
 * @param {Record<string, string>} names of the tokens, in its words
 * @returns {Edit}
 */
export function made(patterns, name, place, names = {}) {
  const slots = Object.entries(patterns.slots).map(([slot, number]) => [slot, String(number)]);
  const put = (value, values) => {
    if (typeof value === "number")
      return place[slots.find(([, number]) => number === String(value))?.[0] ?? ""] ?? value;
    if (typeof value === "string")
      return slots.reduce(
        (text, [slot, number]) =>
          text.replaceAll(number, () => String(values[slot] ?? place[slot])),
        value,
      );
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) => [
        key,
        put(part, key === "words" || key === "subject" ? { ...place, ...names } : place),
      ]),
    );
  };
  return put(patterns[name], place);
}

/**
 * Switch heads off, or on again if all of them are off.
 * @param {Edit[]} edits
 * @param {HeadPlace[]} places
 * @param {Record<string, any>} patterns
 * @returns {Edit[]}
 */
export function toggleHeads(edits, places, patterns) {
  const single = (edit, { kind, layer, head }) =>
    edit.does === "off" && edit.kind === kind && edit.layer === layer && edit.head === head;
  if (places.every((place) => headOff(edits, place))) {
    return edits.filter((edit) => !places.some((place) => single(edit, place)));
  }
  const added = places
    .filter((place) => !headOff(edits, place))
    .map(({ kind, layer, head }) => made(patterns, `off/${kind}`, { layer, head }));
  return [...edits, ...added];
}

/**
 * Cut an edge, or undo the same cut.
 * @param {Edit[]} edits
 * @param {HeadPlace} place
 * @param {EdgePlace} edge
 * @param {"head" | "layer" | "all"} scope
 * @param {Record<string, any>} patterns
 * @param {{query_tokens: string[], key_tokens: string[]}} tokens
 * @returns {Edit[]}
 */
export function toggleCut(edits, place, edge, scope, patterns, tokens) {
  const { query, key } = edge;
  const ends = ["query", "key"].filter((end) => edge[end] !== null).join("-");
  const names = {
    query: tokens.query_tokens[query ?? 0] ?? String(query),
    key: tokens.key_tokens[key ?? 0] ?? String(key),
  };
  const at = {
    layer: place.layer,
    head: place.head,
    ...(query === null ? {} : { query }),
    ...(key === null ? {} : { key }),
  };
  return toggled(edits, made(patterns, `cut/${place.kind}/${scope}/${ends}`, at, names));
}

/**
 * Skip an expert, or undo that.
 * @param {Edit[]} edits
 * @param {{kind: string, layer: number, expert: number}} place
 * @param {Record<string, any>} patterns
 * @returns {Edit[]}
 */
export const toggleExpert = (edits, { kind, layer, expert }, patterns) =>
  toggled(edits, made(patterns, `expert/${kind}`, { layer, expert }));

/** Add an edit, or remove it if it is there. @param {Edit[]} edits @param {Edit} one */
function toggled(edits, one) {
  const without = edits.filter((edit) => edit.id !== one.id);
  return without.length < edits.length ? without : [...edits, one];
}

/** The edges of a head that are cut. @param {Edit[]} edits @param {HeadPlace} place @returns {EdgePlace[]} */
export const cutsOf = (edits, place) =>
  edits
    .filter((edit) => edit.does === "cut" && reaches(edit, place))
    .map(({ query, key }) => ({ query, key }));

/**
 * Whether all edits are cuts, and none changes this head's inputs: they are in its layer or in
 * later ones.
 * @param {Edit[]} edits
 * @param {HeadPlace} place
 */
export const cutsReachOnly = (edits, place) =>
  edits.every(
    (edit) => edit.does === "cut" && edit.kind === place.kind && (edit.layer ?? -1) >= place.layer,
  );

/**
 * A row of weights without the cut edges, the rest scaled up to the same sum, as the softmax does.
 * Weight to nothing is scaled up too, and cannot be cut.
 * @param {Float32Array} row
 * @param {number} query
 * @param {EdgePlace[]} cuts
 * @param {number} [nothing] the row's weight to no key
 * @returns {{row: Float32Array, nothing: number, factor: number}} factor: by which the rest was scaled up
 */
export function cutRow(row, query, cuts, nothing = 0) {
  const cut = new Set();
  let every = false;
  for (const edge of cuts) {
    if (edge.query !== null && edge.query !== query) continue;
    if (edge.key === null) every = true;
    else cut.add(edge.key);
  }
  if (!every && !cut.size) return { row, nothing, factor: 1 };
  let [whole, kept] = [nothing, nothing];
  for (let key = 0; key < row.length; key++) {
    whole += row[key];
    if (!every && !cut.has(key)) kept += row[key];
  }
  const factor = kept > 1e-6 ? whole / kept : 0;
  return {
    row: row.map((weight, key) => (every || cut.has(key) ? 0 : weight * factor)),
    nothing: nothing * factor,
    factor,
  };
}

/**
 * Python code that makes all edits, and prints the predictions without and with them.
 * @param {Edit[]} edits
 * @param {string} run the Python that runs the text without and with `edits`
 * @param {number | null} position where the model predicts
 */
export function editsCode(edits, run, position) {
  if (!edits.length) return "edits = []";
  const lines = `edits = [\n${edits.map((edit) => `    ${edit.code},\n`).join("")}]`;
  const shown =
    position === null
      ? []
      : [`print(before.predictions(${position}), after.predictions(${position}), sep="\\n")`];
  return [lines, run, ...shown].join("\n");
}

/** Bounded history for undo and redo. @template T */
export class Steps {
  /** @param {number} [most] */
  constructor(most = 200) {
    this.most = most;
    /** @type {T[]} */
    this.past = [];
    /** @type {T[]} */
    this.future = [];
  }

  /** Record the state before a change. @param {T} before */
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
