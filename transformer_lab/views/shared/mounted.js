// How a view comes to stand on a page; the last line of every view's module.

import { afterPaint, element, hearOf, listen } from "./dom.js";
import { chosenHere, hasAddress, readLink } from "../pages/link.js";
import { keepKeys, leaveByEscape } from "./keys.js";
import { Standby } from "../pages/standby.js";
import { sayShared } from "./messages.js";

/**
 * @typedef {object} Viewer
 * @property {() => any} open draws it for the first time; may be waited for
 * @property {() => void} [later] what takes time, after the first paint
 * @property {{say: (text: string) => void, ask?: import("../pages/ask_row.js").AskRow | null}} [shell]
 * @property {any} [model] through which it is told what is chosen; the given one by default
 * @property {(more: Record<string, any>) => Promise<void>} [follow] brings back what its `linked` told
 */

/** Show what the address says. @param {any} model @param {Viewer} viewer */
async function followLink(model, viewer) {
  try {
    const link = readLink(model, location.hash);
    if (!link) return;
    await (viewer.follow ? viewer.follow(link.more) : viewer.shell?.ask?.follow(link.more));
    const to = viewer.model ?? model;
    to.set(chosenHere(model, link.chosen));
    to.save_changes();
  } catch (error) {
    viewer.shell?.say(
      sayShared("the_page_is_shown", {
        why: error.message,
      }),
    );
  }
}

/** The line that says that Python does not answer, above what else is said. @param {Standby} model @param {HTMLElement} root @param {AbortSignal} signal */
function standbyLine(model, root, signal) {
  const line = element("p.tl-hint#standby", { role: "status", hidden: true });
  const message = root.querySelector("[data-part=message]");
  if (message) message.before(line);
  else root.prepend(line);
  hearOf(model, ["standby"], signal, (text) =>
    Object.assign(line, { textContent: text, hidden: !text }),
  );
}

/**
 * @param {new (model: any, root: HTMLElement, signal: AbortSignal) => Viewer} Viewer
 * @param {string} folder the view's own: its style sheet speaks of .tl-view-<folder> alone
 */
export function mounted(Viewer, folder) {
  return {
    async render({ model, el: root, signal }) {
      const ended = new AbortController();
      signal?.addEventListener("abort", () => ended.abort());
      root.classList.add("tl-view", `tl-view-${folder}`);
      keepKeys(root, ended.signal);
      const standby = model.get("_saved") ? null : new Standby(model, ended.signal);
      const viewer = new Viewer(standby ?? model, root, ended.signal);
      await viewer.open();
      if (standby) standbyLine(standby, root, ended.signal);
      leaveByEscape(root, ended.signal);
      if (hasAddress(model)) {
        await followLink(model, viewer);
        listen(window, "hashchange", ended.signal, () => followLink(model, viewer));
      }
      await afterPaint();
      root.dataset.ready = "1";
      viewer.later?.();
      standby?.fetch();
      return () => ended.abort();
    },
  };
}
