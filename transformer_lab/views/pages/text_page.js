// A view of one text, or of two, on a page that carries its model: the page's engine reads another
// text, and the traits are set as Python would set them.

import { bytesOf } from "../shared/codecs.js";
import { answerOf, answersOf, heldIn, stateOf, tokensOf } from "../shared/scene.js";
import { carriesModel, PageModel, viewOf } from "./page_model.js";
import { unreadSentence } from "./unread.js";

/**
 * @typedef {object} Side a text of a view
 * @property {string} name "" if there is only one
 * @property {string} text
 * @property {string | null} target what an encoder-decoder writes; null: its own answer
 *
 * @typedef {any} ReadText the engine's answer to "read", with `of`: the engine's name for the text
 */

/**
 * The model of a view: one that computes here if the page carries a model. In a notebook the page
 * answers in place of a silent Python.
 * @param {any} model @param {AbortSignal} signal @param {import("../shared/scene.js").SceneOf} view
 */
export function aliveTextPage(model, signal, view) {
  const state = () => stateOf(view, (name) => model.get(name));
  return standsFor(model, signal, {
    Kernel: class extends TextPage {
      view = view;
    },
    answers: ({ type, name }) => type === "block" && !PARTS.includes(name),
    wanted: () => !view.texts?.complete?.(state(), heldIn(view, model, state())),
  });
}

/** @param {any} model @param {AbortSignal} signal @param {import("./standby.js").Substitute} how */
export function standsFor(model, signal, how) {
  if (carriesModel(model)) return new how.Kernel(model, signal);
  model.substitute?.(how);
  return model;
}

const PARTS = ["engine", "model"]; // of a page, not of a view

/** Sizes of a view's kinds of attention, and their tokens where it has them. @param {Record<string, any>} kinds @param {ReadText} read */
function sizesOf(kinds, read) {
  const sized = Object.entries(kinds).map(([kind, before]) => {
    const queries = tokensOf(read, kind);
    const keys = kind === "cross" ? read.text.tokens : queries;
    const now = { tokens: queries, query_tokens: queries, key_tokens: keys };
    const named = Object.entries(now).filter(([name]) => name in before);
    const sizes = { queries: queries.length, keys: keys.length };
    return [kind, { ...before, ...sizes, ...Object.fromEntries(named) }];
  });
  return Object.fromEntries(sized);
}

export class TextPage extends PageModel {
  /** @param {any} page @param {AbortSignal} signal */
  constructor(page, signal) {
    super(page, signal, {
      run: (own, message) => own.run(message),
      block: (own, { name, edits }) => own.block(name, edits && { edits }),
    });
    /** @type {any} a SceneOf */
    this.view = undefined;
    this.slot = 0; // the engine keeps the texts on view while it reads others
    /** @type {ReadText[] | null} */
    this.reading = null;
  }

  get carried() {
    return this.page.get("_carried");
  }

  /** The engine's name for what is read next. @param {number} [side] */
  next(side = 0) {
    return `${1 - this.slot}/${side}`;
  }

  /** The choices of the view. @param {Record<string, any>} [changed] traits that differ */
  #state(changed = {}) {
    return stateOf(this.view, (name) => (name in changed ? changed[name] : this.page.get(name)));
  }

  /** The engine's answer by its name. @param {ReadText[]} texts @param {string} name @param {any} [s] @param {any} [more] instead of the view's choices */
  named(texts, name, s = this.#state(), more = {}) {
    const own = { ...this.carried.about, ...this.view.texts?.about?.(s) };
    const about = { kinds: s.kinds, ...own, ...more };
    return this.ask({ ask: "named", of: texts.map(({ of }) => of), name, about });
  }

  /** A block of these texts, as the page answers its view. @param {ReadText[]} texts @param {string} name @param {any} [more] @returns {Promise<any>} */
  async answered(texts, name, more) {
    const { info, numbers } = await this.named(texts, name, undefined, more);
    return { type: "block", info, buffers: [viewOf(numbers)] };
  }

  /** The traits with which these texts are shown. @param {ReadText[]} texts @returns {Promise<Record<string, any>>} */
  async traits(texts) {
    const start = { _kinds: sizesOf(this.page.get("_kinds"), texts[0]), selected: null, _held: "" };
    const traits = { ...start, ...this.view.texts?.taken?.(this.#state(start), texts) };
    return { ...traits, ...(await this.#first(texts, this.#state(traits))) };
  }

  /** What must be there to draw the view. @param {ReadText[]} texts @param {any} s */
  async #first(texts, s) {
    const { view } = this;
    const found = new Map();
    /** @type {[string, any, any][]} */
    const answers = [];
    const lacking = () =>
      view
        .needs(s, found)
        .slice(0, view.least ?? 1)
        .find((name) => name && !found.has(name));
    for (let name = lacking(); name; name = lacking()) {
      const { info, numbers } = await this.named(texts, name, s);
      const one = answerOf(view, info, bytesOf(numbers), name, s);
      for (const each of [name, ...(view.names?.(one) ?? [])]) found.set(each, one);
      answers.push([name, numbers, info]);
    }
    return answersOf(answers);
  }

  /** @param {any} given the texts, as `sides` */
  async run({ sides }) {
    const texts = await this.read(sides);
    const traits = await this.traits(texts);
    const { kind } = this.carried;
    const unread = sides.map(({ text, target }, i) => unreadSentence(text, target, kind, texts[i]));
    this.take(texts);
    this.page.set({
      ...traits,
      link: "",
      _how: this.#how(texts),
      _carried: {
        ...this.carried,
        moved: true,
        sides: sides.map(({ name, text, target }, i) => ({
          name,
          text,
          target,
          written: texts[i].written,
        })),
        unread: [...new Set(unread)].join(" ").trim(),
      },
    });
  }

  /** @param {Side[]} sides @returns {Promise<ReadText[]>} */
  async read(sides) {
    const found = [];
    for (const [i, { text, target }] of sides.entries()) {
      const of = this.next(i);
      found.push({ ...(await this.ask({ ask: "read", of, text, target })), of });
    }
    return found;
  }

  /** Have the engine read what is on view. @returns {Promise<ReadText[]>} */
  async again() {
    const { sides } = this.carried;
    const texts = await this.read(sides);
    const same = (ids, was) => was === undefined || JSON.stringify(ids) === JSON.stringify(was);
    if (
      !sides.every(
        ({ ids, target_ids: target }, i) =>
          same(texts[i].ids, ids) && (texts[i].target === null || same(texts[i].plain, target)),
      )
    ) {
      throw new Error("this page does not hold it"); // the words are tokenized differently from the trace
    }
    return texts;
  }

  take(texts) {
    this.slot = 1 - this.slot;
    this.reading = texts;
  }

  /** A block: of the saved text from the page if it holds it, otherwise from the engine. @param {string} name @param {any} [more] */
  async block(name, more) {
    const saved = this.carried.moved ? null : await this.savedBlock(name);
    if (saved) return saved;
    if (!this.reading) this.take(await this.again());
    return this.answered(/** @type {ReadText[]} */ (this.reading), name, more);
  }

  /** Provenance in files: of which texts. */
  #how(texts) {
    const how = this.page.get("_how");
    const of = (how?.of ?? []).map((one, i) => {
      const { ids, plain, target, text } = texts[Math.min(i, texts.length - 1)];
      return {
        ...one,
        token_ids: [ids],
        tokens: [text.tokens],
        ...(target ? { target_ids: [plain] } : {}),
      };
    });
    return { ...how, of };
  }
}
