// An edit inside a sentence. The counterpart of edit_words.py.

import { short } from "./messages.js";

/**
 * Where an edit acts; its kind is named where it is another than that of the view.
 * @param {Record<string, any>} edit
 * @param {string} [kind] of the view, where its edits name one
 */
export function placeWords(edit, kind = "") {
  const where = [edit.layer == null ? "every layer" : `layer ${edit.layer}`, ...(edit.head == null ? [] : [`head ${edit.head}`])];
  const own = edit.kind ?? (kind ? "" : null);
  return (own === null || own === kind ? "" : `${own || "decoder"} `) + where.join(", ");
}

/**
 * @param {Record<string, any>} edit
 * @param {string[]} queries
 * @param {string[]} keys
 * @param {string} [kind]
 */
export function editWords(edit, queries, keys, kind = "") {
  const place = placeWords(edit, kind);
  if (edit.edit === "ablate") return `${place} switched off`;
  if (edit.edit === "knock_out") {
    const from = edit.query == null ? "everything" : queries[edit.query];
    const to = edit.key == null ? "everything" : keys[edit.key];
    return `${from} → ${to} cut in ${place}`;
  }
  return `${edit.edit} in ${place}`;
}

/** Decimals for changes beside each other, of which this is the largest: two digits of it. @param {number} most */
export const decimalsOf = (most) => (most >= 0.1 ? 2 : most >= 0.01 ? 3 : 4);

/** A change among others. @param {number} size @param {number} decimals of all of them */
export function sizeOf(size, decimals) {
  const text = short(Math.abs(size), decimals);
  return Number(text) ? (size < 0 ? "−" : "") + text : "0";
}
