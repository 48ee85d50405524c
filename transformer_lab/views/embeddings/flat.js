// Two projections of a cloud on a canvas: for files, and for browsers that cannot draw in space.

import { paintPoints } from "../marks/points.js";
import { sizedContext } from "../shared/dom.js";

const BETWEEN_PLANES = 34;

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
  const { data, shows, row, chosen, paints, axes, inks } = scene;
  const beside = width >= 560;
  const panel = beside ? (width - BETWEEN_PLANES) / 2 : width;
  const height = Math.min(420, Math.max(220, panel));
  const context = sizedContext(canvas, width, beside ? height : 2 * height);
  [1, 2].forEach((vertical, i) => {
    /** @type {(r: number, point: number) => [number, number]} */
    const place = (r, point) => [data.at(shows, r, point, 0), data.at(shows, r, point, vertical)];
    const points = data.tokens.map((_, point) => point);
    const paths =
      shows === "paths"
        ? points.map((point) => data.where.map((_, r) => place(r, point)))
        : undefined;
    context.save();
    context.translate(beside ? i * (panel + BETWEEN_PLANES) : 0, beside ? 0 : i * height);
    paintPoints(
      context,
      {
        places: points.map((point) => place(row, point)),
        names: data.tokens,
        colours: paints,
        chosen,
        framed: true,
        titles: [axes[0], axes[vertical]],
        paths,
      },
      inks,
      panel,
      height,
    );
    context.restore();
  });
}
