// What a scene is: a view's scene.js exports `view`, whose `scene` is a pure function of choices and
// answers. A page draws what it returns (scene_viewer.js); Python runs the same for sentences, still
// pictures and files (scripted.py).

import { bytesOf, joined, typed } from "./codecs.js";
import { messages } from "./messages.js";
import { nested, sizesOf } from "./numbers.js";

/** The choices that views of one selection share. */
export const SELECTION = ["kind", "layer", "head", "selected", "_kinds"];

/**
 * @typedef {any} State the choices by the names of their traits, without a leading
 *   underscore; of a selection also `size`, the sizes of the chosen kind, and `several`, whether
 *   there are more kinds; `hover`: by part of the view, what the reader points at; `seen`: by part
 *   of a page, what of it is on view; `saved`: whether it is a saved page, and
 *   `alone`: whether one that cannot compute; of a view with a `catalogue`, `say` in the reader's language
 *
 * @typedef {object} Found an answer: what Python's `_part_named` returns
 * @property {any} info
 * @property {Uint8Array} bytes
 * @property {Float32Array} numbers the same bytes
 *
 * @typedef {object} Panel
 * @property {string} part its name in the page
 * @property {string} title
 * @property {string} [hint]
 * @property {any} mark as in marks/scene.py, with the names of its fields; further ones are for the page
 * @property {string} [label] of its section in a page, if its title changes
 * @property {number} [width] in a still picture, relative to others in its row
 * @property {string} [says] read aloud
 * @property {string} [picture] its title in an image file of a page
 * @property {{title: string, mark: any, width?: number}[]} [still] what a still picture shows instead
 * @property {boolean} [page] whether a page draws it too
 * @property {any[]} [line] below it: texts, {token}, and {text, part} in bold
 *
 * @typedef {object} Shown
 * @property {string} name of the answer on view
 * @property {string} sentence
 * @property {string} [spoken] what a page says in its place
 * @property {Panel[][]} panels in rows
 * @property {string} [title] after the view's own title, of a still picture and of a page's image
 * @property {string} [subtitle]
 * @property {string} [note]
 * @property {any[] | null} [readout] what is pointed at
 * @property {{name: string, caption: string, names: string[], rows: any[][]}} [table]
 * @property {Record<string, string>} [marked] data attributes of the view
 * @property {any} [start] the cell at which arrow keys start
 * @property {Record<string, any[]>} axes of the file, and its `arrays`: see `numbersOf`
 * @property {Record<string, any>} arrays
 * @property {Record<string, any[]>} [columns] of a CSV file, if they are not those of the arrays
 * @property {Record<string, any>} [chosen] of the file
 * @property {any} [trials] see trials.js
 * @property {Record<string, any>} [choices] to which a page returns if the next answer does not come
 *
 * @typedef {object} OfTexts what a view takes from another text than that of its trace, besides the
 *   sizes and tokens of its kinds
 * @property {(s: State, texts: any) => Record<string, any>} [taken] traits, from the engine's
 *   answers to "read"
 * @property {(s: State) => any} [about] what an answer by name depends on, besides its kinds
 * @property {(s: State, found: Map<string, any>) => boolean} [complete] whether no answer is lacking
 *
 * @typedef {object} SceneOf
 * @property {string} folder
 * @property {(key: string, values?: Record<string, any>) => string} [say]
 * @property {Record<string, string>} [catalogue] instead, if its trait `_messages` may translate it
 * @property {string[]} traits what a state holds
 * @property {(s: State, found: Map<string, any>, wanted?: string[]) => string[]} needs the names of
 *   the answers that a state is shown with, the most important one first; later ones may depend on
 *   earlier ones, and are null for what cannot be known; none if its traits hold everything; of
 *   `wanted`, see `shownTo`, a page wants "panels", and "numbers" once a file is saved
 * @property {(found: Found, name: string, s: State) => any} [read]
 * @property {(s: State, found: Map<string, any>) => Shown} scene
 * @property {(name: string, why: string, s: State) => string} failed
 * @property {(s: State) => string} [working] said while an answer is computed
 * @property {(found: any) => string[]} [names] further names of an answer
 * @property {boolean} [forgets] whether a new answer ends what the reader points at
 * @property {boolean} [bare] without a readout and a table below the panels
 * @property {number} [least] how many of its needs a page must have to draw it; a draw asks for them
 * @property {(say: (key: string) => string) => string} [title] after the view's own, above it
 * @property {string} [copies] what the button does that copies `code`
 * @property {Record<string, any>} [choosing] what choosing a head sets, too
 * @property {OfTexts} [texts] for pages that read another text
 * @property {Record<string, (viewer: any) => {root: HTMLElement, set: (value: any) => void}>} [makes]
 *   of view.js: further controls, by part
 * @property {string} [above] its sentence's name in a page where heads below it have a sentence and
 *   choices of their own
 * @property {(s: State, found: Map<string, any>) => any[]} [controls] see `#control` in scene_viewer.js
 * @property {Record<string, any>} [parts] what the reader can do with a panel; see panels.js
 * @property {Record<string, any>} [panels] of view.js: classes that draw further types of marks
 * @property {(s: State) => import("./linked.js").Place | null} [spot] what linked views show too
 * @property {(s: State, spot: any) => Record<string, any>} [pointed] `hover` for a linked view's spot
 * @property {(s: State, found?: Map<string, any>) => string} code Python that shows the same
 * @property {(s: State) => string} [part] in the names of files
 */

/** The query tokens of a stack's heads. @param {any} read the engine's answer to "read" @param {string} kind @returns {string[]} */
export const tokensOf = (read, kind) =>
  (kind === "encoder" ? read.text : (read.target ?? read.text)).tokens;

/** @param {number} at @param {number} count */
export const within = (at, count) => Math.max(0, Math.min(count - 1, at));

/** Whether two edits are the same. */
export const sameEdit = (a, b) =>
  JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());

/** The Python that makes an edit. @param {{edit: string} & Record<string, any>} made as `Edit.to_dict` has it */
export function editCode({ edit, ...given }) {
  const named = Object.entries(given).map(([name, x]) => `${name}=${JSON.stringify(x)}`);
  return `tl.${edit}(${named.join(", ")})`;
}

/** The nearest head that a kind of attention has. @param {any} size @param {number} layer @param {number} head */
export function nearestHead({ layers, heads, counts, headless }, layer, head) {
  const count = (at) => counts?.[at] ?? (headless?.[at] ? 0 : heads);
  const having = Array.from({ length: layers }, (_, at) => at).filter(count);
  const apart = (at) => Math.abs(at - layer);
  const near = having.reduce((best, at) => (apart(at) < apart(best) ? at : best), having[0] ?? 0);
  return { layer: near, head: Math.min(head, count(near) - 1), having };
}

/** @type {WeakMap<object, import("./messages.js").Say>} */
const sayers = new WeakMap();

/** What says a view's messages. @param {SceneOf} view @param {(name: string) => any} get a trait */
export function sayOf({ catalogue, say }, get) {
  const translated = get("_messages");
  if (!catalogue || !translated) return say;
  if (!sayers.has(translated)) sayers.set(translated, messages(catalogue, translated));
  return sayers.get(translated);
}

/** A Python call on the trace, for `code`. @param {State} s with `batch` @param {string} name @param {number[]} places @param {...(string | false)} more */
export function callOn({ kind, several, batch }, name, places, ...more) {
  const named = [several && `kind="${kind}"`, batch && `batch=${batch}`, ...more].filter(Boolean);
  return `tl.circuits.${name}(${["trace", ...places, ...named].join(", ")})`;
}

/** @param {SceneOf} view @param {(name: string) => any} get a trait @param {Record<string, any>} [page] its `hover` and `seen` @returns {State} */
export function stateOf(view, get, page = {}) {
  const s = Object.fromEntries(view.traits.map((name) => [name.replace(/^_/, ""), get(name)]));
  const size = s.kinds?.[s.kind];
  const place = size ? { ...nearestHead(size, s.layer, s.head), size } : {};
  return {
    ...s,
    ...place,
    several: Object.keys(s.kinds ?? {}).length > 1,
    say: sayOf(view, get),
    hover: {},
    seen: {},
    ...page,
  };
}

/** @param {SceneOf} view @param {any} info @param {Uint8Array} bytes @param {string} name @param {State} s */
export function answerOf(view, info, bytes, name, s) {
  const found = { info, bytes, numbers: typed(Float32Array, bytes) };
  return view.read ? view.read(found, name, s) : found;
}

/** The answers that came with a page. @param {SceneOf} view @param {any} model @param {State} s @returns {Map<string, any>} */
export function heldIn(view, model, s) {
  const bytes = bytesOf(model.get("_answers_data"));
  let at = 0;
  return new Map(
    (model.get("_answers") ?? []).map(([name, info, size]) => [
      name,
      answerOf(view, info, bytes.slice(at, (at += size)), name, s),
    ]),
  );
}

/** Answers as traits of a page. @param {[string, ArrayBufferView, any?][]} answers name, bytes and info */
export function answersOf(answers) {
  const bytes = joined(answers.map(([, found]) => bytesOf(/** @type {any} */ (found))));
  const named = answers.map(([name, { byteLength }, info = {}]) => [name, info, byteLength]);
  return {
    _answers: named,
    _answers_data: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  };
}

/** The traits that a state is made of, for Python. @param {{view: SceneOf}} module */
export const traitsOf = ({ view: { traits } }) => traits;

/**
 * What is shown, for Python.
 * @param {{view: SceneOf}} module
 * @param {Record<string, any>} traits
 * @param {[string, any, Uint8Array][]} answers
 * @param {string[]} wanted parts of what is shown, or "numbers", for files
 * @returns {{missing: string[]} | {shown: Record<string, any>}}
 */
export function shownTo({ view }, traits, answers, wanted) {
  const s = stateOf(view, (name) => traits[name]);
  const found = new Map(
    answers.map(([name, info, bytes]) => [name, info && answerOf(view, info, bytes, name, s)]),
  );
  for (const one of [...found.values()]) view.names?.(one).forEach((name) => found.set(name, one));
  const missing = view.needs(s, found, wanted).filter((name) => !found.has(name));
  if (missing.length) return { missing };
  const shown = view.scene(s, found);
  const part = (name) => (name === "numbers" ? arraysOf(shown) : shown[name]);
  return { shown: Object.fromEntries(wanted.map((name) => [name, part(name) ?? null])) };
}

/** Flat arrays for Python, which makes files of them. @param {Shown} shown */
function arraysOf({ axes, arrays, columns }) {
  const found = Object.entries(arrays).map(([name, [names, values, means]]) => {
    const { sizes, at } = sizesOf(axes, names, values);
    const flat = /** @type {any[]} */ (
      sizes.length ? nested(sizes, at).flat(sizes.length - 1) : []
    );
    const exact = ["string", "boolean"].includes(typeof flat[0]); // words, and yes or no
    /** @type {any} */
    const type = values instanceof Int32Array ? Int32Array : Float32Array;
    const kept = exact ? flat : type.from(flat, (x) => x ?? NaN);
    return { name, axes: names, sizes, means, values: kept };
  });
  return { axes, arrays: found, columns };
}
