// The module of WhyView.

import { afterPaint } from "./dom.js";
import { WhyViewer } from "./why_viewer.js";

async function render({ model, el: root, signal }) {
  const ended = new AbortController();
  signal?.addEventListener("abort", () => ended.abort());
  root.classList.add("tl-view");
  root.dataset.lmSuppressShortcuts = "true";
  const viewer = new WhyViewer(model, root, ended.signal);
  viewer.shell.draw();
  await afterPaint();
  root.dataset.ready = "1";
  return () => ended.abort();
}

export default { render };
