// Brings an Explorer to the state that the reader wants: Python computes it, or a saved page looks
// it up. At most one run is in progress; of those waiting only the newest is kept.

import { asSentence } from "../shared/messages.js";
import { sameEdits } from "./edits.js";
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
 * @property {import("./edits.js").Edit[]} [edits]
 * @property {number | null} [position]
 *
 * @typedef {object} Hears
 * @property {(on: boolean) => void} working
 * @property {(text: string, state: "" | "error" | "training" | "waiting") => void} say
 * @property {() => void} settled called when the last state wanted has arrived or failed
 */

export class Runner {
  /** @param {any} model @param {AbortSignal} signal @param {Hears} hears */
  constructor(model, signal, hears) {
    this.model = model;
    this.hears = hears;
    this.requests = new Requests(model, signal);
    /** @type {Wanted | null} */
    this.wanted = null;
    this.turn = 0;
    this.saved = { edits: model.get("_edits"), outcome: model.get("_outcome") };
    /** @type {Map<string, Promise<any>>} */
    this.tables = new Map();
  }

  get live() {
    return this.model.get("_live") !== false;
  }

  /** The edits that the reader wants, whether they have been computed or not. */
  get edits() {
    return this.wanted?.edits ?? this.model.get("_edits");
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
    const edits = this.wanted.edits ?? this.model.get("_edits");
    const position = this.wanted.position ?? this.model.get("_outcome").position;
    let outcome = null;
    let missing = "";
    if (sameEdits(edits, this.saved.edits) && position === this.saved.outcome.position)
      outcome = this.saved.outcome;
    const plain = this.#plain(position);
    if (!plain) {
      this.wanted = null;
      this.hears.say(
        sayExplorer("the_prediction_after_another", { needs_kernel: NEEDS_KERNEL }),
        "error",
      );
      return this.hears.settled();
    }
    if (!outcome && !edits.length) outcome = plain;
    const [edit] = edits;
    if (!outcome && edits.length === 1 && edit.alone) {
      try {
        const tables = await this.effectOf(edit.alone);
        const found = tables[position ?? Object.keys(tables)[0]];
        outcome = found && { ...plain, ...found, position };
      } catch (error) {
        missing = sayExplorer("the_prediction_without_this", { needs_kernel: NEEDS_KERNEL });
      }
    }
    const effects =
      position === this.model.get("_outcome").position ? null : await this.#effectsAt(position);
    if (turn !== this.turn) return;
    if (!outcome) {
      const what = edits.some((edit) => edit.does === "cut")
        ? sayExplorer("the_prediction_with_a")
        : edits.length > 1
          ? sayExplorer("the_prediction_with_several")
          : sayExplorer("this_prediction");
      missing ||= `${what} ${NEEDS_KERNEL}.`;
      outcome = { ...plain, missing };
    }
    this.wanted = null;
    if (effects) this.model.set("_effects", effects);
    this.model.set("_edits", edits);
    this.model.set("_outcome", { ...outcome, positions: this.saved.outcome.positions });
    this.model.set("_stamp", this.model.get("_stamp") + 1);
    this.hears.settled();
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
