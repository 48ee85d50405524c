// A cloud in space, for plotly.

import { placedNames } from "../marks/points.js";
import { unmarked } from "../shared/plotly.js";
import { extent } from "./cloud.js";

const NAMED_IN_SPACE = 40;
const MONO_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/** The figure: its traces, and its layout without the camera. */
export function spaceFigure({ data, shows, row, chosen, paints, axes, inks, eye, height }) {
  const points = Array.from({ length: data.n }, (_, i) => i);
  const at = (r, axis) => points.map((p) => data.at(shows, r, p, axis));
  const text = (p) => data.describe(shows, row, p).map(unmarked).join("<br>");
  const named = data.n <= NAMED_IN_SPACE;
  /** @type {Record<string, any>[]} */
  const traces = [
    {
      type: "scatter3d",
      mode: named ? "markers+text" : "markers",
      x: at(row, 0),
      y: at(row, 1),
      z: at(row, 2),
      ...labelsOf({ data, shows, row, eye, height }),
      textfont: { size: 11, color: inks.ink, family: MONO_FONT },
      customdata: points.map(text),
      hovertemplate: "%{customdata}<extra></extra>",
      marker: { size: data.n > 200 ? 3 : 5, color: paints, opacity: 1, line: { width: 0 } },
    },
  ];
  if (shows === "paths")
    traces.push(
      pathsOf({ data, paints, points }),
      startsOf({ data, paints, points }),
      ...(chosen === null ? [] : [chosenPath({ data, chosen, inks })]),
    );
  if (chosen !== null) {
    traces.push({
      type: "scatter3d",
      mode: named ? "markers" : "markers+text",
      text: [unmarked(data.tokens[chosen])],
      textposition: "top center",
      textfont: { size: 13, color: inks.accent, family: MONO_FONT },
      x: [at(row, 0)[chosen]],
      y: [at(row, 1)[chosen]],
      z: [at(row, 2)[chosen]],
      marker: { size: 11, color: inks.accent, symbol: "circle-open", line: { width: 3 } },
      customdata: [text(chosen)],
      hovertemplate: "%{customdata}<extra></extra>",
    });
  }
  const axis = (i) => ({
    title: { text: axes[i], font: { size: 12, color: inks.quiet } },
    color: inks.quiet,
    gridcolor: inks.line,
    zerolinecolor: inks.line,
    tickfont: { size: 10, color: inks.quiet },
    showbackground: false,
    showspikes: false,
  });
  const layout = {
    margin: { l: 0, r: 0, t: 0, b: 0 },
    showlegend: false,
    paper_bgcolor: "transparent",
    hovermode: "closest",
    hoverlabel: {
      bgcolor: inks.ground,
      bordercolor: inks.line,
      font: { color: inks.ink, size: 12 },
      align: "left",
    },
    scene: {
      xaxis: axis(0),
      yaxis: axis(1),
      zaxis: axis(2),
      aspectmode: "cube",
      dragmode: "turntable",
      uirevision: "kept",
    },
    uirevision: "kept",
  };
  return { traces, layout };
}

const LETTER = 7; // pixels of a letter of a label
const FOCUS = 1.2; // distance of the picture plane from the eye, in heights of the picture

/** A label beside each point, placed for the current viewpoint. */
function labelsOf({ data, shows, row, eye, height }) {
  const seen = projected({ data, shows, row, eye, height });
  const placed = placedNames(
    seen,
    data.tokens.map((token) => LETTER * token.length),
    13,
  );
  return {
    // Text in space supports some tags, but no entities.
    text: data.tokens.map((token, i) => (placed[i] ? token.replaceAll("<", "<\u200b") : "")),
    textposition: placed.map((one) => one?.side ?? "top center"),
  };
}

/** Projected positions of points, in pixels from the middle. @returns {[number, number][]} */
function projected({ data, shows, row, eye, height }) {
  const distance = Math.hypot(eye.x, eye.y, eye.z);
  const [x, y, z] = [eye.x / distance, eye.y / distance, eye.z / distance];
  const flat = Math.hypot(x, y) || 1e-9;
  const [right, up] = [
    [-y / flat, x / flat, 0],
    [(-z * x) / flat, (-z * y) / flat, flat],
  ];
  const points = data.tokens.map((_, point) => point);
  const rows = shows === "paths" ? data.where.map((_, r) => r) : [row]; // all of them set the scale of the axes
  const even = [0, 1, 2].map((axis) => {
    const every = rows.flatMap((r) => points.map((point) => data.at(shows, r, point, axis)));
    const [low, high] = extent(every);
    return points.map((p) => (data.at(shows, row, p, axis) - (low + high) / 2) / (high - low || 1));
  });
  return points.map((point) => {
    const along = (way) => way.reduce((sum, part, axis) => sum + part * even[axis][point], 0);
    const scale = (FOCUS * height) / (distance - along([x, y, z]));
    return [along(right) * scale, -along(up) * scale];
  });
}

/** All paths as one line with gaps between tokens. */
function pathsOf({ data, paints, points }) {
  const [x, y, z, color] = [[], [], [], []];
  for (const p of points) {
    for (let r = 0; r < data.rows; r++) {
      x.push(data.at("paths", r, p, 0));
      y.push(data.at("paths", r, p, 1));
      z.push(data.at("paths", r, p, 2));
      color.push(paints[p]);
    }
    for (const list of [x, y, z]) list.push(null);
    color.push(paints[p]);
  }
  return {
    type: "scatter3d",
    mode: "lines",
    x,
    y,
    z,
    line: { color, width: 4 },
    opacity: 0.7,
    hoverinfo: "skip",
  };
}

/** Markers at the start of each path. */
function startsOf({ data, paints, points }) {
  const [x, y, z] = [0, 1, 2].map((axis) => points.map((p) => data.at("paths", 0, p, axis)));
  return {
    type: "scatter3d",
    mode: "markers",
    x,
    y,
    z,
    marker: { size: 4, symbol: "square", color: paints },
    hoverinfo: "skip",
  };
}

function chosenPath({ data, chosen, inks }) {
  const rows = Array.from({ length: data.rows }, (_, r) => r);
  const line = (axis) => rows.map((r) => data.at("paths", r, chosen, axis));
  return {
    type: "scatter3d",
    mode: "lines+markers",
    x: line(0),
    y: line(1),
    z: line(2),
    line: { color: inks.accent, width: 6 },
    marker: { size: 3, color: inks.accent },
    customdata: data.where,
    hovertemplate: `${unmarked(data.tokens[chosen])}, %{customdata}<extra></extra>`,
  };
}
