// The base of panels of a page: each draws the mark of a scene and hears the reader. A view names those
// that it needs, so that its page holds no others: points_panel.js, matrix_panel.js, maps_panel.js.

import {
  element,
  hint as tip,
  legendPart,
  listen,
  moveOf,
  picturePart,
  say,
  taken,
} from "./dom.js";
import { nodesOf } from "./pieces.js";

/**
 * What the reader can do with a panel; what it returns is set.
 * @typedef {object} Does
 * @property {(s: any, at: any) => Record<string, any>} [pick]
 * @property {(s: any, by: [number, number]) => Record<string, any>} [move] by arrow keys, down and right
 * @property {(s: any) => Record<string, any>} [enter] by Enter or the space bar
 * @property {(shown: any, by: [number, number], at: any) => any} [reach] at what arrow keys point next,
 *   where nothing is chosen
 * @property {(x: number) => string} [write] a number of a matrix
 * @property {(shape: [number, number]) => number} [height] of a matrix, from its rows and columns
 * @property {string} [note] the name of a note below it
 * @property {string} [line] the name of the line below it, if it is another
 * @property {[number, number]} [size] at most, in CSS pixels
 * @property {number[]} [widths] of the box from which one more map fits in a row
 * @property {(shown: any) => [number, number]} [start] the cell at which arrow keys start
 * @property {[string, string]} [names] of two maps, in the page
 */

/**
 * What a scene's panel has for a page only.
 * @typedef {object} InPage
 * @property {any} [hover] the cell that is pointed at
 * @property {number[]} [size] at most, in CSS pixels, if not as in `parts`
 * @property {(x: number, row?: number, column?: number) => string} [write] a cell, or a number of the legend
 * @property {string} [means] of the legend, if not the mark's
 * @property {string} [note] after the legend
 * @property {any[]} [controls] above its picture, as those of a view
 * @property {{from: number, to: number, ink: string}[]} [brackets] beside rows of a matrix
 */

export class MarkPanel {
  /** Until it can draw. @type {Promise<any> | null} */
  ready = null;

  /** @param {any} viewer @param {import("./scene.js").Panel} panel @param {Does} does @param {string} [look] of its canvas */
  constructor(viewer, { part, title, hint, label = title }, does, look) {
    /** @type {any} */
    this.viewer = viewer;
    this.part = part;
    this.does = does;
    this.canvas = picturePart(part, look);
    this.title = element("b");
    this.hint = element("span.tl-quiet", { id: "" });
    this.line = element(`p.tl-number-line#${does.line ?? `${part}-line`}`, { role: "status" });
    this.controls = element("div.tl-row");
    this.legend = legendPart(`${part}-legend`);
    this.root = element(
      "section",
      { class: `tl-panel tl-panel-${part}`, "aria-label": label },
      element("p.tl-heading", this.title, " ", this.hint),
      this.controls,
      this.box,
      this.line,
      this.legend,
    );
    say(this.title, title);
    say(this.hint, hint ? tip(hint) : "");
  }

  /** What is between title and legend. @returns {HTMLElement} */
  get box() {
    return element("div.tl-map-box", this.canvas);
  }

  /** The canvases, for image files. @returns {any[]} */
  get pictures() {
    return this.canvas.hidden ? [] : [{ canvas: this.canvas, title: this.caption }];
  }

  /** @param {any} panel */
  show(panel) {
    const { title, hint, line, says, controls = [] } = panel;
    this.size = panel.size ?? this.does.size;
    this.caption = panel.picture ?? title;
    say(this.title, title);
    say(this.hint, hint ? tip(hint) : "");
    this.line.replaceChildren(...nodesOf(line ?? []));
    this.line.hidden = !line;
    this.controls.hidden = !controls.length;
    this.viewer.fill(this.controls, controls);
    this.draw(panel);
    if (says) this.canvas.ariaLabel = says;
  }

  /** @param {any} panel */
  draw(panel) {
    throw new Error(`no way to draw ${panel.part}`);
  }

  /** What it does when it is shown no longer. */
  hide() {}

  /** Close what is open in it, or leave what keys point at, by Escape. @returns {boolean} whether anything was */
  close() {
    const points = Boolean(this.does.reach) && this.part in this.viewer.hover;
    if (points) this.point(null);
    return points;
  }

  /** @param {any} at */
  pick(at) {
    const { does, viewer } = this;
    if (does.reach) this.point(at);
    else if (does.pick) viewer.shell.set(does.pick(viewer.state, at));
  }

  /** @param {any} at */
  point(at) {
    this.viewer.pointAt(this.part, at);
  }

  /** Choose, or point, by keys. @param {HTMLElement} target */
  hearKeys(target) {
    const { does, viewer } = this;
    listen(target, "keydown", viewer.signal, (event) => {
      const enter = does.enter && [" ", "Enter"].includes(event.key);
      const by = !enter && (does.move ?? does.reach) && moveOf(event);
      if (!enter && !by) return;
      taken(event);
      if (does.reach) return this.point(does.reach(viewer.shown, by, viewer.hover[this.part]));
      const chosen = enter ? does.enter(viewer.state) : does.move(viewer.state, by);
      viewer.unpoint();
      viewer.shell.set(chosen);
    });
  }

  /** Width for the mark: of its box, within what its view allows. @param {number} least */
  width(least) {
    const width = this.viewer.shell.widthOf(this.canvas.parentElement);
    return Math.max(least, Math.min(this.size?.[0] ?? Infinity, width));
  }
}
