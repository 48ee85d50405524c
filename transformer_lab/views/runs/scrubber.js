// A slider over the steps of a run that have a snapshot: the loss, the heads' scores and, through a
// StepModel, the maps of a HeadViewer move together.

import { HeadViewer } from "../heads/viewer.js";
import { bytesOf, typed } from "../shared/codecs.js";
import { headColour } from "../shared/colours.js";
import { nearest } from "../shared/ticks.js";
import { button, menu, nearestStop, slider } from "../shared/controls.js";
import {
  element,
  hint,
  listen,
  picturePart,
  rowPart,
  sentencePart,
  tableParts,
  taken,
} from "../shared/dom.js";
import { lossSeries, Plot } from "../shared/plot.js";
import { Superseded } from "../shared/requests.js";
import { headTag } from "../shared/messages.js";
import { sayRun } from "./numbers.js";

const PLAY_EVERY = 160; // ms
const KEPT_STEPS_BYTES = 48 << 20;
const FEW_HEADS = 16; // up to this many heads, each curve has its own colour

/** The first snapshot at which a score has passed half of its last value; −1 if it did not grow by 0.1. @param {ArrayLike<number>} line */
export const passedHalf = (line) =>
  line[line.length - 1] - line[0] < 0.1
    ? -1
    : Array.from(line).findIndex((x) => x >= line[line.length - 1] / 2);

/** The model that a HeadViewer gets, with the maps of the step that is shown. */
export class StepModel {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Record<string, any>} */
    this.shown = {};
    this.listeners = new Set();
  }

  get = (name) => (name in this.shown ? this.shown[name] : this.model.get(name));
  set = (name, value) => this.model.set(name, value);
  save_changes = () => this.model.save_changes();
  send = (...message) => this.model.send(...message);

  on(names, handler) {
    this.model.on(names, handler);
    if (names === "change:_thumbs") this.listeners.add(handler);
  }

  off(names, handler) {
    this.model.off(names, handler);
    this.listeners.delete(handler);
  }

  /** @param {Record<string, any>} traits of another step */
  show(traits) {
    this.shown = traits;
    for (const listener of [...this.listeners]) listener();
  }
}

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

/** The text for the loss at the step pointed at, which may be between two snapshots. @param {Float32Array | undefined} train @param {Float32Array | undefined} held @param {number | null} step */
export function lossWords(train, held, step) {
  if (!train?.length) return "";
  const [at, other] = [train, held].map((curve) =>
    step === null || !curve?.length ? null : nearest(curve, step),
  );
  if (!at) return hint(sayRun("hover_over_the_curve"));
  const beside = other ? sayRun("held_out_at_step", { step: other.step, value: other.value }) : "";
  return sayRun("step_loss", { step: Math.round(at.step), value: at.value, beside });
}

export class Scrubber {
  /** @param {import("../shared/shell.js").Shell} shell @param {any} model @param {AbortSignal} signal */
  constructor(shell, model, signal) {
    this.shell = shell;
    this.model = model;
    this.signal = signal;
    this.steps = new StepModel(model);
    /** @type {Map<number, Record<string, any>>} */
    this.known = new Map();
    this.turn = 0;
    this.#build();
    const course = ["step", "measure", "layer", "head", "kind"];
    shell.watch(course);
    const moved = () => this.#fetch();
    model.on("change:step", moved);
    signal.addEventListener("abort", () => {
      model.off("change:step", moved);
      this.stop();
    });
  }

  /** Steps that can be shown. @returns {number[]} */
  get stops() {
    return this.model.get("_steps") ?? [];
  }

  get kind() {
    return this.model.get("_kinds")[this.model.get("kind")];
  }

  get layer() {
    return Math.min(this.model.get("layer"), this.kind.layers - 1);
  }

  get head() {
    return Math.min(this.model.get("head"), this.kind.heads - 1);
  }

  get measures() {
    return this.model.get("_measures")[this.model.get("kind")] ?? [];
  }

  get measure() {
    const wanted = this.model.get("measure");
    return this.measures.includes(wanted) ? wanted : (this.measures[0] ?? "");
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { signal } = this;
    this.play = button(sayRun("play"), "play", sayRun("play_the_run_from"), () => this.toggle());
    this.play.classList.add("tl-play");
    this.slider = slider({
      label: sayRun("step"),
      part: "step",
      values: [0],
      value: 0,
      change: (step) => this.goTo(step),
      text: (step) => `${step} of ${this.model.get("_last_step")}`,
      title: sayRun("steps_that_have_a"),
    });
    this.loss = picturePart("loss");
    this.course = picturePart("scores");
    this.point = element("p.tl-hint#loss-point");
    const drag = { hover: (x) => this.#dragged(x), pick: (x) => this.goTo(x) };
    this.lossPlot = new Plot(this.loss, signal, {
      ...drag,
      hover: (x) => (this.#dragged(x), this.#tell(x)),
    });
    this.coursePlot = new Plot(this.course, signal, drag);
    for (const canvas of [this.loss, this.course]) {
      listen(canvas, "pointerdown", signal, (event) => {
        this.dragging = true;
        canvas.setPointerCapture?.(event.pointerId);
      });
      listen(canvas, "pointerup", signal, () => (this.dragging = false));
      listen(canvas, "keydown", signal, (event) => this.#key(event));
    }
    this.measureMenu = menu(sayRun("score_whose_course_is"), "measure", [], (measure) =>
      this.shell.set({ measure }),
    );
    this.best = element("table.tl-table.tl-best#best");
    this.sentence = sentencePart("run-sentence");
    const titled = (text, ...more) => element("p.tl-heading", element("b", text), " ", more);
    this.courseHint = element("span.tl-quiet");
    this.bestHint = element("span.tl-quiet");
    this.root = element(
      "div#scrubber",
      element("div.tl-scrub", this.play, this.slider.root),
      this.sentence,
      element(
        "div.tl-courses",
        element(
          "section.tl-panel",
          { "aria-label": sayRun("loss") },
          titled(sayRun("loss"), element("span.tl-quiet", sayRun("drag_to_scrub"))),
          this.loss,
          this.point,
        ),
        element(
          "section.tl-panel",
          { "aria-label": sayRun("scores_of_the_heads") },
          titled(sayRun("scores_during_training"), this.courseHint, this.measureMenu.root),
          this.course,
        ),
        element(
          "section.tl-panel",
          { "aria-label": sayRun("scores_at_this_step") },
          titled(sayRun("scores_at_this_step"), this.bestHint),
          this.best,
        ),
      ),
    );
  }

  /** Python code for what is on view. */
  code() {
    const { model } = this;
    return `view.step, view.layer, view.head = ${model.get("step")}, ${model.get("layer")}, ${model.get("head")}`;
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** Show the snapshot nearest to a step. @param {number} step */
  goTo(step) {
    const to = this.stops[nearestStop(this.stops, step)];
    if (to !== undefined && to !== this.model.get("step")) this.shell.set({ step: to });
  }

  #dragged(x) {
    if (this.dragging && x !== null) {
      this.stop();
      this.goTo(x);
    }
  }

  #tell(x) {
    this.point.textContent = lossWords(this.points, this.held, x);
  }

  #key(event) {
    const by = {
      ArrowLeft: -1,
      ArrowDown: -1,
      ArrowRight: 1,
      ArrowUp: 1,
      PageUp: 5,
      PageDown: -5,
      Home: -1e6,
      End: 1e6,
    }[event.key];
    if (event.key === " " || event.key === "Enter") {
      taken(event);
      return this.toggle();
    }
    if (by === undefined) return;
    taken(event);
    this.stop();
    const at = this.stops.indexOf(this.model.get("step")) + by;
    this.goTo(this.stops[Math.max(0, Math.min(this.stops.length - 1, at))]);
  }

  toggle() {
    if (this.timer) return this.stop();
    const { stops } = this;
    if (this.model.get("step") === stops[stops.length - 1]) this.goTo(stops[0]);
    this.timer = setInterval(() => {
      const at = stops.indexOf(this.model.get("step"));
      if (this.fetching) return; // the page is slower than the clock; do not skip a step
      if (at >= stops.length - 1) this.stop();
      else this.goTo(stops[at + 1]);
    }, PLAY_EVERY);
    this.#playButton();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.#playButton();
  }

  #playButton() {
    this.play.textContent = this.timer ? sayRun("pause") : sayRun("play");
    const name = this.timer ? sayRun("pause_label") : sayRun("play_the_run_from");
    this.play.ariaLabel = name;
    this.play.title = name;
  }

  /** Open the heads at the step on view, below the rest of a view. @param {HTMLElement} place */
  async openHeads(place) {
    const { root, within } = this.shell;
    // Height of what is above them, in whole pixels.
    const above = () =>
      Math.ceil(place.getBoundingClientRect().top - root.getBoundingClientRect().top - 0.01);
    this.viewer = new HeadViewer(
      this.steps,
      place,
      this.signal,
      sayRun("heads_on_the_probe"),
      above,
    );
    within.push(this.viewer.shell);
    await this.viewer.open();
  }

  // ---- the maps of a step ---------------------------------------------------------------------

  /** Start again with the run's new snapshots. */
  renew() {
    this.known.clear();
    this.steps.shown = {};
    if (!this.stops.length) return;
    this.known.set(
      this.model.get("_held_step"),
      this.#traits(this.model.get("_maps"), this.model.get("_thumbs")),
    );
    this.#fetch();
  }

  #traits(maps, thumbs) {
    return { _maps: maps, _thumbs: thumbs, _norms: null, _first: {} };
  }

  async #fetch() {
    const step = this.model.get("step");
    const turn = ++this.turn;
    if (!this.stops.includes(step)) return;
    let traits = this.known.get(step);
    if (!traits) {
      this.fetching = true;
      try {
        const { buffers } = await this.shell.requests.ask({ type: "block", name: `step/${step}` });
        traits = this.#traits(buffers[0], buffers[1]);
        this.#keep(step, traits);
      } catch (error) {
        if (!(error instanceof Superseded) && turn === this.turn)
          this.shell.say(sayRun("step_cannot_be_shown", { step, why: error.message }));
        return;
      } finally {
        if (turn === this.turn) this.fetching = false;
      }
    }
    if (turn !== this.turn || this.signal.aborted) return; // a later step has replaced this one
    this.shell.say("");
    this.steps.show(traits);
    this.shell.root.dataset.step = String(step);
  }

  #keep(step, traits) {
    const most = Math.max(
      4,
      Math.floor(KEPT_STEPS_BYTES / Math.max(1, bytesOf(traits._maps).byteLength)),
    );
    if (this.known.size >= most) this.known.delete(this.known.keys().next().value);
    this.known.set(step, traits);
  }

  // ---- drawing ------------------------------------------------------------------------------

  /** @returns {(at: number, layer: number, head: number) => number} */
  scores(measure) {
    const { model } = this;
    const { layers, heads } = this.kind;
    const all = typed(Float32Array, bytesOf(model.get("_scores")));
    const from = scoresFrom(
      model.get("_measures"),
      model.get("_kinds"),
      this.stops.length,
      model.get("kind"),
      measure,
    );
    return (at, layer, head) => all[from + (at * layers + layer) * heads + head];
  }

  draw() {
    const { stops, model } = this;
    this.root.hidden = !stops.length;
    if (!stops.length) return;
    const step = model.get("step");
    this.at = Math.max(0, stops.indexOf(step));
    this.slider.set(step, stops);
    this.#drawLoss(step);
    this.#drawScores(step);
    this.#drawBest();
    const loss = model.get("_losses")[this.at] ?? null;
    this.text = sayRun("sentence", {
      step,
      steps: model.get("_last_step"),
      loss,
      measure: null,
      ...this.#values(),
    });
    if (this.sentence.textContent !== this.text) this.sentence.textContent = this.text;
    this.course.ariaLabel = sayRun("scores_over_the_steps", { text: this.text });
    this.loss.ariaLabel = sayRun("loss_over_the_steps", { text: this.text });
  }

  /** The head with the largest score at the step on view. @param {string} measure */
  #bestOf(measure) {
    const { layers, heads } = this.kind;
    const score = this.scores(measure);
    let best = { layer: 0, head: 0, value: -Infinity };
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const value = score(this.at, layer, head);
        if (value > best.value) best = { layer, head, value };
      }
    }
    return best;
  }

  /** Values for the sentence about the chosen head's score. */
  #values() {
    const { measure, layer, head, stops } = this;
    if (!measure) return {};
    const score = this.scores(measure);
    const best = this.#bestOf(measure);
    const line = stops.map((_, i) => score(i, layer, head));
    const unit = this.model.get("_units")[measure];
    const half = unit === "share" ? passedHalf(line) : -1;
    return {
      measure,
      unit,
      layer,
      head,
      value: line[this.at],
      best: best.value,
      best_layer: best.layer,
      best_head: best.head,
      most:
        this.kind.layers * this.kind.heads === 1
          ? null
          : best.layer === layer && best.head === head,
      first: line[0],
      last: line[line.length - 1],
      half: half < 0 ? null : stops[half],
    };
  }

  #drawLoss(step) {
    const { model, shell } = this;
    const points = (this.points = typed(Float32Array, bytesOf(model.get("_curve"))));
    const held = (this.held = typed(Float32Array, bytesOf(model.get("_evals"))));
    if (!this.point.textContent) this.#tell(null);
    this.lossPlot.show(Math.max(200, this.loss.parentElement.clientWidth), 150, {
      series: lossSeries(points, held),
      xTitle: "step",
      yTitle: sayRun("nats_a_token"),
      colours: shell.inks,
      xRange: [0, Math.max(1, model.get("_last_step"))],
      at: step,
      lock: true,
    });
  }

  #drawScores(step) {
    const { shell, stops, measure, measures } = this;
    const names = JSON.stringify(measures);
    if (names !== this.listed) {
      this.listed = names;
      this.measureMenu.root.replaceChildren(
        ...measures.map((name) => element("option", { value: name }, name)),
      );
    }
    this.measureMenu.set(measure);
    this.measureMenu.root.hidden = !measures.length;
    this.courseHint.textContent = measures.length ? "" : sayRun("no_score_is_known");
    const { layers, heads } = this.kind;
    const unit = this.model.get("_units")[measure];
    const score = this.scores(measure);
    const series = [];
    for (let layer = 0; measures.length && layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const chosen = layer === this.layer && head === this.head;
        const few = layers * heads <= FEW_HEADS;
        series.push({
          name: chosen || few ? headTag(layer, head) : "",
          colour: chosen
            ? shell.inks.accent
            : few
              ? headColour(layer * heads + head)
              : shell.inks.quiet,
          thick: chosen ? 3 : undefined,
          x: stops,
          y: stops.map((_, at) => score(at, layer, head)),
          chosen,
        });
      }
    }
    series.sort((a, b) => Number(a.chosen) - Number(b.chosen)); // the chosen one on top
    this.coursePlot.show(Math.max(200, this.course.parentElement.clientWidth), 150, {
      series,
      xTitle: "step",
      yTitle: unit === "share" ? sayRun("fraction_of_attention") : (unit ?? ""),
      colours: shell.inks,
      xRange: [0, Math.max(1, this.model.get("_last_step"))],
      yRange: unit === "share" ? [0, 1.02] : undefined,
      at: step,
      lock: true,
    });
  }

  /**
   * List every score at this step and, if there are several heads, the head with the largest; a
   * press chooses both.
   */
  #drawBest() {
    const { layers, heads } = this.kind;
    const units = this.model.get("_units");
    const rows = this.measures.map((name) => ({ name, ...this.#bestOf(name) }));
    const several = layers * heads > 1;
    this.bestHint.textContent = several ? sayRun("and_the_top_head") : sayRun("press_to_draw");
    const shape = JSON.stringify([several, ...rows.map(({ name }) => name)]);
    if (shape !== this.bestShape) {
      this.bestShape = shape;
      this.bestRows = rows.map(({ name }) => {
        const chip = button("", "best-head", () => {
          const { layer, head } = this.bestNow.find((row) => row.name === name);
          this.shell.set({ measure: name, layer, head });
        });
        const value = element("td", several ? [] : [chip]); // with one head, the number is the button
        return {
          name,
          chip,
          value: several ? value : chip,
          row: rowPart(name, several && element("td", chip), value),
        };
      });
      const names = several ? ["score", "head", "most"] : ["score", "now"];
      this.best.replaceChildren(
        ...tableParts(
          names,
          this.bestRows.map(({ row }) => row),
        ),
      );
    }
    this.bestNow = rows;
    rows.forEach(({ name, layer, head, value }, i) => {
      const { row, chip, value: cell } = this.bestRows[i];
      row.setAttribute("aria-current", String(name === this.measure));
      chip.textContent = headTag(layer, head);
      const said = several
        ? sayRun("choose_layer_head_and", { layer, head, name })
        : sayRun("draw", { name });
      cell.textContent = sayRun("amount", { value, unit: units[name] });
      chip.title = several ? said : sayRun("now", { said, cell: cell.textContent });
    });
  }
}
