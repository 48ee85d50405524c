// The module of MixView: drag the scores of one word; weights and mixture follow.

import { headColour } from "../shared/colours.js";
import { button, radioGroup } from "../shared/controls.js";
import { element, tokenElement } from "../shared/dom.js";
import { numbersOf } from "../shared/files.js";
import { mounted } from "../shared/mounted.js";
import { wrapped } from "../shared/sheet.js";
import { Shell } from "../shared/shell.js";
import { fixed, messages, short } from "../shared/messages.js";
import mixMessages from "./messages.json" with { type: "json" };

const sayMix = messages(mixMessages);

const SIZES = [1, 4, 16, 64, 256];
const REACH = 12; // of the sliders, unless a score lies further out

/**
 * softmax(scores / √d) over the words that are not hidden.
 * @param {number[]} scores
 * @param {number} d
 * @param {number[]} hidden
 */
export function weightsOf(scores, d, hidden) {
  const scaled = scores.map((score, i) => (hidden.includes(i) ? -Infinity : score / Math.sqrt(d)));
  const top = Math.max(...scaled);
  if (top === -Infinity) return scores.map(() => 0);
  const shares = scaled.map((score) => Math.exp(score - top));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}

/** @param {number[]} weights @param {number[][]} values */
export function mixtureOf(weights, values) {
  return [0, 1].map((axis) => weights.reduce((sum, weight, i) => sum + weight * values[i][axis], 0));
}

const svg = (tag, attributes, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
};

class MixViewer {
  constructor(model, root, signal) {
    this.model = model;
    this.root = root;
    this.signal = signal;
    this.first = { scores: [...model.get("scores")], d: model.get("d"), hidden: [...model.get("hidden")] };
    this.shell = new Shell(model, root, signal, {
      draw: () => this.draw(), png: () => this.png(), code: () => this.code(), numbers: () => this.#numbers(),
    });
    const words = model.get("_words");
    this.rows = words.map((word, i) => this.#row(word, i));
    this.sizes = element("div", {});
    this.plot = svg("svg", { class: "tl-mix-plot", viewBox: "0 0 420 300", role: "img" });
    this.sentence = element("p", { class: "tl-sentence", role: "status", "aria-live": "polite", "data-part": "sentence" });
    const head = ["word", "score: drag it", "", "÷ √d", "weight", "", "mask"].map((text) => element("th", { scope: "col" }, text));
    root.append(
      this.shell.header,
      element("div", { class: "tl-controls" }, this.sizes, button("Reset", "reset", () => this.shell.set(structuredClone(this.first)), "Back to the numbers it began with")),
      this.shell.message,
      element(
        "div",
        { class: "tl-mix" },
        element("table", { class: "tl-mix-table" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...this.rows.map((row) => row.root))),
        element("figure", { style: "margin:0" }, this.plot, element("figcaption", { class: "tl-hint" }, "Dots: what each word hands over, larger with more weight. Diamond: their mixture, the output.")),
      ),
      element("footer", { class: "tl-foot" }, this.sentence),
    );
    this.shell.watch(["scores", "d", "hidden"]);
  }

  #row(word, i) {
    const slider = element("input", { type: "range", step: 0.1, "aria-label": `Score of ${word}`, "data-part": `score-${i}` });
    slider.addEventListener("input", () => {
      const scores = [...this.model.get("scores")];
      scores[i] = Number(slider.value);
      this.shell.set({ scores });
    });
    slider.addEventListener("keydown", (event) => {
      if (event.key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(event.key)) event.stopPropagation();
    });
    const mask = element("input", { type: "checkbox", "aria-label": `Hide ${word}`, "data-part": `hide-${i}` });
    mask.addEventListener("change", () => {
      const hidden = this.model.get("hidden").filter((other) => other !== i);
      this.shell.set({ hidden: mask.checked ? [...hidden, i].sort((a, b) => a - b) : hidden });
    });
    const score = element("td", { class: "tl-number" });
    const scaled = element("td", { class: "tl-number" });
    const bar = element("div", { class: "tl-mix-bar" });
    const weight = element("td", { class: "tl-number", "data-part": `weight-${i}` });
    const root = element("tr", {}, element("th", { scope: "row" }, tokenElement(word)), element("td", { class: "tl-wide" }, slider), score, scaled,
      element("td", { class: "tl-wide" }, bar), weight, element("td", {}, mask));
    return { root, slider, mask, score, scaled, bar, weight };
  }

  open() {
    this.shell.draw();
  }

  draw() {
    const { model, root } = this;
    const [scores, d, hidden, values] = ["scores", "d", "hidden", "_values"].map((name) => model.get(name));
    root.style.setProperty("--tl-mix", headColour(0));
    const weights = weightsOf(scores, d, hidden);
    const mixture = mixtureOf(weights, values);
    const reach = Math.max(REACH, ...[...scores, ...this.first.scores].map((score) => Math.ceil(Math.abs(score))));
    const held = root.contains(document.activeElement) && document.activeElement?.closest("[data-part=size]");
    const choices = [...new Set([...SIZES, d])].sort((a, b) => a - b);
    const sizes = radioGroup({
      label: "divide by √d, d =", part: "size", chosen: d, choose: (value) => this.shell.set({ d: value }),
      choices: choices.map((value) => ({ value, text: value === 1 ? "1 (not divided)" : String(value) })),
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
    this.#plot(values, weights, mixture);
    this.sentence.textContent = this.#say(weights, mixture);
    this.plot.setAttribute("aria-label", this.sentence.textContent);
  }

  /** @param {number[]} weights @param {number[]} mixture */
  #say(weights, [x, y]) {
    const weight = Math.max(...weights);
    const word = weight > 0 ? this.model.get("_words")[weights.indexOf(weight)] : null;
    return sayMix("sentence", { word, weight, query: this.model.get("_query") || null, x, y });
  }

  #plot(values, weights, mixture) {
    const range = (axis) => {
      const all = [0, ...values.map((value) => value[axis])];
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const pad = 0.15 * (high - low || 1);
      return [low - pad, high + pad];
    };
    const [[left, right], [low, high]] = [range(0), range(1)];
    const at = ([x, y]) => [30 + (370 * (x - left)) / (right - left), 275 - (255 * (y - low)) / (high - low)];
    const parts = [];
    const origin = at([0, 0]);
    parts.push(svg("line", { class: "tl-grid-line", x1: 30, x2: 400, y1: origin[1], y2: origin[1] }), svg("line", { class: "tl-grid-line", x1: origin[0], x2: origin[0], y1: 20, y2: 275 }));
    parts.push(svg("text", { class: "tl-tick", x: 400, y: origin[1] + 32, "text-anchor": "end" }, "first number"), svg("text", { class: "tl-tick", x: origin[0] + 6, y: 16 }, "second number"));
    const target = at(mixture);
    values.forEach((value, i) => {
      const [x, y] = at(value);
      parts.push(svg("line", { class: "tl-pull", x1: x, y1: y, x2: target[0], y2: target[1], "stroke-width": 4 * weights[i], "stroke-opacity": 0.35 }));
    });
    const below = new Map(); // words at one point stand one below the other
    values.forEach((value, i) => {
      const [x, y] = at(value);
      const place = value.join();
      const rank = below.get(place) ?? 0;
      below.set(place, rank + 1);
      const end = x > 330;
      const radius = 3 + 14 * Math.sqrt(weights[i]);
      // Beside the circle's top; at the right rim above it, out of the mixture's way.
      const from = end ? radius : Math.max(10, 0.7 * radius + 6);
      const up = end ? radius + 5 : Math.max(8, 0.7 * radius + 4);
      parts.push(svg("circle", { class: "tl-value", cx: x, cy: y, r: radius }));
      parts.push(svg("text", { x: x + from, y: y - up + 14 * rank, "text-anchor": end ? "end" : "start" }, this.model.get("_words")[i]));
    });
    const [x, y] = target;
    parts.push(svg("path", { class: "tl-mixture", d: `M${x} ${y - 8}L${x + 8} ${y}L${x} ${y + 8}L${x - 8} ${y}Z` }));
    this.plot.replaceChildren(...parts);
  }

  code() {
    const list = (items) => `[${items.join(", ")}]`;
    const { model } = this;
    return `view.scores, view.d, view.hidden = ${list(model.get("scores"))}, ${model.get("d")}, ${list(model.get("hidden"))}`;
  }

  #numbers() {
    const [words, values, scores, d, hidden] = ["_words", "_values", "scores", "d", "hidden"].map((name) => this.model.get(name));
    const weights = weightsOf(scores, d, hidden);
    const of = (name, numbers) => [name, [["word"], numbers, sayMix(`is_${name}`)]];
    const off = words.map((_, i) => hidden.includes(i));
    return numbersOf({ word: words, coordinate: ["x", "y"] }, {
      ...Object.fromEntries([of("score", scores), of("hidden", off), of("weight", weights), of("x", values.map(([x]) => x)), of("y", values.map(([, y]) => y))]),
      mixture: [["coordinate"], mixtureOf(weights, values), sayMix("is_mixture")],
    }, { chosen: { scores, d, hidden } });
  }

  /** The plot and the sentence as a picture. */
  async png() {
    const copy = /** @type {SVGElement} */ (this.plot.cloneNode(true));
    const { ink, quiet, line, accent, ground } = /** @type {any} */ (this.shell.inks);
    const style = `text{font:12px monospace;fill:${ink}}.tl-tick{fill:${quiet}}.tl-grid-line{stroke:${line}}.tl-value{fill:${headColour(0)};fill-opacity:.8}.tl-pull{stroke:${headColour(0)}}.tl-mixture{fill:${accent}}`;
    copy.prepend(svg("style", {}, style));
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", "840");
    copy.setAttribute("height", "600");
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
    await image.decode();
    const canvas = element("canvas", { width: 1240, height: 0 });
    const context = canvas.getContext("2d");
    context.font = "20px sans-serif";
    const lines = wrapped(context, this.sentence.textContent, 1192);
    const top = 28 * (lines.length - 1);
    canvas.height = 660 + top;
    context.fillStyle = ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 400, 40 + top, 840, 600);
    context.fillStyle = ink;
    context.font = "20px sans-serif";
    lines.forEach((line, i) => context.fillText(line, 24, 32 + 28 * i));
    context.font = "18px monospace";
    const weights = weightsOf(this.model.get("scores"), this.model.get("d"), this.model.get("hidden"));
    this.model.get("_words").forEach((word, i) => {
      context.fillStyle = ink;
      context.fillText(`${word} ${short(weights[i])}`, 24, 90 + top + 44 * i, 200);
      context.fillStyle = headColour(0);
      context.fillRect(230, 74 + top + 44 * i, 170 * weights[i], 20);
    });
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

export default mounted(MixViewer, "mix");
