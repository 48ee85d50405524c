// Panels of views that draw weights over a picture: the picture, with what edits change, and every
// head, small.

import { legend } from "../heads/scale.js";
import { bytesOf } from "./codecs.js";
import { largestOf, pictureTable, twoLines } from "./blend.js";
import { element, hearChanges } from "./dom.js";
import { MarkPanel } from "./panels.js";
import { Thumbnails } from "./thumbnails.js";
import { decimalsOf, sizeOf, Trials } from "./trials.js";

/** A picture with weights over it; subclasses `paint` it, and each head's on a `small` one. */
export class OverlayPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {import("./panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does, `tl-${panel.part}`);
    const trials = (viewer.trials = new Trials(viewer));
    this.legend.dataset.part = "legend";
    this.line.dataset.part = "readout";
    this.tools = element("div.tl-trials", trials.off, trials.undo);
    const asked = element("p.tl-heading.tl-asked", element("b", panel.asks));
    this.matter = element("div.tl-panel#matter", asked, this.tools, trials.effect);
    this.root.append(this.matter);
    this.ready = this.#load();
    hearChanges(viewer.model, ["_picture"], viewer.signal, () => (this.ready = this.#load()));
  }

  async #load() {
    const { model, shell } = this.viewer;
    await this.take(new Blob([bytesOf(model.get("_picture"))], { type: "image/png" }));
    shell.draw();
  }

  /** Take a picture. @param {Blob} file */
  async take(file) {
    /** @type {any} */
    this.image = await createImageBitmap(file);
  }

  draw(panel) {
    const { trials, shown } = this.viewer;
    this.matter.hidden = !shown.trials;
    if (shown.trials) trials.draw();
    const largest = largestOf(panel.weights);
    const table = pictureTable();
    this.legend.replaceChildren(...(largest ? legend(table, largest, false, false) : []));
    if (this.image) /** @type {any} */ (this).paint(panel, table);
  }
}

/** Every head's weights over a thumbnail of the picture, and what each alone changes. */
export class EveryHeadPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {import("./panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const { trials } = viewer;
    this.tries = element("div", element("div.tl-trials", trials.try), trials.task.root);
    this.root.append(this.tries, trials.tried);
  }

  get box() {
    const { viewer } = this;
    const choose = (layer, head) => viewer.shell.set({ layer, head, ...viewer.view.choosing });
    this.heads = new Thumbnails(choose, viewer.signal, undefined, this.part);
    this.canvas = this.heads.canvas;
    this.canvas.classList.add("tl-every");
    return element("div.tl-every-box", this.heads.root);
  }

  /** @returns {any[]} */
  get pictures() {
    return [{ thumbnails: this.heads, title: this.caption }];
  }

  draw({ over, counts, weights, also, aspect, widest }) {
    const { heads, viewer } = this;
    const { trials, parts, shown, state, shell } = viewer;
    const picture = parts.get(over);
    this.tries.hidden = trials.tried.hidden = !shown.trials;
    if (!picture.image) return;
    const every = shown.trials?.every ?? [];
    const { inks } = shell;
    const most = Math.max(...every.flat().map((x) => Math.abs(x ?? 0)), 0);
    const columns = Math.max(...counts);
    const grid = { layers: counts.length, heads: columns, width: 1, height: 1, counts };
    heads.paint(grid, this.heads.root.parentElement.clientWidth - 12, inks, {
      aspect,
      widest,
      below: every.length ? 19 : 0,
      paint: (context, layer, head, { x, y, width, height }) => {
        picture.small(context, weights(layer, head), { x, y, w: width, h: height });
        const size = every[layer]?.[head];
        if (typeof size === "number")
          sizeBar(context, size, most, { x, y: y + height }, width, inks);
        if (shown.trials && trials.isOff(layer, head))
          crossed(context, [[x, y, x + width, y + height]], [5, 2], inks);
      },
    });
    heads.choose(state.layer, state.head);
    heads.pin(also.map(([layer, head]) => ({ layer, head })));
    if (shown.trials) trials.draw();
  }
}

/** Lines across something that is switched off or cut. @param {CanvasRenderingContext2D} context @param {number[][]} lines from and to @param {[number, number]} thick @param {any} inks */
export function crossed(context, lines, [under, over], { ground, edited }) {
  const colours = /** @type {[string, number][]} */ ([
    [ground, under],
    [edited, over],
  ]);
  twoLines(context, colours, () => {
    context.beginPath();
    for (const [x, y, toX, toY] of lines) {
      context.moveTo(x, y);
      context.lineTo(toX, toY);
    }
    context.stroke();
  });
}

/** Draw the size of a head's effect below its thumbnail. @param {CanvasRenderingContext2D} context @param {number} size @param {number} most of any head @param {{x: number, y: number}} at @param {number} width @param {any} inks */
function sizeBar(context, size, most, { x, y }, width, inks) {
  context.fillStyle = inks.line;
  context.fillRect(x, y + 16, width, 2);
  context.fillStyle = inks.ink;
  context.fillRect(x, y + 16, most ? (width * Math.abs(size)) / most : 0, 2);
  if (width < 30) return;
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(sizeOf(size, decimalsOf(most)), x + 1, y + 10, width);
}
