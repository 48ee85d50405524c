// A text as a strip of tokens, one of which is chosen, and after it the likely next tokens.

import { element, tokenElement, taken, listen } from "../shared/dom.js";
import { NOTHING, percentText } from "../shared/messages.js";
import { Arcs } from "./arcs.js";
import { sayExplorer } from "./prose.js";

const AT_ONCE = 240; // tokens listed; of a longer text those around the chosen one
const GHOSTS = 3;
const LEAST_GHOST = 0.02;
const MOST_TINT = 55; // per cent of the colour for a weight of 1, so that the word stays readable

/** The range of tokens to list: all, or AT_ONCE around one. @param {number} count @param {number} around @returns {[number, number]} from, to */
export function listedAround(count, around) {
  if (count <= AT_ONCE) return [0, count];
  const from = Math.max(0, Math.min(count - AT_ONCE, around - AT_ONCE / 2));
  return [from, from + AT_ONCE];
}

/**
 * @typedef {object} StripScene
 * @property {string[]} tokens
 * @property {number | null} at the current position: after or at it the model predicts
 * @property {number | null} chosen the locked one
 * @property {number | null} hover
 * @property {Set<number>} marked masks
 * @property {Float32Array | null} [weights] attention weight of each token
 * @property {import("./arcs.js").Arched | null} [arched] what is drawn as arcs; undefined: nothing ever
 * @property {import("./segments.js").Segment[]} [segments] named parts of the text
 * @property {Set<string>} [folded] the names of those shown as one button
 * @property {number} [since] the first token that the model wrote
 * @property {boolean} open whether its tokens can be chosen
 * @property {[string, number, number | null][]} next what comes next: token, before, after the edits
 * @property {boolean} [inside] predictions belong at `at`, in place of a mask
 * @property {number} [first] the token to scroll to at first
 * @property {number} [beside] the token that another strip beside it shows
 * @property {string} name of the strip, for screen readers
 *
 * @typedef {object} StripDoes
 * @property {(index: number) => void} pick
 * @property {(index: number | null) => void} hover
 * @property {(name: string) => void} [fold] fold or unfold a named part
 * @property {((place: number) => void) | null} append called when a predicted token is clicked,
 *   with its index among the predictions; null: they are only shown
 */

export class Strip {
  /** @param {StripDoes} does @param {AbortSignal} signal @param {string} part */
  constructor(does, signal, part) {
    this.does = does;
    this.root = element(`div.tl-strip#${part}`, { role: "group" });
    this.arcs = new Arcs(this.root);
    this.buttons = new Map(); // by token
    this.listed = new Map(); // by item: tokens, and the names of parts
    this.parts = []; // folded parts, with their buttons
    this.items = [];
    this.itemOf = []; // by token
    this.text = this.is = ""; // the text, and the range of it that is listed
    const indexOf = (event) => {
      const found = event.target.closest?.("[data-index]");
      return found ? Number(found.dataset.index) : null;
    };
    listen(this.root, "pointerover", signal, (event) => does.hover(indexOf(event)));
    listen(this.root, "pointerleave", signal, () => does.hover(null));
    listen(this.root, "click", signal, (event) => this.#clicked(event.target, indexOf(event)));
    listen(this.root, "keydown", signal, (event) => this.#key(event));
  }

  #clicked(target, index) {
    const ghost = target.closest?.("[data-next]");
    const page = target.closest?.("[data-page]");
    const part = target.closest?.("[data-segment]");
    if (part) return this.#fold(part);
    if (ghost) this.#append(ghost);
    else if (page) this.#turn(Number(page.dataset.page));
    else if (index !== null && this.scene.open) this.does.pick(index);
  }

  #append(ghost) {
    this.goesOn = document.activeElement === ghost; // with the keyboard, token after token
    this.does.append?.(Number(ghost.dataset.next));
  }

  #fold({ dataset }) {
    this.does.fold?.(dataset.segment);
    this.#stop(Number(dataset.item));
    this.folding = document.activeElement?.parentElement === this.root;
  }

  /** One Tab stop: arrows go from token to token, Enter and space choose. */
  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const item = event.target.closest?.("[data-item]");
    if (!item || by === undefined) return;
    taken(event);
    const to = Math.max(0, Math.min(this.items.length - 1, Number(item.dataset.item) + by));
    if (!this.listed.has(to)) this.#turn(to);
    this.#stop(to);
    this.listed.get(to)?.focus();
  }

  /** List the tokens around another item. */
  #turn(to) {
    this.around = this.items[to].from;
    this.is = "";
    this.show(this.scene);
  }

  #stop(item) {
    this.stopAt = item;
    for (const [other, made] of this.listed) made.tabIndex = other === item ? 0 : -1;
  }

  /** Collect the items of the list: names of parts, and tokens that are not folded. */
  #itemize({ tokens, segments = [], folded = new Set() }) {
    this.items = [];
    this.itemOf = [];
    let at = 0;
    const upTo = (end) => {
      for (; at < end; at++) {
        this.itemOf[at] = this.items.length;
        this.items.push({ from: at, part: null });
      }
    };
    for (const [name, from, end] of segments.filter(([, a, b]) => b > a)) {
      upTo(from);
      const closed = folded.has(name);
      this.items.push({ from, part: { name, from, end, closed } });
      for (; closed && at < end; at++) this.itemOf[at] = this.items.length - 1;
      upTo(end);
    }
    upTo(tokens.length);
  }

  /** @param {StripScene} scene */
  show(scene) {
    const { tokens, at, chosen, hover, marked, open, next, name } = scene;
    this.scene = scene;
    this.root.ariaLabel = name;
    const wanted = chosen ?? at ?? scene.beside ?? null;
    const text = JSON.stringify([tokens, open, scene.segments, [...(scene.folded ?? [])]]);
    if (text !== this.text) this.#itemize(scene);
    if (wanted !== this.wanted) {
      this.wanted = wanted;
      if (wanted !== null && !this.listed.has(this.itemOf[wanted])) this.around = wanted;
    }
    const around = Math.min(this.around ?? wanted ?? Infinity, tokens.length - 1);
    const [from, to] = listedAround(this.items.length, this.itemOf[around] ?? 0);
    const is = `${from} ${to} ${text}`;
    if (is !== this.is) this.#list(tokens, from, to, open);
    Object.assign(this, { is, text });
    for (const [index, made] of this.buttons) {
      made.classList.toggle("tl-at", index === at);
      made.classList.toggle("tl-chosen", index === chosen);
      made.classList.toggle("tl-hover", index === hover);
      made.classList.toggle("tl-masked", marked.has(index));
      made.classList.toggle("tl-fresh", index >= (scene.since ?? Infinity));
      const weight = scene.weights?.[index] ?? 0;
      made.classList.toggle("tl-tinted", weight > NOTHING);
      made.style.setProperty("--tl-weight", `${(MOST_TINT * weight).toFixed(1)}%`);
      if (open) made.setAttribute("aria-pressed", String(index === chosen || index === at));
    }
    for (const [{ from: first, end }, made] of this.parts) {
      const holds = (index) => index !== null && index >= first && index < end;
      made.classList.toggle("tl-at", holds(at));
      made.classList.toggle("tl-chosen", holds(chosen));
      made.classList.toggle("tl-hover", holds(hover));
      let weight = 0;
      for (let i = first; i < end; i++) weight += scene.weights?.[i] ?? 0;
      made.classList.toggle("tl-tinted", weight > NOTHING);
      made.style.setProperty("--tl-weight", `${(MOST_TINT * Math.min(1, weight)).toFixed(1)}%`);
    }
    if (!this.listed.has(this.stopAt) || document.activeElement?.parentElement !== this.root) {
      const item = wanted === null ? -1 : this.itemOf[wanted];
      if (!this.folding) this.#stop(this.listed.has(item) ? item : from);
    }
    if (scene.arched !== undefined) this.arcs.show(this.buttons, scene.arched);
    const there = scene.inside
      ? this.buttons.has(at)
      : at === tokens.length - 1 && to === this.items.length;
    this.#ghosts(there ? next : [], scene.inside ? this.buttons.get(at) : null);
    if (scene.first !== this.first && this.#reveal(scene.first, true)) {
      this.first = scene.first;
      this.shownAt = wanted;
    }
    if (wanted !== this.shownAt && this.#reveal(wanted)) this.shownAt = wanted;
  }

  #list(tokens, from, to, open) {
    this.buttons = new Map();
    this.listed = new Map();
    this.parts = [];
    const more = (text, index, title) =>
      element("button.tl-tok.tl-more", { "data-page": index, title, "aria-label": title }, text);
    const made = [];
    const before = this.items[from]?.from ?? 0;
    if (from > 0)
      made.push(
        more(
          `⋯ ${before}`,
          Math.max(0, from - AT_ONCE / 2),
          sayExplorer("tokens_before", { before }),
        ),
      );
    for (let item = from; item < to; item++) {
      const { from: index, part } = this.items[item];
      if (part) {
        made.push(this.#part(part, item));
        continue;
      }
      const one = element(
        open ? "button" : "span",
        {
          ...(open ? { type: "button" } : {}),
          class: "tl-tok",
          "data-index": index,
          "data-item": item,
          title: sayExplorer("token", { position: index }),
        },
        tokenElement(tokens[index]),
      );
      this.buttons.set(index, one);
      this.listed.set(item, one);
      made.push(one);
    }
    const after = tokens.length - (this.items[to]?.from ?? tokens.length);
    if (to < this.items.length)
      made.push(
        more(
          `${after} ⋯`,
          Math.min(this.items.length - 1, to + AT_ONCE / 2),
          sayExplorer("tokens_after", { after }),
        ),
      );
    this.root.replaceChildren(...made);
    this.shown = "";
    if (this.folding) this.listed.get(this.stopAt)?.focus();
    this.folding = false;
  }

  /** A button with the name of a part, which folds and unfolds it; it says how much is folded. */
  #part(part, item) {
    const { name, from, end, closed } = part;
    const values = { name, n: end - from, closed };
    const one = element(
      "button.tl-tok.tl-part",
      {
        type: "button",
        title: sayExplorer("part_title", values),
        "aria-expanded": String(!closed),
        "data-segment": name,
        "data-item": item,
      },
      sayExplorer("part", values),
    );
    if (closed) this.parts.push([part, one]);
    this.listed.set(item, one);
    return one;
  }

  /** Show the likeliest next tokens, or the likeliest tokens for a mask. */
  #ghosts(next, mask) {
    const now = next.map(([token, before, after], place) => ({
      token,
      place,
      chance: after ?? before,
    }));
    const best = now
      .sort((a, b) => b.chance - a.chance)
      .slice(0, GHOSTS)
      .filter(({ chance }) => chance >= LEAST_GHOST);
    const shown = JSON.stringify([best, mask?.dataset.index]);
    if (shown === this.shown) return;
    this.shown = shown;
    const { append } = this.does;
    for (const old of this.root.querySelectorAll(".tl-ghost")) old.remove();
    const does = mask
      ? (token) => sayExplorer("put_in_the_place", { token })
      : (token) => sayExplorer("append", { token });
    const made = best.map(({ token, place, chance }) => {
      const title = append
        ? does(token)
        : sayExplorer("with_a_probability_of", {
            token,
            part: mask ? sayExplorer("belongs_here") : sayExplorer("comes_next"),
            chance,
          });
      const made = element(
        append ? "button" : "span",
        {
          ...(append ? { type: "button" } : {}),
          class: "tl-tok tl-ghost",
          title,
          "data-next": place,
        },
        tokenElement(token),
        " ",
        element("span", percentText(chance)),
      );
      return made;
    });
    if (mask) mask.after(...made);
    else this.root.append(...made);
    if (this.goesOn && made.length) made[0].focus();
    if (made.length) this.goesOn = false;
  }

  /**
   * Scroll only the strip, so that a token is visible, or in the first line; false while the strip
   * has no height yet.
   */
  #reveal(index, onTop = false) {
    const found = this.listed.get(this.itemOf[index]);
    const { root } = this;
    if (!root.clientHeight) return false;
    if (!found) return true;
    const { offsetTop: top, offsetHeight: height } = found; // the strip is positioned
    if (onTop || top < root.scrollTop || top + height > root.scrollTop + root.clientHeight)
      root.scrollTop = top;
    return true;
  }
}
