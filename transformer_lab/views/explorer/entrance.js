// What a newcomer sees first: an introduction, sample texts, a tour, and few tools until more are
// wanted.

import { button, headPlaces } from "../shared/controls.js";
import { byTouch, element, listen, taken } from "../shared/dom.js";
import { sayExplorer } from "./prose.js";
import { sayProse } from "../shared/prose.js";

const GAP = 8; // between a step of the tour and its subject

/**
 * @typedef {{label: string, text: string, layer?: number, head?: number}} Sample
 *
 * @typedef {object} EntranceDoes
 * @property {(sample: Sample) => void} sample
 * @property {() => void} tools shows all tools, or few
 */

export class Entrance {
  /** @param {import("./state.js").ExplorerState} state @param {EntranceDoes} does */
  constructor(state, does) {
    this.state = state;
    this.does = does;
    this.stopAt = 0; // the sample with the Tab stop
    const title = element(
      "p.tl-entrance-title",
      { role: "heading", "aria-level": 1 },
      sayExplorer("title"),
    );
    this.n = Object.values(state.kinds).flatMap(headPlaces).length;
    this.intro = element("p.tl-quiet");
    this.chips = element("span.tl-group#samples", {
      role: "group",
      "aria-label": sayExplorer("texts_to_try"),
      keydown: (event) => this.#key(event),
    });
    this.tourButton = button(
      sayExplorer("take_the_tour"),
      "tour",
      sayExplorer("five_steps_through_this"),
      () => this.tour.begin(this.tourButton),
    );
    this.tourButton.className = "tl-link";
    this.toolsButton = button("", "all-tools", does.tools);
    this.root = element(
      "header.tl-entrance",
      title,
      this.intro,
      element("p.tl-samples", this.chips, this.tourButton),
    );
  }

  /** The texts are one Tab stop: arrows go from one to another. @param {KeyboardEvent} event */
  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const all = /** @type {HTMLElement[]} */ ([...this.chips.children]);
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    if (!by || at < 0) return;
    taken(event);
    this.stopAt = (at + by + all.length) % all.length;
    this.show();
    all[this.stopAt].focus();
  }

  /** Show a chip for each text, once the texts are known, and what the page can do. */
  show() {
    const { about, live, model } = this.state;
    sayProse(
      this.intro,
      sayExplorer("intro", {
        shipped: Boolean(about.shipped),
        kind: about.predicts ? about.kind : "none",
        n: this.n,
        able: !this.state.whyNot("off"),
      }),
    );
    const samples = /** @type {Sample[]} */ (live ? (model.get("_samples") ?? []) : []);
    if (samples !== this.samples) {
      this.samples = samples;
      this.chips.replaceChildren(
        ...samples.map((sample) =>
          button(sample.label, "sample", sample.text, () => this.does.sample(sample)),
        ),
      );
    }
    const text = model.get("_text");
    [...this.chips.children].forEach((chip, i) => {
      chip.setAttribute("aria-pressed", String(samples[i].text === text));
      /** @type {HTMLElement} */ (chip).tabIndex = i === this.stopAt ? 0 : -1;
    });
    const all = this.state.allTools;
    this.toolsButton.textContent = sayExplorer(all ? "fewer_tools" : "more_tools");
    this.toolsButton.title = sayExplorer(all ? "fewer_tools_title" : "more_tools_title");
  }

  /** @param {Tour} tour */
  leads(tour) {
    this.tour = tour;
  }
}

/** One hint after another, each beside its subject; the reader can leave at any time. */
export class Tour {
  /** @param {import("./state.js").ExplorerState} state @param {HTMLElement} screen holds all of the tour @param {() => [HTMLElement, HTMLElement[]][]} stops what each step outlines, and its subjects, of which it is placed beside the first @param {AbortSignal} signal */
  constructor(state, screen, stops, signal) {
    this.state = state;
    this.screen = screen;
    this.stops = stops;
    this.text = element("p", { id: `tl-tour-${Math.random().toString(36).slice(2)}` });
    this.count = element("span.tl-quiet");
    this.next = button(sayExplorer("next"), "tour-next", () => this.#go(this.at + 1));
    this.next.classList.add("tl-main");
    const leave = button(sayExplorer("leave_the_tour"), "tour-end", () => this.end());
    leave.className = "tl-link";
    this.root = element(
      "div.tl-tour#tour-step",
      {
        role: "dialog",
        "aria-label": sayExplorer("tour_label"),
        "aria-describedby": this.text.id,
        hidden: true,
      },
      this.text,
      element("p.tl-actions", this.count, leave, this.next),
    );
    this.root.addEventListener("keydown", (event) => {
      event.stopPropagation(); // keys are the tour's while it has the focus
    });
    const leaves = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || this.root.hidden) return;
      taken(event);
      this.end();
    };
    listen(screen, "keydown", signal, leaves, { capture: true });
    screen.append(this.root);
    listen(window, "resize", signal, () => this.root.hidden || this.#place());
  }

  /** @param {HTMLElement} by the button that began it */
  begin(by) {
    this.by = by;
    this.#go(0);
  }

  end() {
    this.#mark(null);
    this.root.hidden = true;
    const { by } = this;
    (by?.checkVisibility() ? by : this.stops().at(-1)?.[0])?.focus();
  }

  #go(at) {
    const stops = this.stops();
    if (at >= stops.length) return this.end();
    this.at = at;
    this.text.textContent = sayExplorer("tour", {
      step: at + 1,
      touch: byTouch(),
      live: this.state.live,
      why: this.state.whyNot("off") || null,
    });
    this.count.textContent = `${at + 1} / ${stops.length}`;
    this.next.textContent = at + 1 < stops.length ? sayExplorer("next") : sayExplorer("done");
    this.root.hidden = false;
    const [stop, spoken] = stops[at];
    this.#mark(stop);
    this.spoken = spoken;
    stop.scrollIntoView({ block: "nearest" });
    this.#place();
    this.next.focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "nearest" });
  }

  #mark(stop) {
    this.stop?.classList.remove("tl-toured");
    this.stop = stop;
    stop?.classList.add("tl-toured");
  }

  /**
   * Place a step beside its subjects, where it covers least of them: below, at either side, or
   * above.
   */
  #place() {
    const boxOf = (/** @type {HTMLElement} */ part) => part.getBoundingClientRect();
    const [around, own] = [this.screen, this.root].map(boxOf);
    const clear = this.spoken.filter((part) => part.checkVisibility()).map(boxOf);
    const [top, left] = ["top", "left"].map((side) => Math.min(...clear.map((box) => box[side])));
    const [bottom, right] = ["bottom", "right"].map((side) =>
      Math.max(...clear.map((box) => box[side])),
    );
    const at = clear[0];
    const start = at.width > 2 * own.width ? at.right - own.width : at.left;
    const within = (
      /** @type {number} */ value,
      /** @type {number} */ from,
      /** @type {number} */ most,
    ) => Math.max(0, Math.min(value - from, most));
    const covers = (/** @type {number[]} */ [x, y]) =>
      clear.reduce((sum, box) => {
        const [dx, dy] = [x + around.left, y + around.top];
        const wide = Math.min(box.right, dx + own.width) - Math.max(box.left, dx);
        const high = Math.min(box.bottom, dy + own.height) - Math.max(box.top, dy);
        return sum + Math.max(0, wide) * Math.max(0, high);
      }, 0);
    const [x, y] = [
      [start, at.bottom + GAP],
      [start, bottom + GAP],
      [left - own.width - GAP, at.top],
      [at.right + GAP, at.top],
      [right + GAP, at.top],
      ...clear.slice(1).map((box) => [at.right + GAP, box.bottom + GAP]),
      [start, at.top - own.height - GAP],
      [start, top - own.height - GAP],
    ]
      .map(([x, y]) => [
        within(x, around.left, around.width - own.width),
        within(y, around.top, around.height - own.height),
      ])
      .reduce((best, place) => (covers(place) < covers(best) ? place : best));
    Object.assign(this.root.style, { left: `${x}px`, top: `${y}px` });
  }
}
