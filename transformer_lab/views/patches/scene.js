// What a PatchView shows: what a patch attends to in every head, over the image.

import { typed, weightOf } from "../shared/codecs.js";
import { messages } from "../shared/messages.js";
import { single } from "../shared/numbers.js";
import { effectSentence, everyHead, fadeControl, overlaid } from "../shared/overlaid.js";
import { editCode, SELECTION, within } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };

export const say = messages(catalogue);
const CELL = 6; // pixels per patch in a thumbnail
const MOST = 192; // with more heads, a still picture shows those of the chosen layer only

/**
 * @typedef {object} Grid
 * @property {number} rows
 * @property {number} columns
 * @property {number} start
 * @property {string[]} labels
 * @property {number[]} heads
 * @property {number} even
 * @property {number} first the query position if none is chosen
 * @property {number[]} padded layers whose windows may reach beyond the picture
 * @property {string | null} others name of the positions that are not patches
 */

/** The position that attends: the chosen one, else the default. */
export const queryOf = (/** @type {any} */ { selected, grid, hover }) =>
  hover?.picture ?? selected?.[0] ?? grid.first;
const rowsOf = (s) => `rows/${queryOf(s)}`;

/** Whether a position is a patch. */
export const isPatch = (i, { start, rows, columns }) => i >= start && i < start + rows * columns;

/** A patch's row and column; null for other positions. @returns {[number, number] | null} */
export const placeOf = (i, grid) =>
  isPatch(i, grid)
    ? [Math.floor((i - grid.start) / grid.columns), (i - grid.start) % grid.columns]
    : null;

const sum = (values) => values.reduce((total, x) => total + x, 0);

/**
 * Values of the sentence about one row.
 * @param {ArrayLike<number>} codes its weights in 16 bits
 * @param {Pick<Grid, "labels" | "start" | "rows" | "columns" | "others">} grid
 * @param {boolean} padded whether its window may reach beyond the image, which then gets some weight
 */
export function lookValues(codes, grid, padded) {
  const weights = Array.from(codes, weightOf);
  const top = weights
    .map((_, i) => i)
    .filter((i) => isPatch(i, grid) && codes[i])
    .sort((a, b) => codes[b] - codes[a] || a - b)
    .slice(0, 3);
  const [a, b, c] = top.map((i) => say("patch", { patch: grid.labels[i], weight: weights[i] }));
  return {
    n: top.length,
    a,
    b,
    c,
    others: grid.others,
    others_share: sum(weights.filter((_, i) => !isPatch(i, grid))),
    beyond: padded ? 1 - sum(weights) : 0,
  };
}

/** One head's weights, [key]. */
function weightsOf({ grid: { heads, labels } }, codes, layer, head) {
  const from = (layer * Math.max(...heads) + head) * labels.length;
  return Float32Array.from(codes.slice(from, from + labels.length), weightOf);
}

/** Those of patches. */
export const patchesOf = (weights, { start, rows, columns }) =>
  weights.subarray(start, start + rows * columns);

/** Every `step`-th pixel of the first rows and columns. */
function pixels({ info: { height, width }, bytes }, step, most = [height, width]) {
  const [tall, wide] = most.map((n) => Math.ceil(n / step));
  const values = new Uint8Array(tall * wide * 3);
  for (let y = 0; y < tall; y++)
    for (let x = 0; x < wide; x++)
      for (let c = 0; c < 3; c++)
        values[(y * wide + x) * 3 + c] = bytes[(y * step * width + x * step) * 3 + c];
  return { shape: [tall, wide, 3], values };
}

/** The chosen head's weights over the image, in a still picture. */
function overlayMark({ grid, layer, head, fade, ...s }, weights, picture) {
  const { rows, columns, labels, start } = grid;
  const { height, width } = picture.info;
  const [row, column] = placeOf(queryOf({ grid, ...s }), grid) ?? [];
  const whole = [height - (height % rows), width - (width % columns)];
  return {
    type: "overlay",
    picture: pixels(picture, 1, whole),
    weights: { shape: [rows, columns], values: patchesOf(weights, grid) },
    says: Array.from({ length: rows }, (_, y) =>
      labels.slice(start + y * columns, start + (y + 1) * columns),
    ),
    fade,
    framed: row === undefined ? null : [column, column + 1, row + 1, row],
    name: say("layer_head", { layer, head }),
  };
}

/** Every head of a still picture, or every head of the chosen layer. */
function thumbnailsMark(s, codes, picture) {
  const { grid, layer, head, fade } = s;
  const { rows, columns, heads } = grid;
  const { height, width } = picture.info;
  const most = Math.max(...heads);
  const layers = heads.length * most > MOST ? [layer] : [...heads.keys()];
  const size = rows * columns;
  const values = new Float32Array(layers.length * most * size).fill(NaN);
  layers.forEach((one, at) => {
    for (let i = 0; i < heads[one]; i++)
      values.set(patchesOf(weightsOf(s, codes, one, i), grid), (at * most + i) * size);
  });
  const patch = Math.min(Math.floor(height / rows), Math.floor(width / columns));
  return {
    type: "thumbnails",
    values: { shape: [layers.length, most, rows, columns], values },
    chosen: [[layers.indexOf(layer), head]],
    picture: pixels(picture, Math.max(1, Math.floor(patch / CELL))),
    fade,
    layers,
  };
}

/** The positions to which the chosen head's edge from here is cut. */
const cutOf = ({ edits, layer, head, ...s }) =>
  edits
    .filter((edit) => edit.edit === "knock_out" && edit.layer === layer && edit.head === head)
    .filter((edit) => edit.query === queryOf(s))
    .map(({ key }) => key);

/** The edits in words, to begin a sentence. */
function editedWords({ edits, grid: { labels } }) {
  const name = (at) => (at === null ? null : labels[at]);
  const words = ({ edit, kind = null, layer = null, head = null, query = null, key = null }) =>
    say("edit", { edit, kind, layer, head, query: name(query), key: name(key) });
  return say("with", { edits: edits.map(words).join(" and ") });
}

/** The panels of a still picture. */
function stillsOf(s, found, weights, others) {
  const picture = found.get("picture");
  const beside = {
    type: "bars",
    values: others.map((i) => weights[i]),
    rows: { labels: others.map((i) => s.grid.labels[i]) },
  };
  const over = overlayMark(s, weights, picture);
  const small = thumbnailsMark(s, found.get(rowsOf(s)).codes, picture);
  return [
    { title: over.name, mark: over, width: 0.42 },
    { title: say("every_head_layer_head"), mark: small, width: 0.42 },
    ...(others.length ? [{ title: say("beside_the_picture"), mark: beside, width: 0.16 }] : []),
  ];
}

function scene(s, found) {
  const { grid, layer, head, far, every, seen } = s;
  const edited = editedWords(s);
  const effect = { ...s.effect, edited };
  const query = queryOf(s);
  const most = Math.max(...grid.heads);
  const { labels } = grid;
  const { codes } = found.get(rowsOf(s));
  const weights = weightsOf(s, codes, layer, head);
  const from = (layer * most + head) * labels.length;
  const look = say("sentence", {
    layer,
    head,
    ...lookValues(codes.slice(from, from + labels.length), grid, grid.padded.includes(layer)),
    query: labels[query],
    distance: far[layer]?.[head] ?? null,
    even: grid.even,
  });
  const places = labels.map((_, i) => placeOf(i, grid));
  const others = labels.map((_, i) => i).filter((i) => !isPatch(i, grid));
  const sentence = effect.rows ? `${look} ${edited}: ${effectSentence(effect)}` : look;
  const where = { layer, head };
  const sizes = { heads: grid.heads.length, max: most, rows: grid.rows, columns: grid.columns };
  return {
    name: rowsOf(s),
    sentence,
    subtitle: say("layers_heads_patches", sizes),
    note: s.note,
    marked: { query: String(query), head: `${layer}.${head}` },
    trials: {
      place: where,
      name: say("layer_head", where),
      effect,
      heads: grid.heads,
      every,
      size: every[layer]?.[head] ?? null,
      unit: s.unit,
      needs: say("a_saved_page_holds"),
    },
    get panels() {
      const still = () => stillsOf(s, found, weights, others);
      const picture = {
        part: "picture",
        title: say("what_it_attends_to"),
        hint: say("click_a_patch_to", { tool: seen.tool ?? "look" }),
        says: say("the_picture_by_patches", { ...sizes, sentence }),
        picture: say("layer_head_from", { ...where, label: labels[query] }),
        asks: say("does_it_matter"),
        mark: { type: "picture" },
        get still() {
          return still().slice(0, 1);
        },
        ...{ grid, others, weights, query, cut: cutOf(s), fade: s.fade },
      };
      const small = {
        says: say("every_head_as_a", { ...sizes, ...where }),
        ...{ over: "picture", counts: grid.heads, also: [] },
        aspect: grid.columns / grid.rows,
        widest: 72,
        weights: (at, one) => weightsOf(s, codes, at, one),
      };
      const heads = everyHead(say, small, () => still().slice(1));
      return [[picture, heads]];
    },
    axes: { key: labels },
    arrays: {
      weight: [["key"], weights, say("is_weight")],
      row: [["key"], (at) => places[at]?.[0], say("is_row")],
      column: [["key"], (at) => places[at]?.[1], say("is_column")],
    },
    columns: {
      key: labels.map((_, i) => i),
      key_token: labels,
      row: places.map((place) => place?.[0] ?? null),
      column: places.map((place) => place?.[1] ?? null),
      weight: Array.from(weights, single),
    },
  };
}

/** Move the cursor; the first key only shows it. */
function move({ grid, ...s }, [down, right]) {
  const { start, rows, columns } = grid;
  const [row, column] = placeOf(queryOf({ grid, ...s }), grid) ?? [];
  const y = row === undefined ? Math.floor(rows / 2) : within(row + down, rows);
  const x = row === undefined ? Math.floor(columns / 2) : within(column + right, columns);
  return { selected: [start + y * columns + x, null] };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "patches",
  ...overlaid(say, (at, { grid, hover }) =>
    hover.picture == null ? say("what_attends_to", { label: grid.labels[at] }) : "",
  ),
  traits: [...SELECTION, "fade", "_effect", "_every", "_edits", "_unit", "_note", "_grid", "_far"],
  texts: { about: ({ grid, every, edits }) => ({ grid, every, edits }) },
  needs: (s, _, wanted = []) => [rowsOf(s), ...(wanted.includes("panels") ? ["picture"] : [])],
  read: (found, name) => (name === "picture" ? found : { codes: typed(Uint16Array, found.bytes) }),
  scene,
  controls: ({ fade }) => [fadeControl(say("weights_over_the_picture"), fade)],
  parts: { picture: { pick: (_, position) => ({ selected: [position, null] }), move } },
  spot: ({ hover }) => (hover.picture == null ? null : { query: hover.picture, key: null }),
  pointed: (_, spot) => (spot?.query == null ? {} : { picture: spot.query }),
  code: ({ layer, head, edits, ...s }) =>
    [
      `view.layer, view.head, view.selected = ${layer}, ${head}, (${queryOf(s)}, None)`,
      ...(edits.length ? [`view.edits = [${edits.map(editCode).join(", ")}]`] : []),
    ].join("\n"),
};
