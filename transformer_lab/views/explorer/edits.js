// Edits for readers: their words, which are the same, which heads are off, and which edges are cut.

import { withoutHead } from "../shared/map_sentences.js";
import { editCode } from "../shared/scene.js";
import { sayExplorer } from "./prose.js";

/**
 * @typedef {object} Given an edit as Python sends it, and as it is sent to Python
 * @property {{edit: string} & Record<string, any>} made for Python's `edit_from_dict`
 * @property {string} code the Python that makes it
 * @property {string} what Python's description, for an edit that has no words here
 *
 * @typedef {Given & Shown} Edit
 *
 * @typedef {object} Shown
 * @property {string} id edits with the same one are the same
 * @property {string} words for readers
 * @property {string} subject the beginning of a sentence about it alone
 * @property {"off" | "cut" | "other"} does
 * @property {string} kind
 * @property {number | null} layer null: all
 * @property {number | null} head
 * @property {number | null} query of an edge that is cut
 * @property {number | null} key
 * @property {string | null} alone kind/layer/head, if it switches off a single head
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

const DOES = { ablate: "off", knock_out: "cut" };
const OF_HEADS = ["edit", "layer", "head", "kind"]; // what switching whole heads off names

/**
 * Edits as they are shown; those that are shown already, again, for the tokens of another text.
 * @param {Given[]} edits
 * @param {Record<string, any>} kinds
 * @returns {Edit[]}
 */
export const described = (edits, kinds) =>
  edits.map((given) => {
    const { made, what = "" } = given;
    const { edit: name, layer = null, head = null, query = null, key = null } = made;
    const kind = made.kind ?? usualKind(kinds);
    const several = Object.keys(kinds).length > 1;
    const whole = name === "ablate" && Object.keys(made).every((part) => OF_HEADS.includes(part));
    const single = whole && layer !== null && head !== null;
    const token = (names, at) => (at === null ? null : (names[at] ?? String(at)));
    const values = {
      does: name === "knock_out" && !kinds[kind] ? "other" : name,
      ...{ what, layer, head, side: several ? `${kind} ` : "" },
      mean: made.value === "mean",
      by: String(Number((made.by ?? 1).toPrecision(6))),
      part: made.part ?? "attention",
      expert: made.expert ?? null,
      query: token(kinds[kind]?.query_tokens ?? [], query),
      key: token(kinds[kind]?.key_tokens ?? [], key),
    };
    return {
      ...given,
      id: JSON.stringify(Object.entries({ ...made, kind }).sort()),
      words: sayExplorer("edit_words", values),
      subject: single
        ? withoutHead({ kind, layer, head }, several)
        : sayExplorer("edit_subject", values),
      does: /** @type {Edit["does"]} */ (DOES[name] ?? "other"),
      ...{ kind, layer, head, query, key },
      alone: single ? `${kind}/${layer}/${head}` : null,
    };
  });

const usualKind = (kinds) => ("decoder" in kinds ? "decoder" : Object.keys(kinds)[0]);

/** @type {WeakMap<Given[], {kinds: any, edits: Edit[]}>} */
const shown = new WeakMap();

/** The edits in force, or others that Python has sent. @param {any} model @param {Given[]} [given] @returns {Edit[]} */
export function editsOf(model, given = model.get("_edits")) {
  const kinds = model.get("_kinds");
  if (shown.get(given)?.kinds !== kinds)
    shown.set(given, { kinds, edits: described(given, kinds) });
  return /** @type {any} */ (shown.get(given)).edits;
}

/** An edit that a reader makes. @param {Record<string, any>} made @param {Record<string, any>} kinds */
function byHand({ kind, ...made }, kinds) {
  const values = kind === usualKind(kinds) ? made : { ...made, kind };
  const { edit, ...given } = values;
  const what = edit === "skip" ? sayExplorer("skipped", { kind: null, ...given }) : "";
  const code = editCode(/** @type {any} */ (values));
  return described([{ made: /** @type {any} */ (values), code, what }], kinds)[0];
}

/**
 * Switch heads off, or on again if all of them are off.
 * @param {Edit[]} edits
 * @param {HeadPlace[]} places
 * @param {Record<string, any>} kinds
 * @returns {Edit[]}
 */
export function toggleHeads(edits, places, kinds) {
  const single = (edit, { kind, layer, head }) =>
    edit.does === "off" && edit.kind === kind && edit.layer === layer && edit.head === head;
  if (places.every((place) => headOff(edits, place))) {
    return edits.filter((edit) => !places.some((place) => single(edit, place)));
  }
  const added = places
    .filter((place) => !headOff(edits, place))
    .map(({ kind, layer, head }) => byHand({ edit: "ablate", layer, head, kind }, kinds));
  return [...edits, ...added];
}

/**
 * Cut an edge, or undo the same cut.
 * @param {Edit[]} edits
 * @param {HeadPlace} place
 * @param {EdgePlace} edge
 * @param {"head" | "layer" | "all"} scope
 * @param {Record<string, any>} kinds
 * @returns {Edit[]}
 */
export function toggleCut(edits, { kind, layer, head }, { query, key }, scope, kinds) {
  const cut = {
    edit: "knock_out",
    ...(scope === "all" ? {} : { layer }),
    ...(scope === "head" ? { head } : {}),
    ...(query === null ? {} : { query }),
    ...(key === null ? {} : { key }),
    kind,
  };
  return toggled(edits, byHand(cut, kinds));
}

/**
 * Skip an expert, or undo that.
 * @param {Edit[]} edits
 * @param {{kind: string, layer: number, expert: number}} place
 * @param {Record<string, any>} kinds
 * @returns {Edit[]}
 */
export const toggleExpert = (edits, { kind, layer, expert }, kinds) =>
  toggled(edits, byHand({ edit: "skip", layer, part: "mlp", expert, kind }, kinds));

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
