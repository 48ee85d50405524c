// A view of one text, or of two, on a page that carries its model: the page's engine reads another
// text, and the traits are set as Python would set them.

import { carriesModel, PageModel } from "./page_model.js";
import { unreadSentence } from "./unread.js";

/**
 * @typedef {object} Side a text of a view
 * @property {string} name "" if there is only one
 * @property {string} text
 * @property {string | null} target what an encoder-decoder writes; null: its own answer
 *
 * @typedef {any} ReadText the engine's answer to "read", with `of`: the engine's name for the text
 */

/** The query tokens of a stack's heads. @param {ReadText} read @param {string} kind */
export const tokensOf = (read, kind) =>
  (kind === "encoder" ? read.text : (read.target ?? read.text)).tokens;

/**
 * The model of a view: one that computes here if the page carries a model. In a notebook the page
 * answers in place of a silent Python, but only requests for blocks with these names.
 * @param {any} model
 * @param {AbortSignal} signal
 * @param {object} view
 * @param {ConstructorParameters<typeof TextPage>[2]} view.traits
 * @param {ConstructorParameters<typeof TextPage>[3]} view.block
 * @param {RegExp} view.names
 * @param {() => boolean} [view.wanted] whether any may be requested
 */
export function aliveTextPage(model, signal, { traits, block, names, wanted }) {
  class OwnPage extends TextPage {
    constructor(page, ended) {
      super(page, ended, traits, block);
    }
  }
  if (carriesModel(model)) return new OwnPage(model, signal);
  model.substitute?.({
    Kernel: OwnPage,
    answers: ({ type, name }) => type === "block" && names.test(name),
    wanted,
  });
  return model;
}

export class TextPage extends PageModel {
  /**
   * @param {any} page
   * @param {AbortSignal} signal
   * @param {(ask: TextPage["ask"], texts: any, page: any) => Promise<Record<string, any>>} traits
   *   computes the traits for texts, each a ReadText
   * @param {(ask: TextPage["ask"], texts: any, name: string, page: any) => Promise<any>} block
   *   answers a request for a block
   */
  constructor(page, signal, traits, block) {
    super(page, signal, {
      run: (own, { sides }) => own.run(sides),
      block: (own, { name }) => own.block(name),
    });
    this.traits = traits;
    this.blockOf = block;
    this.slot = 0; // the engine keeps the texts on view while it reads others
    /** @type {ReadText[] | null} */
    this.reading = null;
  }

  get carried() {
    return this.page.get("_carried");
  }

  /** @param {Side[]} sides */
  async run(sides) {
    const texts = await this.read(sides);
    const traits = await this.traits((question) => this.ask(question), texts, this.page);
    const { kind } = this.carried;
    const unread = sides.map(({ text, target }, i) => unreadSentence(text, target, kind, texts[i]));
    this.#take(texts);
    this.page.set({
      ...traits,
      selected: null, // it names tokens of the old text
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
      const of = `${1 - this.slot}/${i}`;
      found.push({ ...(await this.ask({ ask: "read", of, text, target })), of });
    }
    return found;
  }

  /** Have the engine read the texts on view. */
  async #again() {
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

  #take(texts) {
    this.slot = 1 - this.slot;
    this.reading = texts;
  }

  /** A block: of the saved text from the page if it holds it, otherwise from the engine. @param {string} name */
  async block(name) {
    const saved = this.carried.moved ? null : await this.savedBlock(name);
    if (saved) return saved;
    if (!this.reading) this.#take(await this.#again());
    return this.blockOf(
      (question) => this.ask(question),
      /** @type {ReadText[]} */ (this.reading),
      name,
      this.page,
    );
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
