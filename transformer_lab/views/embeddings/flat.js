// Two projections of a cloud on a canvas: for a picture, and where nothing draws in space.

import { fitText, sizedContext } from "../shared/dom.js";
import { extent } from "./cloud.js";

const NAMED_POINTS = 40;
const FLAT_PAD = 34;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {object} scene
 * @param {import("./cloud.js").CloudData} scene.data
 * @param {string} scene.shows
 * @param {number} scene.row
 * @param {number | null} scene.chosen
 * @param {string[]} scene.paints
 * @param {string[]} scene.axes
 * @param {any} scene.inks
 * @param {number} width
 */
export function drawFlat(canvas, scene, width) {
  const beside = width >= 560;
  const panel = beside ? (width - FLAT_PAD) / 2 : width;
  const height = Math.min(420, Math.max(220, panel));
  const context = sizedContext(canvas, width, beside ? height : 2 * height);
  context.textBaseline = "middle";
  [1, 2].forEach((vertical, i) => {
    context.save();
    context.translate(beside ? i * (panel + FLAT_PAD) : 0, beside ? 0 : i * height);
    drawPanel(context, scene, vertical, panel, height);
    context.restore();
  });
}

function drawPanel(context, scene, vertical, width, height) {
  const { data, shows, row, chosen, paints, axes, inks } = scene;
  const box = { left: FLAT_PAD, top: 8, width: width - FLAT_PAD - 8, height: height - FLAT_PAD - 8 };
  const rows = shows === "paths" ? Array.from({ length: data.rows }, (_, i) => i) : [row];
  const points = Array.from({ length: data.n }, (_, i) => i);
  const reach = (axis) => extent(rows.flatMap((r) => points.map((p) => data.at(shows, r, p, axis))));
  const spread = ([low, high]) => {
    const room = (high - low || 1) * 0.08;
    return [low - room, high + room];
  };
  const [x0, x1] = spread(reach(0));
  const [y0, y1] = spread(reach(vertical));
  const place = (r, p) => [
    box.left + (box.width * (data.at(shows, r, p, 0) - x0)) / (x1 - x0),
    box.top + box.height - (box.height * (data.at(shows, r, p, vertical) - y0)) / (y1 - y0),
  ];
  context.strokeStyle = inks.line;
  context.lineWidth = 1;
  context.strokeRect(box.left, box.top, box.width, box.height);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = inks.quiet;
  context.textAlign = "center";
  context.fillText(fitText(context, axes[0], box.width), box.left + box.width / 2, box.top + box.height + 16);
  context.save();
  context.translate(14, box.top + box.height / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(fitText(context, axes[vertical], box.height), 0, 0);
  context.restore();
  context.textAlign = "left";
  const line = (p, colour, thick) => {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.beginPath();
    rows.forEach((r) => context.lineTo(...place(r, p)));
    context.stroke();
  };
  if (shows === "paths") {
    context.globalAlpha = 0.5;
    points.forEach((p) => line(p, paints[p], 1));
    context.globalAlpha = 1;
    if (chosen !== null) line(chosen, inks.accent, 3);
  }
  const size = data.n > 200 ? 2 : 4;
  for (const p of points) {
    const [x, y] = place(row, p);
    context.fillStyle = paints[p];
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
  }
  context.font = "11px ui-monospace, monospace";
  context.fillStyle = inks.ink;
  for (const p of data.n <= NAMED_POINTS ? points : chosen === null ? [] : [chosen]) {
    const [x, y] = place(row, p);
    context.fillText(fitText(context, data.tokens[p], Math.max(20, box.left + box.width - x - 6)), x + 6, y - 6);
  }
  if (chosen === null) return;
  const [x, y] = place(row, chosen);
  context.strokeStyle = inks.accent;
  context.lineWidth = 2.5;
  context.beginPath();
  context.arc(x, y, size + 4, 0, 2 * Math.PI);
  context.stroke();
}
