// A cloud as plotly draws it in space.

import { unmarked } from "../shared/plotly.js";

const NAMED_IN_SPACE = 40;
const MONO_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/** The figure: its traces, and its layout without the camera. */
export function spaceFigure({ data, shows, row, chosen, paints, axes, inks }) {
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
      text: data.tokens.map(unmarked),
      textposition: "top center",
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

/** All paths as one line that is lifted between tokens. */
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

/** Where each path begins. */
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
