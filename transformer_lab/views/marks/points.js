// Points in a plane on a canvas; draw_matplotlib.py and draw_plotly.py draw the same mark.

import { fitText, sizedContext } from "../shared/dom.js";

const EDGE = 34; // room for names around the points
const NEAR = 14; // CSS pixels within which a point is meant
const NAMED = 60; // points up to which each has its name

/**
 * @typedef {object} PointsMark
 * @property {[number, number][]} places
 * @property {string[]} names
 * @property {boolean[]} diamonds those that are diamonds, and not circles
 * @property {string[]} colours
 * @property {number | null} pointed the one that is framed
 * @property {number | null} chosen
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {PointsMark} mark
 * @param {any} inks of the theme
 * @param {number} width @param {number} height CSS pixels
 * @returns {(x: number, y: number) => number | null} the point that is meant there
 */
export function drawPoints(canvas, mark, inks, width, height) {
  const context = sizedContext(canvas, width, height);
  const { at, zero } = planeScale(mark.places, width, height);
  const spots = mark.places.map(at);
  context.fillStyle = inks.ground;
  context.fillRect(0, 0, width, height);
  context.strokeStyle = inks.line;
  for (const [from, to] of [[[0, zero[1]], [width, zero[1]]], [[zero[0], 0], [zero[0], height]]]) strokedLine(context, [from, to]);
  context.font = "12px ui-monospace, monospace";
  context.textBaseline = "middle";
  spots.forEach(([x, y], i) => {
    const framed = [mark.pointed, mark.chosen].includes(i);
    pointShape(context, x, y, framed ? 7 : 5, mark.diamonds[i]);
    context.fillStyle = mark.colours[i];
    context.fill();
    context.strokeStyle = framed ? inks.ink : inks.quiet;
    context.lineWidth = framed ? 2 : 0.5;
    context.stroke();
  });
  spots.forEach(([x, y], i) => {
    if (spots.length > NAMED && ![mark.pointed, mark.chosen].includes(i)) return;
    context.fillStyle = inks.ink;
    const name = fitText(context, mark.names[i], 90);
    const wide = context.measureText(name).width;
    context.fillText(name, x + 9 + wide > width ? x - 9 - wide : x + 9, y);
  });
  return (x, y) => {
    const far = spots.map(([a, b]) => Math.hypot(a - x, b - y));
    const nearest = far.indexOf(Math.min(...far));
    return far[nearest] <= NEAR ? nearest : null;
  };
}

/** The same scale along both axes, with 0 in view. */
function planeScale(places, width, height) {
  const ends = [0, 1].map((axis) => [Math.min(0, ...places.map((p) => p[axis])), Math.max(0, ...places.map((p) => p[axis]))]);
  const unit = Math.min(...ends.map(([low, high], axis) => ([width, height][axis] - 2 * EDGE) / (high - low || 1)));
  const middle = ends.map(([low, high]) => (low + high) / 2);
  const at = ([x, y]) => [width / 2 + unit * (x - middle[0]), height / 2 - unit * (y - middle[1])];
  return { at, zero: at([0, 0]) };
}

function strokedLine(context, points) {
  context.lineWidth = 1;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function pointShape(context, x, y, r, diamond) {
  context.beginPath();
  if (!diamond) return context.arc(x, y, r, 0, 2 * Math.PI);
  for (const [dx, dy] of [[0, -r], [r, 0], [0, r], [-r, 0]]) context.lineTo(x + 1.2 * dx, y + 1.2 * dy);
  context.closePath();
}
