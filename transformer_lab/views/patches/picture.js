// The large picture, whose patches are chosen or cut, and the positions beside it.

import { blend, largestOf, pictureTable, twoLines, weightPixels } from "../shared/blend.js";
import { entry, PALETTE, shade } from "../shared/colours.js";
import { radioGroup } from "../shared/controls.js";
import { element, hearPointer, sizedContext } from "../shared/dom.js";
import { short } from "../shared/messages.js";
import { crossed, OverlayPanel } from "../shared/overlay.js";
import { anotherImage } from "./another_image.js";
import { isPatch, patchesOf, placeOf, queryOf, say } from "./scene.js";

const SMALL = 112; // pixels per side of the picture in a thumbnail

/** A picture in greyscale. @param {ImageBitmap} picture @param {number} [most] most pixels per side */
function greyed(picture, most = Infinity) {
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((n) =>
    Math.max(1, Math.round(n * scale)),
  );
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(picture, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    const value = 0.2126 * data[i] + 0.7152 * data[i + 1] + 0.0722 * data[i + 2];
    data[i] = data[i + 1] = data[i + 2] = value;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

export class PicturePanel extends OverlayPanel {
  /** @param {any} viewer @param {any} panel @param {import("../shared/panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const { model, signal } = viewer;
    this.hint.dataset.part = "does";
    hearPointer(this.canvas, signal, (x, y) => this.#positionAt(x, y), {
      hover: (position) => this.point(position),
      pick: (position) => this.pick(position),
    });
    this.hearKeys(this.canvas);
    this.chips = radioGroup({
      label: say("a_click"),
      part: "tool",
      chosen: "look",
      choices: [
        { value: "look", text: say("look"), name: say("a_click_chooses_the") },
        { value: "cut", text: say("cut"), name: say("a_click_cuts_the") },
      ],
      choose: (tool) => viewer.see("tool", tool) && viewer.shell.draw(),
    });
    const { labels } = panel.grid;
    this.others = panel.others.map((position) => this.#cell(position, labels[position]));
    this.cells = element(
      "div.tl-cells#cells",
      { role: "group", "aria-label": say("positions_that_are_no"), hidden: !this.others.length },
      this.others.map(({ root }) => root),
    );
    this.line.before(this.cells);
    this.tools.after(this.chips.root);
    this.root.append(...anotherImage(model, signal));
  }

  #positionAt(x, y) {
    const { rows, columns, start } = this.grid;
    const { clientWidth, clientHeight } = this.canvas;
    const row = Math.floor((y / clientHeight) * rows);
    const column = Math.floor((x / clientWidth) * columns);
    const inside = row >= 0 && row < rows && column >= 0 && column < columns;
    return inside ? start + row * columns + column : null;
  }

  #cell(position, label) {
    const swatch = element("span.tl-swatch");
    const weight = element("span");
    const heard = {
      click: () => this.pick(position),
      pointerenter: () => this.point(position),
      pointerleave: () => this.point(null),
    };
    const attributes = { "data-position": position, ...heard };
    const root = element("button.tl-cell", attributes, swatch, label, " ", weight);
    return { root, swatch, weight, position, label };
  }

  async take(file) {
    const image = await createImageBitmap(file);
    const smallGrey = greyed(image, SMALL);
    const { width: resizeWidth, height: resizeHeight } = smallGrey;
    const smaller = { resizeWidth, resizeHeight, resizeQuality: /** @type {const} */ ("medium") };
    const smallImage = await createImageBitmap(file, smaller);
    this.image = { image, grey: greyed(image), smallImage, smallGrey };
  }

  get cuts() {
    return this.viewer.seen.tool === "cut";
  }

  point(position) {
    super.point(this.cuts ? null : position);
  }

  pick(position) {
    if (!this.cuts) return super.pick(position);
    const { trials, state } = this.viewer;
    const { layer, head } = state;
    trials.toggle([{ edit: "knock_out", layer, head, query: queryOf(state), key: position }]);
  }

  draw(panel) {
    const { viewer } = this;
    this.grid = panel.grid;
    this.chips.set(this.cuts ? "cut" : "look");
    const { image } = viewer.model.get("_carried") ?? {};
    if (image) viewer.root.dataset.image = image;
    super.draw(panel);
    const { weights, cut, query } = panel;
    const largest = largestOf(patchesOf(weights, this.grid)) || 1;
    for (const { root, swatch, weight, position, label } of this.others) {
      swatch.style.background = entry(pictureTable(), shade(weights[position], largest));
      const written = short(weights[position]);
      weight.textContent = written;
      root.setAttribute("aria-pressed", String(position === query));
      root.title = say("weight", { label, written });
      root.classList.toggle("tl-cut", cut.includes(position));
    }
  }

  paint({ weights, cut, query, fade }, table) {
    const { grid, canvas } = this;
    const { rows, columns } = grid;
    const { inks } = this.viewer.shell;
    const room = canvas.parentElement.clientWidth;
    const cell = Math.max(1, Math.min(room / columns, 448 / rows, 96));
    const box = { x: 0, y: 0, w: cell * columns, h: cell * rows };
    const context = sizedContext(canvas, box.w, box.h);
    const colours = weightPixels(patchesOf(weights, grid), columns, table);
    const { image, grey } = this.image;
    blend(context, image, grey, colours, fade, box);
    const corner = (position) => placeOf(position, grid).map((at) => cell * at);
    for (const position of cut.filter((one) => isPatch(one, grid))) {
      const [y, x] = corner(position);
      const [left, top, right, bottom] = [x + 3, y + 3, x + cell - 3, y + cell - 3];
      const lines = [
        [left, top, right, bottom],
        [right, top, left, bottom],
      ];
      crossed(context, lines, [5, 2.5], inks);
    }
    if (!isPatch(query, grid)) return;
    const [y, x] = corner(query);
    const { paper, accent } = PALETTE.light;
    const lines = /** @type {[string, number][]} */ ([
      [paper, 5],
      [accent, 2.5],
    ]);
    twoLines(context, lines, () => context.strokeRect(x, y, cell, cell));
  }

  small(context, weights, box) {
    const { grid, viewer } = this;
    const { smallImage, smallGrey } = this.image;
    const colours = weightPixels(patchesOf(weights, grid), grid.columns, pictureTable());
    blend(context, smallImage, smallGrey, colours, viewer.state.fade, box);
  }
}
