// The picture of a flow: tokens from left to right, layers from bottom to top,
// and an edge for what a head carries between tokens.

import { entry, headColour } from "../shared/colours.js";
import { fitText, sizedContext } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { cutOf, sameCut, view } from "./scene.js";

/** @typedef {import("./scene.js").Edge} Edge */

const LEFT = 62;
const RIGHT = 26;
const TOP = 30;
const BOTTOM = 70;
const NAMES = 58; // height of the tokens' names above a picture higher than a screen
const HIGH = 640;
const NARROWEST = 20; // pixels of a token
const [LOWEST, HIGHEST] = [26, 104]; // pixels of a layer
const WIDEST = 11;
const NEAR = 7; // pixels from an edge within which it is hit
const STEPS = 28; // parts of a curve for hit tests

/**
 * @typedef {object} FlowScene
 * @property {any} found
 * @property {Edge[]} edges shown edges, the largest first
 * @property {number} least the size of the smallest shown edge
 * @property {Edge[]} cuts
 * @property {string[]} tokens
 * @property {number} layers
 * @property {number} heads
 * @property {Set<string> | null} inside "layer.head" of a circuit's heads
 * @property {string} name of the logit that is followed
 * @property {Uint8ClampedArray} table diverging
 * @property {any} inks
 */

export class FlowPicture {
  /** @param {HTMLCanvasElement} canvas @param {HTMLCanvasElement} names of tokens, above a high picture */
  constructor(canvas, names) {
    this.canvas = canvas;
    this.names = names;
  }

  /** @param {FlowScene} scene @param {number} room */
  show(scene, room) {
    const n = scene.tokens.length;
    this.scene = scene;
    this.width = Math.max(room, LEFT + RIGHT + NARROWEST * n);
    this.row = Math.max(LOWEST, Math.min(HIGHEST, 460 / scene.layers));
    this.height = TOP + this.row * scene.layers + BOTTOM;
    this.step = (this.width - LEFT - RIGHT) / n;
    const { found } = scene;
    this.most = Math.max(found.largest, ...found.stays.map(Math.abs), 1e-9);
    this.names.hidden = this.height < HIGH;
    if (!this.names.hidden)
      this.#name(sizedContext(this.names, this.width, NAMES), NAMES - 6, "left");
    this.draw(null);
  }

  x(token) {
    return LEFT + this.step * (token + 0.5);
  }

  /** @param {number} level number of layers passed */
  y(level) {
    return TOP + this.row * (this.scene.layers - level);
  }

  /** Point of an edge's curve after a fraction of its way. @param {any} edge @param {number} share */
  #at({ layer, head, query, key }, share) {
    const off =
      this.step * 0.5 * ((head + 0.5) / this.scene.heads - 0.5) * (query === key ? 1.6 : 0.8);
    const [from, to] = [this.x(key), this.x(query)];
    const [low, high] = [this.y(layer), this.y(layer + 1)];
    const middle = (low + high) / 2;
    const [a, b, c, d] = [
      (1 - share) ** 3,
      3 * share * (1 - share) ** 2,
      3 * share ** 2 * (1 - share),
      share ** 3,
    ];
    return [
      a * from + b * (from + off) + c * (to + off) + d * to,
      a * low + b * middle + c * middle + d * high,
    ];
  }

  /** The edge at a point: of those near it, the one whose stroke is nearest. @param {number} x @param {number} y */
  hit(x, y) {
    const layer = Math.floor((this.y(0) - y) / this.row);
    let best = null;
    for (const edge of [...this.scene.cuts, ...this.scene.edges]) {
      if (edge.layer !== layer) continue;
      let near = Infinity;
      for (let i = 0; i <= STEPS; i++) {
        const [a, b] = this.#at(edge, i / STEPS);
        near = Math.min(near, Math.hypot(a - x, (b - y) / 2));
      }
      const away = near - this.#wide(edge.value) / 2;
      if (away < NEAR && (!best || away < best.away)) best = { edge, away };
    }
    return best?.edge ?? null;
  }

  #wide(value) {
    return 1 + (WIDEST * Math.abs(value)) / this.most;
  }

  /** @param {Edge | null} focus */
  draw(focus) {
    const { scene, width, height } = this;
    const context = sizedContext(this.canvas, width, height);
    context.font = "11px system-ui, sans-serif";
    this.#frame(context);
    this.#stays(context);
    const isFocus = (edge) => focus && sameCut(cutOf(edge), cutOf(focus));
    for (const edge of [...scene.edges].reverse())
      this.#edge(context, edge, isFocus(edge) ? "focus" : focus ? "other" : "");
    for (const cut of scene.cuts) this.#cut(context, cut, Boolean(isFocus(cut)));
    this.#nodes(context);
  }

  #frame(context) {
    const { scene, width } = this;
    const { layers, tokens, inks, found } = scene;
    context.strokeStyle = inks.line;
    context.lineWidth = 1;
    for (let level = 0; level <= layers; level++) {
      context.beginPath();
      context.moveTo(LEFT - 6, this.y(level));
      context.lineTo(width - RIGHT + 6, this.y(level));
      context.stroke();
    }
    context.fillStyle = inks.quiet;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let layer = 0; layer < layers; layer++)
      context.fillText(view.say("layer", { layer }), LEFT - 12, this.y(layer + 0.5));
    context.fillStyle = inks.ink;
    const { position } = found.info;
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = position > tokens.length / 2 ? "right" : "left";
    context.fillText(
      fitText(context, scene.name, width / 2),
      this.x(position) + (position > tokens.length / 2 ? 8 : -8),
      this.y(layers) - 16,
    );
    this.#name(context, this.y(0) + 12, "right");
    context.font = "11px system-ui, sans-serif";
  }

  /** Write the tokens, each ending or starting at its position. @param {CanvasRenderingContext2D} context @param {number} y @param {"left" | "right"} side */
  #name(context, y, side) {
    const { tokens, inks, found } = this.scene;
    context.font = "11px ui-monospace, Menlo, Consolas, monospace";
    context.textAlign = side;
    context.textBaseline = "middle";
    tokens.forEach((token, i) => {
      context.save();
      context.translate(this.x(i) + (side === "right" ? 4 : 0), y);
      context.rotate(-Math.PI / 3.4);
      context.fillStyle = i === found.info.position ? inks.accent : inks.ink;
      context.fillText(fitText(context, token, side === "right" ? 74 : NAMES), 0, 0);
      context.restore();
    });
  }

  #stays(context) {
    const { layers, tokens, found, least, inks } = this.scene;
    context.strokeStyle = inks.quiet;
    context.globalAlpha = 0.4;
    for (let layer = 0; layer < layers; layer++) {
      for (let at = 0; at < tokens.length; at++) {
        const value = found.stays[layer * tokens.length + at];
        if (Math.abs(value) < least || !value) continue;
        context.setLineDash(value < 0 ? [5, 4] : []);
        context.lineWidth = this.#wide(value);
        context.beginPath();
        context.moveTo(this.x(at), this.y(layer));
        context.lineTo(this.x(at), this.y(layer + 1));
        context.stroke();
      }
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #trace(context, edge) {
    context.beginPath();
    for (let i = 0; i <= STEPS; i++)
      context.lineTo(.../** @type {[number, number]} */ (this.#at(edge, i / STEPS)));
    context.stroke();
  }

  #edge(context, edge, how) {
    const { inside, inks } = this.scene;
    const out = inside && !inside.has(`${edge.layer}.${edge.head}`);
    const wide = this.#wide(edge.value);
    if (how === "focus") {
      context.strokeStyle = inks.accent;
      context.lineWidth = wide + 5;
      this.#trace(context, edge);
    }
    context.globalAlpha = how === "focus" ? 1 : (out ? 0.16 : 0.9) * (how === "other" ? 0.55 : 1);
    context.strokeStyle = headColour(edge.head);
    context.lineWidth = wide;
    context.setLineDash(edge.value < 0 ? [6, 4] : []);
    this.#trace(context, edge);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {Edge} edge @param {boolean} isFocus */
  #cut(context, edge, isFocus) {
    const { inks } = this.scene;
    context.strokeStyle = isFocus ? inks.accent : inks.edited;
    context.lineWidth = isFocus ? 3 : 2;
    context.setLineDash([2, 4]);
    this.#trace(context, edge);
    context.setLineDash([]);
    const [x, y] = this.#at(edge, 0.5);
    context.strokeStyle = inks.edited;
    context.lineWidth = 2;
    context.beginPath();
    for (const [a, b] of [
      [-5, -5],
      [-5, 5],
    ]) {
      context.moveTo(x + a, y + b);
      context.lineTo(x - a, y - b);
    }
    context.stroke();
  }

  #nodes(context) {
    const { layers, tokens, found, table, inks, least } = this.scene;
    const n = tokens.length;
    const largest = Math.max(...found.stream.map(Math.abs), 1e-9);
    const fill = (value) =>
      entry(
        table,
        linearShade(Math.sign(value) * Math.min(1, 0.2 + (0.8 * Math.abs(value)) / largest), -1, 1),
      );
    context.lineWidth = 1;
    for (let level = 0; level <= layers; level++) {
      for (let at = 0; at < n; at++) {
        const value = found.stream[level * n + at];
        const small = !value || Math.abs(value) < least;
        context.beginPath();
        context.arc(
          this.x(at),
          this.y(level),
          small ? 1.8 : 3 + 5 * Math.sqrt(Math.abs(value) / largest),
          0,
          7,
        );
        context.fillStyle = small ? inks.line : fill(value);
        context.fill();
        context.strokeStyle = small ? inks.line : inks.quiet;
        context.stroke();
        const written = level ? found.mlps[(level - 1) * n + at] : 0;
        if (!written || Math.abs(written) < least) continue;
        const size = 4 + 5 * Math.sqrt(Math.abs(written) / largest);
        context.fillStyle = fill(written);
        context.fillRect(this.x(at) - size / 2, this.y(level) + 12, size, size);
        context.strokeRect(this.x(at) - size / 2, this.y(level) + 12, size, size);
      }
    }
  }
}
