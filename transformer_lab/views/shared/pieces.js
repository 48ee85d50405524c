// Pieces of a line, as scenes return them.

import { headColour } from "./colours.js";
import { barPart, element, hint, rowPart, tableParts, tokenElement } from "./dom.js";

/** Texts, {token}, {quiet}, {tip} (how to point at something), {text, part} (in bold), {bar: 0 … 1, look, colour}, {dot: head}, {pick: key, on, of: pieces} (a button) and {press: what is pressed, part, of: pieces, title, off, look} (another) as nodes. @param {any[]} pieces @param {(what: any) => void} [press] @returns {(string | Node)[]} */
export const nodesOf = (pieces, press) =>
  pieces.map((one) => {
    if (typeof one === "string") return one;
    if (one.token !== undefined) return tokenElement(one.token);
    if (one.tip !== undefined) return hint(one.tip);
    if (one.bar !== undefined) return barPart(one.bar, one.look ?? "", one.colour);
    if (one.pick !== undefined)
      return element(
        "button.tl-key",
        { "data-key": one.pick, "aria-pressed": String(one.on) },
        nodesOf(one.of),
      );
    if (one.dot !== undefined) {
      const dot = element("span.tl-dot", { style: `background:${headColour(one.dot)}` });
      return element("span.tl-check", dot, ` ${one.dot}`);
    }
    if (one.press !== undefined) {
      const { part, title, off: disabled, look = "tl-button" } = one;
      const click = () => press(one.press);
      return element(`button.${look}#${part}`, { title, disabled, click }, nodesOf(one.of));
    }
    return one.part
      ? element(`b#${one.part}`, one.text)
      : element("span.tl-quiet", hint(one.quiet));
  });

/** Fill a table; its caption and its cells are texts or lines of pieces. @param {HTMLElement} table @param {{caption?: any, names?: string[], rows: any[][]}} given @param {(what: any) => void} [press] */
export function fillTable(table, { caption, names, rows }, press) {
  const lines = rows.map((row) => rowPart(...row.map((one) => nodesOf([one].flat(), press))));
  table.replaceChildren(
    ...(caption ? [element("caption", nodesOf([caption].flat()))] : []),
    ...(names ? tableParts(names, lines) : [element("tbody", lines)]),
  );
}
