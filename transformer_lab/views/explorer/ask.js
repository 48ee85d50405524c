// The fields of an Explorer: what the model reads, and what it writes.

import { button } from "../shared/controls.js";
import { afterPaint, byTouch, element, tokenElement } from "../shared/dom.js";
import { Task } from "../shared/task.js";
import { growArea, runByEnter, fieldText, weightsLine } from "../pages/ask_row.js";
import { sayExplorer } from "./prose.js";

const SEEN_LINES = { few: 5, all: 3 }; // a longer text scrolls in its field

export class AskPanel {
  /**
   * @param {import("./state.js").ExplorerState} state
   * @param {{run: ConstructorParameters<typeof Task>[1], actions: HTMLElement}} does actions:
   *   buttons to copy and save
   */
  constructor(state, does) {
    this.state = state;
    const { about } = state;
    this.text = element("textarea.tl-text#text", {
      rows: 1,
      spellcheck: "false",
      "aria-label": sayExplorer("text_that_the_model"),
      maxlength: 100_000,
    });
    this.target = element("textarea.tl-text#target", {
      rows: 1,
      spellcheck: "false",
      "aria-label": sayExplorer("what_it_writes_empty"),
      maxlength: 100_000,
    });
    this.run = button(sayExplorer("run"), "run", sayExplorer("run_the_model_on"), () => {});
    this.reading = new Task(this.run, does.run, () => this.reading.label(sayExplorer("run")));
    this.run.classList.add("tl-main");
    this.snapshot = element("span.tl-quiet#snapshot", sayExplorer("read_only"));
    this.whose = element("span.tl-quiet.tl-whose#whose");
    const title = about.caution
      ? state.model.get("_title").replace(`${about.caution} · `, "")
      : state.model.get("_title");
    this.name = element("b.tl-name", { title }, tokenElement(title));
    const field = (area) => element("span.tl-box", area);
    this.targetField = element("span.tl-field", field(this.target));
    this.reads = element("span.tl-quiet", sayExplorer("reads"));
    this.caution = element(
      "p.tl-caution#caution",
      { role: "note", hidden: !about.caution },
      about.caution ?? "",
    );
    this.unread = element("p.tl-hint#unread", { role: "status", hidden: true });
    this.unrun = element("p.tl-message#unrun", { role: "status", hidden: true });
    this.notes = element(
      "div.tl-notes",
      this.caution,
      this.unrun,
      this.unread,
      weightsLine(state.model),
    );
    this.root = element(
      "div.tl-ask",
      element("span.tl-whom", this.name, this.reads),
      element("span.tl-field", field(this.text)),
      this.targetField,
      this.run,
      this.snapshot,
      does.actions,
      this.reading.root,
    );
    this.allow();
    this.wide = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width !== this.wide) this.fit(); // lines break elsewhere
      this.wide = contentRect.width;
    }).observe(this.root);
    for (const area of [this.text, this.target]) {
      area.addEventListener("input", () => {
        this.#grow(area);
        this.show();
      });
      runByEnter(area, () => this.reading.start());
    }
  }

  /** The text as it was typed. */
  get typed() {
    return fieldText(this.text, this.state.model.get("_text"));
  }

  get #typedTarget() {
    return fieldText(this.target, this.state.model.get("_target") ?? "");
  }

  /** What was typed as the target; null if it is still the model's own answer. */
  get ownTarget() {
    if (!this.target.value.trim()) return null;
    const target = this.#typedTarget;
    const same = target === this.state.model.get("_target");
    return same && this.state.about.own_target ? null : target;
  }

  get #now() {
    return JSON.stringify([this.text.value, this.target.value]);
  }

  /** The content of the fields is being run. */
  ran() {
    this.running = this.#now;
    this.refused = null;
  }

  /** The last run failed. */
  refuse() {
    if (this.running === this.#now) this.refused = this.running;
    this.show();
  }

  /** Show whether the content of the fields has been run, and whose the target is. */
  show() {
    const text = this.state.model.get("_text");
    const target = this.state.model.get("_target") ?? "";
    const waits = this.typed !== text || this.#typedTarget !== target;
    const refused = this.refused === this.#now; // another line says why
    this.unrun.textContent = waits
      ? sayExplorer("results_below_are_for", {
          part: refused ? "" : sayExplorer("not_run_yet_press", { touch: byTouch() }),
          shortened: shortened(text),
        })
      : "";
    this.unrun.className = refused ? "tl-hint" : "tl-message";
    this.unrun.hidden = !waits;
    const own = this.state.about.own_target && this.#typedTarget === target;
    this.whose.textContent = own
      ? sayExplorer("its_own_answer")
      : this.state.live
        ? sayExplorer("yours_empty_it_for")
        : sayExplorer("given");
    const said = [this.state.about.unread, this.#endsInSpace && sayExplorer("ends_in_space")];
    this.unread.textContent = said.filter(Boolean).join(" ");
    this.unread.hidden = !this.unread.textContent;
  }

  /** Whether the last token is a lone space, in a model whose words begin with a space. */
  get #endsInSpace() {
    const { about, model } = this.state;
    const [tokens, { rows = [] }] = [about.tokens ?? [], model.get("_outcome")];
    const words = [...tokens, ...rows.map(([token]) => token)];
    return (
      about.kind === "decoder" &&
      tokens.length > 1 &&
      tokens.at(-1) === "·" &&
      words.some((token) => /^·[\p{L}\p{N}]/u.test(token))
    );
  }

  /** Allow another text, or say why there can be none. */
  allow() {
    const { live } = this.state;
    this.text.readOnly = this.target.readOnly = this.run.hidden = !live;
    this.snapshot.hidden = live;
    this.text.title = this.state.whyNot("text") || sayExplorer("type_a_text_press");
    this.target.title = this.snapshot.title = this.state.whyNot("text");
  }

  /** Fill the fields with the text and the target that were run. */
  fill() {
    this.text.value = this.state.model.get("_text");
    this.target.value = this.state.model.get("_target") ?? "";
    const both = this.state.about.kind === "encoder-decoder";
    this.targetField.hidden = !both;
    this.reads.hidden = both; // the rows of tokens say which is which
    this.fit();
  }

  /** Make the fields as high as their texts, up to a few lines (SEEN_LINES). */
  fit() {
    for (const area of [this.text, this.target]) this.#grow(area);
    afterPaint().then(() => [this.text, this.target].forEach((area) => this.#grow(area)));
  }

  #grow(area) {
    const most = SEEN_LINES[this.state.allTools ? "all" : "few"];
    growArea(area, this.targetField.hidden ? most : most - 1); // two fields in a row have less
  }
}

/** @param {string} text */
const shortened = (text) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);
