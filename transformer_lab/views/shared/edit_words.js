// An edit inside a sentence.

import { messages, short } from "./messages.js";

const sayEdit = messages();

/**
 * @param {Record<string, any>} edit
 * @param {string[]} queries
 * @param {string[]} keys
 * @param {string} [kind] of the view, where its edits name one; an edit's own is named where it is another
 */
export function editWords(edit, queries, keys, kind = "") {
  const { layer = null, head = null, query = null, key = null } = edit;
  const own = edit.kind ?? (kind ? "" : null);
  const shown = own === null || own === kind ? null : own || "decoder";
  return sayEdit("edit", {
    edit: edit.edit, kind: shown, layer, head, query: query === null ? null : queries[query], key: key === null ? null : keys[key],
  });
}

/** Decimals for changes beside each other, of which this is the largest: two digits of it. @param {number} most */
export const decimalsOf = (most) => (most >= 0.1 ? 2 : most >= 0.01 ? 3 : 4);

/** A change among others. @param {number} size @param {number} decimals of all of them */
export function sizeOf(size, decimals) {
  const text = short(Math.abs(size), decimals);
  return Number(text) ? (size < 0 ? "−" : "") + text : "0";
}
