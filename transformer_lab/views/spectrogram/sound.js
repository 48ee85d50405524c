// The spectrogram with the weights of its times drawn over it, their curve below, and the time
// under the pointer.

import { niceTicks, numberText } from "../shared/ticks.js";
import { pixelRatio, pointWithin, sizedContext, taken, listen } from "../shared/dom.js";
import { blend, pictureTable, twoLines, weightPixels } from "../shared/blend.js";
import { PALETTE } from "../shared/colours.js";
import { button } from "../shared/controls.js";
import { short } from "../shared/messages.js";
import { OverlayPanel } from "../shared/overlay.js";
import { lastOf, spanAfter, view, weightColumns } from "./scene.js";

const EDGE = { left: 50, right: 10, top: 4 };
const BANDS = 190; // pixels of the spectrogram
const BETWEEN = 12; // it and the curve
const CURVE = 76;
const AXIS = 34;

export class SoundPanel extends OverlayPanel {
  /** @param {any} viewer @param {any} panel @param {import("../shared/panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    this.scale = { left: EDGE.left, width: 1, to: 1 };
    this.cut = button("", "cut", view.say("cut_the_edges_from"), () =>
      viewer.trials.toggle(this.panel.edges),
    );
    viewer.trials.off.after(this.cut);
    this.#hear();
  }

  #hear() {
    const { canvas, viewer } = this;
    const { shell, signal } = viewer;
    /** @type {number | null} */
    let from = null;
    const choose = (event) => {
      const ends = [Number(from), Number(this.#positionAt(event, true))];
      shell.set({ span: ends.sort((a, b) => a - b) });
    };
    listen(canvas, "pointermove", signal, (event) => {
      this.point(this.#positionAt(event, from !== null));
      if (from !== null) choose(event);
    });
    listen(canvas, "pointerleave", signal, () => this.point(null));
    listen(canvas, "pointerdown", signal, (event) => {
      if (event.button !== 0) return;
      from = this.#positionAt(event, false);
      if (from === null) return;
      canvas.setPointerCapture?.(event.pointerId);
      choose(event);
    });
    listen(canvas, "pointerup pointercancel", signal, () => (from = null));
    listen(canvas, "keydown", signal, (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step && !(event.key === "Escape" && shell.free("span"))) return; // otherwise Escape leaves the view
      taken(event);
      const { own } = this.panel; // the choice may be newer than what is drawn
      if (step) shell.set({ span: spanAfter(viewer.state, own, step, event.shiftKey) });
    });
  }

  /** @param {MouseEvent} event @param {boolean} nearest whether to take the nearest position if it points beside the sound */
  #positionAt(event, nearest) {
    const { left, width, to } = this.scale;
    const { sound } = this.panel;
    const x = pointWithin(event, this.canvas)[0] - left;
    if (!nearest && (x < 0 || x > width)) return null;
    const position = Math.floor(((x / width) * to) / sound.step + 0.5);
    return Math.max(0, Math.min(lastOf(sound, to), position));
  }

  draw(panel) {
    const { answers } = this.viewer;
    this.panel = panel;
    this.cut.hidden = !panel.cutting;
    this.cut.textContent = panel.cutting;
    if (this.image && !answers.known.has("spectrogram")) {
      const loud = () => this.#loudness(panel.sound);
      const found = {
        info: { shades: true },
        get numbers() {
          return loud();
        },
      };
      answers.keep(found, "spectrogram");
    }
    super.draw(panel);
  }

  /** The numbers of the spectrogram, [band, frame], in the shades of its picture. */
  #loudness({ bins, frames, low, high }) {
    const { width, height } = this.image;
    const canvas = new OffscreenCanvas(width, height);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(this.image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    return Float32Array.from({ length: bins * frames }, (_, at) => {
      const down = bins - 1 - Math.floor(at / frames);
      return low + (pixels[4 * (down * frames + (at % frames))] / 255) * (high - low);
    });
  }

  /** The first part of the spectrogram with weights over it, clipped to a box. @param {CanvasRenderingContext2D} context @param {ArrayLike<number>} columns @param {import("../shared/blend.js").Box} box */
  #blend(context, columns, box) {
    const { sound, to, fade } = this.panel;
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.w, box.h);
    context.clip();
    const scale = box.w / to; // a frame extends half its length to both sides of its middle
    const colours = weightPixels(columns, columns.length, pictureTable());
    blend(context, this.image, null, colours, fade, box, {
      x: box.x - (sound.hop / 2) * scale,
      y: box.y,
      w: sound.frames * sound.hop * scale,
      h: box.h,
    });
    context.restore();
  }

  small(context, weights, box) {
    const { sound, to } = this.panel;
    const columns = weightColumns(weights, to, sound.step, Math.max(1, Math.round(box.w)));
    this.#blend(context, columns, box);
  }

  paint({ sound, weights, to, half, span, cut, pointed }) {
    const { inks } = this.viewer.shell;
    const room = this.canvas.parentElement.clientWidth;
    const width = Math.max(40, room - EDGE.left - EDGE.right);
    this.scale = { left: EDGE.left, width, to };
    const high = EDGE.top + BANDS + BETWEEN + CURVE + AXIS;
    const context = sizedContext(this.canvas, EDGE.left + width + EDGE.right, high);
    const x = (seconds) => EDGE.left + (Math.max(0, Math.min(to, seconds)) / to) * width;
    const edges = (first, last) => [x((first - 0.5) * sound.step), x((last + 0.5) * sound.step)];
    const count = Math.max(1, Math.round(width * pixelRatio()));
    const columns = weightColumns(weights, to, sound.step, count);
    this.#blend(context, columns, { x: EDGE.left, y: EDGE.top, w: width, h: BANDS });
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
    if (pointed != null && pointed <= lastOf(sound, to)) {
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
    const { sound, to } = this.panel;
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
