// Vectors as points in their first three principal components.

import { messages, percentText } from "../shared/messages.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const WAYS = {
  layer: [say("this_layer"), say("components_of_this_layer")],
  paths: [say("paths_through_the_layers"), say("components_of_all_layers")],
  random: [say("a_random_cloud"), say("random_directions_of_the")],
};
const AXES = [0, 1, 2];
const [KEPT, NORM, COLUMNS] = [3, 4, 5]; // after x, y and z

const nameOf = ({ shows, row }) => `${shows}/${shows === "paths" ? 0 : row}`;
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** The token of a point in views of the text. */
export const tokenOf = ({ kind, points }, point) =>
  kind === "points" ? point : points.positions[point];

/** The point of a selection, or null. */
export function pointOf({ kind, points }, pair) {
  const token = pair?.[0] ?? (kind === "cross" ? null : pair?.[1]) ?? -1;
  const point = kind === "points" ? token : points.positions.indexOf(token);
  return point >= 0 && point < points.tokens.length ? point : null;
}

/** Components of the points and of the control, and the numbers of each point in a row. */
function read({ info, numbers }, _, { points: { tokens } }) {
  const [own, chance] = info.shares;
  const at = (row, point, column) => numbers[(row * tokens.length + point) * COLUMNS + column];
  const places = (row) => tokens.flatMap((_, point) => AXES.map((axis) => at(row, point, axis)));
  const every = (row, column) => tokens.map((_, point) => at(row, point, column));
  return { own, chance, lone: info.lone, places, every };
}

/** About the points, and one of them if it is not null. */
function sentenceOf(s, { own, chance, lone, kept, norms }, point) {
  const { tokens, positions, where, sample } = s.points;
  const [at, share] = lone ?? [0, 0];
  const [first, second, third] = own;
  const i = point ?? 0;
  return say("sentence", {
    shows: s.shows,
    where: where[s.row],
    layers: where.length - 1,
    points: tokens.length,
    sample: sample || null,
    whole: sum(own),
    first,
    second,
    third,
    chance: sum(chance),
    lone: lone && tokens[at],
    lone_at: positions[at],
    lone_share: share,
    token: point === null ? null : tokens[i],
    position: positions[i],
    kept: kept[i],
    norm: norms[i],
  });
}

/** What components hold, beside chance. */
function tableOf(one, { own, chance }) {
  const row = (name, shares) => [name, ...[...shares, sum(shares)].map((x) => percentText(x))];
  return {
    caption: say("fraction_of_the_variance"),
    names: ["", say("st"), say("nd"), say("rd"), say("together")],
    rows: [row([say("these_s", { one })], own), row([say("random_directions")], chance)],
  };
}

function scene(s, found) {
  const { points, shows, row, colour, hover } = s;
  const { tokens, positions, where } = points;
  const answer = found.get(nameOf(s));
  const at = shows === "paths" ? row : 0;
  const [norms, kept] = [answer.every(at, NORM), answer.every(at, KEPT)];
  const cloud = { ...answer, norms, kept };
  const shares = shows === "random" ? cloud.chance : cloud.own;
  const paths = shows === "paths" ? where.flatMap((_, step) => cloud.places(step)) : null;
  const chosen = pointOf(s, s.selected);
  const one = where[0] === "vectors" ? "vector" : "token";
  const shape = [tokens.length, 3];
  const numbers = Int32Array.from(positions);
  const colours = { ...points, token: tokens, position: numbers, length: norms }[colour];
  const mark = {
    type: "space",
    places: { shape, values: cloud.places(at) },
    names: tokens,
    says: tokens.map(
      (token, i) =>
        `“${token}” (${positions[i]})\n${say("point", { norm: norms[i], kept: kept[i] })}`,
    ),
    axes: shares.map((share, i) => say("component", { i: i + 1, share })),
    colours: [...colours],
    colours_mean: colour,
    paths: paths && { shape: [where.length, ...shape], values: paths },
    steps: where,
    chosen,
  };
  const text = sentenceOf(s, cloud, chosen);
  const start = paths ? say("squares_before_the_first") : "";
  const of = (values, means) => [["point"], values, means];
  const components = shares.map((share, i) => {
    const means = say("is_component", { component: i + 1, share: String(+share.toPrecision(6)) });
    return [`component_${i + 1}`, of(cloud.every(at, i), means)];
  });
  return {
    name: nameOf(s),
    sentence: hover.cloud == null ? text : sentenceOf(s, cloud, hover.cloud),
    point: chosen,
    panels: [
      [
        {
          part: "cloud",
          title: "",
          picture: WAYS[shows][1],
          hint: say("drag_or_arrow_keys", { one }),
          says: say("a_cloud_of_points", { n: tokens.length, text, one }),
          table: tableOf(one, cloud),
          mark,
        },
      ],
    ],
    readout: [{ quiet: start + say("try", { one }) }],
    marked: { selected: chosen === null ? "" : String(tokenOf(s, chosen)), row: String(row) },
    axes: { point: tokens, ...(paths && { row: where, component: [1, 2, 3] }) },
    arrays: {
      ...Object.fromEntries(components),
      position: of(numbers, say("is_position")),
      length: of(norms, say("is_length")),
      kept: of(kept, say("is_kept")),
      [`colour_${colour}`]: of(colours, say("is_colour", { colour })),
      ...(paths && { path: [["row", "point", "component"], paths, say("is_path")] }),
    },
  };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "embeddings",
  say,
  traits: ["kind", "selected", "row", "shows", "colour", "_points", "_choices"],
  needs: (s) => [nameOf(s)],
  read,
  scene,
  controls: ({ shows, colour, choices }) => [
    {
      part: "shows",
      label: say("show"),
      chosen: shows,
      choices: choices.shows.map((value) => ({
        value,
        text: choices.row.length < 2 && value === "layer" ? say("the_embeddings") : WAYS[value][0],
        name: WAYS[value][1],
      })),
    },
    {
      part: "colour",
      label: say("colour_by"),
      chosen: colour,
      choices: choices.colour.map((value) => ({ value, text: value })),
    },
  ],
  spot: (s) => (s.hover.cloud == null ? null : { query: tokenOf(s, s.hover.cloud), key: null }),
  pointed(s, spot) {
    const point = spot ? pointOf(s, [spot.query, spot.key]) : null;
    return point === null ? {} : { cloud: point };
  },
  failed: (_, why) => say("failed", { why }),
  code: ({ shows, row }) => `view.shows = "${shows}"; view.row = ${row}; view.coordinates()`,
};
