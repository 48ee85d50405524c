// The panel of every head: thumbnails, and other faces such as a table.

import { kindChoice, putAnew, radioGroup } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { Room } from "../shared/screen.js";
import { sayHeads } from "./scale.js";

const GRID_HEIGHT = 480; // at most, if the page may grow

/** @typedef {{name: string, root: HTMLElement, show?: () => void}} Face of the panel; show: called when it becomes visible */

export class HeadsPanel {
  /**
   * @param {import("./state.js").HeadState} state its option `heads` names the face on view
   * @param {import("../shared/thumbnails.js").Thumbnails} thumbnails
   * @param {import("../shared/shell.js").Shell} shell
   */
  constructor(state, thumbnails, shell) {
    this.state = state;
    this.thumbnails = thumbnails;
    this.count = element("span.tl-quiet");
    this.kindBox = element("div");
    this.gridBox = element("div.tl-grid-box", thumbnails.root);
    this.note = element("p.tl-hint#grid-note");
    this.below = element("div.tl-heads-below", this.note);
    this.heading = element("p.tl-heading", element("b", sayHeads("heads")), " ", this.count);
    this.root = element(
      "section.tl-panel.tl-panel-heads",
      { "aria-label": sayHeads("heads") },
      this.heading,
      this.kindBox,
      this.gridBox,
      this.below,
    );
    this.room = new Room(this.gridBox, [this.root, this.kindBox, this.below], shell.signal, () =>
      shell.redraw(),
    );
    /** @type {Face[]} */
    this.faces = [{ name: "grid", root: this.gridBox }];
  }

  /** Add a face that shows every head, such as a table; it is chosen next to the panel's name. @param {Face} face its name is also its option's value */
  also(face) {
    this.faces.push(face);
    this.root.insertBefore(face.root, this.below);
    const choices = this.faces.map(({ name }) => ({ value: name, text: name }));
    this.faceGroup = radioGroup({
      label: sayHeads("heads_as"),
      part: "heads-as",
      quiet: true,
      choices,
      chosen: this.face,
      choose: (heads) => this.state.option({ heads }),
    });
    this.heading.append(this.faceGroup.root);
    this.showFace();
  }

  /** The name of the face on view. */
  get face() {
    const wanted = this.state.options.heads;
    return this.faces.some(({ name }) => name === wanted) ? wanted : "grid";
  }

  showFace() {
    const { face } = this;
    this.faceGroup?.set(face);
    this.note.hidden = face !== "grid"; // it is about the small maps
    for (const part of [this.root, this.root.closest(".tl-screen")])
      part?.classList.toggle("tl-tabled", face === "table");
    for (const { name, root, show } of this.faces) {
      root.hidden = name !== face;
      if (name === face) show?.();
    }
  }

  /**
   * Draw the grid as large as there is room; if the page may grow, at most GRID_HEIGHT high.
   * @param {{shades: Uint8Array, grid: any}} small
   * @param {Uint8ClampedArray} table
   * @param {boolean} fixed whether the height is fixed
   * @param {any} inks
   * @param {string} layout arrangement of the panels
   */
  draw({ shades, grid }, table, fixed, inks, layout) {
    const { room, thumbnails } = this;
    const { width, height } = room.of(fixed, layout, this.face, this.note.textContent);
    if (!width) return; // another face of the panel is on view
    const other = thumbnails.draw(
      shades,
      grid,
      table,
      { width, height: fixed ? height : GRID_HEIGHT },
      inks,
    );
    if (fixed && (other || room.taken === null)) room.take(thumbnails.root.scrollHeight + 4); // the notes follow directly below
  }

  /**
   * Show the choice of kinds of attention, if there are several, and the number of heads of the one
   * on view.
   */
  start() {
    const { kinds, kindName, kind } = this.state;
    this.count.textContent = `${kind.layers} × ${kind.heads}`;
    this.count.title = sayHeads("down_across", { layers: kind.layers, heads: kind.heads });
    putAnew(this.kindBox, [
      kindChoice(kinds, kindName, (kind) => this.state.changeKind(kind)).root,
    ]);
  }
}

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
    this.lines = lines;
    this.map = map;
    this.group = radioGroup({
      label: sayHeads("in_this_place"),
      part: "show",
      quiet: true,
      chosen: "map",
      choices: ["map", "lines"].map((value) => ({ value, text: value })),
      choose: (show) => {
        state.option({ show });
        this.show();
        this.group.focus();
      },
    });
    this.group.root.classList.add("tl-switch");
  }

  show() {
    const lines = this.state.options.show === "lines";
    this.panels.classList.toggle("tl-lines-on", lines);
    this.group.set(lines ? "lines" : "map");
    const { heading } = lines ? this.lines : this.map;
    if (this.group.root.parentElement !== heading) heading.append(this.group.root);
    this.headsPanel.showFace();
  }
}
