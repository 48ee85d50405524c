// The picture of a pass, which plays; the tables beside it; and a layer's steps, below it.

import { walks } from "../block/panel.js";
import { button, putAnew, radioGroup, slider } from "../shared/controls.js";
import {
  barPart,
  byTouch,
  element,
  hearPointer,
  listen,
  rowPart,
  say,
  tableParts,
  taken,
  tokenElement,
  within,
} from "../shared/dom.js";
import { MatrixPanel } from "../shared/matrix_panel.js";
import { percentText } from "../shared/messages.js";
import { Clock, glide, travel } from "../shared/motion.js";
import { MarkPanel } from "../shared/panels.js";
import { fillTable, nodesOf } from "../shared/pieces.js";
import { Superseded } from "../shared/requests.js";
import { SceneViewer } from "../shared/scene_viewer.js";
import { ModelPicture } from "./picture.js";
import { editsAt, picked, stackOf, toggled, tokenChosen, tokenIn, unfoldedAs } from "./scene.js";
import { Within } from "./within.js";

const SPEEDS = [0.5, 1, 2, 4];
const [SHORTEST, LONGEST, MOVES, WORD] = [3, 5, 1.6, 0.16]; // seconds of a step at least and at most, of its motion, and of a word
const ALONE = 2; // seconds of a step that the reader asks for
const [READ, MOVED] = [0.4, 0.9]; // of a step: when its sentence has been read, and when nothing moves any more

/** How far the picture is when the clock is between two steps: first the sentence is read. @param {number} at */
function pictured(at) {
  const done = Math.floor(at + 1e-6);
  return done + Math.max(0, Math.min(1, (at - done - READ) / (MOVED - READ)));
}

export class ModelPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const { signal, shell } = viewer;
    this.panel = panel;
    this.speed = 1;
    this.picture = new ModelPicture(this.canvas);
    const { last } = panel;
    this.clock = new Clock(
      {
        last: () => this.panel.last,
        pace: () => this.#seconds() / this.speed,
        tick: (at) => this.#tick(at),
        changed: () => this.#drawTransport(),
      },
      signal,
    );
    this.clock.at = panel.step;
    this.counted = last;
    this.#build();
    hearPointer(this.canvas, signal, (x, y) => this.picture.hit(x, y), {
      hover: (spot) => {
        this.canvas.style.cursor = spot ? "pointer" : "default";
        this.point(spot);
      },
      pick: (spot) => {
        shell.set(picked(viewer.state, this.pass, spot));
        if (!spot.edge && (spot.token === undefined || spot.part)) this.unfold("steps");
      },
    });
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
    shell.watch(["step"], () => this.#follow());
    shell.watch(["_stacks"], () => viewer.see("unfolded", undefined));
  }

  /** The pass on view. */
  get pass() {
    return this.viewer.shown.pass;
  }

  /** The current step: the one that is playing, or the last one played. */
  get step() {
    return Math.min(this.panel.last, Math.ceil(this.clock.at - 1e-6));
  }

  /** Seconds of the step that plays: time to read its sentence, then to see what moves. */
  #seconds() {
    if (this.clock.single) return ALONE;
    return Math.max(SHORTEST, Math.min(LONGEST, MOVES + WORD * this.panel.words));
  }

  /** The step, and whether it is over: what is on view of the pass. */
  get #seen() {
    return [this.step, this.clock.at >= this.step];
  }

  #build() {
    const { clock, viewer } = this;
    const { words, note } = viewer;
    this.play = button("", "play", () => this.#play());
    this.play.classList.add("tl-play", "tl-main");
    this.bar = slider({
      label: words("progress"),
      part: "step",
      values: [0],
      value: 0,
      text: (at) => this.panel.stepName(at),
      change: (at) => clock.seek(at),
    });
    const speeds = radioGroup({
      label: words("speed"),
      part: "speed",
      chosen: 1,
      choices: SPEEDS.map((value) => ({ value, text: `${value}×` })),
      choose: (value) => speeds.set((this.speed = value)),
    });
    this.back = button("◀", "step-back", words("back"), () => clock.step(-1));
    this.on = button("▶", "step-on", words("on"), () => clock.step(1));
    this.explained = element("p.tl-hint#legend");
    this.colours = element("p.tl-hint.tl-row#colours");
    this.where = element("span.tl-quiet");
    this.earlier = button("◀", "earlier", words("earlier"), () => this.#page(-1));
    this.later = button("▶", "later", words("later"), () => this.#page(1));
    this.pager = element("span.tl-row#pager", this.earlier, this.where, this.later);
    this.readout = element("p.tl-readout#readout");
    const steps = element("span.tl-joined", this.back, this.on);
    this.root.replaceChildren(
      element("div.tl-transport", this.play, steps, this.bar.root, speeds.root),
      ...[this.explained, this.colours, this.canvas, this.pager, this.readout, note],
    );
  }

  // ---- what the reader does -----------------------------------------------------------------

  #play() {
    if (this.clock.playing && !this.clock.single) this.clock.pause();
    else this.clock.play();
  }

  /** @param {number} by */
  #page(by) {
    const { state, shell } = this.viewer;
    const { main } = state.about;
    const { from, to } = /** @type {any} */ (this.picture.seen)[main];
    const at = within(by < 0 ? from - 1 : to + (to - from) - 1, state.stacks[main].length);
    shell.set(tokenChosen(state, this.pass, main, at));
  }

  /** Make an edit, or undo it. @param {any} edit */
  toggle(edit) {
    const { state, shell } = this.viewer;
    if (state.alone || !edit) return;
    this.clock.pause();
    shell.set(toggled(state, edit));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { clock, viewer, pass } = this;
    const { state, shell, model } = viewer;
    const stack = stackOf(state);
    const token = (by) => {
      const at = within(tokenIn(state, stack) + by, state.stacks[stack].length);
      shell.set(tokenChosen(state, pass, stack, at));
    };
    const layer = (by) => shell.set({ layer: within(model.get("layer") + by, state.size.layers) });
    const act = {
      " ": () => this.#play(),
      ArrowRight: () => clock.step(1),
      ArrowLeft: () => clock.step(-1),
      Home: () => clock.seek(0),
      End: () => clock.seek(this.panel.last),
      ArrowUp: () => token(-1),
      ArrowDown: () => token(1),
      PageUp: () => layer(-1),
      PageDown: () => layer(1),
      Enter: () => this.unfold("steps"),
      m: () => this.unfold("map"),
      x: () => this.toggle(editsAt(state, pass).off),
      c: () => this.toggle(editsAt(state, pass).cut),
    }[event.key.length > 1 ? event.key : event.key.toLowerCase()];
    if (!act) return;
    taken(event);
    act();
  }

  /** Open a layer's steps or a head's map, or close what is open. @param {string} what */
  async unfold(what) {
    const { viewer } = this;
    const { unfolded } = viewer.seen;
    this.close();
    if (unfolded && (unfolded === "map") === (what === "map")) return;
    const name = (this.opening = unfoldedAs(viewer.state, what));
    try {
      await viewer.answers.fetch([name]);
      if (name !== this.opening || viewer.signal.aborted) return;
      viewer.see("unfolded", what === "map" ? "map" : name);
      viewer.draw();
    } catch (error) {
      if (error instanceof Superseded || name !== this.opening) return;
      viewer.shell.say(viewer.answers.how.failed(name, error));
    }
  }

  close() {
    this.opening = "";
    const was = this.viewer.see("unfolded", undefined);
    if (was) this.viewer.draw();
    return was;
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw(panel) {
    const { clock, viewer } = this;
    const { step, last, legend, colours, readout } = (this.panel = panel);
    if (this.counted !== last) {
      this.counted = last; // another text
      clock.at = viewer.model.get("step") ?? last;
      viewer.see("model", this.#seen);
    }
    this.bar.set(step, [...Array(last + 1).keys()]);
    say(this.explained, legend);
    this.colours.replaceChildren(...nodesOf(colours));
    this.#show();
    const { stacks, main } = this.picture.scene;
    const { from, to, before, after } = /** @type {any} */ (this.picture.seen)[main];
    this.pager.hidden = !before && !after;
    [this.earlier.disabled, this.later.disabled] = [!before, !after];
    say(this.where, viewer.words("window", { from, to: to - 1, all: stacks[main].length }));
    this.#drawTransport();
    say(this.readout, readout ?? viewer.words("try", { touch: byTouch() }));
  }

  /** Set the picture's scene, and let its layers glide to their heights. */
  #show() {
    const { picture, canvas, viewer, panel, clock } = this;
    const { inks } = viewer.shell;
    const width = Math.max(260, /** @type {HTMLElement} */ (canvas.parentElement).clientWidth);
    picture.show({ ...panel.draws(), inks, width });
    const [was, wanted] = [picture.heights, picture.wanted()];
    if (was.every((high, i) => Math.abs(high - wanted[i]) < 0.5)) this.stopped?.();
    else if (String(wanted) !== this.aim) {
      this.stopped?.();
      this.stopped = glide((share) => {
        picture.reshape(was.map((high, i) => high + (wanted[i] - high) * share));
        picture.draw(pictured(clock.at));
      }, viewer.signal);
    }
    this.aim = String(wanted);
    picture.draw(pictured(clock.at));
  }

  /** @param {number} at */
  #tick(at) {
    const { viewer, clock } = this;
    this.#bound();
    if (viewer.see("model", this.#seen)) viewer.draw(false);
    else this.picture.draw(pictured(at));
    if (!clock.playing) this.#stepped();
  }

  /** Set the `step` trait if the step has changed. */
  #stepped() {
    const { model, shell } = this.viewer;
    const step = this.clock.at >= this.panel.last ? null : this.step;
    if (step !== model.get("step")) shell.set({ step });
  }

  #follow() {
    const step = this.viewer.model.get("step") ?? this.panel.last;
    if (!this.clock.playing && this.step !== step) this.clock.seek(step);
  }

  /** Disable the back button at the first step, and the forward button at the last. */
  #bound() {
    const { clock, step, panel } = this;
    this.back.disabled = clock.at <= 0;
    this.on.disabled = (clock.playing ? step : clock.at) >= panel.last;
  }

  #drawTransport() {
    const { viewer, play, panel } = this;
    const { playing, single, at } = this.clock;
    const ended = at >= panel.last;
    play.textContent = viewer.words("play", { playing: playing && !single, ended });
    play.ariaLabel = play.title = play.textContent.replace(/^\S+ /, "");
    this.#bound();
    viewer.root.dataset.playing = String(playing);
    if (!playing) this.#stepped();
  }
}

/** A panel of tables, drawn again only if its numbers are others. */
class TablesPanel extends MarkPanel {
  get pictures() {
    return [];
  }

  draw(panel) {
    const drawn = JSON.stringify(panel);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.legend.remove();
    this.fill(panel);
  }

  /** @param {any} _panel */
  fill(_panel) {}
}

export class AnswersPanel extends TablesPanel {
  get box() {
    return (this.table = element("table.tl-answers#answers"));
  }

  fill({ names, rows, edited, none }) {
    const bar = (share, look, name) => {
      const colour = look === "after" ? "edited" : edited ? "quiet" : "accent";
      const part = barPart(share, `tl-${look}`, `var(--tl-${colour})`);
      part.firstElementChild?.setAttribute("data-moves", `${look} ${name}`);
      return part;
    };
    const lines = rows.map(({ name, values, isNew }) =>
      rowPart(
        { "data-moves": `row ${name}`, class: isNew ? "tl-new" : "" },
        tokenElement(name),
        values.map((value, i) => bar(value, i ? "after" : "before", name)),
        ...values.map((value) => element("td.tl-number", percentText(value))),
      ),
    );
    const parts = rows.length ? tableParts(names, lines) : [element("caption", none)];
    travel(this.table, () => this.table.replaceChildren(...parts));
  }
}

export class CardPanel extends TablesPanel {
  get box() {
    this.head = element("div.tl-row#card");
    this.edge = element("div.tl-row#edge");
    this.edits = element("div.tl-row.tl-edits#edits");
    this.list = element("summary");
    this.strongest = element("table.tl-strongest#strongest");
    const details = element("details.tl-details", this.list, this.strongest);
    return element("div.tl-side", this.head, this.edge, this.edits, details);
  }

  fill({ head, edge, edits, list, strongest }) {
    const press = (/** @type {any} */ what) => this.#press(what);
    putAnew(this.head, /** @type {any} */ (nodesOf(head, press)));
    putAnew(this.edge, /** @type {any} */ (nodesOf(edge, press)));
    putAnew(this.edits, /** @type {any} */ (nodesOf(edits, press)));
    say(this.list, list);
    fillTable(this.strongest, { rows: strongest }, press);
  }

  #press({ edit, edits, edge, unfold }) {
    const { shell, parts } = this.viewer;
    if (edit) parts.get("model").toggle(edit);
    else if (unfold) parts.get("model").unfold(unfold);
    else shell.set(edge ?? { _edits: edits });
  }
}

/** A head's map, when it is open. */
export class MapPanel extends MatrixPanel {
  draw(panel) {
    this.root.dataset.part = "unfolded";
    super.draw(panel);
  }
}

/** The steps of a layer, when they are open. */
export class StepsPanel extends TablesPanel {
  /** @param {{walk: any, note: string}} panel */
  draw({ walk, note }) {
    if (walk.name === this.name) return;
    this.hide();
    this.name = walk.name;
    const ended = (this.ended = new AbortController());
    listen(this.viewer.signal, "abort", ended.signal, () => ended.abort());
    this.root.hidden = false;
    this.root.dataset.part = "unfolded";
    const place = element("div.tl-view.tl-view-block");
    this.root.replaceChildren(place);
    new SceneViewer(walks, new Within(this.viewer, walk, note), place, ended.signal).open();
    this.root.scrollIntoView({ block: "nearest" });
  }

  hide() {
    this.ended?.abort();
    this.name = "";
    this.root.replaceChildren();
  }
}
