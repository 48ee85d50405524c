// What is known about the chosen head: what it attends to, and what happens without it; and about
// all heads.

import { button } from "../shared/controls.js";
import { byTouch, element, hearChanges, hearOf, say } from "../shared/dom.js";
import { headOff, toggleHeads } from "./edits.js";
import { Task } from "../shared/task.js";
import { sayExplorer } from "./prose.js";
import { sayProse } from "../shared/prose.js";
import { withoutDistance } from "./answer.js";
import { changeOf } from "./facts.js";
import { changeText, headTag } from "../shared/messages.js";
import { headName } from "../shared/map_sentences.js";

const LEAST_CHANGE = 0.01; // of a probability, or a share; smaller changes do not matter
const FULL_DOT = 0.05; // if no head changes as much, no dot has full size

/** Effects of ablating single heads, as far as they are known. @param {import("./state.js").ExplorerState} state */
export function effectsOf(state) {
  const { effects } = state.facts;
  /** @type {Map<string, number>} kind/layer/head -> change */
  const changes = new Map();
  const estimates = new Set(); // heads whose effect was estimated instead of measured
  for (const [name, effect] of Object.entries(effects)) {
    if (!name.startsWith(`${state.kindName}/`)) continue;
    // For a model without predictions it is how far states move, counted as a loss.
    changes.set(
      name,
      effect.mean === null || effect.mean === undefined
        ? (effect.after ?? 0) - (effect.before ?? 0)
        : -effect.mean,
    );
    if (effect.estimate) estimates.add(name);
  }
  const swept = changes.size >= state.kind.layers * state.kind.heads;
  const most = Math.max(0, ...[...changes.values()].map(Math.abs));
  return { effects, changes, estimates, swept, most, scale: Math.max(most, FULL_DOT) };
}

/**
 * @typedef {object} DoesHead
 * @property {() => void} toggle switches the chosen heads off, or on again
 * @property {(text: string, state: "error" | "training") => void} report
 * @property {() => void} show shows everything again, soon
 * @property {(layer: number, head: number) => void} choose chooses another head
 * @property {(label: string) => void} search lists the heads with this label
 * @property {HTMLElement} choice control to choose another head
 */

export class HeadCard {
  /** @param {import("./state.js").ExplorerState} state @param {import("./runner.js").Runner} runner @param {AbortSignal} signal @param {DoesHead} does */
  constructor(state, runner, signal, does) {
    this.state = state;
    this.runner = runner;
    this.signal = signal;
    this.does = does;
    this.headTitle = element("b#head-title");
    this.evidence = element("p.tl-hint#head-label");
    this.offButton = button(
      sayExplorer("switch_this_head_off"),
      "head-off",
      sayExplorer("switch_the_chosen_heads"),
      () => does.toggle(),
    );
    this.offButton.classList.add("tl-edit-button");
    /** Why it cannot be pressed; below the edits. */
    this.cannot = element("p.tl-hint#cannot");
    this.fewKeys = element("p.tl-hint#few-keys", sayExplorer("few_keys"));
    this.effect = element("p.tl-hint#head-effect");
    this.best = button("", "best", () => {
      does.choose(...this.foremost);
      this.focus(); // this link disappears
    });
    this.best.className = "tl-link";
    this.measuring = element("p.tl-hint#measuring", sayExplorer("measuring"));
    this.sweep = button(
      sayExplorer("measure_every_head"),
      "sweep",
      sayExplorer("switch_every_head_off"),
      () => {},
    );
    this.nameButton = button(
      sayExplorer("find_known_head_types"),
      "names",
      sayExplorer("look_for_heads_that"),
      () => {},
    );
    this.sweeping = new Task(
      this.sweep,
      (goes) => this.#sweepAll(goes),
      () => does.show(),
    );
    this.naming = new Task(
      this.nameButton,
      (goes, stopped) => this.#nameAll(goes, stopped),
      () => does.show(),
    );
    for (const made of [this.sweep, this.nameButton]) made.className = "tl-link";
    this.sweepNote = element("p.tl-hint#sweep-note");
    this.root = element(
      "section.tl-card#card",
      { "aria-label": sayExplorer("the_chosen_head") },
      element("p.tl-heading", this.headTitle, does.choice),
      element("p.tl-actions", this.offButton),
      this.fewKeys,
      this.measuring,
      this.best,
      this.effect,
      this.evidence,
    );
    /** How many heads of each type there are, below the grid. */
    this.types = element("p.tl-hint#types", { hidden: true });
    this.ofAll = element(
      "div.tl-of-all",
      this.sweepNote,
      this.types,
      this.sweeping.root,
      this.naming.root,
      element("p.tl-actions", this.sweep, this.nameButton),
    );
  }

  /** @param {{kind: string, layer: number, head: number}[]} chosen */
  show(chosen) {
    const { layer, head, kindName, several } = this.state;
    const label = this.state.labelOf(layer, head);
    this.headTitle.textContent = `${headName({ kind: kindName, layer, head, several })}${label.tag ? ` · ${label.tag}` : ""}`;
    sayProse(this.evidence, label.sentence);
    this.evidence.hidden = !label.sentence;
    this.#countTypes();
    this.nameButton.hidden = !this.canName && !this.naming.runs;
    this.naming.label(sayExplorer("find_known_head_types"));
    const off = chosen.every((place) => headOff(this.runner.edits, place));
    const what =
      chosen.length > 1
        ? sayExplorer("heads", { chosen: chosen.length })
        : sayExplorer("this_head");
    this.offButton.textContent = sayExplorer("switch", {
      what,
      part: off ? sayExplorer("on_again") : sayExplorer("off"),
    });
    const { edits } = this.runner;
    const why = this.runner.whyNot(toggleHeads(edits, chosen, this.state.kinds));
    this.offButton.disabled = Boolean(why);
    this.offButton.title = why || sayExplorer("switch_the_chosen_heads");
    say(this.cannot, why);
    this.cannot.hidden = !why;
    this.fewKeys.hidden = Boolean(why) || byTouch();
    const name = `${kindName}/${layer}/${head}`;
    const effect = this.state.facts.effects[name];
    this.#say(effect?.if_off ?? "");
    if (!effect || effect.estimate) this.#effect();
  }

  /** Focus the button, or the choice of a head if it cannot be pressed. */
  focus() {
    const choice = /** @type {HTMLElement} */ (this.does.choice.querySelector("select"));
    (this.offButton.disabled ? choice : this.offButton).focus();
  }

  /** Show the effect of ablating the head, until something is edited: then the headline shows effects. @param {string} text */
  #say(text) {
    const { said, rest } = withoutDistance(text);
    this.effect.textContent = `${said}${rest}`;
    this.effect.title = text;
    this.effect.hidden = !text || this.runner.edits.length > 0;
  }

  /** Show how many heads of each known type there are; a click lists them. */
  #countTypes() {
    const labels = this.state.model.get("_labels");
    if (labels === this.counted) return;
    this.counted = labels;
    const counts = new Map();
    for (const { tag } of (labels[this.state.kindName] ?? []).flat())
      if (tag) counts.set(tag, (counts.get(tag) ?? 0) + 1);
    const most = [...counts].sort(([, a], [, b]) => b - a);
    const links = most.map(([tag, n]) => {
      const made = button(`${n} ${tag}`, "type", sayExplorer("list_the_heads_of", { tag }), () =>
        this.does.search(tag),
      );
      made.className = "tl-link";
      return made;
    });
    this.types.hidden = !Object.keys(labels).length;
    this.types.replaceChildren(
      ...(links.length
        ? ["Found: ", ...links.flatMap((link, i) => (i ? [" · ", link] : [link]))]
        : [sayExplorer("no_head_is_of")]),
    );
  }

  /**
   * Whether the heads can be named and are not named yet; a page that carries its model has the
   * saved names.
   */
  get unnamed() {
    const { named, model } = this.state;
    return !named && this.runner.live && !model.get("_carried")?.travels;
  }

  /** Whether a reader can start naming: not if it starts by itself. */
  get canName() {
    return this.unnamed && (!this.state.about.names || this.stopped);
  }

  /** What is known about a head, in a few letters and in full. @returns {[string, string]} */
  known(layer, head) {
    const { tag, short: brief = tag, sentence } = this.state.labelOf(layer, head);
    const effect = this.state.facts.effects[`${this.state.kindName}/${layer}/${head}`];
    const change = effect && `${effect.estimate ? "≈ " : ""}${changeText(changeOf(effect))}`;
    return [
      [change, brief].filter(Boolean).join(" · "),
      [effect?.if_off, tag && sentence].filter(Boolean).join(" "),
    ];
  }

  /** Have Python name the heads, in its own thread, and show its progress. @param {import("../shared/task.js").Goes} goes @param {AbortSignal} stopped */
  async #nameAll(goes, stopped) {
    const { model } = this.state;
    const { requests } = this.runner;
    const ended = new AbortController();
    const words = (done, of) => sayExplorer("finding_head_types", { done, of });
    this.stopped = false;
    stopped.addEventListener("abort", () => {
      this.stopped = true;
      this.does.show();
      requests.tell({ type: "labels", stop: true });
    });
    goes(words(0, 0));
    try {
      const named = new Promise((resolve) => {
        const heard = (message) => {
          if (message?.type !== "naming") return;
          if (message.failed) this.does.report(message.failed, "error");
          if (message.ended) resolve(undefined);
          else goes(words(message.done, message.of), message.done, message.of);
        };
        hearOf(model, ["msg:custom"], ended.signal, heard);
        hearChanges(model, ["_labels"], ended.signal, () => resolve(undefined));
        this.signal.addEventListener("abort", () => resolve(undefined));
      });
      if (requests.tell({ type: "labels" }) && !this.state.named) await named;
    } finally {
      ended.abort();
    }
  }

  /**
   * Show the effect of ablating the chosen head from a saved page; Python sends effects by itself.
   */
  async #effect() {
    if (this.state.blind || this.runner.live || !this.state.about.effects) return;
    const { kind, layer, head } = this.state.place;
    const name = `${kind}/${layer}/${head}`;
    const tables = await this.runner.effectOf(name).catch(() => null);
    const found = tables?.[this.state.model.get("_outcome").position ?? Object.keys(tables)[0]];
    if (!found || this.signal.aborted) return;
    const here = this.state.place;
    if (`${here.kind}/${here.layer}/${here.head}` === name) this.#say(found.if_off);
  }

  /** @param {import("../shared/task.js").Goes} goes */
  async #sweepAll(goes) {
    const { kindName: kind } = this.state;
    const { layers } = this.state.kind;
    try {
      for (let layer = 0; layer < layers; layer++) {
        if (!goes(sayExplorer("switching_off_the_heads", { layer, layers }), layer, layers)) return;
        const { message } = await this.runner.requests.ask({ type: "sweep", kind, layer }, false);
        if (message.training) return this.does.report(message.training, "training");
      }
    } catch (error) {
      this.does.report(error.message, "error");
    }
  }

  /**
   * Offer the head with the largest effect: once all effects are measured, or as an estimate if they
   * will not be. How large it is, is seen when it is switched off.
   * @param {ReturnType<typeof effectsOf>} found
   */
  #offer({ swept, changes, estimates, most }) {
    const { kindName, layer, head, facts } = this.state;
    this.measuring.hidden = !this.#measures || (swept && !estimates.size) || Boolean(facts.failed);
    const [name] =
      swept && this.measuring.hidden && most >= LEAST_CHANGE
        ? ([...changes].find(([, change]) => Math.abs(change) === most) ?? [])
        : [];
    this.best.hidden = !name || name === `${kindName}/${layer}/${head}`;
    if (this.best.hidden) return;
    const [, ...place] = name.split("/");
    this.foremost = /** @type {[number, number]} */ (place.map(Number));
    const guess = estimates.size > 0;
    this.best.title = sayExplorer("of_the_heads_measured", { guess });
    this.best.textContent = sayExplorer("best", {
      tag: headTag(...this.foremost),
      guess,
      edited: this.#edited,
    });
  }

  /** @param {ReturnType<typeof effectsOf>} found */
  tellSweep(found) {
    const { swept, changes, effects, estimates, most } = found;
    this.#offer(found);
    this.sweepNote.hidden = this.sweeping.runs;
    this.sweeping.label(sayExplorer("measure_every_head"));
    if (this.sweeping.runs) return;
    const coming = !estimates.size || this.#measures;
    this.sweep.hidden = (swept && coming) || this.state.blind || !this.runner.live;
    if (!swept) {
      this.sweepNote.textContent = "";
      return;
    }
    const one =
      Object.entries(effects).find(([name]) => name.startsWith(`${this.state.kindName}/`))?.[1] ??
      {};
    const guess = estimates.size < changes.size ? (estimates.size ? "some" : "none") : "all";
    const note =
      one.token === null || one.token === undefined
        ? sayExplorer("dots_how_far_the", { n: 100 * most })
        : most < LEAST_CHANGE
          ? sayExplorer("switching_off_one_head", {
              token: one.token,
              least_change: LEAST_CHANGE,
              guess,
            })
          : sayExplorer("dots_how_p_changes", { token: one.token, most, guess });
    this.sweepNote.textContent = this.#edited
      ? `${note} ${sayExplorer("of_the_unedited", { guess })}`
      : note;
  }

  /** Whether the effects of all heads are measured without being requested. */
  get #measures() {
    const { about, blind, live } = this.state;
    return live && !blind && about.measures_all;
  }

  get #edited() {
    return this.runner.edits.length > 0;
  }
}
