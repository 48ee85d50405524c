// Presentation size: a view for a projector, with text 1.4 times as large and one panel at a time.

import { radioGroup } from "./controls.js";
import { element } from "./dom.js";
import { sayShared } from "./messages.js";

const PANELS = ".tl-panels > section[aria-label]:not(.tl-stays)"; // a panel that stays is shown beside each of them

export class Presentation {
  /** @param {HTMLElement} root of the view @param {() => void} redraw */
  constructor(root, redraw) {
    this.root = root;
    this.redraw = redraw;
    this.choice = element("nav.tl-presented", { "aria-label": sayShared("panels") });
  }

  get on() {
    return this.root.dataset.size === "large";
  }

  toggle() {
    if (this.on) delete this.root.dataset.size;
    else this.root.dataset.size = "large";
    this.arrange();
  }

  /** Show one of the view's current panels; the others are a click away. @param {string} [wanted] */
  arrange(wanted) {
    const all = /** @type {HTMLElement[]} */ ([...this.root.querySelectorAll(PANELS)]);
    for (const panel of all) panel.classList.remove("tl-away");
    const shown = this.on ? all.filter((panel) => panel.getClientRects().length) : [];
    const names = shown.map((panel) => /** @type {string} */ (panel.getAttribute("aria-label")));
    const chosen =
      wanted && names.includes(wanted) ? wanted : names.includes("Map") ? "Map" : names[0];
    for (const panel of shown)
      panel.classList.toggle("tl-away", panel.getAttribute("aria-label") !== chosen);
    const focused = this.choice.contains(document.activeElement);
    const group =
      names.length < 2
        ? null
        : radioGroup({
            label: sayShared("panel"),
            part: "panel",
            quiet: true,
            chosen,
            choices: names.map((name) => ({ value: name, text: name })),
            choose: (name) => this.arrange(name),
          });
    this.choice.replaceChildren(...(group ? [group.root] : []));
    if (shown.length) shown[0].parentElement?.before(this.choice);
    if (focused)
      /** @type {HTMLElement | null} */ (this.choice.querySelector("[aria-checked=true]"))?.focus();
    this.redraw();
  }
}
