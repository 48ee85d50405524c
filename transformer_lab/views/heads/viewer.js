// The heads of a trace, alone on a page or below a run.

import { aliveHeads } from "./reading.js";
import { headNumbers } from "./numbers.js";
import { Heads } from "./heads.js";
import { HeadState } from "./state.js";
import { HeadStore } from "./store.js";
import { Spans } from "./spans.js";
import { Texts } from "./texts.js";
import { picture } from "./picture.js";
import { keepHeight, giveSpare, takeSpare } from "../shared/screen.js";
import { element } from "../shared/dom.js";
import { Shell } from "../shared/shell.js";
import { sayHeads } from "./scale.js";

export class HeadViewer {
  /**
   * @param {any} given
   * @param {HTMLElement} root
   * @param {AbortSignal} signal
   * @param {string} [title] instead of the model's own
   * @param {() => number} [above] the height of what is above it and should be visible with it
   */
  constructor(given, root, signal, title, above) {
    const model = aliveHeads(given, signal);
    this.above = above;
    const state = new HeadState(model);
    this.shell = new Shell(model, root, signal, {
      title,
      within: title !== undefined,
      copies: sayHeads("copy_the_selection_as"),
      draw: () => {
        giveSpare(root);
        this.heads.draw();
      },
      png: () => picture(this.heads),
      code: () => this.texts?.code() || state.code(),
      part: () =>
        `${this.texts?.averaged ? `${this.texts.held}-` : ""}layer-${state.layer}-head-${state.head}`,
      numbers: () => this.numbers,
      given,
    });
    this.heads = new Heads(this.shell, state, new HeadStore(model, this.shell.requests), {
      chosen: (layer, head) => state.set({ layer, head }),
      tell: (layer, head) => sayHeads("layer_head_click_to", { layer, head }),
      picked: (spot) => state.pick(spot),
      drawn: () => {
        this.texts?.drawn();
        if (this.heads.fixed) takeSpare(root, this.heads.panels);
      },
    });
    this.spans =
      Object.values(state.kinds).some((kind) => kind.long) || model.get("a") === undefined
        ? null
        : new Spans(this.shell, state);
    this.texts = model.get("_texts")?.names ? new Texts(this.shell, state, this.heads) : null;
  }

  /** Numbers on view, for files. */
  get numbers() {
    return headNumbers(this.heads);
  }

  async open() {
    const { shell, heads, texts, spans } = this;
    heads.panels.classList.add("tl-three");
    const controls = element(
      "div.tl-tools",
      heads.choice.root,
      texts?.picker,
      spans?.opener,
      element("span.tl-push"),
      heads.viewControls.roots,
      spans?.root,
    );
    shell.root.append(
      element(
        "div.tl-screen",
        shell.above,
        heads.note,
        texts?.why,
        shell.message,
        heads.answer,
        heads.panels,
        texts?.panel,
        controls,
      ),
    );
    keepHeight(shell.root, shell.signal, () => shell.redraw(), this.above);
    await texts?.open();
    spans?.start();
    await heads.start();
  }
}
