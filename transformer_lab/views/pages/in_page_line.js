// A line that is shown when a page's engine runs in the page itself, or is switched off.

import { IN_PAGE } from "../engine/in_page.js";
import { element, hearChanges, hearOf } from "../shared/dom.js";
import { sayShared } from "../shared/messages.js";

/** Type of the message by which a page's model tells its view that the engine runs in the page. */
export const RUNS_IN_PAGE = sayShared("in_page");

/** @param {any} model @param {AbortSignal} signal @returns {HTMLElement} */
export function inPageLine(model, signal) {
  const line = element("p.tl-hint#in-page", { role: "status", hidden: true }, IN_PAGE);
  hearOf(
    model,
    ["msg:custom"],
    signal,
    (message) => message?.type === RUNS_IN_PAGE && (line.hidden = false),
  );
  hearChanges(model, ["_carried"], signal, () => {
    const { lost } = model.get("_carried") ?? {};
    if (lost) Object.assign(line, { hidden: false, textContent: lost, className: "tl-message" });
  });
  return line;
}
