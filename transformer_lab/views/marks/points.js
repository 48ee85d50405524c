// Points in a plane on a canvas; draw_matplotlib.py and draw_plotly.py draw the same mark.

import { fitText, sizedContext } from "../shared/dom.js";

const EDGE = 34; // room for names around the points
const NEAR = 14; // CSS pixels within which a point is hit
const NAMED = 60; // most points for which each is named

/**
 * @typedef {object} PointsMark
 * @property {[number, number][]} places
 * @property {string[]} names
 * @property {boolean[]} [diamonds] whether a point is a diamond instead of a circle
 * @property {string[]} colours
 * @property {number | null} [pointed] the one that is framed
 * @property {number | null} [chosen]
 * @property {number[]} [weights] 0 … 1: sizes of points, and of lines to their mixture
 * @property {[number, number]} [together]
 * @property {[string, string]} [titles] of the axes
 * @property {boolean} [framed] whether each axis has its own scale, along a frame
 * @property {[number, number][][]} [paths] the path to each point
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {PointsMark} mark
 * @param {any} inks of the theme
 * @param {number} width @param {number} height CSS pixels
 * @returns {(x: number, y: number) => number | null} finds the point at a position
 */
export const drawPoints = (canvas, mark, inks, width, height) =>
  paintPoints(sizedContext(canvas, width, height), mark, inks, width, height);

/** Draw points on a canvas that may hold more. @param {CanvasRenderingContext2D} context @param {PointsMark} mark @param {any} inks @param {number} width @param {number} height */
export function paintPoints(context, mark, inks, width, height) {
  const { weights, together, diamonds = [] } = mark;
  const places = [...mark.places, ...(together ? [together] : []), ...(mark.paths ?? []).flat()];
  const { at, zero } = (mark.framed ? framedScale : planeScale)(places, width, height);
  const spots = /** @type {[number, number][]} */ (mark.places.map(at));
  const usual = spots.length > 200 ? 2 : mark.framed ? 4 : 5;
  const radius = (i) =>
    weights
      ? 3 + 14 * Math.sqrt(weights[i])
      : [mark.pointed, mark.chosen].includes(i)
        ? usual + 2
        : usual;
  context.fillStyle = inks.ground;
  context.fillRect(0, 0, width, height);
  context.strokeStyle = inks.line;
  context.textBaseline = "middle";
  if (mark.framed) paintFrame(context, mark.titles, inks, width, height);
  else {
    for (const [from, to] of [
      [
        [0, zero[1]],
        [width, zero[1]],
      ],
      [
        [zero[0], 0],
        [zero[0], height],
      ],
    ])
      strokedLine(context, [from, to]);
    if (mark.titles) {
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = inks.quiet;
      context.fillText(mark.titles[1], zero[0] + 6, 8);
      context.textAlign = "right";
      context.fillText(mark.titles[0], width - 2, zero[1] + 27);
      context.textAlign = "left";
    }
  }
  mark.paths?.forEach((path, i) => {
    const chosen = i === mark.chosen;
    context.strokeStyle = chosen ? inks.accent : mark.colours[i];
    context.globalAlpha = chosen ? 1 : 0.5;
    strokedLine(context, path.map(at), chosen ? 3 : 2);
    context.globalAlpha = 1;
    const [x, y] = at(path[0]); // a square at the start
    context.fillStyle = context.strokeStyle;
    context.fillRect(x - 3, y - 3, 6, 6);
  });
  context.font = "12px ui-monospace, monospace";
  if (together)
    spots.forEach((spot, i) => {
      context.strokeStyle = mark.colours[i];
      context.globalAlpha = 0.35;
      if (weights?.[i]) strokedLine(context, [spot, at(together)], 4 * weights[i]);
      context.globalAlpha = 1;
    });
  spots.forEach(([x, y], i) => {
    const framed = [mark.pointed, mark.chosen].includes(i);
    pointShape(context, x, y, radius(i), diamonds[i]);
    context.fillStyle = mark.colours[i];
    context.globalAlpha = weights ? 0.8 : 1;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = framed ? inks.ink : inks.quiet;
    context.lineWidth = framed ? 2 : 0.5;
    context.stroke();
  });
  if (together) {
    pointShape(context, ...at(together), 7, true);
    context.fillStyle = inks.accent;
    context.fill();
  }
  paintNames(context, mark, spots, radius, inks, width);
  return (x, y) => {
    const far = spots.map(([a, b]) => Math.hypot(a - x, b - y));
    const nearest = far.indexOf(Math.min(...far));
    return far[nearest] <= NEAR ? nearest : null;
  };
}

/** @param {CanvasRenderingContext2D} context @param {PointsMark} mark @param {[number, number][]} spots @param {(i: number) => number} radius @param {any} inks @param {number} width */
function paintNames(context, mark, spots, radius, inks, width) {
  const meant = (i) => [mark.pointed, mark.chosen].includes(i);
  const names = mark.names.map((name) => fitText(context, name, 90));
  const wide = names.map((name) => context.measureText(name).width);
  const shown = spots.map((_, i) => spots.length <= NAMED || meant(i));
  const placed = placedNames(
    spots,
    wide.map((each, i) => (shown[i] ? each : 0)),
    12,
    width,
  );
  context.fillStyle = inks.ink;
  spots.forEach(([x, y], i) => {
    if (!shown[i]) return;
    if (mark.weights) {
      const off = Math.max(10, 0.7 * radius(i) + 6);
      const up = Math.max(8, 0.7 * radius(i) + 4);
      context.fillText(names[i], x + off + wide[i] > width ? x - off - wide[i] : x + off, y - up);
    } else if (placed[i] || meant(i)) {
      const [middle, line] = placed[i]?.at ?? [x + wide[i] / 2 + 9, y];
      context.fillText(names[i], middle - wide[i] / 2, line);
    }
  });
}

/** @type {[string, number, number][]} with plotly's names */
const SIDES = [
  ["middle right", 1, 0],
  ["middle left", -1, 0],
  ["top center", 0, -1],
  ["bottom center", 0, 1],
];

/**
 * Place each name beside its point, without overlapping other names or points; null if there is no
 * room: then pointing shows the name.
 * @param {[number, number][]} spots
 * @param {number[]} wide width of each name; 0: no name
 * @param {number} high
 * @param {number} [within] the width of the picture
 * @returns {({side: string, at: [number, number]} | null)[]} with the middle of the name
 */
export function placedNames(spots, wide, high, within = Infinity) {
  const taken = spots.map(([x, y]) => [x - 4, y - 4, x + 4, y + 4]);
  const free = (box, i) =>
    box[2] <= within &&
    taken.every(
      (b, j) => j === i || box[0] >= b[2] || b[0] >= box[2] || box[1] >= b[3] || b[1] >= box[3],
    );
  return spots.map((spot, i) => {
    if (!wide[i]) return null;
    for (const [side, aside, down] of SIDES) {
      const [x, y] = [spot[0] + aside * (wide[i] / 2 + 8), spot[1] + down * (high / 2 + 8)];
      const box = [x - wide[i] / 2, y - high / 2, x + wide[i] / 2, y + high / 2];
      if (!free(box, i)) continue;
      taken.push(box);
      return { side, at: [x, y] };
    }
    return null;
  });
}

/** A separate scale for each axis. */
function framedScale(places, width, height) {
  const [[left, right], [low, high]] = [0, 1].map((axis) => {
    const ends = [Math.min(...places.map((p) => p[axis])), Math.max(...places.map((p) => p[axis]))];
    const room = (ends[1] - ends[0] || 1) * 0.08;
    return [ends[0] - room, ends[1] + room];
  });
  const at = ([x, y]) => [
    EDGE + ((width - EDGE - 8) * (x - left)) / (right - left),
    height - EDGE - ((height - EDGE - 8) * (y - low)) / (high - low),
  ];
  return { at, zero: at([0, 0]) };
}

function paintFrame(context, titles, inks, width, height) {
  context.lineWidth = 1;
  context.strokeRect(EDGE, 8, width - EDGE - 8, height - EDGE - 8);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = inks.quiet;
  context.textAlign = "center";
  context.fillText(
    fitText(context, titles[0], width - EDGE - 8),
    (width + EDGE - 8) / 2,
    height - EDGE + 16,
  );
  context.save();
  context.translate(14, (height - EDGE + 8) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(fitText(context, titles[1], height - EDGE - 8), 0, 0);
  context.restore();
  context.textAlign = "left";
}

/** The same scale along both axes, with 0 in view. */
function planeScale(places, width, height) {
  const ends = [0, 1].map((axis) => [
    Math.min(0, ...places.map((p) => p[axis])),
    Math.max(0, ...places.map((p) => p[axis])),
  ]);
  const unit = Math.min(
    ...ends.map(([low, high], axis) => ([width, height][axis] - 2 * EDGE) / (high - low || 1)),
  );
  const middle = ends.map(([low, high]) => (low + high) / 2);
  const at = ([x, y]) => [width / 2 + unit * (x - middle[0]), height / 2 - unit * (y - middle[1])];
  return { at, zero: at([0, 0]) };
}

function strokedLine(context, points, thick = 1) {
  context.lineWidth = thick;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function pointShape(context, x, y, r, diamond) {
  context.beginPath();
  if (!diamond) return context.arc(x, y, r, 0, 2 * Math.PI);
  for (const [dx, dy] of [
    [0, -r],
    [r, 0],
    [0, r],
    [-r, 0],
  ])
    context.lineTo(x + 1.2 * dx, y + 1.2 * dy);
  context.closePath();
}
