// A cloud in space, for plotly, and on a canvas.

import { paintPoints, placedNames } from "../marks/points.js";
import { sizedContext } from "../shared/dom.js";
import { unmarked } from "../shared/plotly.js";

const NAMED_IN_SPACE = 40;
const BETWEEN_PLANES = 34;
const MONO_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

const tripleAt = (flat, i) => flat.slice(3 * i, 3 * i + 3);

/** Points of three numbers each. @param {number[]} flat @returns {number[][]} */
const triples = (flat) => Array.from({ length: flat.length / 3 }, (_, i) => tripleAt(flat, i));

/** The places of a point in each row, flat. @returns {number[]} */
const pathOf = ({ paths, names, steps }, point) =>
  steps.flatMap((_, row) => tripleAt(paths.values, row * names.length + point));

/** Coordinates as plotly takes them. @param {(number | null)[]} flat */
const xyz = (flat) =>
  Object.fromEntries(
    ["x", "y", "z"].map((name, i) => [name, flat.filter((_, at) => at % 3 === i)]),
  );

/** The figure: its traces, and its layout without the camera. */
export function spaceFigure({ mark, paints, inks, eye, height }) {
  const { places, names, says, chosen, paths, axes } = mark;
  const texts = says.map((text) => unmarked(text).replace("\n", "<br>"));
  const named = names.length <= NAMED_IN_SPACE;
  const hovertemplate = "%{customdata}<extra></extra>";
  /** @type {any[]} */
  const traces = [
    {
      mode: named ? "markers+text" : "markers",
      ...xyz(places.values),
      ...labelsOf(mark, eye, height),
      textfont: { size: 11, color: inks.ink, family: MONO_FONT },
      customdata: texts,
      hovertemplate,
      marker: { size: names.length > 200 ? 3 : 5, color: paints },
    },
  ];
  if (paths) traces.push(...pathsOf(mark, paints, inks));
  if (chosen !== null)
    traces.push({
      mode: named ? "markers" : "markers+text",
      text: [unmarked(names[chosen])],
      textposition: "top center",
      textfont: { size: 13, color: inks.accent, family: MONO_FONT },
      ...xyz(tripleAt(places.values, chosen)),
      marker: { size: 11, color: inks.accent, symbol: "circle-open", line: { width: 3 } },
      customdata: [texts[chosen]],
      hovertemplate,
    });
  return {
    traces: traces.map((one) => ({ type: "scatter3d", ...one })),
    layout: layoutOf(axes, inks),
  };
}

function layoutOf(axes, inks) {
  const axis = (text) => ({
    title: { text, font: { size: 12 } },
    color: inks.quiet,
    gridcolor: inks.line,
    zerolinecolor: inks.line,
    tickfont: { size: 10 },
    showbackground: false,
    showspikes: false,
  });
  const [xaxis, yaxis, zaxis] = axes.map(axis);
  const scene = { xaxis, yaxis, zaxis, aspectmode: "cube", dragmode: "turntable" };
  return {
    margin: { l: 0, r: 0, t: 0, b: 0 },
    showlegend: false,
    paper_bgcolor: "transparent",
    hoverlabel: {
      bgcolor: inks.ground,
      bordercolor: inks.line,
      font: { color: inks.ink, size: 12 },
      align: "left",
    },
    scene,
    uirevision: "kept",
  };
}

const LETTER = 7; // pixels of a letter of a label
const FOCUS = 1.2; // distance of the picture plane from the eye, in heights of the picture

/** A label beside each point, placed for the current viewpoint. */
function labelsOf(mark, eye, height) {
  const { names } = mark;
  const wide = names.map((name) => LETTER * name.length);
  const placed = placedNames(projected(mark, eye, height), wide, 13);
  return {
    // Text in space supports some tags, but no entities.
    text: names.map((name, i) => (placed[i] ? name.replaceAll("<", "<\u200b") : "")),
    textposition: placed.map((one) => one?.side ?? "top center"),
  };
}

/** @param {number[]} numbers @returns {[number, number]} */
export function extent(numbers) {
  let [low, high] = [Infinity, -Infinity];
  for (const x of numbers) [low, high] = [Math.min(low, x), Math.max(high, x)];
  return [low, high];
}

/** Projected positions of points, in pixels from the middle. @returns {[number, number][]} */
function projected({ places, paths }, eye, height) {
  const distance = Math.hypot(eye.x, eye.y, eye.z);
  const [x, y, z] = [eye.x / distance, eye.y / distance, eye.z / distance];
  const flat = Math.hypot(x, y) || 1e-9;
  const right = [-y / flat, x / flat, 0];
  const up = [(-z * x) / flat, (-z * y) / flat, flat];
  const ends = Object.values(xyz((paths ?? places).values)).map(extent); // paths set the scale
  return triples(places.values).map((place) => {
    const even = place.map((at, axis) => {
      const [low, high] = ends[axis];
      return (at - (low + high) / 2) / (high - low || 1);
    });
    const along = (way) => way.reduce((sum, part, axis) => sum + part * even[axis], 0);
    const scale = (FOCUS * height) / (distance - along([x, y, z]));
    return [along(right) * scale, -along(up) * scale];
  });
}

/** All paths as one line with gaps between tokens, a marker at the start of each, and the chosen one. */
function pathsOf(mark, paints, inks) {
  const { names, steps, paths, chosen } = mark;
  const gap = [null, null, null];
  const traces = [
    {
      mode: "lines",
      ...xyz(names.flatMap((_, point) => [...pathOf(mark, point), ...gap])),
      line: { color: paints.flatMap((paint) => [paint, ...steps.map(() => paint)]), width: 4 },
      opacity: 0.7,
      hoverinfo: "skip",
    },
    {
      mode: "markers",
      ...xyz(paths.values.slice(0, 3 * names.length)),
      marker: { size: 4, symbol: "square", color: paints },
      hoverinfo: "skip",
    },
  ];
  const own = {
    mode: "lines+markers",
    ...xyz(chosen === null ? [] : pathOf(mark, chosen)),
    line: { color: inks.accent, width: 6 },
    marker: { size: 3, color: inks.accent },
    customdata: steps,
    hovertemplate: `${unmarked(names[chosen ?? 0])}, %{customdata}<extra></extra>`,
  };
  return chosen === null ? traces : [...traces, own];
}

/**
 * Position of the eye after a rotation around the vertical axis, and up or down.
 * @param {{x: number, y: number, z: number}} eye
 * @param {number} around radians
 * @param {number} up radians
 * @param {number} [nearer] factor of the distance
 */
export function turned({ x, y, z }, around, up, nearer = 1) {
  const distance = Math.hypot(x, y, z) * nearer;
  const angle = Math.atan2(y, x) + around;
  const height = Math.max(-1.5, Math.min(1.5, Math.atan2(z, Math.hypot(x, y)) + up));
  return {
    x: distance * Math.cos(height) * Math.cos(angle),
    y: distance * Math.cos(height) * Math.sin(angle),
    z: distance * Math.sin(height),
  };
}

/**
 * Two projections: for files, and for browsers that cannot draw in space.
 * @param {HTMLCanvasElement} canvas
 * @param {any} mark of the scene
 * @param {string[]} paints the colour of each point
 * @param {any} inks
 * @param {number} width
 */
export function drawFlat(canvas, mark, paints, inks, width) {
  const beside = width >= 560;
  const panel = beside ? (width - BETWEEN_PLANES) / 2 : width;
  const height = Math.min(420, Math.max(220, panel));
  const context = sizedContext(canvas, width, beside ? height : 2 * height);
  [1, 2].forEach((vertical, i) => {
    const plane = (flat) => triples(flat).map((place) => [place[0], place[vertical]]);
    const drawn = {
      places: plane(mark.places.values),
      names: mark.names,
      colours: paints,
      chosen: mark.chosen,
      framed: true,
      titles: [mark.axes[0], mark.axes[vertical]],
      paths: mark.paths && mark.names.map((_, point) => plane(pathOf(mark, point))),
    };
    context.save();
    context.translate(beside ? i * (panel + BETWEEN_PLANES) : 0, beside ? 0 : i * height);
    paintPoints(context, /** @type {any} */ (drawn), inks, panel, height);
    context.restore();
  });
}
