// The common frame of views: title and actions, message, theme.

import { AskRow } from "../pages/ask_row.js";
import { carriesModel } from "../pages/page_model.js";
import { bytesOf } from "./codecs.js";
import { entry, onThemeChange, PALETTE, themeOf } from "./colours.js";
import { element, hearChanges, onceAFrame, setPixelRatio } from "./dom.js";
import { Header } from "./header.js";
import { Prose } from "./prose.js";
import { Requests } from "./requests.js";

/**
 * Colours of the theme, for drawing on canvases. They equal those of the style sheet but are not
 * read from it: a view within a view was drawn, black on black, before the sheet had switched to a
 * dark theme.
 * @param {import("./colours.js").Theme} theme
 */
export function inksOf(theme) {
  const { ink, quiet, line, accent, blocked, edited, paper } = PALETTE[theme];
  return { ink, quiet, line, accent, blocked, edited, ground: paper };
}

/** The frame of a view: a header with its title and actions, a message, the theme. */
export class Shell {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal @param {{draw: () => void} & import("./header.js").HeaderDoes} does */
  constructor(model, root, signal, does) {
    this.model = model;
    this.root = root;
    this.signal = signal;
    this.does = does;
    this.requests = new Requests(model, signal);
    /** The row in which the reader enters another text. */
    this.ask = does.given && carriesModel(does.given) ? new AskRow(model, signal) : null;
    new Prose(root, signal, (place) => this.#chooses(place));
    /** Views within this one. @type {Shell[]} */
    this.within = [];
    this.top = new Header(
      model,
      root,
      signal,
      this.requests,
      { linked: () => this.ask?.linked ?? {}, ...does, png: () => this.#sharp(does.png) },
      () => this.redraw(),
    );
    this.header = this.top.element;
    const { subtitle, message } = this.top;
    this.subtitle = subtitle;
    this.message = message;
    this.redraw = onceAFrame(() => this.draw());
    /** The last reported width, so that a draw need not measure it. @type {number | null} */
    this.width = null;
    /** The widths in which parts were drawn. @type {WeakMap<Element, number>} */
    this.widths = new WeakMap();
    const observer = (this.observer = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) {
        if (target !== root) {
          if (![0, this.widths.get(target)].includes(target.clientWidth)) this.redraw();
        } else if (Math.abs(contentRect.width - (this.width ?? 0)) >= 1) {
          this.width = contentRect.width;
          this.redraw();
        }
      }
    }));
    observer.observe(root);
    signal.addEventListener("abort", () => observer.disconnect());
    this.view = /** @type {HTMLElement} */ (root.closest(".tl-view") ?? root);
    onThemeChange(this.view, () => themeOf(root) !== this.drawnIn && this.redraw(), signal);
    this.#heed();
  }

  /** The parts above everything else. */
  get above() {
    return [this.header, ...(this.ask ? [this.ask.root] : [])];
  }

  /** A picture for a file, at two pixels per CSS pixel. @param {() => Promise<Blob | null>} png */
  async #sharp(png) {
    const draw = (ratio) => {
      setPixelRatio(ratio);
      for (const shell of [this, ...this.within]) shell.draw();
    };
    try {
      draw(2);
      return await png();
    } finally {
      draw(null);
    }
  }

  /** Adopt the theme around the view. */
  #heed() {
    const theme = themeOf(this.root);
    if (theme === this.theme && this.inks) return theme;
    this.root.dataset.theme = this.view.dataset.theme = theme;
    this.inks = inksOf(theme);
    return theme;
  }

  get theme() {
    return /** @type {"light" | "dark"} */ (this.root.dataset.theme);
  }

  /** Draw in the colours of the theme around the view; draw nothing while it is hidden. */
  draw() {
    if (this.signal.aborted) return;
    // While its theme changes, a host may hide the view, or give it another width for a moment, of
    // which the observer hears nothing: then it reports anew.
    const width = themeOf(this.root) === this.drawnIn ? this.width : null;
    if (width === null) {
      this.width = null;
      this.observer.unobserve(this.root);
      this.observer.observe(this.root);
    }
    if (!(width ?? this.root.clientWidth)) return; // it is drawn as soon as it is visible again
    this.drawnIn = this.#heed();
    this.does.draw();
  }

  /** Width of a part; when it changes, the view is drawn anew. @param {Element} part */
  widthOf(part) {
    const { clientWidth: width } = part;
    if (this.widths.get(part) !== width) {
      this.widths.set(part, width);
      // It may have had this width for a moment that the observer does not hear of: it reports anew.
      this.observer.unobserve(part);
      this.observer.observe(part);
    }
    return width || this.width; // hidden for a moment
  }

  /** @param {string[]} names traits that change the picture @param {() => void} [first] */
  watch(names, first) {
    const changed = () => {
      first?.();
      this.redraw();
    };
    hearChanges(this.model, names, this.signal, changed);
  }

  /** @param {Record<string, any>} changes */
  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  /** Clear a choice; true if there was one. @param {string} name of its trait */
  free(name) {
    const chosen = this.model.get(name) !== null;
    if (chosen) this.set({ [name]: null });
    return chosen;
  }

  /** Choose a head or a query named in a sentence, if the view has it. @param {any} named */
  #chooses({ kind, layer, head, token }) {
    if (token !== undefined) return this.set({ selected: [token, null] });
    const kinds = this.model.get("_kinds") ?? {};
    const to = kinds[kind ?? ""] ? kind : this.model.get("kind");
    if (kinds[to] && layer < kinds[to].layers && head < kinds[to].heads)
      this.set({ kind: to, layer, head });
  }

  /** @param {string} text */
  say(text) {
    this.top.say(text);
  }
}

/** @param {any} model @param {string} name @returns {Float32Array} */
export function floatsOf(model, name) {
  const bytes = bytesOf(model.get(name));
  const aligned = bytes.byteOffset % 4 ? bytes.slice() : bytes;
  return new Float32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 4));
}

/**
 * A colour legend: a ramp with numbers below it.
 * @param {Uint8ClampedArray} table
 * @param {string} name
 * @param {[number, string][]} ticks the place of each, 0 … 1, and its text
 * @returns {Node[]}
 */
export function colourLegend(table, name, ticks) {
  const stops = Array.from({ length: 17 }, (_, i) => entry(table, Math.round((i / 16) * 255)));
  const texts = ticks.map(([place, text], i) =>
    element(
      "span",
      { style: `left:${100 * place}%`, class: i === ticks.length - 1 ? "tl-last" : "" },
      text,
    ),
  );
  return [
    element("span.tl-quiet", name),
    element(
      "div.tl-scale",
      element("div.tl-ramp", { style: `background:linear-gradient(to right, ${stops.join(",")})` }),
      element("div.tl-ticks", texts),
    ),
  ];
}

/** Colour legend of a linear scale. @param {Uint8ClampedArray} table @param {number} low @param {number} high @param {string} name @param {(value: number) => string} text */
export const linearLegend = (table, low, high, name, text) =>
  colourLegend(
    table,
    name,
    [low, (low + high) / 2, high].map((value, i) => [i / 2, text(value)]),
  );
