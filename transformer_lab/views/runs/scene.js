// What a run shows, while it trains and afterwards: its loss and the scores of its heads, above the
// heads at one step.

import { bytesOf, typed } from "../shared/codecs.js";
import { headTag, messages } from "../shared/messages.js";
import { single } from "../shared/numbers.js";
import { within } from "../shared/scene.js";
import { nearest, nearestStop } from "../shared/ticks.js";
import catalogue from "./messages.json" with { type: "json" };

export const say = messages(catalogue);
const FEW_HEADS = 16; // up to this many heads, each curve has its own colour
const STORED = ["training", "held out", "loss"]; // curves that are also arrays of files

/** The first snapshot at which a score has passed half of its last value; −1 if it did not grow by 0.1. @param {ArrayLike<number>} line */
export const passedHalf = (line) =>
  line[line.length - 1] - line[0] < 0.1
    ? -1
    : Array.from(line).findIndex((x) => x >= line[line.length - 1] / 2);

/**
 * Index of a measure's first score among all scores.
 * @param {Record<string, string[]>} measures kind -> names
 * @param {any} kinds kind -> {layers, heads}
 * @param {number} steps
 * @param {string} kind
 * @param {string} measure
 * @returns {number} −1 if there are none
 */
export function scoresFrom(measures, kinds, steps, kind, measure) {
  let from = 0;
  for (const [name, found] of Object.entries(measures)) {
    const size = steps * kinds[name].layers * kinds[name].heads;
    const at = found.indexOf(measure);
    if (name === kind) return at < 0 ? -1 : from + at * size;
    from += found.length * size;
  }
  return -1;
}

/** The head with the largest of these scores. @param {ArrayLike<number>} scores [layer * heads + head] @param {number} heads */
function bestOf(scores, heads) {
  const best = Array.from(scores).reduce((most, x, at) => (x > scores[most] ? at : most), 0);
  return { value: scores[best], layer: Math.floor(best / heads), head: best % heads };
}

/**
 * Values for the sentence about a head's score: at a step, the best head's, and over the run.
 * @param {ArrayLike<number>[]} scores [snapshot][layer * heads + head]
 * @param {{steps: number[], at: number, unit: string, layer: number, head: number, heads: number}} of
 */
export function scoreValues(scores, { steps, at, unit, layer, head, heads }) {
  const line = scores.map((now) => now[layer * heads + head]);
  const best = bestOf(scores[at], heads);
  const half = unit === "share" ? passedHalf(line) : -1;
  return {
    unit,
    layer,
    head,
    value: line[at],
    best: best.value,
    best_layer: best.layer,
    best_head: best.head,
    most: scores[at].length === 1 ? null : best.layer === layer && best.head === head,
    first: line[0],
    last: line[line.length - 1],
    half: half < 0 ? null : steps[half],
  };
}

/** What is drawn over the snapshots; null while a model trains. @param {any} s */
function courseOf(s) {
  const { steps, size, layer, head, losses } = s;
  if (!steps.length || !size) return null;
  const { layers, heads } = size;
  const names = s.measures[s.kind] ?? [];
  const measure = names.includes(s.measure) ? s.measure : (names[0] ?? "");
  const all = typed(Float32Array, bytesOf(s.scores));
  const scoresOf = (name) => {
    const from = scoresFrom(s.measures, s.kinds, steps.length, s.kind, name);
    const place = (at) => from + at * layers * heads;
    return steps.map((_, at) => all.subarray(place(at), place(at + 1)));
  };
  const at = Math.max(0, steps.indexOf(s.step));
  const unit = s.units[measure];
  const scores = measure ? scoresOf(measure) : [];
  const about = measure ? scoreValues(scores, { steps, at, unit, layer, head, heads }) : {};
  return {
    measure,
    names,
    scores,
    unit,
    bests: names.map((name) => ({ name, ...bestOf(scoresOf(name)[at], heads) })),
    text: say("sentence", {
      step: s.step,
      steps: s.last_step,
      loss: losses[at] ?? null,
      measure: measure || null,
      ...about,
    }),
  };
}

// ---- curves -----------------------------------------------------------------------------------

/** @param {string} name @param {Float32Array} flat [step, value, step, value, …] @param {any} [more] */
const curveOf = (name, flat, more) => ({
  name,
  x: flat.filter((_, i) => i % 2 === 0),
  y: flat.filter((_, i) => i % 2 === 1),
  ...more,
});

/** The loss, and that of held-out texts. */
const lossCurves = ({ train, held }) =>
  [curveOf("training", train), curveOf("held out", held, { points: true })].filter(
    ({ x }) => x.length,
  );

/** A curve for each head. @param {any} s @param {any} course @param {(layer: number, head: number, chosen: boolean) => any} how its name, and more */
function headCurves({ steps, size, ...s }, { scores }, how) {
  return Array.from(scores[0] ?? [], (_, i) => {
    const [layer, head] = [Math.floor(i / size.heads), i % size.heads];
    const strong = layer === s.layer && head === s.head;
    const y = Float32Array.from(scores, (now) => now[i]);
    return { x: steps, y, strong, colour: strong ? "accent" : "", ...how(layer, head, strong) };
  });
}

const headName = (layer, head) => say("layer_head", { small: true, layer, head });
const rangeOf = ({ last_step: last }) => [0, Math.max(1, last)];

/** Curves over the steps, with a line at the one on view. */
const overSteps = (s, curves, more) => ({
  type: "curves",
  curves,
  x: { title: "step" },
  x_range: rangeOf(s),
  at: s.step,
  ...more,
});

/** The loss at the step pointed at, which may be between two snapshots. */
function lossLine({ hover }, part, { train, held }) {
  const step = hover[part] ?? null;
  const [at, other] = [train, held].map((flat) => (step === null ? null : nearest(flat, step)));
  if (!at) return [{ quiet: say("hover_over_the_curve") }];
  const beside = other ? say("held_out_at_step", { step: other.step, value: other.value }) : "";
  return [{ quiet: say("step_loss", { step: Math.round(at.step), value: at.value, beside }) }];
}

// ---- panels -----------------------------------------------------------------------------------

function lossPanel(s, losses, { text }) {
  const y = { title: say("nats_a_token") };
  const still = overSteps(s, [curveOf("loss", losses.train)]);
  return {
    part: "loss",
    title: say("loss"),
    hint: say("drag_to_scrub"),
    says: say("over_the_steps", { what: say("loss"), text }),
    mark: overSteps(s, lossCurves(losses), { y }),
    line: lossLine(s, "loss", losses),
    still: s.status ? [] : [{ title: say("loss_label"), mark: still }],
  };
}

function scoresPanel(s, course) {
  const { measure, names, unit, scores, text } = course;
  const few = scores[0]?.length <= FEW_HEADS;
  const curves = headCurves(s, course, (layer, head, chosen) => ({
    name: chosen || few ? headTag(layer, head) : "",
    ...(chosen || few ? {} : { colour: "quiet" }),
    nth: layer * s.size.heads + head,
  }));
  const still = overSteps(
    s,
    headCurves(s, course, (layer, head) => ({ name: headName(layer, head) })),
  );
  return {
    part: "scores",
    title: say("scores_during_training"),
    picture: measure,
    hint: names.length ? "" : say("no_score_is_known"),
    says: say("over_the_steps", { what: say("scores_of_the_heads"), text }),
    menu: { label: say("score_whose_course_is"), names, chosen: measure },
    mark: overSteps(
      s,
      curves.sort((a, b) => Number(a.strong) - Number(b.strong)),
      {
        y: { title: unit === "share" ? say("fraction_of_attention") : (unit ?? "") },
        y_range: unit === "share" ? [0, 1.02] : undefined,
      },
    ),
    still: s.status || !measure ? [] : [{ title: measure, mark: still }],
  };
}

/** Every score at this step and, if there are several heads, the head with the largest. */
function bestPanel({ size, units }, { measure, bests }) {
  const several = size.layers * size.heads > 1;
  return {
    part: "best",
    title: say("scores_at_this_step"),
    hint: say("top_head", { several }),
    mark: {
      type: "best",
      names: several ? ["score", "head", "most"] : ["score", "now"],
      rows: bests.map(({ name, value, layer, head }) => {
        const amount = say("amount", { value, unit: units[name] });
        return {
          name,
          cells: several ? [headTag(layer, head), amount] : [amount],
          title: say("choose_and_draw", { several, layer, head, name, amount }),
          on: name === measure,
          chosen: { measure: name, layer, head },
        };
      }),
    },
    still: [],
  };
}

/** @param {any} s @param {boolean} alone whether a sentence about them follows that of the run */
const headsPanel = ({ steps, step, held_step: held, layer, head }, alone) => ({
  part: "heads",
  title: say("heads_on_the_probe"),
  mark: {
    type: "heads",
    step: steps.length ? step : null,
    held,
    alone,
    name: alone ? say("layer_head", { small: false, layer, head }) : say("the_chosen_head"),
  },
  still: [],
});

// ---- while a model trains ---------------------------------------------------------------------

/** @param {number} seconds */
export const duration = (seconds) =>
  say("duration", { seconds, minutes: seconds / 60, hours: seconds / 3600 });

/** The numbers of a status, each with its name. @param {any} status @returns {[string, string][]} */
export function figures(status) {
  const { state, step, steps, loss, held, seconds, left } = status;
  const figures = {
    step: say("of", { step, steps }),
    loss: loss?.toFixed(3),
    held: held?.toFixed(3),
    speed: status.tokens_per_second && say("count", { n: status.tokens_per_second }),
    padding: status.padding > 0 && `${Math.round(100 * status.padding)}%`,
    time: seconds && duration(seconds),
    left: state === "training" && left > 0 && duration(left),
  };
  return Object.entries(figures).flatMap(([figure, value]) =>
    value ? [/** @type {[string, string]} */ ([say("figure", { figure }), value])] : [],
  );
}

function statusPanels(status, s, losses) {
  const curves = lossCurves(losses);
  const x = { title: "step" };
  const label = say("loss_label");
  const mark = { type: "curves", curves, x };
  const still = { ...mark, y: { title: label }, legend: true };
  const [last, loss] = losses.train.slice(-2);
  const { step, steps } = status;
  return [
    {
      part: "status",
      title: "",
      mark: {
        type: "status",
        headline: say("headline", status),
        figures: curves.length ? figures(status) : [],
        step,
        steps,
      },
      still: [
        { title: "", mark: curves.length ? still : { type: "note", text: say("no_step_yet") } },
      ],
    },
    // After training, the panel of the loss over the snapshots shows it.
    curves.length && !s.steps.length
      ? {
          part: "curve",
          title: say("loss"),
          says: say("loss_up_to_step", { last: Math.round(last), loss }),
          mark: {
            ...mark,
            y: { title: say("loss_axis") },
            x_range: [0, Math.max(1, steps)],
            whole: true,
          },
          line: lossLine(s, "curve", losses),
          still: [],
        }
      : null,
  ];
}

// ---- files ------------------------------------------------------------------------------------

/** Curves as columns, the loss also as arrays. @param {Record<string, any>} curves @param {any} [more] */
function filesOf(curves, more) {
  const every = Object.values(curves);
  const steps = ({ x }) => Array.from(x, Math.trunc);
  const stored = every.filter(({ name }) => STORED.includes(name));
  return {
    axes: {
      ...Object.fromEntries(stored.map((one) => [`step of ${one.name}`, steps(one)])),
      ...more?.axes,
    },
    arrays: {
      ...Object.fromEntries(
        stored.map(({ name, y }) => [name, [[`step of ${name}`], y, say("loss_label")]]),
      ),
      ...more?.arrays,
    },
    columns: {
      curve: every.flatMap(({ name, x }) => Array.from(x, () => name)),
      step: every.flatMap(steps),
      value: every.flatMap(({ y }) => Array.from(y, single)),
    },
  };
}

function runFiles(s, { train }, course) {
  const curves = [curveOf("loss", train)];
  const { measure, scores } = course;
  if (!measure) return filesOf(curves);
  const { layers, heads } = s.size;
  curves.push(
    ...headCurves(s, course, (layer, head) => ({ name: `${measure}, ${headName(layer, head)}` })),
  );
  const score = (at, layer, head) => scores[at][layer * heads + head];
  const of = (n) => [...Array(n).keys()];
  return filesOf(curves, {
    arrays: { score: [["snapshot", "layer", "head"], score, measure] },
    axes: { snapshot: s.steps, layer: of(layers), head: of(heads) },
  });
}

// ---- the scene --------------------------------------------------------------------------------

function scene(s) {
  const [train, held] = [s.curve, s.evals].map((bytes) => typed(Float32Array, bytesOf(bytes)));
  const losses = { train, held };
  const course = courseOf(s);
  const above = course
    ? [lossPanel(s, losses, course), scoresPanel(s, course), bestPanel(s, course)]
    : [];
  const heads = s.size ? [headsPanel(s, !s.status)] : [];
  const shown = {
    name: `step ${s.step}`,
    spoken: course?.text ?? "",
    measure: course?.measure ?? "",
  };
  if (!s.status) {
    const { layers, heads: n } = s.size;
    return {
      ...shown,
      sentence: shown.spoken,
      title: say("at_step", { step: s.step }),
      subtitle: say("snapshots", { layers, heads: n, count: s.steps.length }),
      panels: [above, heads],
      ...runFiles(s, losses, course),
    };
  }
  const status = {
    step: 0,
    steps: 0,
    reason: "",
    loss: null,
    first: null,
    seconds: 0,
    ...s.status,
  };
  status.held = status.eval_loss ?? null;
  status.reason ||= null;
  return {
    ...shown,
    sentence: say("training", {
      ...status,
      time: duration(status.seconds),
      learned: train.length > 0,
    }),
    panels: [[...statusPanels(status, s, losses).filter(Boolean), ...above], heads],
    marked: { state: status.state },
    ...filesOf([curveOf("training", train), curveOf("held out", held)]),
  };
}

/** The snapshot nearest to a step. */
const pick = ({ steps }, x) => ({ step: steps[nearestStop(steps, x)] });

/** From snapshot to snapshot by keys. */
function move({ steps, step }, [down, right]) {
  const by = right - (Math.abs(down) > 1 ? down / 2 : down);
  return { step: steps[within(steps.indexOf(step) + by, steps.length)] };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "runs",
  say,
  traits: [
    ...["step", "measure", "kind", "layer", "head", "_kinds", "_note", "_status"],
    ...[
      "_steps",
      "_held_step",
      "_last_step",
      "_losses",
      "_measures",
      "_units",
      "_scores",
      "_curve",
      "_evals",
    ],
  ],
  // The maps of a step may come later than the rest; Python draws its own.
  needs: ({ steps, step, held_step: held }, _, wanted) =>
    wanted || step === held || !steps.includes(step) ? [] : [undefined, `step/${step}`],
  scene,
  failed: (name, why) => say("step_cannot_be_shown", { step: name.split("/")[1], why }),
  bare: true,
  above: "run-sentence",
  parts: {
    loss: { pick, move, size: [Infinity, 150], line: "loss-point" },
    scores: { pick, move, size: [Infinity, 150] },
    curve: { size: [Infinity, 200], line: "point" },
  },
  controls({ steps, step, last_step: last }) {
    const text = (at) => say("of", { step: at, steps: last });
    const slider = { label: say("step"), values: steps, value: step, text };
    return steps.length
      ? [{ part: "play" }, { part: "step", title: say("steps_that_have_a"), ...slider }]
      : [];
  },
  part: ({ layer, head }) => `layer-${layer}-head-${head}`,
  code: ({ step, layer, head }) => `view.step, view.layer, view.head = ${step}, ${layer}, ${head}`,
};
