// The base of viewers: the model, the shell, the sentence, a picture for a file.

import { element, keepRoom, listen, sentencePart } from "./dom.js";
import { sheet } from "./sheet.js";
import { sayProse } from "./prose.js";
import { Shell } from "./shell.js";

export class BaseViewer {
  /**
   * @param {any} model
   * @param {HTMLElement} root
   * @param {AbortSignal} signal
   * @param {Partial<import("./header.js").HeaderDoes>} [does]
   */
  constructor(model, root, signal, does = {}) {
    this.model = model;
    this.root = root;
    this.signal = signal;
    this.sentence = sentencePart();
    keepRoom(this.sentence, signal);
    this.shell = new Shell(model, root, signal, {
      draw: () => this.draw(),
      png: () => this.png(),
      code: () => this.code(),
      numbers: () => this.fileNumbers(),
      ...does,
    });
  }

  /** Sizes of the chosen kind of attention. */
  get kind() {
    return this.model.get("_kinds")[this.model.get("kind")];
  }

  get layer() {
    return Math.min(this.model.get("layer"), this.kind.layers - 1);
  }

  get head() {
    return Math.min(this.model.get("head"), this.kind.heads - 1);
  }

  /** Whether there is more than one kind of attention. */
  get several() {
    return Object.keys(this.model.get("_kinds")).length > 1;
  }

  /** The chosen head, if any. @returns {import("./prose.js").HeadPlace | null} */
  get here() {
    const kind = this.model.get("kind");
    return kind === undefined
      ? null
      : { kind, layer: this.model.get("layer"), head: this.model.get("head") };
  }

  /** @returns {any} */
  open() {
    this.shell.draw();
  }

  draw() {}

  code() {
    return "";
  }

  /** Numbers on view, for files. @returns {any} */
  fileNumbers() {}

  get title() {
    return this.model.get("_title");
  }

  get said() {
    return this.sentence.textContent ?? "";
  }

  /** Canvases on view, in reading order. @returns {import("./sheet.js").Given[]} */
  pictures() {
    return [];
  }

  /** @returns {Promise<Blob | null>} */
  png() {
    const parts = this.pictures();
    const apart = parts.flatMap(({ canvas }) => (canvas && !canvas.isConnected ? [canvas] : []));
    const holder = element("div", { style: "position:absolute;left:-9999px" }, apart);
    this.root.append(holder); // a sheet measures its parts in the page
    return sheet({ title: this.title, sentence: this.said, parts, inks: this.shell.inks }).finally(
      () => holder.remove(),
    );
  }

  /** @param {string} text */
  say(text) {
    sayProse(this.sentence, text, this.here);
  }

  /** Show another kind of attention, at the nearest head that it has. @param {string} kind */
  changeKind(kind) {
    const { layers, heads } = this.model.get("_kinds")[kind];
    this.shell.set({
      selected: null,
      layer: Math.min(this.model.get("layer"), layers - 1),
      head: Math.min(this.model.get("head"), heads - 1),
      kind,
    });
  }

  /** Clear the selection on Escape. @param {() => boolean} [more] clears something else; whether it did */
  freeByEscape(more = () => false) {
    listen(this.root, "keydown", this.signal, (event) => {
      if (event.key !== "Escape") return;
      const other = more();
      if (this.shell.free("selected") || other) event.stopPropagation();
    });
  }
}
