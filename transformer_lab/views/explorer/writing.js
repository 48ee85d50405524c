// Continuing a text: a click appends exactly the predicted token, or the model generates many at
// once.

import { asSentence } from "../shared/messages.js";
import { button, popover } from "../shared/controls.js";
import { element, say } from "../shared/dom.js";
import { followSegments } from "./segments.js";
import { Strip } from "./strip.js";
import { sayExplorer } from "./prose.js";

/**
 * @typedef {object} Words what the model reads and writes, to return to later
 * @property {string} text
 * @property {string | null} target
 * @property {number[]} masked
 * @property {number[]} ids exact tokens of the side with the predictions
 * @property {import("./segments.js").Segment[]} [segments] named parts of the text
 * @property {number | null} position
 */

const same = (a, b) => a.length === b.length && a.every((one, i) => one === b[i]);

const N = 20; // tokens to generate, if there is room
const FIELDS = [
  { name: "n", label: sayExplorer("tokens_word"), value: String(N), step: "1" },
  {
    name: "temperature",
    label: sayExplorer("temperature_the_most_likely"),
    value: "0",
    step: "0.1",
  },
  { name: "top_k", label: sayExplorer("top_k_empty_all"), value: "", step: "1" },
  { name: "top_p", label: sayExplorer("top_p_empty_all"), value: "", step: "0.05" },
  { name: "seed", label: sayExplorer("seed"), value: "0", step: "1" },
];

export class Writing {
  /**
   * @param {import("./state.js").ExplorerState} state
   * @param {import("./runner.js").Runner} runner
   * @param {(was: Words) => void} remember
   * @param {{pick: (index: number) => void, fold: (name: string) => void, signal: AbortSignal}} does
   */
  constructor(state, runner, remember, does) {
    this.state = state;
    this.runner = runner;
    this.remember = remember;
    this.does = does;
    this.growing = false; // a text that can be undone, or an earlier one, has been requested
    this.fields = FIELDS.map(({ name, label, value, step }) => ({
      name,
      box: element(`input.tl-number#write-${name}`, {
        type: "number",
        value,
        step,
        "aria-label": label,
      }),
      label,
    }));
    this.n = this.fields[0].box;
    this.n.addEventListener("input", () => (this.asked = true));
    const start = button(
      sayExplorer("continue_text"),
      "write",
      sayExplorer("let_the_model_continue"),
      () => this.write(),
    );
    const how = popover(
      "…",
      "how",
      sayExplorer("generation_settings"),
      ...this.fields.map(({ box, label }) => element("label.tl-how", label, box)),
    );
    this.root = element("span.tl-write", start, how);
    this.slider = element("input.tl-slider#written-at", {
      type: "range",
      "aria-label": sayExplorer("position_of_what_was"),
    });
    this.slider.addEventListener("input", () => does.pick(Number(this.slider.value)));
    this.said = element("span#written", { role: "status" });
    this.whose = element("span.tl-quiet");
    this.strip = new Strip(
      { pick: (index) => this.#look(index), hover: () => {}, fold: does.fold, append: null },
      does.signal,
      "strip-other",
    );
    // As wide as the strip above, so that the tokens of both line up until they diverge.
    this.asWide = element(
      "span.tl-write",
      { "aria-hidden": "true" },
      [start.textContent, "…"].map((text) => element("span.tl-button", text)),
    );
    this.other = element(
      "div.tl-strip-row.tl-other.tl-compared",
      { hidden: true },
      this.whose,
      this.strip.root,
      this.asWide,
    );
    this.at = element("label.tl-quiet", sayExplorer("position"), this.slider);
    this.row = element("div.tl-strip-row.tl-written", { hidden: true }, this.at, this.said);
    for (const { box } of this.fields)
      box.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === "Enter") this.write();
      });
  }

  /** What was written, if anything. */
  get #written() {
    return this.state.model.get("_outcome").written;
  }

  /** The first token that the model wrote. @returns {number} */
  get since() {
    return this.#written.start ?? Infinity;
  }

  /** Where the two texts diverge: one token, or none. @returns {number[]} */
  get parts() {
    const { parts } = this.#written;
    return typeof parts === "number" ? [parts] : [];
  }

  /** Whether the text is on view with edits and without. */
  get compares() {
    return Boolean(this.#written.other);
  }

  /** @param {number | null} at the current position */
  show(at) {
    const { start, sentence, other, tokens, edited } = this.#written;
    const { longest, ids } = this.state.about;
    if (!this.asked) this.n.value = String(longest ? Math.min(N, longest - ids.length) || N : N);
    this.root.hidden =
      !this.runner.live || this.state.about.kind === "encoder" || !this.state.about.predicts;
    this.asWide.hidden = this.root.hidden;
    this.row.hidden = !sentence;
    this.row.closest(".tl-screen")?.classList.toggle("tl-wrote", Boolean(sentence));
    this.other.hidden = !other;
    if (!sentence) return;
    Object.assign(this.slider, {
      min: String(start - 1),
      max: String(this.state.about.tokens.length - 1),
      value: String(at ?? start),
    });
    this.at.hidden = !this.runner.live || this.state.about.tokens.length === start;
    this.said.textContent = sentence;
    this.said.title = sentence;
    if (!other) return;
    const whose = sayExplorer(edited ? "with_edits" : "without_edits");
    this.whose.textContent = whose;
    this.strip.show({
      tokens,
      segments: followSegments(this.state.about.segments ?? [], ids, other),
      folded: this.state.folded,
      at: null,
      chosen: null,
      hover: null,
      marked: new Set(this.parts),
      since: this.since,
      first: this.parts[0],
      beside: at,
      open: this.runner.live,
      next: [],
      name: sayExplorer("tokens_that_it_writes_of", { whose }),
    });
  }

  /** Name the strip of the text, and say whether it is with or without edits if there are two. */
  nameStrip() {
    const { edited } = this.#written;
    const row = this.root.parentElement;
    const name = /** @type {HTMLElement | null} */ (row?.firstElementChild ?? null);
    if (!row || !name) return;
    const plain = this.state.about.kind === "encoder-decoder" ? "writes" : "reads";
    row.classList.toggle("tl-compared", this.compares);
    say(name, sayExplorer(!this.compares ? plain : edited ? "without_edits" : "with_edits"));
  }

  /**
   * Choose a token of the other text: while both are the same, just pick it; later, read the other
   * text.
   */
  #look(index) {
    const { other, parts } = this.#written;
    if (index < parts) return this.does.pick(index);
    if (!this.runner.wanted) this.#go({ ids: other, position: index }, this.words);
  }

  /** Continue the text with the settings in the fields. */
  async write() {
    const { runner } = this;
    if (runner.wanted || this.growing) return;
    const options = Object.fromEntries(
      this.fields
        .filter(({ box }) => box.value !== "")
        .map(({ name, box }) => [name, Number(box.value)]),
    );
    const was = this.words;
    this.growing = true;
    runner.hears.working(true);
    try {
      await runner.requests.ask({ type: "write", options }, false);
      this.remember(was);
      runner.hears.say("", "");
    } catch (error) {
      runner.hears.say(asSentence(error), "error");
    } finally {
      this.growing = false;
      runner.hears.working(false);
      runner.hears.settled();
    }
  }

  /** @returns {Words} */
  get words() {
    const { model, about } = this.state;
    const { position } = model.get("_outcome");
    return {
      text: model.get("_text"),
      target: about.own_target ? null : model.get("_target"),
      masked: model.get("_masked"),
      ids: about.ids,
      segments: about.segments,
      position,
    };
  }

  /** Append a predicted token, or replace the mask by it. @param {number} place its index among the predictions */
  async append(place) {
    if (this.runner.wanted) return; // the predictions are about to change
    const was = this.words;
    const token = this.state.model.get("_outcome").ids[place];
    if (this.state.about.kind !== "encoder")
      return this.#go({ ids: [...was.ids, token], position: null }, was);
    const ids = was.ids.map((one, i) => (i === was.position ? token : one));
    return this.#go(
      { ids, masked: was.masked.filter((at) => at !== was.position), position: null },
      was,
    );
  }

  /** Whether these differ from the words that are read now. @param {Words | undefined} words */
  differs(words) {
    const { ids, masked, text } = this.words;
    return Boolean(
      words && !(same(ids, words.ids) && same(masked, words.masked) && text === words.text),
    );
  }

  /** Return to other words, if they differ. @param {{edits: any[], words: Words}} to */
  back(to) {
    if (!this.differs(to.words)) return false;
    this.#go({ ...to.words, edits: to.edits });
    return true;
  }

  /** Read another text; undo returns from it. @param {import("./runner.js").Wanted} wanted */
  read(wanted) {
    return this.#go(wanted, wanted.text === this.state.model.get("_text") ? null : this.words);
  }

  async #go(wanted, was = null) {
    this.growing = true;
    if (was) this.remember(was);
    await this.runner.want(wanted);
    this.growing = false;
  }
}
