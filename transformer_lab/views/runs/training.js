// The module of TrainingView: the progress of training, above the heads on the probe.

import { bytesOf, typed } from "../shared/codecs.js";
import { element, hearChanges } from "../shared/dom.js";
import { lossWords, Scrubber } from "./scrubber.js";
import { mounted } from "../shared/mounted.js";
import { curveNumbers, pairsOf, sayRun } from "./numbers.js";
import { BaseViewer } from "../shared/viewer.js";
import { lossSeries, Plot } from "../shared/plot.js";

/** @param {number} seconds */
export function duration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400
    ? sayRun("min", { seconds: Math.round(seconds / 60) })
    : `${(seconds / 3600).toFixed(1)} h`;
}

/** The numbers of a status, each with its name. @param {any} status @returns {[string, string][]} */
export function figures(status) {
  const rows = /** @type {[string, string][]} */ ([
    ["step", `${status.step ?? 0} of ${status.steps ?? 0}`],
  ]);
  if (typeof status.loss === "number") rows.push(["loss", status.loss.toFixed(3)]);
  if (typeof status.eval_loss === "number")
    rows.push([sayRun("held_out_loss"), status.eval_loss.toFixed(3)]);
  if (status.tokens_per_second)
    rows.push([
      sayRun("tokens_a_second"),
      Math.round(status.tokens_per_second).toLocaleString("en"),
    ]);
  if (status.padding > 0)
    rows.push([sayRun("of_them_padding"), `${Math.round(100 * status.padding)}%`]);
  if (status.seconds) rows.push(["time", duration(status.seconds)]);
  if (status.state === "training" && status.left > 0)
    rows.push([sayRun("left_about"), duration(status.left)]);
  return rows;
}

const HEADLINES = {
  waiting: () => sayRun("waiting_give_this_view"),
  training: () => sayRun("running_interrupt_the_kernel"),
  finished: () => "Finished.",
  stopped: (status) => sayRun("training", { reason: status.reason || sayRun("stopped") }),
};

class TrainingViewer extends BaseViewer {
  constructor(model, root, signal) {
    super(model, root, signal, {
      part: () => `layer-${model.get("layer")}-head-${model.get("head")}`,
      sentence: () => model.get("_sentence"),
    });
    this.step = null;
    this.headline = element("p.tl-sentence#headline", { role: "status" });
    this.bar = element("div.tl-done");
    this.progress = element(
      "div.tl-progress",
      { role: "progressbar", "aria-label": sayRun("steps_done"), "aria-valuemin": 0 },
      this.bar,
    );
    this.numbers = element("div.tl-figures#figures");
    this.canvas = element("canvas#curve", { role: "img" });
    this.point = element("p.tl-hint#point");
    this.heads = element("div.tl-heads");
    this.scrubber = new Scrubber(this.shell, model, signal);
    root.append(
      this.shell.header,
      this.shell.message,
      this.headline,
      this.progress,
      this.numbers,
      this.canvas,
      this.point,
      this.scrubber.root,
      this.heads,
    );
    this.plot = new Plot(this.canvas, signal, {
      hover: (step) => {
        this.step = step;
        this.#point();
      },
    });
    this.shell.watch(["_status", "_curve", "_evals"]);
    this.shell.watch(["_steps"], () => this.scrubber.renew());
    hearChanges(model, ["_kinds"], signal, () => this.#openHeads());
  }

  async open() {
    this.shell.draw();
    this.scrubber.renew();
    await this.#openHeads();
  }

  async #openHeads() {
    if (this.scrubber.viewer || !Object.keys(this.model.get("_kinds")).length) return;
    await this.scrubber.openHeads(this.heads);
  }

  draw() {
    const { model, root } = this;
    const { inks } = this.shell;
    const status = model.get("_status");
    root.dataset.state = status.state;
    this.headline.textContent = HEADLINES[status.state](status);
    this.numbers.replaceChildren(
      ...figures(status).flatMap(([name, value]) => [
        element("div", element("span.tl-quiet", name), element("b", value)),
      ]),
    );
    const share = status.steps ? status.step / status.steps : 0;
    this.bar.style.width = `${100 * share}%`;
    this.progress.setAttribute("aria-valuemax", status.steps ?? 0);
    this.progress.setAttribute("aria-valuenow", status.step ?? 0);
    this.train = typed(Float32Array, bytesOf(model.get("_curve")));
    this.held = typed(Float32Array, bytesOf(model.get("_evals")));
    const empty = !this.train.length;
    this.numbers.hidden = this.progress.hidden = empty;
    this.scrubber.draw();
    // After training, the scrubber shows the loss.
    this.canvas.hidden = this.point.hidden = empty || !this.scrubber.root.hidden;
    if (!this.canvas.hidden) {
      // A host may hide it for a moment before the observer reports it.
      const width = Math.max(220, (this.root.clientWidth || this.shell.width || 0) - 24);
      this.plot.show(width, 200, {
        series: lossSeries(this.train, this.held),
        xTitle: "step",
        yTitle: sayRun("loss_nats_a_token"),
        whole: true,
        colours: inks,
        xRange: [0, Math.max(1, status.steps)],
      });
      const [last, loss] = this.train.slice(-2);
      this.canvas.ariaLabel = sayRun("loss_up_to_step", { last, loss });
    }
    this.#point();
  }

  code() {
    return this.scrubber.code();
  }

  fileNumbers() {
    return curveNumbers(
      { training: pairsOf(this.train), "held out": pairsOf(this.held) },
      this.scrubber.viewer?.numbers ?? null,
    );
  }

  get said() {
    return `${this.headline.textContent} ${this.scrubber.root.hidden ? "" : this.scrubber.text}`;
  }

  pictures() {
    const { loss, course, viewer } = this.scrubber;
    const heads = viewer
      ? [
          { thumbnails: viewer.heads.thumbnails, title: sayRun("heads") },
          { canvas: viewer.heads.mapPanel.canvas, title: sayRun("the_chosen_head") },
        ]
      : [];
    return [
      { canvas: this.canvas, title: sayRun("loss") },
      { canvas: loss, title: sayRun("loss") },
      { canvas: course, title: this.model.get("measure") },
      ...heads,
    ];
  }

  #point() {
    this.point.textContent = lossWords(this.train, this.held, this.step);
  }
}

export default mounted(TrainingViewer, "runs");
