// The module of HeadView.

import { afterPaint } from "./dom.js";
import { HeadViewer } from "./head_viewer.js";

async function render({ model, el: root, signal }) {
  const ended = new AbortController();
  signal?.addEventListener("abort", () => ended.abort());
  root.classList.add("tl-view");
  root.dataset.lmSuppressShortcuts = "true";
  const viewer = new HeadViewer(model, root, ended.signal);
  await viewer.open();
  await afterPaint();
  root.dataset.ready = "1";
  return () => ended.abort();
}

export default { render };
