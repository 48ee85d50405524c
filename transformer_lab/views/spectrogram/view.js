// A sound, when a word of the answer attends to it in every head, and what changes without a head.

import { mounted } from "../shared/mounted.js";
import { legend } from "../heads/scale.js";
import { bytesOf } from "../shared/codecs.js";
import { button, checkbox, radioGroup } from "../shared/controls.js";
import { element, panelPart, picturePart, within, listen } from "../shared/dom.js";
import { pictureTable, weightPixels, largestOf } from "../shared/blend.js";
import { Trials } from "../shared/trials.js";
import { quoted } from "../shared/messages.js";
import { numbersOf } from "../shared/files.js";
import { blendSound, SoundPicture, weightColumns } from "./sound.js";
import { halfOf, listenSentence, timeWords, whoWords, saySound } from "./listening.js";
import { OverlayViewer } from "../shared/overlay.js";

const HINT = saySound("the_bar_marks_the");

export class SpectrogramViewer extends OverlayViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(model, root, signal) {
    /** @type {import("./sound.js").Sound} */
    const sound = model.get("_sound");
    super(model, root, signal, {
      type: Float32Array,
      heads: sound.heads,
      aspect: 2.2,
      widest: 150,
      first: sound.first,
      over: saySound("weights_over_the_spectrogram"),
      choosing: { mean: "" },
    });
    this.sound = sound;
    /** @type {number | null} the position pointed at */
    this.pointed = null;
    this.table = pictureTable();
    this.#build();
    this.shell.watch([
      "layer",
      "head",
      "mean",
      "span",
      "whole",
      "fade",
      "_edits",
      "_effect",
      "_every",
      "_rows",
    ]);
  }

  heard(spot) {
    this.pointed = spot?.key ?? null;
    super.heard(spot);
    this.shell.redraw();
  }

  // ---- state --------------------------------------------------------------------------------

  get at() {
    return { ...super.at, mean: this.model.get("mean") };
  }

  /** Where an edit of the current choice acts. */
  get place() {
    const { layer, head, mean } = this.at;
    return { ...(mean === "all" ? {} : { layer }), ...(mean ? {} : { head }), kind: "cross" };
  }

  #row(layer, head) {
    return this.rowOf(layer, head, this.sound.positions);
  }

  /** Whether a head is among the chosen heads. @param {number} layer @param {number} head */
  #among(layer, head) {
    const at = this.at;
    return at.mean === "all" || (layer === at.layer && (at.mean === "layer" || head === at.head));
  }

  /** Weights of positions: the chosen head's, or the mean. */
  get weights() {
    const { layer, head, mean } = this.at;
    if (!mean) return Float64Array.from(this.#row(layer, head));
    const { heads, positions } = this.sound;
    const total = new Float64Array(positions);
    let count = 0;
    heads.forEach((n, at) => {
      if (mean === "layer" && at !== layer) return;
      for (let one = 0; one < n; one++, count++)
        this.#row(at, one).forEach((weight, i) => (total[i] += weight));
    });
    return total.map((weight) => weight / Math.max(count, 1));
  }

  get to() {
    return this.model.get("whole") ? this.sound.seconds : this.sound.end;
  }

  /**
   * The time that the cut button acts on: the chosen one, or the one that holds half of the weight.
   */
  get #span() {
    const half = halfOf(this.weights);
    return this.model.get("span") ?? (half && [half.first, half.last]);
  }

  /** Edges from the word on view to these positions. */
  #edges([first, last]) {
    return Array.from({ length: last - first + 1 }, (_, i) => ({
      edit: "knock_out",
      ...this.place,
      query: this.shown,
      key: first + i,
    }));
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { model, root, shell, signal, sound } = this;
    this.words = radioGroup({
      label: saySound("word_of_the_answer"),
      part: "words",
      chosen: this.query,
      choices: sound.words.map((text, value) => ({ value, text })),
      choose: (word) => {
        this.hovered = null;
        shell.set({ selected: [word, null] });
      },
    });
    this.words.root.classList.add("tl-words");
    this.#strip();
    this.canvas = picturePart("sound", "tl-sound");
    this.picture = new SoundPicture(
      this.canvas,
      sound,
      {
        hover: (position) => this.#point(position),
        choose: (first, last) => shell.set({ span: [first, last] }),
        move: (by, longer) => this.#move(by, longer),
        free: () => shell.free("span"),
      },
      signal,
    );
    this.readout = element("p.tl-hint#readout", HINT);
    this.means = radioGroup({
      label: saySound("weights_of"),
      part: "mean",
      chosen: model.get("mean"),
      choices: [
        { value: "", text: saySound("the_head") },
        { value: "layer", text: saySound("its_layers_mean") },
        { value: "all", text: saySound("the_mean_of_all") },
      ],
      choose: (mean) => shell.set({ mean }),
    });
    this.whole = checkbox(
      saySound("also_the_silence_up", { seconds: sound.seconds }),
      "whole",
      (on) => shell.set({ whole: on }),
    );
    this.whole.root.hidden = sound.end >= sound.seconds;
    this.trials = new Trials(model, shell, this.waiting, {
      place: () => this.place,
      name: () =>
        ({
          "": saySound("layer_head", { layer: this.at.layer, head: this.at.head }),
          layer: saySound("all_of_layer", { layer: this.at.layer }),
          all: saySound("all_heads"),
        })[this.at.mean],
      effect: () => model.get("_effect").at?.[this.shown] ?? {},
      heads: sound.heads,
      every: () => model.get("_every")[this.shown] ?? [],
      size: () =>
        this.at.mean
          ? null
          : (model.get("_every")[this.shown]?.[this.at.layer]?.[this.at.head] ?? null),
      unit: () => `${model.get("_unit")} ${sound.next[this.shown]?.[0]}`,
      needs: saySound("a_saved_page_holds"),
    });
    this.cut = button("", "cut", saySound("cut_the_edges_from"), () => this.#cut());
    this.matter = element(
      "div.tl-panel#matter",
      element("p.tl-heading.tl-asked", element("b", saySound("does_it_matter"))),
      element("div.tl-trials", this.trials.off, this.cut, this.trials.undo),
      this.trials.effect,
    );
    const tryEvery = element("div.tl-trials", this.trials.try);
    this.matter.hidden = tryEvery.hidden = !model.get("_unit");
    root.append(
      shell.header,
      this.words.root, // above their sentence, whose length varies, so that they stay under the pointer
      this.sentence,
      shell.message,
      element(
        "div.tl-overlay",
        panelPart(
          "sound",
          saySound("what_it_attends_to"),
          saySound("the_spectrogram_that_the", { low: sound.low, high: sound.high }),
          element("div.tl-map-box", this.canvas),
          this.readout,
          this.means.root,
          this.legend,
          element("div.tl-row", this.fade.root, this.whole.root),
          this.busy,
          this.matter,
        ),
        panelPart(
          "heads",
          saySound("heads"),
          saySound("layer_head_each_to"),
          this.choice.root,
          this.everyBox,
          tryEvery,
          this.trials.task.root,
          this.trials.tried,
        ),
      ),
      this.note,
    );
  }

  /** Preview a word of the strip while it is under the pointer. */
  #strip() {
    const { root: strip } = this.words;
    const wordOf = (event) => {
      const chip = /** @type {HTMLElement} */ (event.target).closest?.("[data-value]");
      return chip ? Number(/** @type {HTMLElement} */ (chip).dataset.value) : null;
    };
    listen(strip, "pointerover", this.signal, (event) => this.hover(wordOf(event), true));
    listen(strip, "pointerleave", this.signal, () => this.hover(null, true));
    listen(strip, "keydown", this.signal, (event) => {
      if (event.key === "Escape" && this.shell.free("selected")) event.stopPropagation();
    });
  }

  async open() {
    this.image = await createImageBitmap(
      new Blob([bytesOf(this.model.get("_picture"))], { type: "image/png" }),
    );
    this.begin();
  }

  // ---- what the reader does -----------------------------------------------------------------

  cannot(word) {
    return saySound("what_attends_to", { word: this.sound.words[word] });
  }

  /** @param {number | null} position */
  #point(position) {
    if (position === this.pointed) return;
    this.pointed = position;
    this.link.hover(position === null ? null : { query: this.shown, key: position });
    this.shell.redraw();
  }

  #move(by, longer) {
    const span = this.#span ?? [0, 0];
    const inside = (position) => within(position, this.picture.last + 1);
    // The first arrow only shows the cursor.
    if (!this.model.get("span"))
      this.shell.set({ span: [inside(span[0]), inside(longer ? span[1] : span[0])] });
    else if (longer) this.shell.set({ span: [span[0], Math.max(span[0], inside(span[1] + by))] });
    else
      this.shell.set({
        span: [inside(span[by < 0 ? 0 : 1] + by), inside(span[by < 0 ? 0 : 1] + by)],
      });
  }

  #cut() {
    const span = this.#span;
    if (span) this.trials.toggle(this.#edges(span));
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    if (!this.rows || !this.image) return;
    const { model, shell, sound, at, weights, to, table } = this;
    const [fade, span, half] = [model.get("fade"), model.get("span"), halfOf(weights)];
    shell.subtitle.textContent = saySound("cross_attention_layers_heads", {
      heads: sound.heads.length,
      max: Math.max(...sound.heads),
      end: sound.end,
    });
    this.words.set(this.query);
    for (const chip of this.words.root.querySelectorAll(".tl-chip"))
      chip.classList.toggle(
        "tl-previewed",
        this.hovered !== null &&
          Number(/** @type {HTMLElement} */ (chip).dataset.value) === this.hovered,
      );
    this.means.set(at.mean);
    this.whole.set(model.get("whole"));
    this.fade.set(fade);
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    this.picture.draw({
      image: this.image,
      weights,
      table,
      fade,
      room: box.clientWidth,
      to,
      half,
      span,
      cut: this.#cutPositions(),
      pointed: this.pointed,
      inks: shell.inks,
    });
    const paint = (context, layer, head, where) => {
      const columns = weightColumns(
        this.#row(layer, head),
        to,
        sound.step,
        Math.max(1, Math.round(where.w)),
      );
      blendSound(
        context,
        this.image,
        weightPixels(columns, columns.length, table),
        fade,
        where,
        sound,
        to,
      );
    };
    const every = sound.heads.flatMap((n, layer) =>
      Array.from({ length: n }, (_, head) => ({ layer, head })),
    );
    this.drawHeads({
      paint,
      every: model.get("_every")[this.shown] ?? [],
      off: (layer, head) => this.trials.isOff({ layer, head, kind: "cross" }),
      also: at.mean ? every.filter(({ layer, head }) => this.#among(layer, head)) : [],
    });
    const largest = largestOf(weights);
    this.legend.replaceChildren(...(largest ? legend(table, largest, false, false) : []));
    this.#say(weights);
    this.#read(weights);
    const cut = this.#span;
    this.cut.hidden = !cut;
    if (cut)
      this.cut.textContent = `${this.trials.made(this.#edges(cut)) ? saySound("mend") : saySound("cut")} ${quoted(sound.words[this.shown])} → ${timeWords(cut[0], cut[1], sound.step)}`;
    this.trials.draw();
    this.canvas.ariaLabel = saySound("the_spectrogram_seconds_arrow", {
      to,
      sentence: this.sentence.textContent,
    });
    this.every.ariaLabel = saySound("every_head_as_a", {
      heads: sound.heads.length,
      max: Math.max(...sound.heads),
      layer: at.layer,
      head: at.head,
    });
    this.root.dataset.query = String(this.shown);
    this.root.dataset.head = `${at.layer}.${at.head}`;
  }

  /** Positions to which the edge of the chosen heads from the shown word is cut. */
  #cutPositions() {
    const { place, shown } = this;
    const covers = (edit) =>
      ["layer", "head", "kind"].every((name) => edit[name] == null || edit[name] === place[name]);
    return this.trials.edits
      .filter(
        (/** @type {any} */ e) =>
          e.edit === "knock_out" && covers(e) && e.key != null && (e.query ?? shown) === shown,
      )
      .map((/** @type {any} */ e) => e.key);
  }

  #say(weights) {
    const { sound, model, shown } = this;
    const { layer, head, mean } = this.at;
    const sentence = listenSentence({
      who: whoWords(layer, head, mean, sound.heads),
      word: sound.words[shown],
      weights,
      step: sound.step,
      end: sound.end,
      next: sound.next[shown] ?? null,
      span: model.get("span"),
    });
    this.say(this.trials.withEffect(sentence));
  }

  #read(weights) {
    const { pointed, sound } = this;
    const readout =
      pointed === null
        ? HINT
        : saySound("of_the_weight", {
            time_words: timeWords(pointed, pointed, sound.step),
            weight: weights[pointed],
          });
    if (this.readout.textContent !== readout) this.readout.textContent = readout;
  }

  code() {
    const { layer, head, mean } = this.at;
    const lines = [
      `view.layer, view.head, view.selected = ${layer}, ${head}, (${this.query}, None)`,
    ];
    if (mean) lines.push(`view.mean = ${JSON.stringify(mean)}`);
    const span = this.model.get("span");
    if (span) lines.push(`view.span = (${span.join(", ")})`);
    return [...lines, ...this.trials.code].join("\n");
  }

  fileNumbers() {
    const { layer, head, mean } = this.at;
    const { weights, image } = this;
    const { heads, positions, step, hop, bins, frames, low, high } = this.sound;
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height).data;
    const loud = (band, frame) =>
      low + (pixels[4 * ((bins - 1 - band) * frames + frame)] / 255) * (high - low);
    const counted = (n, each = 1) => Array.from({ length: n }, (_, i) => i * each);
    const rows = heads.map((_, at) => counted(Math.max(...heads)).map((one) => this.#row(at, one)));
    const axes = {
      seconds: counted(positions, step),
      frame_seconds: counted(frames, hop),
      band: counted(bins),
      layer: counted(heads.length),
      head: counted(Math.max(...heads)),
    };
    return numbersOf(axes, {
      weight: [
        ["seconds"],
        weights,
        saySound("is_weight", { who: whoWords(layer, head, mean, heads) }),
      ],
      every_head: [
        ["layer", "head", "seconds"],
        (at, one, position) => rows[at][one][position],
        saySound("is_every_head"),
      ],
      spectrogram: [["band", "frame_seconds"], loud, saySound("is_spectrogram", { shades: true })],
    });
  }

  pictures() {
    const { layer, head, mean } = this.at;
    return [
      {
        canvas: this.canvas,
        title: saySound("from_of", {
          who_words: whoWords(layer, head, mean, this.sound.heads),
          word: this.sound.words[this.shown],
        }),
      },
      { thumbnails: this.heads, title: saySound("every_head_layer_head") },
    ];
  }
}

export default mounted(SpectrogramViewer, "spectrogram");
