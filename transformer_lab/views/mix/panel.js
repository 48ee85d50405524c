// The panel of a mixture: a slider for each score, its weight, and the values in a plane.

import { drawBars } from "../marks/bars.js";
import { drawPoints } from "../marks/points.js";
import { headColour } from "../shared/colours.js";
import { button } from "../shared/controls.js";
import { element, rowPart, tableParts, tokenElement } from "../shared/dom.js";
import { fixed, short } from "../shared/messages.js";
import { view } from "./scene.js";

const { say } = view;
const REACH = 12; // range of the sliders, unless a score is further out

export class MixPanel {
  /** @param {any} viewer */
  constructor(viewer) {
    const { scores, d, hidden, words } = viewer.state;
    this.viewer = viewer;
    this.first = { scores, d, hidden };
    this.rows = words.map((word, i) => this.#row(word, i));
    this.plot = element("canvas", { role: "img" });
    const names = [say("word"), say("score_drag_it"), "", "÷ √d", say("weight"), "", say("mask")];
    this.root = element(
      "div",
      element(
        "div",
        element(
          "table.tl-table.tl-mix-table",
          tableParts(
            names,
            this.rows.map(({ root }) => root),
          ),
        ),
        button(say("reset"), "reset", say("back_to_the_numbers"), () =>
          viewer.shell.set(this.first),
        ),
      ),
      element(
        "figure",
        { style: "margin:0" },
        this.plot,
        element("figcaption.tl-hint", say("dots_what_each_word")),
      ),
    );
  }

  #row(word, i) {
    const { viewer } = this;
    const slider = element(`input#score-${i}`, {
      type: "range",
      step: 0.1,
      "aria-label": say("score_of", { word }),
      input() {
        const scores = viewer.state.scores.map((x, j) => (j === i ? Number(slider.value) : x));
        viewer.shell.set({ scores });
      },
      keydown: (event) => {
        if (/^(Arrow|Home|End|Page)/.test(event.key)) event.stopPropagation();
      },
    });
    const mask = element(`input#hide-${i}`, {
      type: "checkbox",
      "aria-label": say("hide", { word }),
      change: () => {
        const hidden = viewer.state.hidden.filter((other) => other !== i);
        viewer.shell.set({ hidden: mask.checked ? [...hidden, i].sort((a, b) => a - b) : hidden });
      },
    });
    const bar = element("div.tl-mix-bar");
    const [score, scaled] = [element("td.tl-number"), element("td.tl-number")];
    const weight = element(`td.tl-number#weight-${i}`);
    const [drag, share] = [slider, bar].map((part) => element("td.tl-wide", part));
    const root = rowPart(tokenElement(word), drag, score, scaled, share, weight, mask);
    return { root, slider, mask, bar, cells: [score, scaled, weight] };
  }

  /** @param {any} panel */
  show({ mark: { off, scaled, weights, mixture } }) {
    const { viewer, plot, first } = this;
    const { scores, words, values } = viewer.state;
    const colour = headColour(0);
    const reach = Math.max(
      REACH,
      ...[...scores, ...first.scores].map((x) => Math.ceil(Math.abs(x))),
    );
    viewer.root.style.setProperty("--tl-mix", colour);
    this.rows.forEach((row, i) => {
      row.root.classList.toggle("tl-off", off[i]);
      Object.assign(row.slider, { min: -reach, max: reach, value: scores[i] });
      const score = fixed(scores[i]);
      const texts = [score, off[i] ? "−∞" : fixed(scaled[i]), short(weights[i])];
      row.slider.ariaValueText = score;
      row.mask.checked = off[i];
      row.bar.style.width = `${100 * weights[i]}%`;
      row.cells.forEach((cell, at) => (cell.textContent = texts[at]));
    });
    const width = Math.min(480, plot.parentElement.clientWidth);
    const drawn = /** @type {any} */ ({
      places: values,
      names: words,
      colours: words.map(() => colour),
      weights,
      together: mixture,
      titles: [say("first_number"), say("second_number")],
    });
    drawPoints(plot, drawn, viewer.shell.inks, width, Math.round(0.7 * width));
    plot.ariaLabel = viewer.shown.sentence;
  }

  /** For image files. */
  get pictures() {
    const { viewer, plot } = this;
    const { weights: values } = viewer.shown;
    const text = values.map((value) => short(value));
    const canvas = element("canvas");
    const drawn = { names: viewer.state.words, values, text, colour: headColour(0) };
    drawBars(canvas, drawn, viewer.shell.inks, 400);
    return [
      { canvas, title: say("weight") },
      { canvas: plot, title: say("what_each_word_hands") },
    ];
  }
}
