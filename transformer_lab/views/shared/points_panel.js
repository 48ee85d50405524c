// A panel of points in a plane.

import { drawPoints } from "../marks/points.js";
import { colourTable, entry, headColour } from "./colours.js";
import { hearPointer, listen, taken } from "./dom.js";
import { MarkPanel } from "./panels.js";

/** The colour of each point: of a category, or by a number; null has none. @param {any} mark @param {any} shell */
function coloursOf({ shades, shades_by: by }, { theme, inks }) {
  if (by === "category") return shades.map(headColour);
  const table = colourTable("default", theme);
  const size = by === "weight" ? Math.sqrt : Number;
  const most = size(Math.max(...shades.filter((x) => x !== null))) || 1;
  const shade = (x) => entry(table, Math.round(255 * Math.min(1, size(x) / most)));
  return shades.map((x) => (x === null ? inks.quiet : shade(x)));
}

export class PointsPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {import("./panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    hearPointer(this.canvas, viewer.signal, (x, y) => this.hit?.(x, y) ?? null, {
      hover: (at) => this.point(at),
      pick: (at) => this.pick(at),
    });
    listen(this.canvas, "keydown", viewer.signal, (event) => this.#key(event));
  }

  get at() {
    return this.viewer.hover[this.part] ?? null;
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) this.point(((this.at ?? (step > 0 ? -1 : 0)) + step + this.count) % this.count);
    else if (event.key === "Enter") this.pick(this.at);
    else return;
    taken(event);
  }

  draw({ mark }) {
    const { shell } = this.viewer;
    this.count = mark.names.length;
    const { values } = mark.places;
    const drawn = {
      ...mark,
      places: mark.names.map((_, i) => [values[2 * i], values[2 * i + 1]]),
      diamonds: mark.groups.map((group) => group === mark.groups[0]),
      colours: coloursOf(mark, shell),
      pointed: this.at,
      chosen: mark.picked,
    };
    const width = this.width(180);
    const height = Math.max(260, Math.min(480, 0.75 * width));
    this.hit = drawPoints(this.canvas, drawn, shell.inks, width, height);
  }
}
