// The module of MixView: drag the scores of one word; weights and mixture follow.

import { headColour } from "../shared/colours.js";
import { button, radioGroup } from "../shared/controls.js";
import { element, tableParts, tokenElement, rowPart } from "../shared/dom.js";
import { numbersOf } from "../shared/files.js";
import { mounted } from "../shared/mounted.js";
import { fixed, messages, short } from "../shared/messages.js";
import mixMessages from "./messages.json" with { type: "json" };
import { BaseViewer } from "../shared/viewer.js";
import { drawBars } from "../marks/bars.js";
import { drawPoints } from "../marks/points.js";

const sayMix = messages(mixMessages);

const SIZES = [1, 4, 16, 64, 256];
const REACH = 12; // range of the sliders, unless a score is further out

/** softmax(scores / √d) over the words that are not hidden. @param {number[]} scores @param {number} d @param {number[]} hidden */
export function weightsOf(scores, d, hidden) {
  const scaled = scores.map((score, i) => (hidden.includes(i) ? -Infinity : score / Math.sqrt(d)));
  const top = Math.max(...scaled);
  if (top === -Infinity) return scores.map(() => 0);
  const shares = scaled.map((score) => Math.exp(score - top));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}

/** @param {number[]} weights @param {number[][]} values @returns {[number, number]} */
export function mixtureOf(weights, values) {
  const along = (axis) => weights.reduce((sum, weight, i) => sum + weight * values[i][axis], 0);
  return [along(0), along(1)];
}

class MixViewer extends BaseViewer {
  constructor(model, root, signal) {
    super(model, root, signal);
    this.first = {
      scores: [...model.get("scores")],
      d: model.get("d"),
      hidden: [...model.get("hidden")],
    };
    const words = model.get("_words");
    this.rows = words.map((word, i) => this.#row(word, i));
    this.sizes = element("div");
    this.plot = element("canvas", { role: "img" });
    root.append(
      this.shell.header,
      element(
        "div.tl-controls",
        this.sizes,
        button(sayMix("reset"), "reset", sayMix("back_to_the_numbers"), () =>
          this.shell.set(structuredClone(this.first)),
        ),
      ),
      this.shell.message,
      this.sentence,
      element(
        "div.tl-mix",
        element(
          "table.tl-mix-table",
          tableParts(
            [
              sayMix("word"),
              sayMix("score_drag_it"),
              "",
              "÷ √d",
              sayMix("weight"),
              "",
              sayMix("mask"),
            ],
            this.rows.map((row) => row.root),
          ),
        ),
        element(
          "figure",
          { style: "margin:0" },
          this.plot,
          element("figcaption.tl-hint", sayMix("dots_what_each_word")),
        ),
      ),
    );
    this.shell.watch(["scores", "d", "hidden"]);
  }

  #row(word, i) {
    const slider = element(`input#score-${i}`, {
      type: "range",
      step: 0.1,
      "aria-label": sayMix("score_of", { word }),
      input: () => {
        const scores = [...this.model.get("scores")];
        scores[i] = Number(slider.value);
        this.shell.set({ scores });
      },
      keydown: (event) => {
        if (
          event.key.startsWith("Arrow") ||
          ["Home", "End", "PageUp", "PageDown"].includes(event.key)
        )
          event.stopPropagation();
      },
    });
    const mask = element(`input#hide-${i}`, {
      type: "checkbox",
      "aria-label": sayMix("hide", { word }),
      change: () => {
        const hidden = this.model.get("hidden").filter((other) => other !== i);
        this.shell.set({ hidden: mask.checked ? [...hidden, i].sort((a, b) => a - b) : hidden });
      },
    });
    const score = element("td.tl-number");
    const scaled = element("td.tl-number");
    const bar = element("div.tl-mix-bar");
    const weight = element(`td.tl-number#weight-${i}`);
    const root = rowPart(
      tokenElement(word),
      element("td.tl-wide", slider),
      score,
      scaled,
      element("td.tl-wide", bar),
      weight,
      mask,
    );
    return { root, slider, mask, score, scaled, bar, weight };
  }

  draw() {
    const { model, root } = this;
    const [scores, d, hidden, values] = ["scores", "d", "hidden", "_values"].map((name) =>
      model.get(name),
    );
    root.style.setProperty("--tl-mix", headColour(0));
    const weights = weightsOf(scores, d, hidden);
    const mixture = mixtureOf(weights, values);
    const reach = Math.max(
      REACH,
      ...[...scores, ...this.first.scores].map((score) => Math.ceil(Math.abs(score))),
    );
    const held =
      root.contains(document.activeElement) && document.activeElement?.closest("[data-part=size]");
    const choices = [...new Set([...SIZES, d])].sort((a, b) => a - b);
    const sizes = radioGroup({
      label: sayMix("divide_by_d_d"),
      part: "size",
      chosen: d,
      choose: (value) => this.shell.set({ d: value }),
      choices: choices.map((value) => ({
        value,
        text: value === 1 ? sayMix("not_divided") : String(value),
      })),
    });
    this.sizes.replaceChildren(sizes.root);
    if (held) this.sizes.querySelector("[aria-checked=true]")?.focus();
    this.rows.forEach((row, i) => {
      const off = hidden.includes(i);
      row.root.classList.toggle("tl-off", off);
      row.slider.min = String(-reach);
      row.slider.max = String(reach);
      row.slider.value = String(scores[i]);
      row.slider.setAttribute("aria-valuetext", fixed(scores[i]));
      row.mask.checked = off;
      row.score.textContent = fixed(scores[i]);
      row.scaled.textContent = off ? "−∞" : fixed(scores[i] / Math.sqrt(d));
      row.bar.style.width = `${100 * weights[i]}%`;
      row.weight.textContent = short(weights[i]);
    });
    const words = model.get("_words");
    const width = Math.min(480, /** @type {HTMLElement} */ (this.plot.parentElement).clientWidth);
    drawPoints(
      this.plot,
      {
        places: values,
        names: words,
        diamonds: words.map(() => false),
        colours: words.map(() => headColour(0)),
        weights,
        together: mixture,
        titles: [sayMix("first_number"), sayMix("second_number")],
      },
      this.shell.inks,
      width,
      Math.round(0.7 * width),
    );
    this.say(this.#sentenceOf(weights, mixture));
    this.plot.ariaLabel = this.sentence.textContent;
  }

  /** @param {number[]} weights @param {number[]} mixture */
  #sentenceOf(weights, [x, y]) {
    const weight = Math.max(...weights);
    const word = weight > 0 ? this.model.get("_words")[weights.indexOf(weight)] : null;
    return sayMix("sentence", { word, weight, query: this.model.get("_query") || null, x, y });
  }

  code() {
    const list = (items) => `[${items.join(", ")}]`;
    const { model } = this;
    return `view.scores, view.d, view.hidden = ${list(model.get("scores"))}, ${model.get("d")}, ${list(model.get("hidden"))}`;
  }

  fileNumbers() {
    const [words, values, scores, d, hidden] = ["_words", "_values", "scores", "d", "hidden"].map(
      (name) => this.model.get(name),
    );
    const weights = weightsOf(scores, d, hidden);
    const of = (name, numbers) => [name, [["word"], numbers, sayMix(`is_${name}`)]];
    const off = words.map((_, i) => hidden.includes(i));
    return numbersOf(
      { word: words, coordinate: ["x", "y"] },
      {
        ...Object.fromEntries([
          of("score", scores),
          of("hidden", off),
          of("weight", weights),
          of(
            "x",
            values.map(([x]) => x),
          ),
          of(
            "y",
            values.map(([, y]) => y),
          ),
        ]),
        mixture: [["coordinate"], mixtureOf(weights, values), sayMix("is_mixture")],
      },
      { chosen: { scores, d, hidden } },
    );
  }

  pictures() {
    const [words, scores, d, hidden] = ["_words", "scores", "d", "hidden"].map((name) =>
      this.model.get(name),
    );
    const [canvas, values] = [element("canvas"), weightsOf(scores, d, hidden)];
    drawBars(
      canvas,
      { names: words, values, text: values.map((value) => short(value)), colour: headColour(0) },
      this.shell.inks,
      400,
    );
    return [
      { canvas, title: sayMix("weight") },
      { canvas: this.plot, title: sayMix("what_each_word_hands") },
    ];
  }
}

export default mounted(MixViewer, "mix");
