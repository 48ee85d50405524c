// Interactive sentences: terms explain themselves, and heads and tokens that are named can be
// chosen.

import { element, listen, tokenElement } from "./dom.js";
import { sayShared } from "./messages.js";

const MENTIONED =
  /(?<kind>encoder |decoder |cross )?layer (?<layer>\d+), head (?<head>\d+)|\bL(?<l>\d+)H(?<h>\d+)\b|“(?<token>[^”]+)”(?<which>[₀-₉]*)|\b(?<term>attention heads?|logits?|KL|nats?|induction|random twin)\b/gi;
const TERMS = {
  attention: "head",
  logit: "logit",
  kl: "kl",
  nat: "nat",
  nats: "nat",
  induction: "induction",
  random: "twin",
  logits: "logit",
};

/** @typedef {{kind?: string, layer: number, head: number}} HeadPlace */

/**
 * A sentence as nodes. The first occurrence of a term of the field is a button that shows its
 * meaning.
 * @param {string} text
 * @param {HeadPlace | null} [here] the chosen head, which gets no button; null: no head gets one
 * @param {string[]} [tokens] those that can be chosen
 * @returns {(string | Node)[]}
 */
export function prose(text, here = null, tokens = []) {
  /** @type {(string | Node)[]} */
  const nodes = [];
  const explained = new Set();
  let from = 0;
  for (const found of text.matchAll(MENTIONED)) {
    const { kind, layer, head, l, h, term, token, which } = /** @type {Record<string, string>} */ (
      found.groups
    );
    const made = token
      ? tokenButton(found[0], token, which, tokens)
      : term
        ? termButton(found[0], explained)
        : headButton(
            found[0],
            kind?.trim().toLowerCase(),
            Number(layer ?? l),
            Number(head ?? h),
            here,
          );
    if (!made) continue;
    nodes.push(text.slice(from, found.index), made);
    from = found.index + found[0].length;
  }
  return [...nodes, text.slice(from)];
}

/** @param {string} text @param {Set<string>} explained */
function termButton(text, explained) {
  const term = TERMS[text.toLowerCase().split(" ")[0]];
  if (explained.has(term)) return null;
  explained.add(term);
  return element(
    "button.tl-term",
    { "data-term": term, "aria-label": `${text}: ${sayShared("term", { term })}` },
    text,
  );
}

/** @param {string} text @param {string} token @param {string} which number among the tokens of this name @param {string[]} tokens */
function tokenButton(text, token, which, tokens) {
  const same = [...tokens.keys()].filter((at) => tokens[at] === token);
  const number = [...which].map((digit) => "₀₁₂₃₄₅₆₇₈₉".indexOf(digit)).join("");
  const at = number ? same[Number(number) - 1] : same.length === 1 ? same[0] : undefined;
  // A chip like those of the text: its quotation marks and its number are heard, and not seen.
  const heard = (/** @type {string} */ part) => element("span.tl-heard", part);
  const chip = [heard(text[0]), tokenElement(token), heard(text.slice(1 + token.length))];
  return at === undefined
    ? element("span.tl-token-chip", chip)
    : element(
        "button.tl-named.tl-token-chip",
        { title: sayShared("choose_this_token"), "data-token": at },
        chip,
      );
}

/** @param {string} text @param {string | undefined} kind @param {number} layer @param {number} head @param {HeadPlace | null} here */
function headButton(text, kind, layer, head, here) {
  if (!here || (here.layer === layer && here.head === head && (!kind || kind === here.kind)))
    return null;
  return element(
    "button.tl-named",
    {
      title: sayShared("choose_this_head"),
      "data-layer": layer,
      "data-head": head,
      "data-kind": kind ?? "",
    },
    text,
  );
}

/** Write a sentence into an element, unless it is there already. @param {HTMLElement} place @param {string} text @param {HeadPlace | null} [here] @param {string[]} [tokens] */
export function sayProse(place, text, here = null, tokens = []) {
  const key = here ? `${text}|${here.kind}/${here.layer}/${here.head}` : text;
  if (place.dataset.prose === key) return;
  place.dataset.prose = key;
  place.replaceChildren(...prose(text, here, tokens));
}

/**
 * Tooltips for the terms in a view's sentences, and clicks on the heads and tokens named in them.
 */
export class Prose {
  /** @param {HTMLElement} root @param {AbortSignal} signal @param {(named: HeadPlace | {token: number}) => void} choose */
  constructor(root, signal, choose) {
    this.root = root;
    this.tip = element("div.tl-tip", { role: "tooltip", hidden: true });
    const on = (name, heard) => listen(root, name, signal, heard);
    const term = (event) => /** @type {HTMLElement | null} */ (event.target.closest?.(".tl-term"));
    for (const name of ["pointerover", "focusin"]) on(name, (event) => this.#show(term(event)));
    for (const name of ["pointerout", "focusout"])
      on(name, (event) => term(event) && this.#show(null));
    on("keydown", (event) => event.key === "Escape" && this.#show(null));
    on("click", (event) => {
      this.#show(term(event));
      const named = event.target.closest?.(".tl-named");
      if (!named) return;
      const { layer, head, kind, token } = named.dataset;
      if (token) choose({ token: Number(token) });
      else choose({ layer: Number(layer), head: Number(head), ...(kind ? { kind } : {}) });
    });
  }

  /** @param {HTMLElement | null} term */
  #show(term) {
    this.tip.hidden = !term;
    if (!term) return;
    if (!this.tip.isConnected) this.root.append(this.tip);
    this.tip.textContent = sayShared("term", { term: term.dataset.term });
    const [around, at] = [this.root, term].map((part) => part.getBoundingClientRect());
    const zoom = around.width / this.root.offsetWidth || 1;
    const left = Math.max(
      8,
      Math.min((at.left - around.left) / zoom, this.root.clientWidth - this.tip.offsetWidth - 8),
    );
    Object.assign(this.tip.style, {
      left: `${left}px`,
      top: `${(at.bottom - around.top) / zoom + 4}px`,
    });
  }
}
