// Brings an Explorer to the state that the reader wants: Python computes it, or a saved page looks
// it up. At most one run is in progress; of those waiting only the newest is kept.

import { asSentence } from "../shared/messages.js";
import { editsOf, sameEdits } from "./edits.js";
import { NotSent, Requests, Superseded } from "../shared/requests.js";
import { sayExplorer } from "./prose.js";

const BUSY_FROM = 200; // ms
const STUCK_FROM = 4000;
const STILL_AT_WORK = sayExplorer("the_model_in_this");

export const NEEDS_KERNEL = sayExplorer("needs_a_live_kernel");

/**
 * @typedef {object} Wanted
 * @property {string} [text]
 * @property {string | null} [target]
 * @property {number[]} [masked]
 * @property {import("./segments.js").Segment[]} [segments]
 * @property {import("./edits.js").Given[]} [edits]
 * @property {number | null} [position]
 *
 * @typedef {object} Hears
 * @property {(on: boolean) => void} working
 * @property {(text: string, state: "" | "error" | "training" | "waiting") => void} say
 * @property {() => void} settled called when the last state wanted has arrived or failed
 */

export class Runner {
  /** @param {import("./state.js").ExplorerState} state @param {AbortSignal} signal @param {Hears} hears */
  constructor(state, signal, hears) {
    const { model } = state;
    this.state = state;
    this.model = model;
    this.hears = hears;
    this.requests = new Requests(model, signal);
    /** @type {Wanted | null} */
    this.wanted = null;
    this.turn = 0;
    this.saved = { edits: editsOf(model), outcome: model.get("_outcome") };
    /** @type {Map<string, Promise<any>>} */
    this.tables = new Map();
  }

  get live() {
    return this.state.live;
  }

  /** The edits that the reader wants, whether they have been computed or not. */
  get edits() {
    return editsOf(this.model, this.wanted?.edits);
  }

  /** @param {Wanted} changes */
  async want(changes) {
    if (!this.live) return this.#offline(changes);
    const turn = ++this.turn;
    this.wanted = { ...this.wanted, ...changes };
    const busy = setTimeout(() => turn === this.turn && this.hears.working(true), BUSY_FROM);
    const stuck = setTimeout(
      () =>
        turn === this.turn &&
        this.model.get("_carried")?.travels &&
        this.hears.say(STILL_AT_WORK, "waiting"),
      STUCK_FROM,
    );
    try {
      const { message } = await this.requests.ask({ type: "run", ...this.wanted });
      if (turn !== this.turn) return;
      this.hears.say(message.training ?? "", message.training ? "training" : "");
    } catch (error) {
      if (error instanceof Superseded || turn !== this.turn) return;
      if (error instanceof NotSent) return; // the view reports that
      this.hears.say(asSentence(error), "error");
    } finally {
      clearTimeout(busy);
      clearTimeout(stuck);
      if (turn === this.turn) {
        this.wanted = null;
        this.hears.working(false);
        this.hears.settled();
      }
    }
  }

  /**
   * Look up what a saved page holds: no edits, those it was saved with, and any single head off.
   */
  async #offline(changes) {
    const turn = ++this.turn;
    this.wanted = { ...this.wanted, ...changes };
    const { edits } = this;
    const position = this.wanted.position ?? this.model.get("_outcome").position;
    let [outcome, effects, why] = [null, null, this.whyNot(edits, position)];
    try {
      if (!why) outcome = await this.#held(edits, position);
      if (outcome && position !== this.model.get("_outcome").position)
        effects = await this.#effectsAt(position);
    } catch (error) {
      why = asSentence(error);
    }
    if (turn !== this.turn) return;
    this.wanted = null;
    this.hears.say(why, why ? "error" : "");
    if (!outcome) return this.hears.settled();
    if (effects) this.model.set("_effects", effects);
    this.model.set("_edits", edits);
    this.model.set("_outcome", { ...outcome, positions: this.saved.outcome.positions });
    this.model.set("_stamp", this.model.get("_stamp") + 1);
    this.hears.settled();
  }

  /**
   * Why the page cannot show these edits at a position; "" if it can.
   * @param {import("./edits.js").Given[]} given
   * @param {number | null} [position]
   */
  whyNot(given, position = this.wanted?.position ?? this.model.get("_outcome").position) {
    const edits = editsOf(this.model, given);
    if (this.#isSaved(edits, position)) return "";
    const [{ alone } = { alone: null }] = edits;
    const what =
      edits.length === 1 && alone
        ? "off"
        : (edits.find(({ does }) => does !== "off")?.does ?? "together");
    const why = edits.length ? this.state.whyNot(what) : "";
    return why || this.#plain(position) ? why : this.state.whyNot("token");
  }

  #isSaved(edits, position) {
    return sameEdits(edits, this.saved.edits) && position === this.saved.outcome.position;
  }

  /** The outcome that a page holds. */
  async #held(edits, position) {
    if (this.#isSaved(edits, position)) return this.saved.outcome;
    const plain = this.#plain(position);
    if (!edits.length) return plain;
    const tables = await this.effectOf(edits[0].alone);
    const found = tables[position ?? Object.keys(tables)[0]];
    if (!found) throw new Error(this.state.whyNot("token"));
    return { ...plain, ...found, position };
  }

  /** Effects of ablating single heads at a position, as far as the page holds them. */
  async #effectsAt(position) {
    const names = Object.keys(this.model.get("_effects"));
    const found = await Promise.all(
      names.map(async (name) => {
        const tables = await this.effectOf(name).catch(() => ({}));
        return [name, tables[String(position)]];
      }),
    );
    return Object.fromEntries(found.filter(([, effect]) => effect));
  }

  /** A page's predictions without edits at a position; null if it does not hold them. */
  #plain(position) {
    const { rows, ...rest } = this.saved.outcome;
    const here = this.model.get("_tables")?.[String(position)];
    if (!here && position !== this.saved.outcome.position) return null;
    const bare = (rows ?? []).map(([token, before]) => [token, before, null, false]);
    return {
      ...rest,
      rows: bare,
      states: [],
      kl: null,
      mean: null,
      sentence: "",
      note: "",
      ...here,
      position,
    };
  }

  /** Position -> effect of ablating one head. @param {string} place kind/layer/head */
  effectOf(place) {
    const name = `effect/${place}`;
    const known = this.tables.get(name);
    if (known) return known;
    const asked = this.requests
      .ask({ type: "block", name }, false)
      .then(({ buffers }) => JSON.parse(new TextDecoder().decode(buffers[0])));
    this.tables.set(name, asked);
    asked.catch(() => this.tables.delete(name));
    return asked;
  }

  /** Drop what was known about the heads, since the text has changed. */
  forget() {
    this.tables.clear();
  }
}
