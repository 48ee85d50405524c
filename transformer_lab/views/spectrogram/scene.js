// What a SpectrogramView shows: when a word attends to a sound, and the spectrogram with the weights.

import { messages, NOTHING, quoted } from "../shared/messages.js";
import { EVEN } from "../shared/map_sentences.js";
import { effectSentence, everyHead, fadeControl, overlaid } from "../shared/overlaid.js";
import { sameEdit, SELECTION, within } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const WIDE = 4; // a stretch longer than 1 / WIDE of the sound is not localised
const MOST = 192; // with more heads, a still picture shows those of the chosen layer only
const SMALL = [72, 30]; // pixels of a thumbnail

/**
 * @typedef {object} Sound
 * @property {string[]} words of the answer
 * @property {number} positions
 * @property {number[]} heads of each layer
 * @property {number} first the query word if none is chosen
 * @property {[string, number, boolean][]} next of each word: the one after it, its probability, whether it was given
 * @property {number} hop seconds from one frame to the next
 * @property {number} step seconds from one position to the next
 * @property {number} frames
 * @property {number} bins
 * @property {number} seconds length of the model's audio input
 * @property {number} end when the sound ends and silence begins
 * @property {[number, string][]} ticks height of some frequencies, 0 … 1, and their names
 * @property {number} low
 * @property {number} high the least and the largest number of the frames
 */

/**
 * The largest weight in each of `width` columns of the time 0 … `shown`; a position extends half a
 * step to both sides of its middle.
 * @param {ArrayLike<number>} weights
 * @param {number} shown
 * @param {number} step
 * @param {number} width
 */
export function weightColumns(weights, shown, step, width) {
  const found = new Float64Array(width);
  const most = weights.length - 1;
  for (let x = 0; x < width; x++) {
    const first = Math.min(most, Math.max(0, Math.floor((x * shown) / width / step + 0.5 + 1e-9)));
    const last = Math.min(
      most,
      Math.max(first, Math.ceil(((x + 1) * shown) / width / step + 0.5 - 1e-9) - 1),
    );
    for (let i = first; i <= last; i++) found[x] = Math.max(found[x], weights[i]);
  }
  return found;
}

/** @param {number} layer @param {number} head @param {string} mean @param {number[]} heads of each layer */
const whoWords = (layer, head, mean, heads) =>
  say("who", {
    layer,
    head,
    mean,
    heads: mean === "all" ? heads.reduce((a, b) => a + b, 0) : heads[layer],
  });

/** The time span of positions, both included, in words. @param {number} first @param {number} last @param {number} step */
export const timeWords = (first, last, step) =>
  say("time", { from: Math.max(0, (first - 0.5) * step), to: (last + 0.5) * step });

/**
 * The shortest run of positions that holds half of the weight; among several, the one that holds
 * most; ties go to the first. Null if there is no weight.
 * @param {ArrayLike<number>} weights
 */
export function halfOf(weights) {
  const n = weights.length;
  const sums = new Float64Array(n + 1);
  for (let i = 0; i < n; i++) sums[i + 1] = sums[i] + weights[i];
  const total = sums[n];
  if (total <= NOTHING) return null;
  const enough = total * (0.5 - EVEN);
  let [shortest, end] = [n, 0];
  for (let first = 0; first < n; first++) {
    end = Math.max(end, first);
    while (end < n && sums[end] - sums[first] < enough) end++;
    if (sums[end] - sums[first] < enough) break;
    shortest = Math.min(shortest, end - first);
  }
  shortest = Math.max(shortest, 1);
  let [best, most] = [0, -1];
  for (let first = 0; first <= n - shortest; first++) {
    const held = sums[first + shortest] - sums[first];
    if (held > most + EVEN) [best, most] = [first, held];
  }
  return { first: best, last: best + shortest - 1, held: most };
}

/** The first position in the silence after the sound; n if there is none. @param {number} end @param {number} step @param {number} n */
export function silentFrom(end, step, n) {
  for (let i = 0; i < n; i++) if (i * step >= end - 1e-9) return i;
  return n;
}

/** @param {ArrayLike<number>} weights @param {number} from @param {number} to not included */
function heldBy(weights, from, to) {
  let sum = 0;
  for (let i = from; i < to; i++) sum += weights[i];
  return sum;
}

/**
 * A sentence on when one word attends to the sound.
 * @param {object} seen
 * @param {string} seen.who the head or the mean, at the beginning of a sentence
 * @param {string} seen.word that attends
 * @param {ArrayLike<number>} seen.weights of positions
 * @param {number} seen.step seconds from one position to the next
 * @param {number} seen.end when the sound ends, in seconds; what comes after is silence
 * @param {[string, number, boolean] | null} seen.next the word after it, its probability, whether it was given
 * @param {[number, number] | null} seen.span of positions, both included, that a reader chose
 */
export function listenSentence({ who, word, weights, step, end, next, span }) {
  const n = weights.length;
  const found = halfOf(weights);
  const silent = silentFrom(end, step, n);
  const [comes, p, given] = next ?? [null];
  return say("sentence", {
    who,
    word,
    end,
    next: comes,
    p,
    given,
    silent: silent < n ? heldBy(weights, silent, n) : null,
    when: found && timeWords(found.first, found.last, step),
    held: found?.held,
    wide: found && (found.last - found.first + 1) * WIDE > Math.max(silent, WIDE),
    span: span && timeWords(span[0], span[1], step),
    span_held: span && heldBy(weights, span[0], span[1] + 1),
  });
}

/** The word that attends: the chosen one, else the first that is not a special token. */
const queryOf = ({ selected, sound, hover }) => hover?.words ?? selected?.[0] ?? sound.first;
const rowsOf = (s) => `rows/${queryOf(s)}`;

/** A head's weights, [position]. @param {ArrayLike<number>} rows [layer, head, position] */
function rowAt(rows, { heads, positions }, layer, head) {
  const from = (layer * Math.max(...heads) + head) * positions;
  return Array.prototype.slice.call(rows, from, from + positions);
}

/** The heads whose mean is on view: [layer, head] each. */
const chosenOf = ({ mean, layer, head, sound: { heads } }) =>
  mean
    ? heads.flatMap((n, at) =>
        mean === "layer" && at !== layer ? [] : Array.from({ length: n }, (_, one) => [at, one]),
      )
    : [[layer, head]];

/** Weights of positions: the chosen head's, or the mean. @returns {Float64Array} */
function weightsOf(s, rows) {
  const chosen = chosenOf(s);
  const total = new Float64Array(s.sound.positions);
  for (const [layer, head] of chosen)
    rowAt(rows, s.sound, layer, head).forEach((weight, i) => (total[i] += weight));
  return total.map((weight) => weight / Math.max(chosen.length, 1));
}

const counted = (n, each = 1) => Array.from({ length: n }, (_, i) => i * each);

/** The spectrogram with the weights over it, in a still picture. */
function overlayMark(s, weights, who, loud, shown) {
  const { sound, span, fade } = s;
  const { bins, frames, hop, step, positions, ticks } = sound;
  const top = bins - 0.5;
  const framed = span && [Math.max(0, (span[0] - 0.5) * step), (span[1] + 0.5) * step, -0.5, top];
  return {
    type: "overlay",
    picture: { shape: [bins, frames], values: loud },
    weights: { shape: [1, positions], values: weights },
    says: [counted(positions).map((i) => timeWords(i, i, step))],
    fade,
    picture_box: [-hop / 2, (frames - 0.5) * hop, -0.5, top],
    weights_box: [-step / 2, (positions - 0.5) * step, -0.5, top],
    framed,
    x_range: [0, shown],
    y: ticks.map(([place, name]) => [place * bins - 0.5, name]),
    unit: say("seconds"),
    name: who,
    picture_name: say("loud"),
  };
}

/** Every head of a still picture, or every head of the chosen layer. */
function thumbnailsMark(s, rows, loud, shown) {
  const { sound, layer, fade } = s;
  const { heads, bins, frames, hop, step } = sound;
  const most = Math.max(...heads);
  const layers = heads.length * most <= MOST ? [...heads.keys()] : [layer];
  const [width, height] = SMALL;
  const small = new Float64Array(layers.length * most * width).fill(NaN);
  layers.forEach((one, at) => {
    for (let head = 0; head < heads[one]; head++)
      small.set(
        weightColumns(rowAt(rows, sound, one, head), shown, step, width),
        (at * most + head) * width,
      );
  });
  const [low, high] = [
    loud.reduce((a, b) => Math.min(a, b)),
    loud.reduce((a, b) => Math.max(a, b)),
  ];
  const seen = Math.max(1, Math.round(shown / hop));
  const grey = Float64Array.from({ length: height * width }, (_, i) => {
    const frame = Math.floor(Math.min((((i % width) + 0.5) * seen) / width, frames - 1));
    const band = bins - 1 - Math.floor(((Math.floor(i / width) + 0.5) * bins) / height);
    return ((loud[band * frames + frame] - low) * 255) / Math.max(high - low, 1e-9);
  });
  return {
    type: "thumbnails",
    values: { shape: [layers.length, most, 1, width], values: small },
    chosen: chosenOf(s).flatMap(([at, head]) =>
      layers.includes(at) ? [[layers.indexOf(at), head]] : [],
    ),
    picture: { shape: [height, width], values: grey },
    fade,
    layers,
  };
}

/** The last position that is at least partly within this many seconds. */
export const lastOf = ({ positions, step }, to) =>
  Math.min(positions - 1, Math.max(0, Math.ceil(to / step + 0.5 - 1e-9) - 1));

/** Where an edit of the current choice acts. */
const placeOf = ({ mean, layer, head }) => ({
  ...(mean === "all" ? {} : { layer }),
  ...(mean ? {} : { head }),
  kind: "cross",
});

/** Positions to which the edge of the chosen heads from the word on view is cut. */
function cutOf(s) {
  const [place, query] = [placeOf(s), queryOf(s)];
  const covers = (edit) =>
    ["layer", "head", "kind"].every((name) => edit[name] == null || edit[name] === place[name]);
  return s.edits
    .filter((edit) => edit.edit === "knock_out" && covers(edit) && edit.key != null)
    .filter((edit) => (edit.query ?? query) === query)
    .map(({ key }) => key);
}

/** What is measured without heads. */
function trialsOf({ sound, mean, layer, head, ...s }, query) {
  const every = s.every[query] ?? [];
  const names = {
    "": say("layer_head", { layer, head }),
    layer: say("all_of_layer", { layer }),
    all: say("all_heads"),
  };
  return {
    place: placeOf({ mean, layer, head }),
    name: names[mean],
    effect: { ...s.effect.at?.[query], edited: s.effect.edited },
    heads: sound.heads,
    every,
    size: mean ? null : (every[layer]?.[head] ?? null),
    unit: `${s.unit} ${sound.next[query]?.[0]}`,
    needs: say("a_saved_page_holds"),
  };
}

/** The span after an arrow key; the first only shows the cursor. */
export function spanAfter(s, own, by, longer) {
  const last = lastOf(s.sound, secondsOf(s));
  const inside = (position) => within(position, last + 1);
  const [first, end] = s.span ?? own ?? [0, 0];
  if (!s.span) return [inside(first), inside(longer ? end : first)];
  if (longer) return [first, Math.max(first, inside(end + by))];
  const at = inside((by < 0 ? first : end) + by);
  return [at, at];
}

const secondsOf = ({ whole, sound }) => (whole ? sound.seconds : sound.end);

/** The panels of a still picture. */
function stillsOf(s, rows, weights, who, numbers) {
  const { positions, step } = s.sound;
  const shown = secondsOf(s);
  const seconds = counted(positions, step);
  const times = seconds.map((_, i) => timeWords(i, i, step));
  const curve = { name: who, x: seconds, y: weights, steps: true, filled: true, colour: "accent" };
  const curves = {
    type: "curves",
    curves: [curve],
    x: { title: say("seconds") },
    y: { title: say("weight") },
    x_range: [0, shown],
    x_says: times,
  };
  const thumbnails = thumbnailsMark(s, rows, numbers, shown);
  return [
    { title: who, mark: overlayMark(s, weights, who, numbers, shown) },
    { title: "", mark: curves },
    { title: say("every_head_layer_head"), mark: thumbnails },
  ];
}

/** The panel of the sound, in a page. */
function soundPanel(s, weights, who, sentence) {
  const { sound, span, hover, fade, edits } = s;
  const { step, words } = sound;
  const [to, query, half] = [secondsOf(s), queryOf(s), halfOf(weights)];
  const own = span ?? (half && [half.first, half.last]); // of the cut button
  const edges = Array.from({ length: own ? own[1] - own[0] + 1 : 0 }, (_, i) => ({
    ...{ edit: "knock_out", ...placeOf(s), query, key: own[0] + i },
  }));
  const made = edges.every((one) => edits.some((other) => sameEdit(one, other)));
  const pointed = hover.sound ?? null;
  const time_words = pointed === null ? "" : timeWords(pointed, pointed, step);
  return {
    part: "sound",
    title: say("what_it_attends_to"),
    hint: say("the_spectrogram_that_the", { low: sound.low, high: sound.high }),
    says: say("the_spectrogram_seconds_arrow", { to, sentence }),
    picture: say("from_of", { who_words: who, word: words[query] }),
    asks: say("does_it_matter"),
    line: [
      pointed === null
        ? say("the_bar_marks_the")
        : say("of_the_weight", { time_words, weight: weights[pointed] }),
    ],
    mark: { type: "sound" },
    ...{ sound, weights, to, half, span, own, fade, pointed, edges, cut: cutOf(s) },
    cutting: own
      ? `${made ? say("mend") : say("cut")} ${quoted(words[query])} → ${timeWords(own[0], own[1], step)}`
      : "",
  };
}

function scene(s, found) {
  const { sound, span, mean, layer, head } = s;
  const { heads, positions, step, hop, frames, end, next, words } = sound;
  const query = queryOf(s);
  const rows = found.get(rowsOf(s)).numbers;
  const weights = weightsOf(s, rows);
  const who = whoWords(layer, head, mean, heads);
  const heard = listenSentence({
    who,
    word: words[query],
    weights,
    step,
    end,
    next: next[query] ?? null,
    span,
  });
  const effect = s.effect?.at?.[query];
  const sentence = effect ? `${heard} ${s.effect.edited}: ${effectSentence(effect)}` : heard;
  const most = Math.max(...heads);
  const sizes = { heads: heads.length, max: most };
  const every = (at, one, position) => rows[(at * most + one) * positions + position];
  const loud = () => found.get("spectrogram");
  return {
    name: rowsOf(s),
    sentence,
    subtitle: say("cross_attention_layers_heads", { ...sizes, end }),
    note: s.note,
    marked: { query: String(query), head: `${layer}.${head}` },
    trials: s.unit ? trialsOf(s, query) : null,
    get panels() {
      const stills = () => stillsOf(s, rows, weights, who, loud().numbers);
      const picture = {
        ...soundPanel(s, weights, who, sentence),
        get still() {
          return stills().slice(0, 1);
        },
      };
      const every = {
        says: say("every_head_as_a", { ...sizes, layer, head }),
        ...{ over: "sound", counts: heads, aspect: 2.2, widest: 150 },
        also: mean ? chosenOf(s) : [],
        weights: (at, one) => rowAt(rows, sound, at, one),
      };
      const small = everyHead(say, every, () => stills().slice(2));
      const curve = {
        part: "curve",
        title: "",
        page: false,
        mark: { type: "curve" },
        get still() {
          return stills().slice(1, 2);
        },
      };
      return [[picture], [curve], [small]];
    },
    axes: {
      seconds: counted(positions, step),
      frame_seconds: counted(frames, hop),
      layer: counted(heads.length),
      head: counted(most),
    },
    get arrays() {
      const { numbers, info } = loud();
      return {
        weight: [["seconds"], weights, say("is_weight", { who })],
        every_head: [["layer", "head", "seconds"], every, say("is_every_head")],
        spectrogram: [["band", "frame_seconds"], numbers, say("is_spectrogram", info)],
      };
    },
  };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "spectrogram",
  ...overlaid(say, (at, { sound, hover }) =>
    hover.words == null ? say("what_attends_to", { word: sound.words[at] }) : "",
  ),
  choosing: { mean: "" },
  traits: [
    ...[...SELECTION, "mean", "span", "whole", "fade"],
    ...["_effect", "_every", "_edits", "_unit", "_note", "_sound"],
  ],
  needs: (s, _, wanted = []) => [
    rowsOf(s),
    ...(["panels", "numbers"].some((part) => wanted.includes(part)) ? ["spectrogram"] : []),
  ],
  scene,
  controls({ mean, whole, fade, sound, hover, selected }) {
    const { words, end, seconds } = sound;
    const means = [
      { value: "", text: say("the_head") },
      { value: "layer", text: say("its_layers_mean") },
      { value: "all", text: say("the_mean_of_all") },
    ];
    const silence = say("also_the_silence_up", { seconds });
    return [
      { part: "words", values: words, value: [selected?.[0] ?? sound.first, hover.words] },
      { part: "mean", label: say("weights_of"), chosen: mean, choices: means },
      fadeControl(say("weights_over_the_spectrogram"), fade),
      ...(end < seconds ? [{ part: "whole", label: silence, on: whole }] : []),
    ];
  },
  spot: ({ hover, ...s }) => {
    if (hover.words != null) return { query: hover.words, key: null };
    return hover.sound == null ? null : { query: queryOf(s), key: hover.sound };
  },
  pointed: (_, spot) => ({
    ...(spot?.query == null ? {} : { words: spot.query }),
    ...(spot?.key == null ? {} : { sound: spot.key }),
  }),
  code({ layer, head, mean, span, effect, ...s }) {
    return [
      `view.layer, view.head, view.selected = ${layer}, ${head}, (${queryOf(s)}, None)`,
      ...(mean ? [`view.mean = ${JSON.stringify(mean)}`] : []),
      ...(span ? [`view.span = (${span.join(", ")})`] : []),
      ...(effect?.code ? [`view.edits = ${effect.code}`] : []),
    ].join("\n");
  },
};
