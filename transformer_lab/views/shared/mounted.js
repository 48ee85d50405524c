// Mounts a view on a page, in the last line of every view's module.

import { afterPaint, element, hearOf, listen } from "./dom.js";
import { chosenHere, hasAddress, readLink } from "../pages/link.js";
import { keepKeys, leaveByEscape } from "./keys.js";
import { Standby } from "../pages/standby.js";
import { sayShared } from "./messages.js";

/**
 * @typedef {object} Viewer
 * @property {() => any} open draws the view for the first time; may return a promise
 * @property {() => void} [later] slow work, run after the first paint
 * @property {{say: (text: string) => void, ask?: import("../pages/ask_row.js").AskRow | null}} [shell]
 * @property {any} [model] the model on which choices are set; by default the given one
 * @property {(more: Record<string, any>) => Promise<void>} [follow] restores what its `linked`
 *   returned
 */

/** Show what the page's address describes. @param {any} model @param {Viewer} viewer */
async function followLink(model, viewer) {
  try {
    const link = readLink(model, location.hash);
    if (!link) return;
    await (viewer.follow ? viewer.follow(link.more) : viewer.shell?.ask?.follow(link.more));
    const to = viewer.model ?? model;
    to.set(chosenHere(model, link.chosen));
    to.save_changes();
  } catch (error) {
    viewer.shell?.say(sayShared("the_page_is_shown", { why: error.message }));
  }
}

/** Add a line, above other messages, that says that Python does not answer. @param {Standby} model @param {HTMLElement} root @param {AbortSignal} signal */
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
 * @param {string} folder the view's folder: its style sheet styles only .tl-view-<folder>
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
