// The module of PositionView.

import { CurvesPanel } from "../shared/curves_panel.js";
import { element } from "../shared/dom.js";
import { MapsPanel } from "../shared/maps_panel.js";
import { MatrixPanel } from "../shared/matrix_panel.js";
import { nodesOf } from "../shared/pieces.js";
import { scened } from "../shared/scene_viewer.js";
import { view } from "./scene.js";

/** Three maps, with lines and legends in the room that they leave. */
class ChangePanel extends MapsPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    const { box, legends } = this.pair;
    this.cell = element("p.tl-number-line#pair-line", { role: "status" });
    this.below = element("div.tl-said", this.line, this.cell, Object.values(legends));
    box.append(this.below);
  }

  draw(panel) {
    super.draw(panel);
    this.cell.replaceChildren(...nodesOf(panel.cell));
    const under = this.count === 3;
    this.below.classList.toggle("tl-under", under);
    this.below.style.width = under ? "100%" : this.pair.maps[1].figure.style.width;
  }
}

const panels = { matrix: MatrixPanel, curves: CurvesPanel, maps: ChangePanel };

export default scened({ ...view, panels: { ...panels, encoding: MatrixPanel } });
