// A panel of curves over one axis.

import { headColour } from "./colours.js";
import { MarkPanel } from "./panels.js";
import { Plot } from "./plot.js";

export class CurvesPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {import("./panels.js").Does} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    this.plot = new Plot(this.canvas, viewer.signal, {
      hover: (x) => this.point(x),
      pick: (x) => this.pick(x),
    });
    this.hearKeys(this.canvas);
  }

  draw({ mark: { curves, x, y, x_range: xRange, y_range: yRange, at, lock = true, whole } }) {
    const { inks } = this.viewer.shell;
    const series = curves.map(({ name, points, strong, thick, colour, nth, band, ...one }, i) => ({
      ...one,
      name: curves.length > 1 ? name : "", // its title names a single curve
      colour: inks[colour] ?? headColour(nth ?? i),
      thick: thick ?? (strong ? 3 : undefined),
      dots: points,
      band: band && { low: band[0], high: band[1] },
    }));
    this.plot.show(this.width(200), this.size?.[1] ?? 150, {
      series,
      xTitle: x.title,
      yTitle: y?.title ?? "",
      colours: inks,
      xRange,
      yRange,
      at,
      lock,
      whole,
    });
  }
}
