// A picture, what one of its patches attends to in every head, and what changes without a head.

import { mounted } from "../shared/mounted.js";
import { legend } from "../heads/scale.js";
import { bytesOf, weightOf } from "../shared/codecs.js";
import { entry, PALETTE, shade } from "../shared/colours.js";
import { radioGroup } from "../shared/controls.js";
import {
  element,
  hearChanges,
  hearPointer,
  hint,
  listen,
  moveOf,
  panelPart,
  picturePart,
  sizedContext,
  taken,
  within,
} from "../shared/dom.js";
import { blend, pictureTable, weightPixels, twoLines, largestOf } from "../shared/blend.js";
import { Trials } from "../shared/trials.js";
import { alivePatches } from "./alive.js";
import { anotherImage } from "./another_image.js";
import { short } from "../shared/messages.js";
import { numbersOf } from "../shared/files.js";
import { sayPatch } from "./prose.js";
import { OverlayViewer } from "../shared/overlay.js";

/**
 * @typedef {object} Grid
 * @property {number} rows
 * @property {number} columns
 * @property {number} start
 * @property {string[]} labels
 * @property {number[]} heads
 * @property {number} even
 * @property {number} first the query position if none is chosen
 * @property {number[]} padded layers whose windows may reach beyond the picture
 * @property {string | null} others name of the positions that are not patches
 */

/** A picture in greyscale. @param {ImageBitmap} picture @param {number} [most] most pixels per side */
export function greyed(picture, most = Infinity) {
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

/** The large picture: draws, and reports the patch pointed at or picked. */
export class PatchPicture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Grid} grid
   * @param {{hover: (position: number | null) => void, pick: (position: number) => void, move: (rows: number, columns: number) => void, free: () => boolean}} does
   * @param {AbortSignal} signal
   */
  constructor(canvas, grid, does, signal) {
    this.canvas = canvas;
    this.grid = grid;
    this.size = { width: 0, height: 0 };
    hearPointer(
      canvas,
      signal,
      (x, y) => this.positionAt(x / canvas.clientWidth, y / canvas.clientHeight),
      { hover: does.hover, pick: does.pick },
    );
    listen(canvas, "keydown", signal, (event) => {
      const step = moveOf(event);
      if (step) does.move(...step);
      else if (event.key === "Escape" && does.free()) taken(event); // otherwise Escape leaves the view
    });
  }

  /** @param {number} across share of the width @param {number} down */
  positionAt(across, down) {
    const { rows, columns, start } = this.grid;
    const [row, column] = [Math.floor(down * rows), Math.floor(across * columns)];
    return row >= 0 && row < rows && column >= 0 && column < columns
      ? start + row * columns + column
      : null;
  }

  /**
   * @param {object} shown
   * @param {ImageBitmap} shown.picture
   * @param {HTMLCanvasElement} shown.grey
   * @param {Uint16Array} shown.codes
   * @param {number} shown.fade
   * @param {number} shown.room available width
   * @param {number | null} shown.query
   * @param {number[]} shown.cut positions to which an edge is cut
   * @param {any} shown.inks
   */
  draw({ picture, grey, codes, fade, room, query, cut, inks }) {
    const { rows, columns } = this.grid;
    const cell = Math.max(1, Math.min(room / columns, 448 / rows, 96));
    const [width, height] = [cell * columns, cell * rows];
    this.size = { width, height };
    const context = sizedContext(this.canvas, width, height);
    blend(
      context,
      picture,
      grey,
      weightPixels(patchesOf(codes, this.grid), columns, pictureTable()),
      fade,
      { x: 0, y: 0, w: width, h: height },
    );
    for (const position of cut) {
      const at = this.#cell(position, cell);
      if (!at) continue;
      twoLines(
        context,
        [
          [inks.ground, 5],
          [inks.edited, 2.5],
        ],
        () => {
          context.beginPath();
          context.moveTo(at.x + 3, at.y + 3);
          context.lineTo(at.x + cell - 3, at.y + cell - 3);
          context.moveTo(at.x + cell - 3, at.y + 3);
          context.lineTo(at.x + 3, at.y + cell - 3);
          context.stroke();
        },
      );
    }
    const at = query === null ? null : this.#cell(query, cell);
    if (!at) return;
    twoLines(
      context,
      [
        [PALETTE.light.paper, 5],
        [PALETTE.light.accent, 2.5],
      ],
      () => context.strokeRect(at.x, at.y, cell, cell),
    );
  }

  #cell(position, cell) {
    const { rows, columns, start } = this.grid;
    const i = position - start;
    if (i < 0 || i >= rows * columns) return null;
    return { x: cell * (i % columns), y: cell * Math.floor(i / columns) };
  }
}

/** The part of a row's codes that belongs to patches. @param {Uint16Array} codes @param {Grid} grid */
const patchesOf = (codes, { rows, columns, start }) =>
  codes.subarray(start, start + rows * columns);

const SMALL = 112; // pixels per side of the picture in a thumbnail

export class PatchViewer extends OverlayViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(model, root, signal) {
    /** @type {Grid} */
    const grid = model.get("_grid");
    super(alivePatches(model, signal), root, signal, {
      type: Uint16Array,
      heads: grid.heads,
      aspect: grid.columns / grid.rows,
      widest: 72,
      first: grid.first,
      over: sayPatch("weights_over_the_picture"),
    });
    this.grid = grid;
    this.tool = "look";
    this.#build();
    hearChanges(this.model, ["_picture"], signal, () => this.#another());
    this.shell.watch(["layer", "head", "fade", "_edits", "_effect", "_every", "_rows"]);
  }

  // ---- state --------------------------------------------------------------------------------

  /** The chosen head's row of what is on view. */
  get codes() {
    return this.rowOf(this.at.layer, this.at.head, this.grid.labels.length);
  }

  /** The positions to which the chosen head's edge from here is cut. */
  get cut() {
    const { layer, head } = this.at;
    const mine = (edit) =>
      edit.edit === "knock_out" &&
      edit.layer === layer &&
      edit.head === head &&
      edit.query === this.shown;
    return this.model
      .get("_edits")
      .filter(mine)
      .map((edit) => edit.key);
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { model, root, shell, signal, grid } = this;
    this.canvas = picturePart("picture", "tl-shown");
    this.picture = new PatchPicture(
      this.canvas,
      grid,
      {
        hover: (position) => this.hover(position, true),
        pick: (position) => this.#pick(position),
        move: (rows, columns) => this.#move(rows, columns),
        free: () => shell.free("selected"),
      },
      signal,
    );
    this.cells = element("div.tl-cells#cells", {
      role: "group",
      "aria-label": sayPatch("positions_that_are_no"),
    });
    const positions = grid.labels.map((_, i) => i);
    this.others = positions
      .filter((i) => i < grid.start || i >= grid.start + grid.rows * grid.columns)
      .map((position) => this.#cell(position));
    this.cells.append(...this.others.map(({ root: cell }) => cell));
    this.does = element("span.tl-quiet#does", hint(sayPatch("click_a_patch_to", this)));
    this.tools = radioGroup({
      label: sayPatch("a_click"),
      part: "tool",
      chosen: this.tool,
      choices: [
        { value: "look", text: sayPatch("look"), name: sayPatch("a_click_chooses_the") },
        { value: "cut", text: sayPatch("cut"), name: sayPatch("a_click_cuts_the") },
      ],
      choose: (tool) => {
        this.tool = tool;
        this.tools.set(tool);
        this.does.textContent = hint(sayPatch("click_a_patch_to", { tool }));
      },
    });
    this.trials = new Trials(model, shell, this.waiting, {
      place: () => this.at,
      name: () => sayPatch("layer_head", { layer: this.at.layer, head: this.at.head }),
      effect: () => model.get("_effect"),
      heads: grid.heads,
      every: () => model.get("_every"),
      size: () => model.get("_every")[this.at.layer]?.[this.at.head] ?? null,
      unit: () => model.get("_unit"),
      needs: sayPatch("a_saved_page_holds"),
    });
    root.append(
      shell.header,
      this.sentence,
      shell.message,
      element(
        "div.tl-overlay",
        panelPart(
          "picture",
          sayPatch("what_it_attends_to"),
          this.does,
          element("div.tl-map-box", this.canvas),
          this.cells,
          this.legend,
          this.fade.root,
          this.busy,
          element("p.tl-heading.tl-asked", element("b", sayPatch("does_it_matter"))),
          element("div.tl-trials", this.trials.off, this.trials.undo),
          this.tools.root,
          this.trials.effect,
        ),
        panelPart(
          "heads",
          sayPatch("heads"),
          sayPatch("layer_head_each_to"),
          this.choice.root,
          this.everyBox,
          element("div.tl-trials", this.trials.try),
          this.trials.task.root,
          this.trials.tried,
        ),
      ),
      ...anotherImage(model, signal),
      this.note,
    );
  }

  #cell(position) {
    const swatch = element("span.tl-swatch");
    const weight = element("span");
    const root = element(
      "button.tl-cell",
      {
        "data-position": position,
        click: () => this.#pick(position),
        pointerenter: () => this.hover(position, true),
        pointerleave: () => this.hover(null, true),
      },
      swatch,
      this.grid.labels[position],
      " ",
      weight,
    );
    return { root, swatch, weight, position };
  }

  /** Another image is on view. */
  #another() {
    this.answers.known.clear();
    this.root.dataset.image = this.model.get("_carried").image;
    this.open();
  }

  async open() {
    const blob = new Blob([bytesOf(this.model.get("_picture"))], { type: "image/png" });
    this.image = await createImageBitmap(blob);
    this.grey = greyed(this.image);
    this.small = greyed(this.image, SMALL);
    this.smallImage = await createImageBitmap(blob, {
      resizeWidth: this.small.width,
      resizeHeight: this.small.height,
      resizeQuality: "medium",
    });
    this.begin();
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** @param {number | null} position @param {boolean} tell */
  hover(position, tell) {
    super.hover(this.tool === "look" || !tell ? position : null, tell);
  }

  cannot(position) {
    return sayPatch("what_attends_to", { label: this.grid.labels[position] });
  }

  #pick(position) {
    if (this.tool === "cut") {
      this.trials.toggle([{ edit: "knock_out", ...this.at, query: this.query, key: position }]);
      return;
    }
    this.hovered = null;
    this.shell.set({ selected: [position, null] });
  }

  #move(down, across) {
    const { start, rows, columns } = this.grid;
    const i = this.query - start;
    const inside = i >= 0 && i < rows * columns;
    const [row, column] = inside ? [Math.floor(i / columns), i % columns] : [0, 0];
    // The first arrow only shows the cursor.
    const to = inside
      ? [within(row + down, rows), within(column + across, columns)]
      : [Math.floor(rows / 2), Math.floor(columns / 2)];
    this.hovered = null;
    this.shell.set({ selected: [start + to[0] * columns + to[1], null] });
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    if (!this.rows || !this.image) return;
    const { model, shell, grid, at, codes } = this;
    const fade = model.get("fade");
    shell.subtitle.textContent = sayPatch("layers_heads_patches", {
      heads: grid.heads.length,
      max: Math.max(...grid.heads),
      rows: grid.rows,
      columns: grid.columns,
    });
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    this.picture.draw({
      picture: this.image,
      grey: this.grey,
      codes,
      fade,
      room: box.clientWidth,
      query: this.shown,
      cut: this.cut,
      inks: shell.inks,
    });
    const paint = (context, layer, head, box) => {
      const weights = patchesOf(this.rowOf(layer, head, grid.labels.length), grid);
      blend(
        context,
        this.smallImage,
        this.small,
        weightPixels(weights, grid.columns, pictureTable()),
        fade,
        box,
      );
    };
    this.drawHeads({
      paint,
      every: model.get("_every"),
      off: (layer, head) => this.trials.isOff({ layer, head }),
    });
    const largest = largestOf(patchesOf(codes, grid));
    this.#drawCells(codes, largest);
    this.legend.replaceChildren(
      ...(largest ? legend(pictureTable(), weightOf(largest), false, false) : []),
    );
    this.fade.set(fade);
    this.#say(codes);
    this.trials.draw();
    const here = this.shown;
    this.canvas.ariaLabel = sayPatch("the_picture_by_patches", {
      rows: grid.rows,
      columns: grid.columns,
      sentence: this.sentence.textContent,
    });
    this.every.ariaLabel = sayPatch("every_head_as_a", {
      heads: grid.heads.length,
      max: Math.max(...grid.heads),
      layer: at.layer,
      head: at.head,
    });
    this.root.dataset.query = String(here);
    this.root.dataset.head = `${at.layer}.${at.head}`;
  }

  #drawCells(codes, largest) {
    const table = pictureTable();
    const cut = new Set(this.cut);
    this.cells.hidden = !this.others.length;
    for (const { root, swatch, weight, position } of this.others) {
      swatch.style.background = entry(table, shade(codes[position], Math.max(largest, 1)));
      const written = short(weightOf(codes[position]));
      weight.textContent = written;
      root.setAttribute("aria-pressed", String(position === this.shown));
      root.title = sayPatch("weight", { label: this.grid.labels[position], written });
      root.classList.toggle("tl-cut", cut.has(position));
    }
  }

  #say(codes) {
    const { grid, model, at } = this;
    const distance = model.get("_far")[at.layer]?.[at.head] ?? null;
    this.say(
      this.trials.withEffect(
        sayPatch("sentence", {
          ...at,
          ...this.#values(codes),
          query: grid.labels[this.shown],
          distance,
          even: grid.even,
        }),
      ),
    );
  }

  /** Values for a message about a row, as in look.py. @param {Uint16Array} codes */
  #values(codes) {
    const { grid, at } = this;
    const { labels, start, others } = grid;
    const weights = Array.from(codes, weightOf);
    const isPatch = (i) => i >= start && i < start + grid.rows * grid.columns;
    const sum = (values) => values.reduce((total, x) => total + x, 0);
    const top = [...codes.keys()]
      .filter((i) => isPatch(i) && codes[i])
      .sort((a, b) => codes[b] - codes[a] || a - b)
      .slice(0, 3);
    const [a, b, c] = top.map((i) => sayPatch("patch", { patch: labels[i], weight: weights[i] }));
    return {
      n: top.length,
      a,
      b,
      c,
      others,
      others_share: sum(weights.filter((_, i) => !isPatch(i))),
      beyond: grid.padded.includes(at.layer) ? 1 - sum(weights) : 0,
    };
  }

  code() {
    const { layer, head } = this.at;
    const lines = [
      `view.layer, view.head, view.selected = ${layer}, ${head}, (${this.query}, None)`,
    ];
    return [...lines, ...this.trials.code].join("\n");
  }

  fileNumbers() {
    const { codes } = this;
    const { labels, start, rows, columns } = this.grid;
    const place = (at) =>
      at >= start && at < start + rows * columns
        ? [Math.floor((at - start) / columns), (at - start) % columns]
        : [];
    const found = numbersOf(
      { key: labels },
      {
        weight: [["key"], (at) => weightOf(codes[at]), sayPatch("is_weight")],
        row: [["key"], (at) => place(at)[0], sayPatch("is_row")],
        column: [["key"], (at) => place(at)[1], sayPatch("is_column")],
      },
    );
    const lines = labels.map((label, at) => [
      at,
      label,
      ...["row", "column", "weight"].map((name) => found.arrays[name].values[at]),
    ]);
    return {
      ...found,
      table: { header: ["key", "key_token", "row", "column", "weight"], rows: lines },
    };
  }

  pictures() {
    return [
      {
        canvas: this.canvas,
        title: sayPatch("layer_head_from", {
          layer: this.at.layer,
          head: this.at.head,
          label: this.grid.labels[this.shown],
        }),
      },
      { thumbnails: this.heads, title: sayPatch("every_head_layer_head") },
    ];
  }
}

export default mounted(PatchViewer, "patches");
