// What a PatchingView shows: how far each cell of every site moves the metric from one run to the
// other's value, and the chosen cell in words.

import { bytesOf, typed } from "../shared/codecs.js";
import { fixed, messages, withSign } from "../shared/messages.js";
import { within } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const ALIKE = 1e-6; // of the larger metric, as in analysis/patching/results.py
const SEEN = 0.02; // of the scale: a smaller estimate looks white, and hatching would be all one sees
const LARGEST_HEAD = 58; // px, of a head's cell
// Toward the other run, and away from it.
const EFFECTS = { denoising: ["restores", "further"], noising: ["removes", "opposes"] };

/** The metric: in words, and in the run that is patched and the one patched in. */
export function metricOf(description, direction, into, source) {
  const size = Math.abs(source - into);
  const alike = size <= ALIKE * Math.max(1, Math.abs(source));
  const sign = source < into && !alike ? -1 : 1; // of a change toward the other run
  return { description, direction, into, source, size, alike, sign };
}

/** A number with as many decimals as the difference between the runs calls for. */
const amountOf = ({ size }, x) => fixed(x, size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);

/** A sentence on the effect of a cell; its place is a head, or the position of its label in the clean prompt. */
export function spotOf(metric, { exact, estimate, ...cell }) {
  const [measured, estimated] = [exact, estimate].map((x) => x !== null && !Number.isNaN(x));
  const amount = (x) => amountOf(metric, metric.sign * x);
  const x = amount(measured ? exact : estimate);
  const effect = metric.alike ? "changes" : EFFECTS[metric.direction][Number(x.startsWith("−"))];
  return say("spot", {
    ...cell,
    whole: amountOf(metric, metric.size),
    measured,
    both: measured && estimated,
    effect: measured || estimated ? effect : null,
    x: metric.alike ? x : x.replace("−", ""),
    estimate: amount(estimate),
  });
}

/** The grids of a direction. Of a site: `group`, how many heads share a column, or 0 for positions; by cell, row by row, what is known; `cells` that exist, and those `left` to measure. */
export function gridsOf({ sites, exact, estimates }, direction) {
  const known = [exact, estimates].map((given) => typed(Float32Array, bytesOf(given)));
  let from = direction === "noising" ? known[0].length / 2 : 0;
  return sites.map(({ site, places, there, group }) => {
    const shape = [there.length, places];
    const [exact, estimate] = known.map((of) => of.subarray(from, from + places * there.length));
    const cells = there.flatMap((n, row) => Array.from({ length: n }, (_, i) => row * places + i));
    const isLeft = (cell) => Number.isNaN(exact[cell]);
    const values = exact.map((x, cell) => (isLeft(cell) ? estimate[cell] : x));
    from += values.length;
    return {
      ...{ site, group, shape, exact, estimate, values, cells, isLeft },
      start: from - values.length,
      left: cells.filter(isLeft),
      axis: group === 0 ? "position" : group === 1 ? "head" : "key_value_head",
    };
  });
}

/** The row and column of a cell. */
export const placeOf = ({ shape }, cell) => [Math.floor(cell / shape[1]), cell % shape[1]];

/** What is on view: every grid, the chosen one and its chosen cell, and the metric; null while Python works on it. */
export function deskOf(s) {
  const { site, direction, pair, selected, layer, head } = s;
  const grids = gridsOf(s, direction);
  const grid = grids.find((one) => one.site === site);
  const runs = direction === "denoising" ? ["clean", "corrupted"] : ["corrupted", "clean"];
  const metric = s.runs[direction] ? metricOf(pair.metric, direction, ...s.runs[direction]) : null;
  const sizes = () => grids.flatMap(({ values }) => Array.from(values, (x) => Math.abs(x) || 0));
  const query = pair.places.findIndex(([clean]) => clean === selected?.[0]);
  const [rows, columns] = grid.shape;
  const column = grid.group ? Math.floor(head / grid.group) : query < 0 ? columns - 1 : query;
  const at = { row: within(layer, rows), column: within(column, columns) };
  const cell = at.row * columns + at.column;
  const end = metric?.alike ? sizes().reduce((a, b) => Math.max(a, b)) || 1 : (metric?.size ?? 1);
  const tokens = pair.places.map(([place]) => pair.clean[place]);
  return { ...pair, grids, grid, runs, about: pair.metric, metric, at, cell, end, tokens };
}

/** A cell in words. */
function spotAt({ grid, metric, tokens, places }, { row, column }) {
  const { site, group, exact, estimate, shape } = grid;
  const cell = row * shape[1] + column;
  const where = group
    ? { place: column, label: "" }
    : { place: places[column][0], label: tokens[column] };
  const known = { exact: exact[cell], estimate: estimate[cell] };
  return metric ? spotOf(metric, { site, layer: row, shared: group > 1, ...where, ...known }) : "";
}

function sentenceOf(desk) {
  const { metric, runs, at } = desk;
  if (!metric) return say("running_the_other_direction");
  const [source, into] = runs;
  return say("sentence", {
    [source]: amountOf(metric, metric.source),
    [into]: amountOf(metric, metric.into),
    metric: metric.description,
    alike: metric.alike,
    source,
    into,
    spot: spotAt(desk, at),
  });
}

const counted = ({ cells, left }) =>
  say("of_measured", { measured: cells.length - left.length, cells: cells.length });

/** A site's grid, on the scale of all; estimates are hatched. */
function panelOf({ grid, metric, runs, at, end, tokens }, one) {
  const { site, group, shape, values, estimate, isLeft, axis } = one;
  const numbers = (n) => Array.from({ length: n }, (_, i) => String(i));
  const rows = numbers(shape[0]);
  const mark = {
    type: "matrix",
    name: say("site", { site }),
    values: { shape, values },
    rows: { title: say("layer_axis"), labels: rows },
    columns: group
      ? { title: axis.replaceAll("_", " "), labels: numbers(shape[1]) }
      : { title: axis, labels: tokens, tokens: true },
    means: one === grid ? say("toward", { run: runs[0] }) : "",
    end,
    signed: true,
    flipped: metric?.sign === -1,
    get says() {
      const how = (cell) => (isLeft(cell) ? say("an_estimate") : say("measured"));
      const said = Array.from(values, (x, cell) => `${withSign(x, 4)}, ${how(cell)}`);
      return rows.map((_, row) => said.slice(row * shape[1], (row + 1) * shape[1]));
    },
    hatched: {
      shape,
      values: Array.from(estimate, (x, i) => isLeft(i) && Math.abs(x) >= SEEN * end),
    },
    chosen: one === grid ? [at.row, at.column] : null,
  };
  return { title: `${mark.name} · ${counted(one)}`, mark };
}

/** The panel of the chosen site. */
function chosenPanel(desk, pointed, sentence) {
  const { grid, metric, runs, end, at } = desk;
  const { site, group, shape, values, cells, left, estimate, isLeft } = grid;
  const [there, places] = shape;
  const hint = say("hint", { site });
  const head = group > 1 ? say("key_value_head") : say("head_word");
  const part = group ? say("heads") : say("positions");
  const still = panelOf(desk, grid);
  const notes = [
    left.some((cell) => !Number.isNaN(estimate[cell])) && say("hatched_estimates_by_attribution"),
    cells.some((cell) => Math.abs(values[cell]) > 1.005 * end) && say("some_cells_are_beyond"),
  ];
  const largest = group ? LARGEST_HEAD : 34;
  return {
    part: "map",
    title: still.mark.name,
    hint: say("layer", { hint, part: group ? head : say("position") }),
    says: say("layers_by_arrow_keys", { hint, there, places, part, sentence }),
    picture: hint,
    mark: still.mark,
    still: [still],
    hover: pointed,
    line: [spotAt(desk, pointed ?? at)],
    size: [
      group ? 46 + LARGEST_HEAD * places : Infinity,
      Math.min(464, Math.max(12 * there, largest * Math.min(there, 8))),
    ],
    write(x, row, column) {
      if (row === undefined) return x ? amountOf(metric, x) : "0";
      if (!isLeft(row * places + column)) return amountOf(metric, x);
      return Math.abs(x) < 0.005 * end ? "" : `≈${amountOf(metric, x)}`;
    },
    means: metric
      ? metric.alike
        ? say("change_of_the_metric")
        : say("change_toward_the_run", { run: runs[0] })
      : "",
    note: notes.filter(Boolean).join(""),
    free: left.includes(desk.cell),
    here: left.length,
  };
}

/** The panel to choose a site in. */
const sitesPanel = (desk) => ({
  part: "sites",
  title: say("every_site"),
  hint: say("layer_position_or_head"),
  mark: { type: "sites" },
  site: desk.grid.site,
  sites: desk.grids.map((one) => ({
    ...one,
    name: say("site", one),
    hint: say("hint", one),
    shares: one.values.map((x) => (x * (desk.metric?.sign ?? NaN)) / desk.end),
    count:
      one.left.length < one.cells.length
        ? counted(one)
        : say("estimates", { cells: one.cells.length }),
  })),
  get still() {
    return desk.grids.filter((one) => one !== desk.grid).map((one) => panelOf(desk, one));
  },
});

function filesOf({ grids, grid, runs, about, tokens }) {
  const [source, into] = runs;
  const arrays = {};
  const axes = { position: tokens };
  for (const one of [grid, ...grids.filter((one) => one !== grid)]) {
    const { site, axis, shape } = one;
    axes.layer = [...Array(shape[0]).keys()];
    if (axis !== "position") axes[axis] = [...Array(shape[1]).keys()];
    for (const way of /** @type {const} */ (["exact", "estimate"])) {
      const means = say("is_effect", { description: about, site, source, into, way });
      arrays[one === grid ? way : `${way}_${site}`] = [["layer", axis], one[way], means];
    }
  }
  return { axes, arrays };
}

/** Who measures, in a page without a kernel. */
function noteOf({ saved, carried: { travels, bits, note } }) {
  if (!saved) return "";
  if (!travels) return say("this_page_has_no");
  const here = say("a_click_measures_a");
  return bits ? say("with_the_weights_rounded", { here, bits, note }).trim() : `${here}.`;
}

function scene(s) {
  const desk = deskOf(s);
  const { grids, grid, at } = desk;
  const place = [grid.site, at.row, at.column];
  const sentence = sentenceOf(desk);
  const { places, aligned } = s.pair;
  const [all, left] = ["cells", "left"].map((of) => grids.flatMap((one) => one[of]).length);
  return {
    name: grid.site,
    place,
    sentence,
    subtitle: say("layers_positions_paired", {
      there: grid.shape[0],
      places: places.length,
      aligned,
    }),
    note: [noteOf(s), s.note].filter(Boolean).join(" "),
    get panels() {
      const mark = { type: "prompts" };
      const on = grid.group ? null : places[at.column][0];
      return [
        [{ part: "prompts", title: "", mark, still: [], pair: s.pair, on }],
        [{ ...chosenPanel(desk, s.hover.map, sentence), all, left }],
        [sitesPanel(desk)],
      ];
    },
    marked: { cell: place.join("."), direction: s.direction, measured: String(all - left) },
    ...filesOf(desk),
  };
}

/** Choose a cell. */
function pick(s, { row, column }) {
  const { group } = deskOf(s).grid;
  return group
    ? { layer: row, head: column * group }
    : { layer: row, selected: [s.pair.places[column][0], null] };
}

/** Choose another site, at the same head or position; if no position is chosen, at the cell with the largest change. */
function pickSite(s, site) {
  const { grid } = deskOf({ ...s, site });
  if (grid.group || s.selected) return { site };
  const size = (cell) => Math.abs(grid.values[cell]) || 0;
  const most = grid.cells.reduce((a, b) => (size(b) > size(a) ? b : a));
  const [row, column] = placeOf(grid, most);
  return { site, ...pick({ ...s, site }, { row, column }) };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "patching",
  say,
  bare: true,
  traits: [
    ...["layer", "head", "selected", "site", "direction", "_sites", "_pair", "_runs"],
    ...["_estimates", "_exact", "_code", "_carried", "_note"],
  ],
  needs: () => [],
  scene,
  parts: {
    map: {
      pick,
      move(s, [down, right]) {
        const { at, grid } = deskOf(s);
        const [rows, columns] = grid.shape;
        const [row, column] = [within(at.row + down, rows), within(at.column + right, columns)];
        return pick(s, { row, column });
      },
    },
    prompts: { pick: (_, clean) => ({ selected: [clean, null] }) },
    sites: { pick: pickSite },
  },
  controls: ({ direction }) => [
    {
      part: "direction",
      label: say("put"),
      chosen: direction,
      choices: [
        { value: "denoising", text: say("clean_corrupted_word"), name: say("the_clean_run_into") },
        { value: "noising", text: say("corrupted_clean"), name: say("the_corrupted_run_into") },
      ],
    },
  ],
  failed: (_, why) => why,
  part: ({ site }) => site,
  code(s) {
    const { at } = deskOf(s);
    const [site, direction] = [s.site, s.direction].map((x) => JSON.stringify(x));
    const into = s.direction === "denoising" ? "corrupted" : "clean";
    return [
      `${s.code}, sites=${site}, direction=${direction})`,
      `edit = grids.edit_of(${site}, ${at.row}, ${at.column})`,
      `with tl.edit(model, edit):\n    patched = tl.trace(model, ${into})`,
    ].join("\n");
  },
};
