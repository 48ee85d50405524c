// The predictions of an Explorer: without and with the edits, side by side.

import { element, tokenElement, rowPart, tableParts } from "../shared/dom.js";
import { travel } from "../shared/motion.js";
import { button } from "../shared/controls.js";
import { NEEDS_KERNEL } from "./runner.js";
import { percentText, quoted } from "../shared/messages.js";
import { sayExplorer } from "./prose.js";
import { sayProse } from "../shared/prose.js";

/**
 * @typedef {object} Outcome
 * @property {number | null} position
 * @property {number[]} positions
 * @property {number | null} kl
 * @property {[string, number, number | null, boolean][]} rows token, before, after, whether it has risen
 * @property {[number, string, number][]} states index, token, change
 * @property {number | null} mean
 * @property {string} sentence
 * @property {string} note
 */

/** What is predicted, as a title. @param {{kind: string, predicts: boolean}} about */
export function question(about) {
  if (!about.predicts) return sayExplorer("what_changes_inside");
  if (about.kind === "encoder") return sayExplorer("what_the_mask_hides");
  return about.kind === "decoder"
    ? sayExplorer("what_comes_next")
    : sayExplorer("what_is_written_next");
}

export class Predictions {
  /** @param {(position: number) => void} move @param {() => void} mask */
  constructor(move, mask) {
    this.chosen = null;
    this.title = element("b");
    this.hint = element("span.tl-quiet#where");
    this.table = element("table.tl-predictions#predictions");
    this.invite = element("p.tl-hint#invite", { hidden: true });
    this.empty = element("div.tl-empty#prediction-note", { hidden: true });
    this.maskButton = button(
      sayExplorer("mask_the_chosen_token"),
      "mask",
      sayExplorer("hide_the_chosen_token"),
      mask,
    );
    this.hereButton = button(
      sayExplorer("predict_here"),
      "predict-here",
      sayExplorer("show_the_prediction_after"),
      () => move(this.chosen),
    );
    this.hereButton.className = "tl-link";
    this.busy = element("span.tl-working#working", { hidden: true }, sayExplorer("computing"));
    this.root = element(
      "section.tl-verdict",
      { "aria-label": sayExplorer("predictions") },
      element("p.tl-heading", this.title, " ", this.hint, this.hereButton, this.busy),
      this.table,
      this.invite,
      this.empty,
      this.maskButton,
    );
  }

  /**
   * @param {object} given
   * @param {Outcome} given.outcome
   * @param {any} given.about
   * @param {boolean} given.edited
   * @param {string[]} given.tokens those after or at which the model predicts
   * @param {number | null} given.chosen the token that could be masked
   * @param {number | null} given.locked the token after which the model could predict; null: the
   *   last one
   * @param {import("./runner.js").Runner} given.runner
   * @param {number | null} given.asked the position that was requested and has not arrived
   */
  show({ outcome, about, edited, tokens, chosen, locked, runner, asked }) {
    const positions = outcome.positions ?? [];
    const position = asked ?? outcome.position;
    this.title.textContent = question(about);
    const isShown = positions.length && position !== null && position < tokens.length;
    const where = about.kind === "encoder" ? "token" : "after_of";
    sayProse(this.hint, isShown ? sayExplorer(where, { position, token: tokens[position] }) : "");
    this.chosen = locked ?? (about.kind === "encoder" ? null : (positions.at(-1) ?? null));
    this.hereButton.hidden = this.chosen === position || !positions.includes(this.chosen);
    const why = runner.whyNot(runner.edits, this.chosen);
    this.hereButton.disabled = Boolean(why);
    this.hereButton.title = why || sayExplorer("show_the_prediction_after");
    this.hereButton.textContent =
      locked === null ? sayExplorer("after_the_last") : `after ${quoted(tokens[locked])}`;
    const nowhere = about.predicts && outcome.position === null;
    const maskable = about.predicts && about.kind === "encoder" && about.mask;
    this.maskButton.hidden = !(runner.live && maskable && chosen !== null);
    if (!this.maskButton.hidden)
      this.maskButton.textContent = sayExplorer("mask", { token: tokens[chosen] });
    this.empty.hidden = !nowhere;
    if (nowhere && about.mask) {
      const wayOut = runner.live
        ? sayExplorer("write_into_it_or", { mask: about.mask })
        : sayExplorer("masking_one", { needs_kernel: NEEDS_KERNEL });
      this.empty.textContent = sayExplorer("this_model_fills_in", { way_out: wayOut });
    } else if (nowhere) this.empty.textContent = sayExplorer("this_model_predicts_nothing");
    const shown =
      !nowhere && (outcome.rows?.length || (!about.predicts && edited && outcome.states?.length));
    this.table.hidden = !shown;
    this.table.classList.toggle("tl-states", !about.predicts);
    this.invite.hidden = nowhere || Boolean(shown) || about.predicts;
    this.invite.textContent = sayExplorer("this_model_has_no", {
      able: !runner.state.whyNot("off"),
    });
    const drawn = shown ? JSON.stringify([about.predicts, outcome.rows, outcome.states]) : "";
    if (drawn && drawn === this.drawn) return; // do not disturb bars that are moving
    this.drawn = drawn;
    if (!shown) this.table.replaceChildren();
    else if (about.predicts) travel(this.table, () => this.#rows(outcome));
    else this.#states(outcome);
  }

  /**
   * The likeliest tokens: before as a grey bar, after as a brown one below it. The whole track is
   * 100%.
   */
  #rows(outcome) {
    const edited = outcome.rows[0][2] !== null;
    const bar = (token, value, side) =>
      element("i", {
        class: `tl-chance-bar tl-${side}`,
        style: `width:${(100 * value).toFixed(2)}%`,
        "data-moves": `${edited === (side === "after") ? "now" : "before"} ${token}`,
      });
    const number = (value, side) =>
      element(
        "span",
        { "data-side": side, title: value.toFixed(6), class: `tl-${side}` },
        percentText(value),
      );
    const body = outcome.rows.map(([token, before, after, risen]) =>
      element(
        "tr",
        risen ? { class: "tl-new", title: sayExplorer("among_the_most_likely") } : {},
        element("th", { scope: "row" }, tokenElement(token)),
        element(
          "td.tl-chance",
          { "aria-hidden": "true" },
          bar(token, before, "before"),
          after === null ? [] : [bar(token, after, "after")],
        ),
        element(
          "td.tl-numbers",
          number(before, "before"),
          after === null ? [] : [" → ", number(after, "after")],
        ),
      ),
    );
    const numbers = outcome.rows[0][2] === null ? "probability" : sayExplorer("before_after");
    this.table.classList.toggle("tl-two", outcome.rows[0][2] !== null);
    this.#fill(sayExplorer("the_most_likely_tokens"), ["token", "", numbers], body);
  }

  #states(outcome) {
    const most = outcome.states[0][2] || 1;
    const body = outcome.states.map(([index, token, change]) =>
      rowPart(
        { title: sayExplorer("token", { position: index }) },
        tokenElement(token),
        element(
          "td.tl-chance",
          { "aria-hidden": "true" },
          element("i.tl-chance-bar.tl-after", {
            style: `width:${((100 * change) / most).toFixed(2)}%`,
          }),
        ),
        element(
          "td.tl-numbers",
          element("span.tl-after", { "data-side": "state" }, percentText(change, 1)),
        ),
      ),
    );
    this.#fill(
      sayExplorer("how_far_the_edits"),
      ["token", "", sayExplorer("moves_mean", { mean: outcome.mean ?? 0 })],
      body,
    );
  }

  #fill(caption, heads, body) {
    this.table.replaceChildren(
      element("caption.tl-unseen", caption),
      // Column widths: a hidden header row does not set them.
      element(
        "colgroup",
        element("col.tl-token-column"),
        element("col"),
        element("col.tl-number-column"),
      ),
      ...tableParts(heads, body),
    );
  }

  /** @param {boolean} on */
  working(on) {
    this.busy.hidden = !on;
    this.root.setAttribute("aria-busy", String(on));
  }
}
