// How a view comes to stand on a page; the last line of every view's module.

import { afterPaint } from "./dom.js";
import { keepKeys, leaveByEscape } from "./keys.js";

/**
 * @typedef {object} Viewer
 * @property {() => any} open draws it for the first time; may be waited for
 * @property {() => void} [later] what takes time, after the first paint
 */

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
      const viewer = new Viewer(model, root, ended.signal);
      await viewer.open();
      leaveByEscape(root, ended.signal);
      await afterPaint();
      root.dataset.ready = "1";
      viewer.later?.();
      return () => ended.abort();
    },
  };
}
