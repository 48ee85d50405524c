// The module of CompareView.

import { afterPaint } from "./dom.js";
import { CompareViewer } from "./compare_viewer.js";

async function render({ model, el: root, signal }) {
  const ended = new AbortController();
  signal?.addEventListener("abort", () => ended.abort());
  root.classList.add("tl-view");
  root.dataset.lmSuppressShortcuts = "true";
  const viewer = new CompareViewer(model, root, ended.signal);
  await viewer.fetch();
  await afterPaint();
  root.dataset.ready = "1";
  return () => ended.abort();
}

export default { render };
