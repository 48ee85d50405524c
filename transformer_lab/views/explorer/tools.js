// The tools of an Explorer, said once for the grid, the lines and the map: looking, switching heads
// off, cutting edges; and which weights are shown.

import { menu, radioGroup } from "../shared/controls.js";
import { element } from "../shared/dom.js";

const SCOPES = [
  { value: "head", text: "in this head" },
  { value: "layer", text: "in this layer" },
  { value: "all", text: "in all heads" },
];

export class Tools {
  /** @param {import("./state.js").ExplorerState} state */
  constructor(state) {
    this.state = state;
    this.tools = radioGroup({
      label: "A click", part: "tool", quiet: true,
      choices: [
        { value: "look", text: "look", name: "A click looks: it chooses a head, a token, a cell" },
        { value: "off", text: "switch off", name: "A click switches a head off, or on again" },
        { value: "cut", text: "✂ cut", name: "A click cuts an edge: click a cell, or a token and then another" },
      ],
      chosen: "look",
      choose: (value) => state.option({ tool: value }),
    });
    this.scope = menu("Where an edge is cut", "scope", SCOPES, (value) => state.option({ scope: value }));
    this.modes = radioGroup({
      label: "Weights", part: "map-mode", quiet: true,
      choices: [{ value: "before", text: "before" }, { value: "after", text: "after" }, { value: "difference", text: "difference" }],
      chosen: "after",
      choose: (value) => state.option({ map: value }),
    });
    this.keys = element("p", { class: "tl-hint", "data-part": "keys" });
    this.keys.append(...[
      ["arrows", "next head, token or cell"], ["X", "switch the head off or on; cut the locked cell"], ["Shift-click", "several heads"],
      ["P", "pin the head beside others, or unpin it"],
      ["Z, Y", "undo, redo"], ["Enter", "lock"], ["Esc", "free"],
    ].map(([key, does]) => element("span", {}, element("kbd", {}, key), ` ${does}`)));
  }

  /** @param {boolean} edited whether there are other weights than those before */
  show(edited) {
    const { options, tool, cutting } = this.state;
    this.tools.set(tool);
    this.scope.set(options.scope ?? "head");
    this.scope.root.hidden = !cutting;
    this.modes.root.hidden = !edited;
    this.modes.set(options.map ?? "after");
  }
}
