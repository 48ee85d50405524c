// The predictions of an Explorer: without and with the edits, side by side.

import { element, tokenElement } from "./dom.js";
import { button } from "./controls.js";
import { NEEDS_KERNEL } from "./explorer_runner.js";
import { quoted, short, signed } from "./words.js";

const LISTED = 512; // positions up to which every one stands in a menu

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

/** @param {number} kl in nats */
export function klText(kl) {
  if (kl === 0) return "0";
  if (kl < 0.0005) return "<.001";
  return kl < 1 ? kl.toFixed(3).replace(/^0/, "") : kl.toFixed(2);
}

/** @param {number} share */
export const percentText = (share) => `${(100 * share).toFixed(1)} %`;

/**
 * What is predicted, in words.
 * @param {{kind: string, predicts: boolean}} about
 */
export function question(about) {
  if (!about.predicts) return "What changes inside";
  if (about.kind === "encoder") return "What stands at the mask";
  return about.kind === "decoder" ? "What comes next" : "What is written next";
}

export class Predictions {
  /**
   * @param {(position: number) => void} move
   * @param {() => void} mask
   */
  constructor(move, mask) {
    this.chosen = null;
    this.move = move;
    this.title = element("b", {});
    this.hint = element("span", { class: "tl-quiet" });
    this.back = button("◀", "position-back", () => this.#step(-1), "One token back");
    this.forth = button("▶", "position-forth", () => this.#step(1), "One token on");
    this.menu = element("select", { class: "tl-menu tl-positions", "data-part": "position", "aria-label": "Predict after which token" });
    this.menu.addEventListener("change", () => move(Number(this.menu.value)));
    this.stepper = element("span", { class: "tl-stepper" }, this.back, this.menu, this.forth);
    this.table = element("table", { class: "tl-predictions", "data-part": "predictions" });
    this.empty = element("div", { class: "tl-empty", "data-part": "prediction-note", hidden: true });
    this.maskButton = button("Mask the chosen token", "mask", mask, "Hide the chosen token behind the mask, and predict it");
    this.hereButton = button("Predict here", "predict-here", () => move(this.chosen), "Show the prediction after the locked token");
    this.effect = element("p", { class: "tl-effect", role: "status", "aria-live": "polite", "data-part": "effect" });
    this.kl = element("span", { class: "tl-quiet tl-kl", "data-part": "kl", title: "How far the whole prediction has moved: Σ p·log(p/q), p before, q after" });
    this.busy = element("span", { class: "tl-working", "data-part": "working", hidden: true }, "computing …");
    this.root = element(
      "section",
      { class: "tl-verdict", "aria-label": "Predictions" },
      element("p", { class: "tl-heading" }, this.title, " ", this.hint, this.stepper, this.hereButton, this.kl, this.busy),
      this.table,
      this.empty,
      this.maskButton,
      this.effect,
    );
  }

  #step(by) {
    const at = this.positions.indexOf(this.position);
    const next = this.positions[Math.max(0, Math.min(this.positions.length - 1, at + by))];
    if (next === undefined || next === this.position) return;
    this.position = next; // the next click goes on from here, whenever the answer comes
    this.move(next);
  }

  /**
   * @param {object} given
   * @param {Outcome} given.outcome
   * @param {any} given.about
   * @param {boolean} given.edited
   * @param {string} given.missing why there is no prediction with the edits
   * @param {string[]} given.tokens those that are predicted after or at
   * @param {number | null} given.chosen the token that could be masked
   * @param {number | null} given.locked the token after which could be predicted
   * @param {boolean} given.live whether there is a kernel
   * @param {number | null} given.asked the position that was asked for and is on its way
   */
  show({ outcome, about, edited, missing, tokens, chosen, locked, live, asked }) {
    this.positions = outcome.positions ?? [];
    this.position = asked ?? outcome.position;
    this.title.textContent = question(about);
    const where = about.kind === "encoder" ? "at" : "after";
    this.hint.textContent = this.positions.length ? where : "";
    this.#listPositions(tokens);
    this.chosen = locked;
    this.hereButton.hidden = locked === null || locked === this.position || !this.positions.includes(locked);
    if (!this.hereButton.hidden) this.hereButton.textContent = `after ${quoted(tokens[locked])}`;
    this.kl.textContent = (outcome.kl ?? null) === null ? "" : `KL ${klText(outcome.kl)} nats`;
    const nowhere = about.predicts && outcome.position === null;
    const maskable = about.predicts && about.kind === "encoder" && about.mask;
    this.maskButton.hidden = !(live && maskable && chosen !== null);
    if (!this.maskButton.hidden) this.maskButton.textContent = `Mask ${quoted(tokens[chosen])}`;
    this.empty.hidden = !nowhere;
    if (nowhere) {
      const wayOut = live ? `Write ${about.mask} into it, or click a token to mask it.` : `Masking one ${NEEDS_KERNEL}.`;
      this.empty.textContent = about.mask
        ? `This model fills in masks, and the text has none. ${wayOut}`
        : "This model predicts nothing on this text.";
    }
    this.table.hidden = nowhere || !(outcome.rows?.length || !about.predicts);
    this.table.classList.toggle("tl-states", !about.predicts);
    if (outcome.rows?.length) this.#rows(outcome, missing);
    else if (!about.predicts) this.#states(outcome, edited, missing);
    else this.table.replaceChildren();
  }

  #listPositions(tokens) {
    this.stepper.hidden = !this.positions.length;
    const at = this.positions.indexOf(this.position ?? -1);
    this.back.disabled = at <= 0;
    this.forth.disabled = at < 0 || at >= this.positions.length - 1;
    const listed = this.positions.length <= LISTED ? this.positions : [this.position];
    const key = JSON.stringify([listed, listed.map((position) => tokens[position])]);
    if (key !== this.listed) {
      this.listed = key;
      this.menu.replaceChildren(...listed.map((position) =>
        element("option", { value: position }, `${tokens[position]}   (token ${position})`)));
    }
    this.menu.value = String(this.position);
  }

  #rows(outcome, missing) {
    const most = Math.max(...outcome.rows.flatMap(([, before, after]) => [before, after ?? 0]));
    const bar = (value, side) =>
      element("td", { class: "tl-chance" },
        element("div", { class: "tl-chance-box" },
          element("div", { class: `tl-chance-bar tl-${side}`, style: `width:${((100 * value) / most).toFixed(2)}%`, "aria-hidden": "true" }),
          element("span", { "data-side": side, title: value.toFixed(6) }, short(value))));
    const body = outcome.rows.map(([token, before, after, risen]) =>
      element(
        "tr",
        risen ? { class: "tl-new", title: "Among the likeliest with the edits" } : {},
        element("th", { scope: "row" }, tokenElement(token)),
        bar(before, "before"),
        ...(after === null ? [] : [bar(after, "after"), element("td", { class: "tl-delta", "data-side": "change" }, signed(after - before))]),
      ));
    if (outcome.rows[0][2] === null) {
      const words = missing || "Nothing is edited yet. Switch a head off, or cut an edge: the new prediction stands here, beside the old.";
      body[0]?.append(element("td", { class: "tl-invite", rowspan: body.length, colspan: 2, "data-part": "invite" }, words));
    }
    const heads = [
      ["token", ""], ["before", ""], ["after", "tl-after-name"],
      [outcome.rows[0][2] === null ? "" : "change", "tl-delta"],
    ].map(([name, style]) => element("th", { scope: "col", class: style }, name));
    this.table.replaceChildren(
      element("caption", { class: "tl-unseen" }, "The likeliest tokens, without and with the edits"),
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...body),
    );
  }

  #states(outcome, edited, missing) {
    if (!edited || !outcome.states?.length) {
      const words = missing || "This model has no head that predicts tokens. Switch one of its heads off, and see how far each token’s final state moves.";
      this.table.replaceChildren(element("tbody", {}, element("tr", {}, element("td", { class: "tl-invite", "data-part": "invite" }, words))));
      return;
    }
    const most = outcome.states[0][2] || 1;
    const rows = outcome.states.map(([index, token, change]) =>
      element("tr", {},
        element("th", { scope: "row" }, tokenElement(token)),
        element("td", { class: "tl-quiet" }, String(index)),
        element("td", { class: "tl-chance" }, element("div", { class: "tl-chance-box" },
          element("div", { class: "tl-chance-bar tl-after", style: `width:${((100 * change) / most).toFixed(2)}%`, "aria-hidden": "true" }),
          element("span", { "data-side": "state" }, percentText(change))))));
    const heads = ["token", "", `final state moves by (mean ${percentText(outcome.mean ?? 0)})`].map((name) => element("th", { scope: "col" }, name));
    this.table.replaceChildren(
      element("caption", { class: "tl-unseen" }, "How far the edits move each token’s final state"),
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...rows),
    );
  }

  /** @param {boolean} on */
  working(on) {
    this.busy.hidden = !on;
    this.root.setAttribute("aria-busy", String(on));
  }
}
