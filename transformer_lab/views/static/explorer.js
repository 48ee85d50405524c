// The module of Explorer.

import { afterPaint } from "./dom.js";
import { ExplorerViewer } from "./explorer_viewer.js";

async function render({ model, el: root, signal }) {
  const ended = new AbortController();
  signal?.addEventListener("abort", () => ended.abort());
  root.classList.add("tl-view", "tl-explorer");
  root.dataset.lmSuppressShortcuts = "true";
  const viewer = new ExplorerViewer(model, root, ended.signal);
  await viewer.open();
  await afterPaint();
  root.dataset.ready = "1";
  viewer.later();
  return () => ended.abort();
}

export default { render };
