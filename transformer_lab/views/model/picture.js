// The picture of a forward pass: a line for each token, layers below each other, curves for what
// attention moves, boxes for what an MLP adds. Only positions and widths are computed here.

import { headColour, PALETTE } from "../shared/colours.js";
import { fitText, pixelRatio, sizedContext } from "../shared/dom.js";
import { leaning, leaningHeight, writeAbove } from "../shared/map_frame.js";
import { percentText } from "../shared/messages.js";
import { wrapped } from "../shared/sheet.js";
import { larger } from "./scene.js";

const [ROOM, TALL, TALLEST, LEAST] = [560, 92, 124, 6]; // pixels: of all layers, of a tall layer, of the tallest and of the lowest
const [COLUMN, BROADEST, AROUND] = [11, 110, 1]; // pixels of a token's column, narrowest and widest; tall layers on each side of the one in focus
const MOVED = 0.04; // of a stream's size
const [MODEL_MONO, MODEL_SANS] = [
  "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  "system-ui, 'DejaVu Sans', sans-serif",
];

/** @typedef {import("./scene.js").Edge} Edge @typedef {import("./scene.js").Band} Band @typedef {import("./scene.js").Spot} Spot */

const between = (a, b, share) => a + (b - a) * share;
const eased = (u) => (u <= 0 ? 0 : u >= 1 ? 1 : u * u * (3 - 2 * u));
/** A point on the curve of an edge. @param {number[]} curve @param {number} u */
const along = ([x0, y0, x1, y1], u) => {
  const [v, a, b] = [1 - u, between(y0, y1, 0.55), between(y0, y1, 0.45)];
  return [
    v * v * (v + 3 * u) * x0 + u * u * (u + 3 * v) * x1,
    v * v * v * y0 + 3 * v * v * u * a + 3 * v * u * u * b + u * u * u * y1,
  ];
};

export class ModelPicture {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.base = document.createElement("canvas");
    this.key = "";
    this.done = -1;
    /** @type {number | null} the first of the tall layers */
    this.tall = null;
    /** @type {number[]} heights of the layers */
    this.heights = [];
  }

  /**
   * Set the scene; `draw` draws it.
   * @param {object} scene
   * @param {import("./scene.js").Pass} scene.found
   * @param {Record<string, string[]>} scene.stacks tokens of each
   * @param {string} scene.main
   * @param {{stack: string, layer: number}} scene.focus
   * @param {Record<string, number>} scene.tokens the chosen token of each stack, or its last
   * @param {Record<string, number | null>} scene.marked the chosen token of each stack, if any
   * @param {{stack: string, token: number} | null} scene.pointed
   * @param {Edge | null} scene.edge the chosen one
   * @param {[string, number][][][]} scene.lens [without edits, with them][row], the likeliest first
   * @param {{lens: string, layer: (stack: string, layer: number, short: boolean) => string, off: (stack: string, layer: number) => string}} scene.words
   * @param {any} scene.inks
   * @param {number} scene.width
   */
  show(scene) {
    this.scene = scene;
    this.phone = scene.width < 560;
    this.key = "";
    this.#columns();
    const wanted = this.wanted();
    if (wanted.length !== this.heights.length) this.heights = wanted;
    this.#rows();
  }

  /** Heights of the layers: all equal, or tall around the one in focus. @returns {number[]} */
  wanted() {
    const { focus } = this.scene;
    const { bands } = this.scene.found;
    const room = this.phone ? 400 : ROOM;
    const even = room / bands.length;
    if (even >= 52) return bands.map(() => Math.min(TALLEST, even));
    const at = Math.max(
      0,
      bands.findIndex(({ stack, layer }) => stack === focus.stack && layer === focus.layer),
    );
    // The tall layers stay while the focus is among them: a picture that moves at each layer is
    // hard to follow.
    const before = this.tall ?? at - AROUND;
    const among = at < before ? at - 2 * AROUND : at > before + 2 * AROUND ? at : before;
    const first = (this.tall = Math.max(0, Math.min(bands.length - 2 * AROUND - 1, among)));
    const tall = (i) => i >= first && i <= first + 2 * AROUND;
    const rest = Math.max(
      LEAST,
      (room - (2 * AROUND + 1) * TALL) / Math.max(1, bands.length - 2 * AROUND - 1),
    );
    return bands.map((_, i) => (tall(i) ? TALL : rest));
  }

  /** @param {number[]} heights */
  reshape(heights) {
    this.heights = heights;
    this.key = "";
    this.#rows();
  }

  // ---- places ---------------------------------------------------------------------------------

  #columns() {
    const { found, stacks, width, tokens, lens } = this.scene;
    const [left, right] = [
      this.phone ? 24 : Object.keys(stacks).length > 1 ? 96 : 74,
      lens.length ? (this.phone ? 100 : 190) : 12,
    ];
    const names = Object.keys(stacks);
    const room = width - left - right - 14 * (names.length - 1);
    const most = Math.max(1, Math.floor(room / COLUMN / names.length) - 2);
    let count = 0;
    /** @type {Record<string, {from: number, to: number, left: number, before: number, after: number}>} */
    this.seen = {};
    for (const stack of names) {
      const { first, count: n } = found.info.stacks[stack];
      const from = first + Math.max(0, Math.min(n - most, tokens[stack] - first - most + 1));
      const to = Math.min(first + n, from + most);
      this.seen[stack] = {
        from,
        to,
        left: count,
        before: Number(from > 0),
        after: Number(to < stacks[stack].length),
      };
      count += to - from + this.seen[stack].before + this.seen[stack].after;
    }
    this.column = Math.min(BROADEST, room / count);
    this.left = left;
    const context = /** @type {CanvasRenderingContext2D} */ (this.base.getContext("2d"));
    context.font = `12px ${MODEL_MONO}`;
    const longest = Math.max(
      ...names
        .flatMap((stack) => stacks[stack].slice(this.seen[stack].from, this.seen[stack].to))
        .map((name) => context.measureText(name).width),
    );
    this.leans = longest + 8 > this.column;
    this.high = this.leans ? leaningHeight(longest, this.column) + 6 : 24;
    this.right = this.left + this.column * count + 14 * (names.length - 1);
  }

  /** x of a token's line; of a token outside the view, x of the edge on its side. @param {string} stack @param {number} token */
  x(stack, token) {
    const { from, to, left, before, after } = /** @type {any} */ (this.seen)[stack];
    const at =
      token < from ? 0 : token >= to ? to - from + before + after - 1 : token - from + before;
    return (
      this.left +
      14 * Object.keys(/** @type {any} */ (this.seen)).indexOf(stack) +
      (left + at + 0.5) * this.column
    );
  }

  #rows() {
    const { bands } = this.scene.found;
    let [y, stack] = [this.phone ? 4 : 2, ""];
    bands.forEach((band, i) => {
      if (band.stack !== stack) y += this.high;
      stack = band.stack;
      Object.assign(band, { top: y, high: this.heights[i] });
      y += this.heights[i];
    });
    this.bottom = y;
    this.height = y + 12;
  }

  /** y of a row of a stack: row 0 is before its first layer, then one after each layer. */
  #y(stack, row) {
    const own = this.scene.found.bands.filter((band) => band.stack === stack);
    return row ? own[row - 1].top + own[row - 1].high : own[0].top;
  }

  /** How far down a layer its first `count` steps reach, 0 … 1: the MLP has the last third. @param {Band} band @param {number} count */
  #down({ steps }, count) {
    const last = Number(
      ["MLP", "block"].includes(this.scene.found.steps[steps[steps.length - 1]].what),
    );
    const before = steps.length - last;
    const share = last ? 0.66 : 1;
    return count <= before
      ? (share * count) / Math.max(1, before)
      : share + (1 - share) * (count - before);
  }

  /** End points of an edge's curve. @param {Band} band @param {Edge} edge */
  #curve(band, edge) {
    const at = band.steps.indexOf(edge.step);
    const y = (count) => band.top + this.#down(band, count) * band.high;
    return [
      this.x(edge.kind === "cross" ? "encoder" : band.stack, edge.key),
      y(at) + 2,
      this.x(band.stack, edge.query),
      y(at + 1) - 2,
    ];
  }

  // ---- drawing --------------------------------------------------------------------------

  /** @param {number} at between two steps */
  draw(at) {
    const { scene } = this;
    const done = Math.floor(at + 1e-6);
    const context = this.#cleared(this.canvas);
    this.#still(done);
    context.drawImage(this.base, 0, 0, scene.width, this.height);
    const active = scene.found.bands.find(({ steps }) => steps.includes(done + 1));
    if (at > done && active) this.#band(context, active, at, done);
    this.#head(context, at);
  }

  /** Clear a canvas, and resize it if it does not have the picture's size. @param {HTMLCanvasElement} canvas */
  #cleared(canvas) {
    const { width } = this.scene;
    const ratio = pixelRatio();
    const isFit =
      canvas.width === Math.max(1, Math.round(width * ratio)) &&
      canvas.height === Math.max(1, Math.round(this.height * ratio));
    if (!isFit) return sizedContext(canvas, width, this.height);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, width, this.height);
    return context;
  }

  /** Draw what is computed up to a step; one step further, draw only what is new. @param {number} done */
  #still(done) {
    const { pointed, width } = this.scene;
    const { bands } = this.scene.found;
    const key = `${pointed?.stack} ${pointed?.token}`;
    if (this.key === key && this.done === done) return;
    const band =
      this.key === key && this.done === done - 1 && bands.find(({ steps }) => steps.includes(done));
    if (band) {
      const context = /** @type {CanvasRenderingContext2D} */ (this.base.getContext("2d"));
      this.#band(context, band, done, done - 1);
      context.clearRect(this.right + 4, 0, width, this.height);
      this.#lens(context, done);
    } else {
      const context = this.#cleared(this.base);
      context.textBaseline = "middle";
      this.#frame(context);
      for (const band of bands) {
        this.#rails(context, band, 0, 1, false);
        if (band.steps[0] <= done) this.#band(context, band, done, band.steps[0] - 1);
      }
      this.#memory(context);
      this.#names(context);
      this.#lens(context, done);
    }
    Object.assign(this, { key, done });
  }

  /** Draw a layer as far as it is computed; up to `since` it is drawn already. @param {CanvasRenderingContext2D} context @param {Band} band @param {number} at @param {number} since */
  #band(context, band, at, since) {
    const share = (time) =>
      this.#down(band, Math.max(0, Math.min(band.steps.length, time - band.steps[0] + 1)));
    this.#rails(context, band, share(since), share(at), true);
    for (const step of band.steps) {
      const u = Math.max(0, Math.min(1, at - step + 1));
      if (u > 0 && step > since) this.#edges(context, band, step, u);
    }
    const last = band.steps[band.steps.length - 1];
    const u = at - last + 1;
    if (u > 0) this.#boxes(context, band, this.scene.found.steps[last].what, eased(u));
  }

  /** Draw a line at how far the pass has come. */
  #head(context, at) {
    const { inks } = this.scene;
    const { bands } = this.scene.found;
    const band = bands.find(({ steps }) => at > steps[0] - 1 && at < steps[steps.length - 1]);
    if (!band) return;
    Object.assign(context, { strokeStyle: inks.accent, globalAlpha: 0.4, lineWidth: 1 });
    line(
      context,
      this.left,
      band.top + band.high * this.#down(band, at - band.steps[0] + 1),
      this.right,
    );
    context.globalAlpha = 1;
  }

  #frame(context) {
    const { inks, focus, words } = this.scene;
    const { bands } = this.scene.found;
    let last = -99;
    const inFocus = (band) => band.stack === focus.stack && band.layer === focus.layer;
    const middles = bands.map((band) => band.top + band.high / 2);
    const chosen = bands.findIndex(inFocus);
    bands.forEach((band, i) => {
      if (band.high >= 16) {
        Object.assign(context, { strokeStyle: inks.line, lineWidth: 0.6 });
        line(context, this.left, band.top + band.high, this.right);
      }
      const crowded =
        middles[i] - last < 14 || (i !== chosen && Math.abs(middles[i] - middles[chosen]) < 14);
      if (crowded) return;
      last = middles[i];
      context.font = `${i === chosen ? "600 " : ""}12px ${MODEL_SANS}`;
      Object.assign(context, {
        fillStyle: i === chosen ? inks.ink : inks.quiet,
        textAlign: "right",
      });
      context.fillText(
        words.layer(band.stack, band.layer, Boolean(this.phone)),
        this.left - 10,
        middles[i],
      );
      const off = words.off(band.stack, band.layer);
      if (!off || band.high < 30) return;
      context.fillStyle = inks.edited;
      const shown = this.phone ? "✕" : fitText(context, off, this.left - 12);
      context.fillText(shown, this.left - 10, middles[i] + 16);
    });
  }

  /** Draw the lines of a stack through one layer. */
  #rails(context, band, from, to, lit) {
    if (to <= from) return;
    const { found, inks, marked, pointed } = this.scene;
    const { stack, layer, top, high } = band;
    const { from: first, to: last } = /** @type {any} */ (this.seen)[stack];
    const dark = inks.ground === PALETTE.dark.paper;
    for (let token = first; token < last; token++) {
      const [x, now] = [this.x(stack, token), found.norm(stack, layer, token)];
      const [a, b] = [
        this.#width(stack, now),
        this.#width(stack, found.norm(stack, layer + 1, token)),
      ];
      const dim = pointed && (pointed.stack !== stack || pointed.token !== token);
      context.globalAlpha =
        (lit ? (dim ? 0.45 : 1) : 0.7) * (lit && marked[stack] !== token && dark ? 0.6 : 1);
      const [v, w] = [between(a, b, from), between(a, b, to)];
      const [start, y] = [top + high * from, top + high * to];
      const shape = (fill, beside = 0) => {
        // the line, or a stripe beside it
        const side = (half) => (beside ? [half, half + beside] : [-half, half]);
        const [[left, right], [lower, end]] = [side(v / 2), side(w / 2)];
        context.fillStyle = fill;
        context.beginPath();
        context.moveTo(x + left, start);
        context.lineTo(x + right, start);
        context.lineTo(x + end, y);
        context.lineTo(x + lower, y);
        context.fill();
      };
      if (lit && found.now) {
        const was = found.norm(stack, layer + 1, token, 0);
        const change = Math.abs(found.norm(stack, layer + 1, token, 1) - was) / (was || 1);
        if (change > MOVED) shape(inks.edited, Math.min(2.6, 1 + 2 * change));
      }
      shape(!lit ? inks.line : marked[stack] === token ? inks.accent : PALETTE.still.other);
    }
    context.globalAlpha = 1;
  }

  #width(stack, norm) {
    const { found } = this.scene;
    if (this.largestOf !== found) {
      this.largestOf = found;
      this.largest = {};
      for (const [name, { count, norms }] of Object.entries(found.info.stacks))
        this.largest[name] = found.flat
          .subarray(norms, norms + 2 * found.rows(name) * count)
          .reduce((a, b) => Math.max(a, b), 1e-9);
    }
    return (
      1.5 + Math.min(8, 0.4 * this.column) * Math.sqrt(Math.max(0, norm) / this.largest[stack])
    );
  }

  /** The edges of a step to draw: the strongest, or those of the token pointed at. @param {Band} band @param {number} step @returns {Edge[]} */
  drawn(band, step) {
    const { found, pointed } = this.scene;
    if (!pointed) return found.drawn(step, band.high < 24);
    const least = 0.02 * found.most(step);
    const { stack, token } = pointed;
    return found
      .edges(step)
      .filter(
        (edge) =>
          larger(edge) > least &&
          ((edge.query === token && stack === band.stack) ||
            (edge.key === token && stack === (edge.kind === "cross" ? "encoder" : band.stack))),
      );
  }

  #edges(context, band, step, u) {
    const { found, inks, edge: chosen } = this.scene;
    const edges = this.drawn(band, step);
    const most = found.most(step);
    const reach = eased(Math.min(1, u / 0.9));
    const thin = band.high < 24 ? 0.45 : 1;
    for (const edge of edges.toSorted((a, b) => a.after - b.after)) {
      const isGone = found.isGone(edge);
      const size = (isGone ? edge.before : edge.after) / most;
      const curve = this.#curve(band, edge);
      const isChosen =
        chosen &&
        edge.layer === chosen.layer &&
        edge.kind === chosen.kind &&
        edge.head === chosen.head &&
        edge.query === chosen.query &&
        edge.key === chosen.key;
      context.setLineDash(isGone ? [3, 4] : []);
      Object.assign(context, {
        strokeStyle: isGone ? inks.edited : headColour(edge.head),
        globalAlpha: isChosen ? 1 : isGone ? 0.8 : Math.min(0.9, 0.22 + size) * thin,
        lineWidth: isGone ? 1.3 : (0.8 + 3.4 * size + (isChosen ? 2 : 0)) * thin,
      });
      context.beginPath();
      context.moveTo(curve[0], curve[1]);
      if (reach >= 1)
        context.bezierCurveTo(
          curve[0],
          between(curve[1], curve[3], 0.55),
          curve[2],
          between(curve[1], curve[3], 0.45),
          curve[2],
          curve[3],
        );
      else
        for (let i = 1; i <= 14; i++)
          context.lineTo(.../** @type {[number, number]} */ (along(curve, (reach * i) / 14)));
      context.stroke();
      if (reach >= 1 || isGone) continue;
      const [x, y] = along(curve, reach);
      Object.assign(context, { globalAlpha: 1, fillStyle: headColour(edge.head) });
      context.beginPath();
      context.arc(x, y, (1.6 + 2.6 * size) * thin, 0, 7);
      context.fill();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** Draw what the MLP, or the block as a whole, adds: a box sized by its share of the stream. */
  #boxes(context, band, part, u) {
    const { found, inks, pointed } = this.scene;
    const { from, to } = /** @type {any} */ (this.seen)[band.stack];
    const thin = band.high < 24;
    if (band.high < 9) return;
    const widest = Math.min(thin ? 7 : 11, 0.42 * this.column);
    for (let token = from; token < to; token++) {
      const share = found.share(band.stack, part, band.layer, token);
      if (share === null) return;
      const w = u * Math.max(1, widest * Math.min(1, Math.sqrt(share / 1.5)));
      const h = Math.min(w * 0.62, band.high * 0.14);
      context.globalAlpha = pointed && pointed.token !== token ? 0.35 : 0.92;
      if (!thin) {
        context.fillStyle = inks.ground;
        context.beginPath();
        context.roundRect(
          this.x(band.stack, token) - w - 1,
          band.top + 0.82 * band.high - h - 1,
          2 * w + 2,
          2 * h + 2,
          3,
        );
        context.fill();
      }
      context.fillStyle = inks.quiet;
      context.beginPath();
      context.roundRect(
        this.x(band.stack, token) - w,
        band.top + 0.82 * band.high - h,
        2 * w,
        2 * h,
        2,
      );
      context.fill();
    }
    context.globalAlpha = 1;
  }

  /** Draw an encoder's last states, which the decoder reads in every layer. */
  #memory(context) {
    const { stacks, inks } = this.scene;
    if (!stacks.encoder || !stacks.decoder) return;
    const { from, to } = /** @type {any} */ (this.seen).encoder;
    Object.assign(context, { strokeStyle: inks.quiet, globalAlpha: 0.5, lineWidth: 1 });
    context.setLineDash([1, 4]);
    for (let token = from; token < to; token++) {
      context.beginPath();
      context.moveTo(
        this.x("encoder", token),
        this.#y("encoder", this.scene.found.rows("encoder") - 1),
      );
      context.lineTo(this.x("encoder", token), this.bottom);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #names(context) {
    const { stacks, inks, marked, pointed } = this.scene;
    for (const [stack, { from, to, before, after }] of Object.entries(
      /** @type {any} */ (this.seen),
    )) {
      const y = this.#y(stack, 0);
      const write = (name, x, on) => {
        context.font = `${on ? "bold " : ""}${this.leans ? Math.max(9, Math.min(12, this.column - 2)) : 13}px ${MODEL_MONO}`;
        context.fillStyle = on ? inks.accent : inks.ink;
        writeAbove(
          context,
          this.leans ? fitText(context, name, 92) : name,
          x,
          y - (this.leans ? 0 : 4),
          this.leans ? this.column : null,
        );
      };
      const every = Math.ceil(9 / this.column);
      for (let token = from; token < to; token++) {
        const on = marked[stack] === token;
        if (
          on ||
          ((token - from) % every === 0 && Math.abs(token - (marked[stack] ?? -every)) >= every)
        )
          write(
            stacks[stack][token],
            this.x(stack, token),
            on || (pointed?.stack === stack && pointed.token === token),
          );
      }
      if (before) write("…", this.x(stack, from - 1), false);
      if (after) write("…", this.x(stack, to), false);
    }
  }

  /** Write what the model would predict if it stopped after each layer, as far as there is room. */
  #lens(context, done) {
    const { found, lens, inks, main, focus, words } = this.scene;
    if (!lens.length) return;
    const own = found.bands.filter((band) => band.stack === main);
    const [before, after] = lens;
    const x = this.right + (this.phone ? 8 : 16);
    const room = this.scene.width - x - 4;
    const apart = found.now ? 34 : 26;
    const rows = before
      .map((_, row) => row)
      .filter((row) => (row ? own[row - 1].steps[own[row - 1].steps.length - 1] <= done : true));
    const last = before.length - 1;
    const rank = (row) =>
      [
        last,
        focus.stack === main ? focus.layer + 1 : -1,
        focus.stack === main ? focus.layer : -1,
        0,
      ].indexOf(row) >>> 0;
    const taken = /** @type {number[]} */ ([]);
    Object.assign(context, { textAlign: "left", fillStyle: inks.quiet });
    context.font = `12px ${MODEL_SANS}`;
    // On a phone, leave room for the slanted name of the last token.
    const beside = this.phone && this.leans ? 24 / Math.tan(leaning(this.column).angle) : 0;
    const lines = wrapped(context, words.lens, room - beside);
    lines.forEach((line, i) =>
      context.fillText(line, x + beside, this.#y(main, 0) - 16 - 14 * (lines.length - 1 - i)),
    );
    for (const row of rows.toSorted((a, b) => rank(a) - rank(b) || a - b)) {
      const y = this.#y(main, row) + (row ? -4 : 10);
      if (taken.some((other) => Math.abs(other - y) < apart)) continue;
      taken.push(y);
      const [[was, p]] = before[row];
      const [[is, q]] = after[row];
      const changed = found.now && (was !== is || Math.abs(p - q) > 0.005);
      if (changed) this.#guess(context, was, p, inks.quiet, x, y - 16, room, false);
      this.#guess(context, is, q, changed ? inks.edited : inks.ink, x, y, room, true);
    }
  }

  #guess(context, name, p, colour, x, y, room, bar) {
    const percent = percentText(p);
    context.font = `12px ${MODEL_SANS}`;
    context.fillStyle = colour;
    context.textAlign = "right";
    context.fillText(percent, x + room, y);
    context.textAlign = "left";
    context.font = `13px ${MODEL_MONO}`;
    context.fillText(fitText(context, name, room - 44), x, y);
    if (!bar) return;
    context.globalAlpha = 0.8;
    context.fillRect(x, y + 9, Math.max(1, room * p), 2.5);
    context.globalAlpha = 1;
  }

  // ---- the spot under the pointer ------------------------------------------------------------

  /** @param {number} x @param {number} y @returns {Spot | null} */
  hit(x, y) {
    const { scene } = this;
    if (!scene) return null;
    const { found, stacks } = scene;
    const band = found.bands.find(({ top, high }) => y >= top && y < top + high);
    if (band && x < this.left) return { stack: band.stack, layer: band.layer };
    if (x > this.right + 8) return null;
    if (band && band.high >= 24) {
      let [best, edge] = [7, /** @type {Edge | null} */ (null)];
      for (const step of band.steps)
        for (const one of this.drawn(band, step)) {
          const curve = this.#curve(band, one);
          for (let i = 2; i < 24; i++) {
            const [cx, cy] = along(curve, i / 24);
            const apart = Math.hypot(cx - x, cy - y);
            if (apart < best) [best, edge] = [apart, one];
          }
        }
      if (edge) return { edge };
    }
    for (const stack of Object.keys(stacks)) {
      const { from, to } = /** @type {any} */ (this.seen)[stack];
      const token = from + Math.round((x - this.x(stack, from)) / this.column);
      if (token < from || token >= to || (band && band.stack !== stack)) continue;
      const top = this.#y(stack, 0);
      if (!band) return y < top && y > top - Number(this.high) ? { stack, token } : null;
      const part = found.steps[band.steps[band.steps.length - 1]].what;
      const low = y > band.top + 0.7 * band.high;
      return {
        stack,
        token,
        layer: band.layer,
        row: low ? band.layer + 1 : band.layer,
        part:
          low &&
          found.share(stack, part, band.layer, token) !== null &&
          Math.abs(y - band.top - 0.82 * band.high) < 9
            ? part
            : undefined,
      };
    }
    return null;
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} left @param {number} y @param {number} right */
function line(context, left, y, right) {
  context.beginPath();
  context.moveTo(left, y);
  context.lineTo(right, y);
  context.stroke();
}
