// A model that learns while it is watched: its loss, its heads and its answers on a text, in a page
// that needs only a browser.

import { asSentence, messages } from "../shared/messages.js";
import learningMessages from "./messages.json" with { type: "json" };
import { Engine } from "../engine/client.js";
import { IN_PAGE } from "../engine/in_page.js";
import { typed } from "../shared/codecs.js";
import { legend } from "../heads/scale.js";
import { colourTable, onThemeChange, shade, themeOf } from "../shared/colours.js";
import { lossSeries, Plot } from "../shared/plot.js";
import {
  element,
  legendPart,
  listen,
  moveOf,
  onceAFrame,
  picturePart,
  rowPart,
  tableParts,
  taken,
  tokenElement,
  within,
} from "../shared/dom.js";
import { colourCells, MatrixMap } from "../marks/matrix.js";
import { mounted } from "../shared/mounted.js";
import { Requests } from "../shared/requests.js";
import { inksOf } from "../shared/shell.js";

const sayLearning = messages(learningMessages);
const FRAMES = 60; // updates of the picture in a training run

/**
 * @typedef {object} Course a lesson as a page holds it; see page.py
 * @property {string} name
 * @property {string} title
 * @property {string} words what is to be learned, and what to watch
 * @property {string} text
 * @property {string[]} answers what is answered at each position
 * @property {number} layers
 * @property {number} heads
 * @property {number} weights
 */

class LearningViewer {
  constructor(model, root, signal) {
    this.model = model;
    this.root = root;
    this.signal = signal;
    this.requests = new Requests(model, signal);
    /** @type {Course[]} */
    this.courses = model.get("courses");
    this.course = this.courses[0];
    this.chosen = { layer: 0, head: 0 };
    this.off = new Set();
    this.losses = [];
    this.rights = [];
    this.step = 0;
    this.#build();
  }

  #build() {
    const labelled = (words, control) =>
      element("label.tl-group", element("span.tl-label", words), control);
    const options = this.courses.map(({ name, title }) =>
      element("option", { value: name }, title),
    );
    const { signal } = this;
    this.root.append(
      element(
        "div.tl-controls",
        labelled(sayLearning("task"), (this.task = element("select#task", options))),
        labelled(
          sayLearning("seed"),
          (this.seed = element("input#seed", { type: "number", value: 0, step: 1, min: 0 })),
        ),
        (this.go = element("button.tl-go#go", sayLearning("train"))),
        (this.reset = element("button#reset", sayLearning("reset"))),
      ),
      (this.words = element("p#words")),
      (this.status = element("p.tl-number-line#status", { role: "status" })),
      (this.message = element("p.tl-message#message", { role: "alert", hidden: true })),
      element(
        "div.tl-learning",
        element(
          "section",
          element("h3", sayLearning("loss")),
          (this.curve = element("canvas#curve", {
            role: "img",
            "aria-label": sayLearning("loss_over_steps"),
          })),
        ),
        element(
          "section.tl-heads",
          element("h3", sayLearning("what_each_head_attends_to")),
          (this.small = element("div.tl-small#small")),
          (this.legend = legendPart()),
        ),
        element(
          "section",
          (this.which = element("h3#which")),
          (this.big = picturePart("big", "tl-map")),
          (this.readout = element("p.tl-hint#readout")),
        ),
        element(
          "section",
          element("h3", sayLearning("what_it_says_now")),
          element(
            "label.tl-group.tl-typed",
            element("span.tl-label", sayLearning("text")),
            (this.text = element("input#text", {
              type: "text",
              spellcheck: "false",
              autocomplete: "off",
            })),
          ),
          (this.said = element("div.tl-said#said")),
        ),
      ),
    );
    this.lossPlot = new Plot(this.curve, signal, {});
    this.map = new MatrixMap(this.big, signal, {
      hover: (at) => this.#point(at),
      pick: (at) => this.#point(at),
    });
    const on = (target, event, act) => listen(target, event, signal, act);
    on(this.big, "keydown", (event) => this.#key(event));
    on(this.task, "change", () => this.#choose(this.task.value));
    on(this.seed, "change", () => this.#begin());
    on(this.reset, "click", () => this.#begin());
    on(this.go, "click", () => (this.training ? this.engine.ask({ ask: "stop" }) : this.#train()));
    on(this.text, "change", () => this.#look());
    this.redraw = onceAFrame(() => this.#draw());
    const observer = new ResizeObserver(() => this.redraw());
    observer.observe(this.root);
    signal.addEventListener("abort", () => observer.disconnect());
    onThemeChange(this.root, () => this.redraw(), signal);
  }

  async open() {
    try {
      const { buffers } = await this.requests.ask({ type: "block", name: "learning" }, false);
      this.engine = Engine.start(new TextDecoder().decode(buffers[0]), this.signal);
    } catch (error) {
      return this.#say(error);
    }
    await this.#choose(this.course.name);
  }

  async #choose(name) {
    await this.#stopped();
    try {
      const { message, buffers } = await this.requests.ask(
        { type: "block", name: `examples/${name}` },
        false,
      );
      const [about, constants, ...examples] = buffers;
      const [tokens, targets] = examples.map((bytes) => typed(Int16Array, bytes));
      this.lesson = {
        ...message.info,
        ...JSON.parse(new TextDecoder().decode(about)),
        constants,
        tokens,
        targets,
      };
    } catch (error) {
      return this.#say(error);
    }
    this.seen = null; // of another model
    this.course = /** @type {Course} */ (this.courses.find((one) => one.name === name));
    this.words.textContent = this.course.words;
    this.text.value = this.course.text;
    this.chosen = { layer: this.course.layers - 1, head: 0 };
    await this.#begin();
  }

  /** Start again with new weights from the seed. */
  async #begin() {
    await this.#stopped();
    this.losses = [];
    this.rights = [];
    this.step = 0;
    this.off.clear();
    const seed = Number(this.seed.value);
    await this.#answer({ ask: "begin", ...this.lesson, seed, text: this.text.value });
    this.begun = seed;
  }

  async #look() {
    const off = [...this.off].map((place) => JSON.parse(place));
    await this.#answer({ ask: "look", text: this.text.value, off });
  }

  async #answer(question) {
    try {
      this.seen = await this.engine.ask(question);
      this.#say(this.engine.inPage ? new Error(IN_PAGE) : null);
    } catch (error) {
      this.#say(error);
    }
    this.redraw();
  }

  async #stopped() {
    if (!this.training) return;
    this.engine.ask({ ask: "stop" });
    await this.training;
  }

  #train() {
    const { steps } = this.lesson;
    const every = Math.max(1, Math.round(steps / FRAMES));
    const part = ({ step, losses, right, seen }) => {
      losses.forEach((loss, i) => this.losses.push(step - losses.length + 1 + i, loss));
      this.step = step;
      this.seen = seen;
      this.rights.push(right);
      this.redraw();
    };
    this.training = this.engine
      .ask({ ask: "train", every }, { background: true, part })
      .catch((error) => this.#say(error))
      .finally(() => {
        this.training = null;
        this.redraw();
      });
    this.redraw();
  }

  #say(error) {
    this.message.textContent = error ? asSentence(error) : "";
    this.message.hidden = !error;
  }

  // ---- drawing ----------------------------------------------------------------------------------

  #draw() {
    if (!this.seen || !this.root.clientWidth || this.signal.aborted) return;
    const theme = themeOf(this.root);
    this.root.dataset.theme = theme;
    this.colours = { inks: inksOf(theme), table: colourTable("default", theme) };
    const { steps } = this.lesson;
    const ended = this.step >= steps;
    this.go.textContent = this.training
      ? sayLearning("stop")
      : this.step && !ended
        ? sayLearning("train_on")
        : sayLearning("train");
    this.go.disabled = ended;
    Object.assign(this.root.dataset, {
      step: this.step,
      training: Boolean(this.training),
      seed: this.begun,
    });
    const right = this.rights.at(-1);
    this.status.textContent = [
      sayLearning("step_of", { step: this.step, steps }),
      ...(this.losses.length
        ? [
            sayLearning("loss_nats", { loss: this.losses[this.losses.length - 1] }),
            sayLearning("right_on_texts_that", { n: Math.round(100 * right) }),
          ]
        : [
            sayLearning("weights_drawn_with_this", {
              weights: this.course.weights.toLocaleString("en"),
            }),
          ]),
    ].join(" · ");
    const width = this.curve.parentElement.clientWidth;
    this.lossPlot.show(width, 200, {
      series: lossSeries(Float32Array.from(this.losses), new Float32Array()),
      xTitle: "step",
      yTitle: sayLearning("loss_nats_a_token"),
      whole: true,
      colours: this.colours.inks,
      xRange: [0, Math.max(1, steps)],
    });
    this.#drawSmall();
    this.#drawBig();
    this.#drawSaid();
  }

  #drawSmall() {
    const { tokens, heads } = this.seen;
    const n = tokens.length;
    const place = (one) => JSON.stringify({ layer: one.layer, head: one.head });
    if (this.small.dataset.for !== this.course.name) {
      this.small.dataset.for = this.course.name;
      this.small.replaceChildren(...heads.map((one) => this.#smallHead(place(one), one)));
    }
    heads.forEach((one, i) => {
      const { canvas, button, check } = this.small.children[i].parts;
      colourCells(canvas, { width: n, height: n }, this.colours.table, (at) =>
        shade(one.map[at], 1),
      );
      button.setAttribute(
        "aria-pressed",
        String(one.layer === this.chosen.layer && one.head === this.chosen.head),
      );
      check.checked = this.off.has(place(one));
    });
  }

  #smallHead(place, { layer, head }) {
    const name =
      this.course.layers > 1
        ? sayLearning("layer_head", { layer, head })
        : sayLearning("head_of", { head });
    const canvas = element("canvas");
    const button = element(
      "button",
      { "aria-label": sayLearning("look_at", { name }), title: sayLearning("look_at", { name }) },
      canvas,
    );
    const check = element("input", { type: "checkbox" });
    listen(button, "click", this.signal, () => {
      this.chosen = { layer, head };
      this.redraw();
    });
    listen(check, "change", this.signal, () => {
      if (check.checked) this.off.add(place);
      else this.off.delete(place);
      this.#look();
    });
    const figure = element(
      "div.tl-one",
      { "data-head": `${layer}/${head}` },
      element("span", name),
      button,
      element("label.tl-check", check, sayLearning("off")),
    );
    return Object.assign(figure, { parts: { canvas, button, check } });
  }

  #drawBig() {
    const { tokens, heads, causal } = this.seen;
    const { layer, head } = this.chosen;
    const { map } = heads.find((one) => one.layer === layer && one.head === head);
    const n = tokens.length;
    this.which.textContent =
      this.course.layers > 1
        ? sayLearning("layer_head_of", { layer, head })
        : sayLearning("head_2", { head });
    const rowOf = (query) => map.subarray(query * n, (query + 1) * n);
    const part = { query: 0, key: 0, queries: n, keys: n };
    const scene = {
      rowOf,
      part,
      queries: tokens,
      keys: tokens,
      causal,
      offset: 0,
      hidden: null,
      largest: 1,
      table: this.colours.table,
      colours: this.colours.inks,
    };
    this.map.show(this.big.parentElement.clientWidth, 420, scene);
    this.rowOf = rowOf;
    this.legend.replaceChildren(...legend(this.colours.table, 1, false, false));
    this.#point(this.at && Math.max(this.at.query, this.at.key) < n ? this.at : null);
  }

  #point(at) {
    if (!this.seen) return;
    const { tokens, causal } = this.seen;
    this.at = at && at.query !== null && at.key !== null ? at : null;
    this.map.mark(this.at ?? at, null);
    const about = sayLearning("how_much_each_token", { which: this.which.textContent });
    if (!this.at) {
      this.readout.textContent = sayLearning("rows_attend_to_columns");
      this.big.ariaLabel = sayLearning("arrow_keys_choose_a", { about });
      return;
    }
    const { query, key } = this.at;
    const weight =
      causal && key > query
        ? sayLearning("which_it_may_not")
        : sayLearning("with", { row_of: this.rowOf(query)[key] });
    this.readout.replaceChildren(
      tokenElement(tokens[query]),
      sayLearning("attends_to", { query }),
      tokenElement(tokens[key]),
      ` (${key})${weight}`,
    );
    this.big.ariaLabel = sayLearning("arrow_keys_move", {
      about,
      readout: this.readout.textContent,
    });
  }

  #key(event) {
    if (!this.seen) return;
    if (event.key === "Escape" && this.at) {
      taken(event);
      return this.#point(null);
    }
    const move = moveOf(event);
    if (!move) return;
    const { tokens, causal } = this.seen;
    const n = tokens.length;
    const { query, key } = this.at ?? { query: n - 1, key: causal ? n - 1 : 0 };
    const [down, right] = this.at ? move : [0, 0]; // the first arrow only shows the cursor
    this.#point({ query: within(query + down, n), key: within(key + right, n) });
  }

  #drawSaid() {
    const { tokens, answers } = this.seen;
    const { answers: asked } = this.course;
    const rows = tokens.map((token, i) => {
      const cells = asked.map((_, a) => answers[i * asked.length + a]);
      return rowPart(
        tokenElement(token),
        cells.map(({ name, chance, asked: wanted }) => {
          const says = [
            tokenElement(name),
            " ",
            element("span.tl-quiet", `${Math.round(100 * chance)}%`),
          ];
          return element("td", wanted ? says : [element("span.tl-quiet", "·")]);
        }),
      );
    });
    this.said.replaceChildren(
      element("table.tl-table", tableParts([sayLearning("after"), ...asked], rows)),
    );
  }
}

export default mounted(LearningViewer, "learning");
