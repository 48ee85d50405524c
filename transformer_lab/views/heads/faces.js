// Where there is no room for both, lines and map share a place: each leads to the other.

import { button } from "../shared/controls.js";

export class SharedPlace {
  /**
   * @param {import("./state.js").HeadState} state its option `show` is "lines" or "map"
   * @param {{root: HTMLElement, heading: HTMLElement}} lines
   * @param {{root: HTMLElement, heading: HTMLElement}} map
   * @param {HTMLElement} panels
   * @param {import("./heads_panel.js").HeadsPanel} headsPanel
   */
  constructor(state, lines, map, panels, headsPanel) {
    this.state = state;
    this.panels = panels;
    this.headsPanel = headsPanel;
    const to = (show, title) => button(show, `show-${show}`, () => {
      state.option({ show });
      this.show();
      (show === "map" ? toLines : toMap).focus();
    }, title);
    const toMap = to("map", "Show the map in this place");
    const toLines = to("lines", "Show who looks where as lines, in this place");
    for (const made of [toMap, toLines]) made.className = "tl-link tl-switch";
    lines.heading.append(toMap);
    map.heading.append(toLines);
  }

  show() {
    this.panels.classList.toggle("tl-lines-on", this.state.options.show === "lines");
    this.headsPanel.showFace();
  }
}
