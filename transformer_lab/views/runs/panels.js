// The panels and the button that only views of a run have.

import { HeadViewer } from "../heads/viewer.js";
import { bytesOf } from "../shared/codecs.js";
import { button, menu } from "../shared/controls.js";
import { CurvesPanel } from "../shared/curves_panel.js";
import { element, listen, rowPart, say as write, tableParts } from "../shared/dom.js";
import { MarkPanel } from "../shared/panels.js";
import { say } from "./scene.js";

const PLAY_EVERY = 160; // ms
const KEPT_STEPS_BYTES = 48 << 20;

/** Plays the run from snapshot to snapshot, until the reader goes to another. */
export class Player {
  /** @param {any} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.root = button("", "play", "", () => this.toggle());
    this.root.classList.add("tl-play");
    this.stop();
    viewer.signal.addEventListener("abort", () => this.stop());
  }

  set() {}

  toggle() {
    if (this.timer) return this.stop();
    const { model, shell, root } = this.viewer;
    const stops = model.get("_steps");
    const go = (step) => shell.set({ step: (this.step = step) });
    const next = (step) => stops[stops.indexOf(step) + 1];
    const from = model.get("step");
    go(next(from) === undefined ? stops[0] : from);
    this.timer = setInterval(() => {
      const step = model.get("step");
      const missing = root.dataset.step !== String(step);
      if (missing && !this.viewer.failed) return; // the page is slower than the clock; do not skip a step
      if (step !== this.step || next(step) === undefined) this.stop();
      else go(next(step));
    }, PLAY_EVERY);
    this.#name(true);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.#name(false);
  }

  /** @param {boolean} playing */
  #name(playing) {
    this.root.textContent = say("play", { playing });
    this.root.title = this.root.ariaLabel = say("play_label", { playing });
  }
}

/** Curves over the steps: dragging goes through them, and a menu chooses what is drawn. */
export class StepsPanel extends CurvesPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    const enter = () => (viewer.kept.play.toggle(), {});
    super(viewer, panel, does.move ? { ...does, enter } : does);
    if (!does.move) {
      this.canvas.role = "img";
      this.canvas.removeAttribute("tabindex");
    }
    const { canvas } = this;
    listen(canvas, "pointerdown", viewer.signal, (event) => {
      this.dragging = Boolean(does.pick);
      canvas.setPointerCapture?.(event.pointerId);
    });
    listen(canvas, "pointerup", viewer.signal, () => (this.dragging = false));
    if (!panel.menu) return;
    this.menu = menu(panel.menu.label, "measure", [], (measure) => viewer.shell.set({ measure }));
    this.hint.after(this.menu.root);
  }

  point(x) {
    if (this.dragging && x !== null) this.pick(x);
    super.point(x);
  }

  draw(panel) {
    super.draw(panel);
    if (!this.menu) return;
    const { names, chosen } = panel.menu;
    const { root } = this.menu;
    if (this.listed !== (this.listed = String(names)))
      root.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    this.menu.set(chosen);
    root.hidden = !names.length;
  }
}

/** A table with a button in each row, which chooses what the row names. */
export class BestPanel extends MarkPanel {
  get box() {
    return (this.table = element("table.tl-table.tl-best#best"));
  }

  get pictures() {
    return [];
  }

  draw({ mark: { names, rows } }) {
    const shape = JSON.stringify([names, rows.map(({ name }) => name)]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.rows = rows.map(({ name, cells }, i) => {
        const press = button("", "best-head", () => this.viewer.shell.set(this.now[i].chosen));
        const places = [press, ...cells.slice(1).map(() => element("td"))];
        return { places, row: rowPart(name, ...places) };
      });
      this.table.replaceChildren(
        ...tableParts(
          names,
          this.rows.map(({ row }) => row),
        ),
      );
    }
    this.now = rows;
    rows.forEach(({ cells, title, on }, i) => {
      const { places, row } = this.rows[i];
      cells.forEach((text, at) => write(places[at], text));
      places[0].title = title;
      row.setAttribute("aria-current", String(on));
    });
  }
}

/** How far training is, above everything else. */
export class StatusPanel {
  pictures = [];

  /** @param {any} viewer */
  constructor(viewer) {
    this.headline = element("p.tl-sentence#headline", { role: "status" });
    this.done = element("div.tl-done");
    this.progress = element(
      "div.tl-progress",
      { role: "progressbar", "aria-label": say("steps_done"), "aria-valuemin": 0 },
      this.done,
    );
    this.figures = element("div.tl-figures#figures");
    this.root = element("div", this.headline, this.progress, this.figures);
    viewer.bar.before(this.root);
  }

  show({ mark: { headline, step, steps, figures } }) {
    write(this.headline, headline);
    this.done.style.width = `${100 * (steps ? step / steps : 0)}%`;
    this.progress.setAttribute("aria-valuemax", steps);
    this.progress.setAttribute("aria-valuenow", step);
    this.figures.replaceChildren(
      ...figures.map(([name, value]) =>
        element("div", element("span.tl-quiet", name), element("b", value)),
      ),
    );
    this.figures.hidden = this.progress.hidden = !figures.length;
  }
}

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

/** The heads at the step on view, below the rest of a view. */
export class HeadsPanel {
  /** @param {any} viewer @param {any} panel */
  constructor(viewer, { title }) {
    const { root, bar, shell, signal, answers } = (this.viewer = viewer);
    this.root = element("div.tl-heads");
    root.append(this.root);
    bar.dataset.part = "scrubber";
    this.steps = new StepModel(viewer.model);
    const top = (part) => part.getBoundingClientRect().top;
    // Height of what is above them, in whole pixels.
    const above = () => Math.ceil(top(this.root) - top(root) - 0.01);
    this.below = new HeadViewer(this.steps, this.root, signal, title, above);
    shell.within.push(this.below.shell);
    shell.watch(["_steps"], () => {
      answers.known.clear(); // another run
      this.step = null;
    });
    this.ready = this.below.open();
  }

  /** @param {{mark: any}} panel */
  show({ mark }) {
    this.mark = mark;
    const { step, held } = mark;
    const { model, answers, root } = this.viewer;
    if (step === null) this.steps.shown = {}; // the model's own, while it trains
    const found = answers.known.get(`step/${step}`);
    if (step === null || step === this.step || (step !== held && !found)) return;
    this.step = step;
    const whole = bytesOf(found?.bytes);
    if (found) answers.how.most = Math.max(4, Math.floor(KEPT_STEPS_BYTES / whole.byteLength));
    const maps = found ? whole.subarray(0, found.info.maps) : model.get("_maps");
    const thumbs = found ? whole.subarray(found.info.maps) : model.get("_thumbs");
    this.steps.show({ _maps: maps, _thumbs: thumbs, _norms: null, _first: {} });
    root.dataset.step = String(step);
  }

  /** The sentence about them, where it belongs to that of the run. */
  get said() {
    const { alone } = this.mark;
    return alone ? this.root.querySelector("[data-part=sentence]")?.textContent : "";
  }

  get numbers() {
    return this.below.numbers;
  }

  get pictures() {
    const { thumbnails, mapPanel } = this.below.heads;
    return [
      { thumbnails, title: say("heads") },
      { canvas: mapPanel.canvas, title: this.mark.name },
    ];
  }
}
