// What the views around a picture have in common: title and actions, message, theme.

import { bytesOf } from "./codecs.js";
import { onThemeChange, themeOf } from "./colours.js";
import { button } from "./controls.js";
import { copyText, download, element, onceAFrame, tokenElement } from "./dom.js";
import { Requests } from "./requests.js";

const ANSWER_LATE = 4000; // ms

/** Colours of the theme, for what is drawn on canvases. @param {HTMLElement} root */
export function paletteOf(root) {
  const style = getComputedStyle(root.closest(".tl-view") ?? root);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--tl-ink"), quiet: read("--tl-quiet"), line: read("--tl-line"), accent: read("--tl-accent"),
    blocked: read("--tl-blocked"),
    ground: themeOf(root) === "dark" ? "#191c21" : "#ffffff",
  };
}

/** @param {string} title */
export const nameOfFile = (title) => title.replace(/[^\w-]+/g, "-").replace(/^-+|-+$/g, "").toLowerCase() || "view";

/**
 * The frame of a view: a header with its title and actions, a message, the theme.
 */
export class Shell {
  /**
   * @param {any} model
   * @param {HTMLElement} root
   * @param {AbortSignal} signal
   * @param {{draw: () => void, png: () => Promise<Blob | null>, code: () => string}} does
   */
  constructor(model, root, signal, does) {
    Object.assign(this, { model, root, signal, does });
    this.requests = new Requests(model, signal);
    this.subtitle = element("span", { class: "tl-quiet" });
    this.copied = element("span", { class: "tl-quiet", role: "status" });
    this.message = element("p", { class: "tl-message", role: "alert", "data-part": "message", hidden: true });
    this.header = element(
      "header",
      { class: "tl-top" },
      element("div", { class: "tl-title" }, element("b", {}, tokenElement(model.get("_title"))), " ", this.subtitle),
      element(
        "div",
        { class: "tl-actions" },
        this.copied,
        button("Copy as Python", "copy", () => this.#copy(), "Copy what makes this view as Python"),
        button("PNG", "png", () => this.#png(), "Save this picture as PNG"),
        button("HTML", "html", () => this.#html(), "Save this view as one interactive page"),
      ),
    );
    this.redraw = onceAFrame(() => this.draw());
    let width = 0;
    const observer = new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - width) < 1) return;
      width = entry.contentRect.width;
      this.redraw();
    });
    observer.observe(root);
    signal.addEventListener("abort", () => observer.disconnect());
    onThemeChange(() => {
      const now = JSON.stringify(paletteOf(root));
      if (themeOf(root) !== root.dataset.theme || now !== this.drawnIn) this.redraw();
    }, signal);
    root.dataset.theme = themeOf(root);
  }

  get theme() {
    return /** @type {"light" | "dark"} */ (this.root.dataset.theme);
  }

  /** Draw, with the colours of where the view stands; nothing while it is hidden. */
  draw() {
    if (!this.root.clientWidth || this.signal.aborted) return;
    this.root.dataset.theme = themeOf(this.root);
    this.inks = paletteOf(this.root);
    this.drawnIn = JSON.stringify(this.inks);
    this.does.draw();
  }

  /** @param {string[]} names traits that change the picture @param {() => void} [first] */
  watch(names, first) {
    const changed = () => {
      first?.();
      this.redraw();
    };
    for (const name of names) {
      this.model.on(`change:${name}`, changed);
      this.signal.addEventListener("abort", () => this.model.off(`change:${name}`, changed));
    }
  }

  /** @param {Record<string, any>} changes */
  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  /** @param {string} text */
  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  async #copy() {
    const code = this.does.code();
    this.copied.textContent = (await copyText(code)) ? `Copied: ${code}` : code;
    this.root.dataset.copied = code;
  }

  async #png() {
    const blob = await this.does.png();
    if (blob) download(blob, `${nameOfFile(this.model.get("_title"))}.png`);
  }

  async #html() {
    const late = setTimeout(() => this.say("Waiting for Python: it may be busy with a cell, or stopped."), ANSWER_LATE);
    try {
      const { buffers } = await this.requests.ask({ type: "page" }, false);
      download(new Blob([buffers[0]], { type: "text/html" }), `${nameOfFile(this.model.get("_title"))}.html`);
      this.say("");
    } catch (error) {
      this.say(`The page could not be made: ${error.message}`);
    } finally {
      clearTimeout(late);
    }
  }
}

/** @param {any} model @param {string} name @returns {Float32Array} */
export function floatsOf(model, name) {
  const bytes = bytesOf(model.get(name));
  const aligned = bytes.byteOffset % 4 ? bytes.slice() : bytes;
  return new Float32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 4));
}

/**
 * What the colours of a linear scale mean.
 * @param {Uint8ClampedArray} table
 * @param {number} low
 * @param {number} high
 * @param {string} name
 * @param {(value: number) => string} text
 * @returns {Node[]}
 */
export function linearLegend(table, low, high, name, text) {
  const stops = Array.from({ length: 17 }, (_, i) => {
    const at = 3 * Math.round((i / 16) * 255);
    return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
  });
  const ticks = [low, (low + high) / 2, high].map((value, i) =>
    element("span", { style: `left:${50 * i}%`, class: i === 2 ? "tl-last" : "" }, text(value)),
  );
  return [
    element("span", { class: "tl-quiet" }, name),
    element(
      "div",
      { class: "tl-scale" },
      element("div", { class: "tl-ramp", style: `background:linear-gradient(to right, ${stops.join(",")})` }),
      element("div", { class: "tl-ticks" }, ...ticks),
    ),
  ];
}
