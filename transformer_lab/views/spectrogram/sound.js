// The spectrogram with the weights of its times drawn over it, their curve below, and the time
// under the pointer.

import { niceTicks, numberText } from "../shared/ticks.js";
import { pixelRatio, pointWithin, sizedContext, taken, listen } from "../shared/dom.js";
import { blend, weightPixels, twoLines } from "../shared/blend.js";
import { PALETTE } from "../shared/colours.js";
import { short } from "../shared/messages.js";

const EDGE = { left: 50, right: 10, top: 4 };
const BANDS = 190; // pixels of the spectrogram
const BETWEEN = 12; // it and the curve
const CURVE = 76;
const AXIS = 34;

/**
 * @typedef {object} Sound
 * @property {string[]} words of the answer
 * @property {number} positions
 * @property {number[]} heads of each layer
 * @property {number} first the query word if none is chosen
 * @property {[string, number, boolean][]} next of each word: the one after it, its probability, whether it was given
 * @property {number} hop seconds from one frame to the next
 * @property {number} step seconds from one position to the next
 * @property {number} frames
 * @property {number} bins
 * @property {number} seconds length of the model's audio input
 * @property {number} end when the sound ends and silence begins
 * @property {[number, string][]} ticks height of some frequencies, 0 … 1, and their names
 * @property {number} low
 * @property {number} high the least and the largest number of the frames
 */

/**
 * The largest weight in each of `width` columns of the time 0 … `shown`; a position extends half a
 * step to both sides of its middle.
 * @param {ArrayLike<number>} weights
 * @param {number} shown
 * @param {number} step
 * @param {number} width
 */
export function weightColumns(weights, shown, step, width) {
  const found = new Float64Array(width);
  const most = weights.length - 1;
  for (let x = 0; x < width; x++) {
    const first = Math.min(most, Math.max(0, Math.floor((x * shown) / width / step + 0.5 + 1e-9)));
    const last = Math.min(
      most,
      Math.max(first, Math.ceil(((x + 1) * shown) / width / step + 0.5 - 1e-9) - 1),
    );
    for (let i = first; i <= last; i++) found[x] = Math.max(found[x], weights[i]);
  }
  return found;
}

/**
 * Draw the first part of the spectrogram with colours over it, clipped to a box.
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} image of all frames
 * @param {HTMLCanvasElement} colours
 * @param {number} fade
 * @param {import("../shared/blend.js").Box} box
 * @param {Sound} sound
 * @param {number} shown seconds
 */
export function blendSound(context, image, colours, fade, box, { hop, frames }, shown) {
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.w, box.h);
  context.clip();
  const scale = box.w / shown; // a frame extends half its length to both sides of its middle
  blend(context, image, null, colours, fade, box, {
    x: box.x - (hop / 2) * scale,
    y: box.y,
    w: frames * hop * scale,
    h: box.h,
  });
  context.restore();
}

export class SoundPicture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Sound} sound
   * @param {{hover: (position: number | null) => void, choose: (first: number, last: number) => void, move: (by: number, longer: boolean) => void, free: () => boolean}} does
   * @param {AbortSignal} signal
   */
  constructor(canvas, sound, does, signal) {
    this.canvas = canvas;
    this.sound = sound;
    this.scale = { left: EDGE.left, width: 1, to: sound.seconds };
    /** @type {number | null} */
    let from = null;
    const to = (event) => {
      const position = /** @type {number} */ (this.positionAt(event, true));
      does.choose(
        Math.min(/** @type {number} */ (from), position),
        Math.max(/** @type {number} */ (from), position),
      );
    };
    listen(canvas, "pointermove", signal, (event) => {
      does.hover(this.positionAt(event, from !== null));
      if (from !== null) to(event);
    });
    listen(canvas, "pointerleave", signal, () => does.hover(null));
    listen(canvas, "pointerdown", signal, (event) => {
      if (event.button !== 0) return;
      from = this.positionAt(event, false);
      if (from === null) return;
      canvas.setPointerCapture?.(event.pointerId);
      to(event);
    });
    for (const end of ["pointerup", "pointercancel"])
      listen(canvas, end, signal, () => (from = null));
    listen(canvas, "keydown", signal, (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step && !(event.key === "Escape" && does.free())) return; // otherwise Escape leaves the view
      taken(event);
      if (step) does.move(step, event.shiftKey);
    });
  }

  /** The last position that is at least partly shown. */
  get last() {
    const { step, positions } = this.sound;
    return Math.min(positions - 1, Math.max(0, Math.ceil(this.scale.to / step + 0.5 - 1e-9) - 1));
  }

  /** @param {MouseEvent} event @param {boolean} nearest whether to take the nearest position if it points beside the sound */
  positionAt(event, nearest) {
    const { left, width, to } = this.scale;
    const x = pointWithin(event, this.canvas)[0] - left;
    if (!nearest && (x < 0 || x > width)) return null;
    return Math.max(0, Math.min(this.last, Math.floor(((x / width) * to) / this.sound.step + 0.5)));
  }

  /**
   * @param {object} shown
   * @param {ImageBitmap} shown.image
   * @param {ArrayLike<number>} shown.weights of positions
   * @param {Uint8ClampedArray} shown.table
   * @param {number} shown.fade
   * @param {number} shown.room available width
   * @param {number} shown.to seconds that are shown
   * @param {{first: number, last: number} | null} shown.half the run that holds half of the weight
   * @param {[number, number] | null} shown.span that is chosen
   * @param {number[]} shown.cut positions to which the edge is cut
   * @param {number | null} shown.pointed
   * @param {any} shown.inks
   */
  draw({ image, weights, table, fade, room, to, half, span, cut, pointed, inks }) {
    const { sound } = this;
    const width = Math.max(40, room - EDGE.left - EDGE.right);
    this.scale = { left: EDGE.left, width, to };
    const context = sizedContext(
      this.canvas,
      EDGE.left + width + EDGE.right,
      EDGE.top + BANDS + BETWEEN + CURVE + AXIS,
    );
    const x = (seconds) => EDGE.left + (Math.max(0, Math.min(to, seconds)) / to) * width;
    const edges = (first, last) => [x((first - 0.5) * sound.step), x((last + 0.5) * sound.step)];
    const columns = weightColumns(
      weights,
      to,
      sound.step,
      Math.max(1, Math.round(width * pixelRatio())),
    );
    blendSound(
      context,
      image,
      weightPixels(columns, columns.length, table),
      fade,
      { x: EDGE.left, y: EDGE.top, w: width, h: BANDS },
      sound,
      to,
    );
    this.#axes(context, x, width, inks);
    this.#curve(context, columns, width, inks);
    if (half) {
      const [a, b] = edges(half.first, half.last);
      context.fillStyle = inks.accent;
      context.fillRect(a, EDGE.top + BANDS + 4, Math.max(2, b - a), 4);
    }
    for (const [colour, high, more] of [
      [inks.ground, 11, 0],
      [inks.edited, 7, 0.5],
    ]) {
      context.fillStyle = colour;
      for (const position of cut) {
        const [a, b] = edges(position, position);
        context.fillRect(a, EDGE.top + BANDS - 5.5 - high / 2, b - a + more, high); // no seams between
      }
    }
    if (span) {
      const [a, b] = edges(span[0], span[1]);
      twoLines(
        context,
        [
          [PALETTE.light.paper, 5],
          [PALETTE.light.accent, 2.5],
        ],
        () => context.strokeRect(a, EDGE.top, Math.max(2, b - a), BANDS),
      );
    }
    if (pointed !== null && pointed <= this.last) {
      const at = x(pointed * sound.step);
      context.fillStyle = inks.ink;
      context.fillRect(at - 0.5, EDGE.top + BANDS, 1, BETWEEN + CURVE);
      context.fillStyle = PALETTE.light.paper;
      context.fillRect(at - 1.5, EDGE.top, 3, BANDS);
      context.fillStyle = PALETTE.light.accent;
      context.fillRect(at - 0.5, EDGE.top, 1, BANDS);
    }
    // For scripts and tests: where seconds are, in CSS pixels.
    Object.assign(this.canvas.dataset, {
      left: String(EDGE.left),
      width: String(width),
      to: String(to),
      top: String(EDGE.top),
      tall: String(BANDS),
    });
  }

  #axes(context, x, width, inks) {
    const { sound } = this;
    const { to } = this.scale;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.fillStyle = inks.quiet;
    context.strokeStyle = inks.line;
    context.textAlign = "right";
    for (const [place, name] of sound.ticks)
      context.fillText(name, EDGE.left - 6, EDGE.top + (1 - place) * BANDS);
    context.textAlign = "center";
    const floor = EDGE.top + BANDS + BETWEEN + CURVE;
    const ticks = niceTicks(0, to, Math.max(2, width / 70));
    for (const tick of ticks)
      context.fillText(numberText(tick, ticks[1] - ticks[0] || 1), x(tick), floor + 11);
    context.fillText("seconds", EDGE.left + width / 2, floor + AXIS - 8);
    context.beginPath();
    context.moveTo(EDGE.left, floor + 0.5);
    context.lineTo(EDGE.left + width, floor + 0.5);
    context.stroke();
  }

  #curve(context, columns, width, inks) {
    const floor = EDGE.top + BANDS + BETWEEN + CURVE;
    const most = columns.reduce((a, b) => Math.max(a, b), 0);
    const [high, line] = [CURVE - 6, new Path2D()];
    const y = (value) => floor - (most ? (value / most) * high : 0);
    columns.forEach((value, i) => {
      line.lineTo(EDGE.left + (i / columns.length) * width, y(value));
      line.lineTo(EDGE.left + ((i + 1) / columns.length) * width, y(value));
    });
    const area = new Path2D(line);
    area.lineTo(EDGE.left + width, floor);
    area.lineTo(EDGE.left, floor);
    context.fillStyle = inks.accent;
    context.globalAlpha = 0.22;
    context.fill(area);
    context.globalAlpha = 1;
    context.strokeStyle = inks.accent;
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.stroke(line);
    context.fillStyle = inks.quiet;
    context.textAlign = "right";
    context.fillText(short(most, most < 0.01 ? 4 : 2), EDGE.left - 6, floor - high + 2);
    context.fillText("0", EDGE.left - 6, floor - 4);
    context.fillText("weight", EDGE.left - 6, floor - high / 2);
  }
}
