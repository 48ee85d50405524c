// A residual view as one PNG: lengths and logit lens, with title and sentence.

import { entry, inkOn } from "../shared/colours.js";
import { fitText, sizedContext } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { sheet } from "../shared/sheet.js";

/** @param {any} view a ResidualViewer @returns {Promise<Blob | null>} */
export function residualPicture(view) {
  const parts = [{ canvas: view.canvas, title: view.say("sizes_picture") }];
  if (view.stream.lens) parts.push({ canvas: lensCanvas(view), title: view.say("lens_picture") });
  const holder = document.createElement("div");
  holder.style.cssText = "position:absolute;left:-9999px";
  for (const { canvas } of parts.slice(1)) holder.append(canvas);
  view.root.append(holder); // what is drawn on a sheet is measured in the page
  return sheet({ title: view.model.get("_title"), sentence: view.sentence.textContent, parts, inks: view.shell.inks }).finally(() => holder.remove());
}

/** The logit lens on a canvas. */
function lensCanvas({ store, stream, from, count, rowNames, sequential, shell }) {
  const [left, top, width, height] = [52, 20, 68, 22];
  const canvas = document.createElement("canvas");
  const context = sizedContext(canvas, left + count * width, top + rowNames.length * height);
  context.textBaseline = "middle";
  const write = (text, x, y, colour, room, bold = false) => {
    context.font = `${bold ? "bold " : ""}11px monospace`;
    context.fillStyle = colour;
    context.fillText(fitText(context, text, room), x, y);
  };
  for (let i = 0; i < count; i++) write(stream.tokens[from + i], left + i * width + 4, 10, shell.inks.ink, width - 8);
  rowNames.forEach((name, row) => {
    const y = top + row * height;
    write(name, 4, y + height / 2, shell.inks.quiet, left - 8);
    for (let i = 0; i < count; i++) {
      const best = store.top(row, from + i)?.[0];
      if (!best) continue;
      const at = linearShade(store.answerProbability(row, from + i), 0, 1);
      context.fillStyle = entry(sequential, at);
      context.fillRect(left + i * width, y, width - 1, height - 1);
      write(best.name, left + i * width + 4, y + height / 2, inkOn(sequential, at), width - 8, store.agrees(row, from + i));
    }
  });
  return canvas;
}
