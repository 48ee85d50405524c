// Queries and keys of a head, or its values and outputs, as points in a plane.

import { messages } from "../shared/messages.js";
import { SELECTION } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const SIDES = { scores: ["queries", "keys"], values: ["outputs", "values"] };
const COLOURS = { token: "category", position: "number", attention: "weight" };

const headOf = ({ kind, layer, head }) => `${kind}/${layer}/${head}`;
const planeOf = (s) => `plane/${headOf(s)}`;
const rowOf = (s) => `row/${headOf(s)}/${queryOf(s)}`;
const queryOf = ({ selected, size }) =>
  selected?.[0] == null ? null : Math.min(selected[0], size.queries - 1);

/** A head's plane, as `CloudView._part_named` packs it. */
function read({ info, numbers }, name, { kinds }) {
  if (name.startsWith("row/")) return numbers;
  const { queries, keys } = kinds[info.kind];
  let at = 0;
  const take = (n) => numbers.subarray(at, (at += n));
  const pairs = (n) => Array.from({ length: n }, () => Array.from(take(2)));
  const counts = { queries, keys, values: keys, outputs: queries };
  const places = Object.fromEntries(Object.entries(counts).map(([side, n]) => [side, pairs(n)]));
  const received = take(keys);
  const pattern = at < numbers.length ? take(queries * keys) : null; // a long text's rows are apart
  return { info, places, received, pattern };
}

/** What the chosen query attends to; null if there is none, or not yet. */
function weightsOf(s, plane, found) {
  const query = queryOf(s);
  const { keys } = s.size;
  if (query === null) return null;
  return plane.pattern?.subarray(query * keys, (query + 1) * keys) ?? found.get(rowOf(s)) ?? null;
}

function scene(s, found) {
  const plane = found.get(planeOf(s));
  const { info, places } = plane;
  const { queries, query_tokens: queryTokens, key_tokens: keyTokens } = s.size;
  const query = queryOf(s);
  const row = weightsOf(s, plane, found);
  const sides = SIDES[s.shows];
  const groups = sides.map((group) => say("group", { group }));
  const names = [...queryTokens, ...keyTokens];
  const weights = [...queryTokens.map(() => null), ...(row ?? plane.received)];
  const known = [...new Set([...keyTokens, ...queryTokens])];
  const shades = {
    token: names.map((token) => known.indexOf(token)),
    position: names.map((_, i) => (i < queries ? i : i - queries)),
    attention: weights,
  };
  const at = Object.keys(SIDES).indexOf(s.shows);
  const best = row ? row.indexOf(Math.max(...row)) : 0;
  const points = sides.flatMap((side) => places[side]);
  const mark = {
    type: "points",
    places: { shape: [names.length, 2], values: points.flat() },
    names,
    sizes: names.map(() => 0.1),
    groups: names.map((_, i) => groups[i < queries ? 0 : 1]),
    shades: shades[s.colour],
    shades_by: COLOURS[s.colour],
    shades_mean: s.colour,
    picked: query,
  };
  const hint = say(`${s.shows}_hint`);
  const of = { query: row && names[query ?? 0], position: query ?? 0 };
  const token = s.hover.cloud ?? -1;
  const key = token - queries;
  const sentence = say("sentence", {
    ...s,
    kept: info.kept[at],
    chance: info.chance[at],
    query: of.query,
    position: of.position,
    key: keyTokens[best],
    at: best,
    weight: row?.[best] ?? 0,
  });
  return {
    name: planeOf(s),
    sentence,
    panels: [
      [
        {
          part: "cloud",
          title: say(s.shows),
          hint: `◆ ${groups[0]} · ● ${groups[1]}: ${hint}`,
          says: say("canvas", { sentence }),
          mark,
        },
      ],
    ],
    readout:
      token < 0
        ? null
        : [
            say("point", {
              group: sides[key < 0 ? 0 : 1],
              token: names[token],
              position: key < 0 ? token : key,
              weight: key < 0 || !row ? null : row[key],
              query: of.query ?? "",
            }),
          ],
    axes: { point: names },
    arrays: {
      side: [["point"], mark.groups, say("side")],
      x: [["point"], points.map(([x]) => x), hint],
      y: [["point"], points.map(([, y]) => y), hint],
      [row ? "weight" : "received"]: [["point"], weights, say("weight", of)],
    },
  };
}

/** The choice after a click on a point, or on nothing. */
function pick({ selected, size: { queries } }, at) {
  const [query, key] = selected ?? [null, null];
  const other = (old, now) => (old === now ? null : now);
  if (at === null) return { selected: null };
  const next = at < queries ? [other(query, at), null] : [query, other(key, at - queries)];
  return { selected: next.some((x) => x !== null) ? next : null };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "cloud",
  say,
  traits: [...SELECTION, "shows", "colour"],
  needs(s, found) {
    const rows = queryOf(s) !== null && found.get(planeOf(s))?.pattern === null;
    return [planeOf(s), ...(rows ? [rowOf(s)] : [])];
  },
  read,
  scene,
  parts: { cloud: { pick, size: [720, 480] } },
  controls: (s) =>
    Object.entries({ shows: SIDES, colour: COLOURS }).map(([part, values]) => ({
      part,
      label: say(`choose_${part}`),
      chosen: s[part],
      choices: Object.keys(values).map((value) => ({ value, text: say(value) })),
    })),
  spot({ hover: { cloud = null }, size: { queries } }) {
    if (cloud === null) return null;
    return cloud < queries ? { query: cloud, key: null } : { query: null, key: cloud - queries };
  },
  pointed({ size }, spot) {
    const at = spot?.query ?? (spot?.key != null ? size.queries + spot.key : null);
    return at === null ? {} : { cloud: at };
  },
  failed(name, why, { kinds }) {
    const [what, kind, layer, head, at] = name.split("/");
    if (what === "plane") return say("failed", { layer, head, why });
    return say("no_row", { query: kinds[kind].query_tokens[at], at: Number(at), why });
  },
  code: (s) => `view.plane  # ${planeOf(s)}`,
};
