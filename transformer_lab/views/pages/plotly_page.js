// The module of a page that holds one plotly figure.

import { element } from "../shared/dom.js";
import { plotlyOf } from "../shared/plotly.js";
import { Requests } from "../shared/requests.js";
import { sayShared } from "../shared/messages.js";

const LINE = 18; // px, of a heading

/**
 * Wrap a plotly heading to the width of the room: plotly itself would cut off its lines.
 * @param {string} text with plotly's tags @param {number} room px @param {{size: number, family: string}} font
 */
function wrapped(text, room, { size, family }) {
  const pen = /** @type {CanvasRenderingContext2D} */ (
    document.createElement("canvas").getContext("2d")
  );
  const written = [];
  let [bold, now, line] = ["", size, 0];
  for (const piece of text.match(/<[^>]*>|[^<\s]+|\s+/g) ?? []) {
    if (piece.startsWith("<")) {
      if (piece === "<br>") line = 0;
      if (/^<\/?b>$/.test(piece)) bold = piece === "<b>" ? "bold " : "";
      if (piece.startsWith("<span")) now = Number(piece.match(/font-size:\s*(\d+)px/)?.[1] ?? now);
      if (piece === "</span>") now = size;
    } else {
      pen.font = `${bold}${now}px ${family}`;
      const wide = pen.measureText(piece).width;
      if (line && line + wide > room && piece.trim()) {
        written.push("<br>");
        line = 0;
      }
      line += wide;
    }
    written.push(piece);
  }
  return written.join("");
}

/** The layout with a wrapped heading, and with room for its additional lines. */
function fitted(layout, width) {
  const { title, margin, height, font, template } = layout ?? {};
  const text = typeof title === "string" ? title : title?.text;
  if (!text || !margin?.t || !height || !width) return layout;
  const own = { ...template?.layout?.font, ...template?.layout?.title?.font, ...font };
  const lines = wrapped(text, 0.97 * width, {
    size: own.size ?? 15,
    family: own.family ?? "sans-serif",
  });
  const more = LINE * (lines.split("<br>").length - text.split("<br>").length);
  const heading = typeof title === "string" ? lines : { ...title, text: lines };
  return {
    ...layout,
    title: heading,
    height: height + more,
    margin: { ...margin, t: margin.t + more },
  };
}

export default {
  async render({ model, el: root, signal }) {
    const { data, layout: given, config } = model.get("figure");
    const place = element("div", {
      role: "img",
      "aria-label": model.get("_sentence"),
      style: `min-height:${given?.height ?? 450}px`,
    });
    root.append(place);
    const layout = fitted(given, place.clientWidth);
    try {
      const plotly = await plotlyOf(new Requests(model, signal));
      await plotly.newPlot(place, data, layout, {
        displaylogo: false,
        responsive: true,
        ...config,
      });
    } catch (error) {
      place.textContent = sayShared("this_figure_cannot_be", {
        why: error.message,
        sentence: model.get("_sentence"),
      });
    }
    root.dataset.ready = "1";
  },
};
