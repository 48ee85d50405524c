// An edit inside a sentence. The counterpart of edit_words.py.

import { short } from "./words.js";

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

/** A change small enough to need its own digits, such as 0.0021. @param {number} size */
export function sizeOf(size) {
  const abs = Math.abs(size);
  if (abs < 0.00005) return "0";
  const text = abs < 0.01 ? abs.toFixed(4).replace(/^0/, "") : short(abs);
  return (size < 0 ? "−" : "") + text;
}
