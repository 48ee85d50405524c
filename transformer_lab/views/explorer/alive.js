// Replaces Python on a page that carries its model: takes the messages of an Explorer, asks the
// page's engine, and sets the traits that view.py and written.py would set. Everything else goes to
// the page's own model.

import { described, editsOf } from "./edits.js";
import { outcomeSentence, partsAt, runCode, sayExplorer, subjectOf } from "./prose.js";
import { ifOff, withoutHead } from "../shared/map_sentences.js";
import { outcomeOf, readingOf } from "./reading.js";
import { headBlock, mapTraits, NO_BYTES, noMaps, readingName } from "../heads/reading.js";
import { everyHead, PageModel } from "../pages/page_model.js";
import { standsFor } from "../pages/text_page.js";
import { afterPaint } from "../shared/dom.js";
import { Superseded } from "../shared/requests.js";

/** The model of a view: a Kernel if its page carries a model, otherwise the given one, which uses a Kernel when Python does not answer. @param {any} model @param {AbortSignal} signal */
export const alive = (model, signal) =>
  standsFor(model, signal, {
    Kernel,
    answers: ({ type }) => STANDS_FOR.includes(type),
    state: stateOf,
  });

/** Everything that determines what is on view, as a message to Python. @param {any} kernel @param {any} over */
function stateOf({ reading, wished, isBoth }, over) {
  const { text, target, masked, given, segments } = reading;
  return {
    text,
    ...(segments?.length ? { segments } : {}),
    ...(isBoth ? { target } : {}),
    masked,
    edits: over.get("_edits"),
    position: wished,
    ...(given ? { ids: given } : {}),
  };
}

const STANDS_FOR = ["run", "write", "sweep", "block"]; // answered here when Python does not answer

class Kernel extends PageModel {
  /** @param {any} page @param {AbortSignal} signal */
  constructor(page, signal) {
    super(page, signal, ANSWERS);
    const about = page.get("_about");
    const { position, positions } = page.get("_outcome");
    const kept = page.get("_carried");
    /** @type {import("./reading.js").Reading} */
    this.reading = {
      text: page.get("_text"),
      target: about.own_target ? null : page.get("_target"),
      masked: page.get("_masked"),
      given: kept.given,
      segments: about.segments,
      plain: about.ids,
      ids: about.ids,
      positions,
      first: kept.first,
      length: about.tokens.length,
    };
    this.position = position;
    this.wished = kept.wished; // the position that the reader chose
    this.asked = false; // whether the effects of single heads were requested
    this.both = null; // the two generated texts
    this.start = {
      text: readingName(this.reading),
      place: this.#place,
      traits: this.#traits(["_estimates", "_scores", "_score_names", "link"]),
    };
    /** Effects of ablating single heads, by text and position. @type {Map<string, Record<string, any>>} */
    this.effects = new Map([[this.#facts, page.get("_effects")]]);
    this.engine.then(
      () => (this.ready = true),
      () => this.page.set("_stamp", this.page.get("_stamp") + 1), // PageModel reports it
    );
  }

  #traits(names) {
    return Object.fromEntries(names.map((name) => [name, this.page.get(name)]));
  }

  // ---- the engine -------------------------------------------------------------------------------------

  /** Run requested work, and then measure effects in the background. @param {() => Promise<any>} work */
  inTurn(work) {
    const done = super.inTurn(work);
    this.turn = this.turn.then(() => this.measure()).catch(() => {}); // failures are reported already
    return done;
  }

  /** Ask about the text on view; the engine reads it first if it has read another. */
  async of(question, how) {
    await this.#readAgain();
    return this.ask(question, how);
  }

  async #readAgain() {
    const name = readingName(this.reading);
    if (this.at === name) return;
    const { text, masked, plain, target } = this.reading;
    this.at = null;
    await this.ask({ ask: "read", text, masked, ids: plain, target: this.isBoth ? target : null });
    this.at = name;
  }

  // ---- what is on view --------------------------------------------------------------------------------

  get isBoth() {
    return this.page.get("_about").kind === "encoder-decoder";
  }

  get #place() {
    return this.position ?? this.reading.first;
  }

  /** The text and position that effects belong to. */
  get #facts() {
    return `${readingName(this.reading)} ${this.#place}`;
  }

  /** The source text of an encoder-decoder. */
  get #source() {
    return this.isBoth ? this.reading.text : "";
  }

  get #several() {
    return Object.keys(this.page.get("_kinds")).length > 1;
  }

  /** Like `Session.change` of session.py: after an error everything stays as it was. @param {Record<string, any>} wanted */
  async run(wanted) {
    const now = this.reading;
    const newText = "text" in wanted && wanted.text !== now.text;
    let newWords = newText || ("target" in wanted && wanted.target !== now.target);
    /** @type {import("./reading.js").Words} */
    let words = {
      text: wanted.text ?? now.text,
      target: "target" in wanted ? wanted.target : newText ? null : now.target,
      masked: wanted.masked ?? (newText ? [] : now.masked),
      given: newWords ? null : now.given,
      ...(wanted.segments ? { segments: wanted.segments } : {}),
    };
    let position = "position" in wanted ? wanted.position : newWords ? null : this.wished;
    if (wanted.ids) {
      ({ words, position } = await this.#exactly(wanted, words, position));
      newWords = false; // positions named in edits stay valid
    }
    const edits = described(wanted.edits ?? this.page.get("_edits"), this.page.get("_kinds"));
    const kept = newWords
      ? edits.filter(({ does, made: values }) => does !== "cut" && values.edit !== "kept")
      : edits;
    await this.#show(
      words,
      wanted.ids ?? null,
      kept,
      position,
      kept.length < edits.length ? sayExplorer("dropped", { n: edits.length - kept.length }) : "",
    );
  }

  /** Resolve a request that gives token ids instead of words. @param {Record<string, any>} wanted */
  async #exactly({ ids, text, target }, words, position) {
    const old = this.isBoth ? target || this.page.get("_target") : text || this.reading.text;
    const said = text && this.page.get("_about").kind === "decoder"; // its own words, if they are read as these ids
    const oldIds = said ? ids : this.reading.plain;
    const found = await this.of({ ask: "words", ids, old: old ?? "", oldIds });
    const given = found.exact ? null : ids;
    if (this.isBoth)
      return {
        words: { ...words, target: found.words, given },
        position: position ?? ids.length - 1,
      };
    return { words: { ...words, target: this.reading.target, text: found.words, given }, position };
  }

  async #show(words, ids, edits, wished, note) {
    const strange = edits.find(({ made: values }) => values.edit === "kept");
    if (strange)
      throw new Error(`“${strange.words}” holds numbers that are not in this page; take it back`);
    const { page } = this;
    const about = page.get("_about");
    const fresh = !this.byEngine || readingName(words) !== readingName(this.reading);
    const [reading, traits] = fresh
      ? await this.#read(words, ids)
      : [this.reading, /** @type {Record<string, any>} */ ({})];
    const kinds = traits._kinds ?? page.get("_kinds");
    const unnamed = about.segments?.length && traits._about && !traits._about.segments.length;
    const place = wished ?? reading.first;
    if (about.predicts && !(Number.isInteger(place) && place >= 0 && place < reading.length)) {
      throw new Error(
        `position=${place} is outside the ${reading.length} tokens (0 … ${reading.length - 1})`,
      );
    }
    const values = edits.map((edit) => edit.made);
    const sent = described(edits, kinds); // a cut names the tokens that are now at its ends
    const name = readingName(reading);
    const after = JSON.stringify([name, values]);
    const asked = this.ask({ ask: "predict", edits: values, position: place });
    const pictures =
      after !== this.after || fresh ? this.#allPictures(fresh, kinds, values) : Promise.resolve({});
    pictures.catch(() => {}); // the prediction fails first
    const found = await asked;
    const outcome = outcomeOf(found, (traits._about ?? about).tokens);
    const nowhere = about.predicts && !reading.positions.length && wished === null;
    const position = nowhere || !about.predicts ? null : place;
    const seen = {
      ...outcome,
      position,
      positions: reading.positions,
      sentence: edits.length ? outcomeSentence(subjectOf(sent), outcome) : "",
      note: [note, unnamed ? sayExplorer("unnamed") : ""].filter(Boolean).join(" "),
    };
    if (!fresh) await this.#first(seen, pictures); // another text is shown only with its maps
    const moved = await pictures;
    const elsewhere = name !== readingName(this.reading);
    this.reading = reading;
    this.after = after;
    this.wished = wished;
    this.position = position;
    this.byEngine = true;
    page.set({
      ...traits,
      ...moved,
      ...this.#factTraits(),
      ...(elsewhere ? { selected: null, _tables: {}, ...this.#spans(kinds) } : {}),
      _how: this.#how(reading, kinds, edits),
      _carried: {
        ...page.get("_carried"),
        moved: name !== this.start.text,
        given: reading.given,
        first: reading.first,
        wished,
      },
      _edits: sent,
      _outcome: {
        ...seen,
        edits_of_maps: sent,
        written: this.#beside(sent),
        code: runCode(
          traits._text ?? page.get("_text"),
          reading.target === null ? null : (traits._target ?? page.get("_target")),
          reading.masked,
          about.kind,
          reading.given,
        ),
      },
      _stamp: page.get("_stamp") + 1,
    });
  }

  /** Show a prediction before its maps have arrived. */
  async #first(outcome, pictures) {
    const { page } = this;
    const before = page.get("_outcome");
    page.set("_outcome", { ...before, ...outcome });
    const came = pictures.catch((error) => {
      page.set("_outcome", before); // which the maps on view belong to
      throw error;
    });
    await Promise.all([came, afterPaint()]);
  }

  /** Maps of the text itself if it is new, and of the text under edits. */
  async #allPictures(fresh, kinds, edits) {
    const moved = fresh ? await this.#pictures("", kinds, []) : {};
    return {
      ...moved,
      ...(edits.length ? await this.#pictures("_after", kinds, edits) : noMaps("_after")),
    };
  }

  async #read(words, ids) {
    const { page } = this;
    this.at = null; // until everything has arrived, the engine has read a text that is not on view
    const given =
      words.given ??
      ids ??
      (readingName(words) === readingName(this.reading) ? this.reading.plain : null);
    const read = await this.ask({
      ask: "read",
      text: words.text,
      masked: words.masked,
      ids: given,
      target: this.isBoth ? words.target : null,
    });
    const { reading, traits } = readingOf(words, read, page.get("_about"), page.get("_kinds"));
    this.at = readingName(reading);
    return /** @type {const} */ ([reading, traits]);
  }

  #pictures(side, kinds, edits) {
    const [kind, layer, head] = [
      this.page.get("kind"),
      this.page.get("layer"),
      this.page.get("head"),
    ];
    return mapTraits(
      (question) => this.ask(question),
      kinds,
      { kind, layer, head },
      { side, edits },
    );
  }

  /**
   * Clear the spans, which name tokens of one text, unless the new text has the same tokens there.
   */
  #spans(kinds) {
    const { page } = this;
    const [was, now] = [page.get("_kinds"), kinds].map((all) => all[page.get("kind")]);
    const words = (kind, name, span) => JSON.stringify(kind[name].slice(...span));
    const stay = [
      ["a", "query_tokens"],
      ["b", "key_tokens"],
    ].every(([trait, name]) => {
      const span = page.get(trait);
      return !span || words(was, name, span) === words(now, name, span);
    });
    return stay ? {} : { a: null, b: null };
  }

  /** Provenance in files: which text, under which edits. */
  #how(reading, kinds, edits) {
    const how = this.page.get("_how");
    const [of] = how?.of ?? [];
    if (!of) return how;
    const tokens = Object.values(kinds).at(-1).key_tokens;
    const ids = {
      token_ids: [reading.ids],
      ...(this.isBoth ? { target_ids: [reading.plain] } : {}),
    };
    return {
      ...how,
      of: [{ ...of, ...ids, tokens: [tokens] }],
      edits: edits.map(({ code }) => code),
    };
  }

  /** One head's full pattern. @param {string} name kind/layer/head, with "after/" in front for the pattern under edits */
  async block(name) {
    const saved =
      this.byEngine || this.page.get("_carried").moved ? null : await this.savedBlock(name);
    if (saved) return saved;
    const edits = name.startsWith("after/") ? this.page.get("_edits").map((edit) => edit.made) : [];
    return headBlock(
      (question) => this.of(question),
      this.page.get("_kinds"),
      name.replace("after/", ""),
      edits,
    );
  }

  // ---- generation -------------------------------------------------------------------------------

  /** Like `write` of written.py. */
  async write({ n = 20, temperature = 0, top_k: topK = null, top_p: topP = null, seed = 0 }) {
    const edits = editsOf(this.page);
    const values = edits.map((edit) => edit.made);
    const start = this.reading.plain.length;
    const { plain: more, edited: other } = await this.of({
      ask: "write",
      n,
      sampling: { temperature, topK, topP, seed },
      edits: values,
    });
    const [plain, edited] = [more, other].map(
      (written) => written && [...this.reading.plain, ...written],
    );
    const parts = partsAt(plain, edited);
    const rest = parts === null ? [] : edited.slice(parts);
    const names = await Promise.all(
      [plain, edited ?? []].map(async (ids) =>
        parts !== null && parts < ids.length
          ? (await this.ask({ ask: "names", ids: ids.slice(parts, parts + 1) }))[0]
          : null,
      ),
    );
    const [here, there] = names;
    const count = plain.length - start;
    const sentence = sayExplorer("written", {
      n: count,
      ended: count < n,
      seed: temperature ? seed : null,
      page: true,
      subject: subjectOf(edits),
      edited: edited !== null,
      parts,
      here,
      there,
      rest: rest.length ? await this.ask({ ask: "decode", ids: rest }) : null,
    });
    const tokens =
      parts === null
        ? null
        : [
            await this.ask({ ask: "names", ids: plain }),
            await this.ask({ ask: "names", ids: edited }),
          ];
    this.both = {
      read: this.#source,
      start,
      plain,
      edited,
      parts,
      tokens,
      sentence,
      edits: JSON.stringify(values),
    };
    await this.run({ ids: plain });
  }

  /** What is shown of the generated texts, while one of the two is on view. */
  #beside(edits) {
    const { both, reading } = this;
    const same = (ids) => ids !== null && JSON.stringify(ids) === JSON.stringify(reading.plain);
    if (!both || both.read !== this.#source || !(same(both.plain) || same(both.edited))) return {};
    if (both.edited && JSON.stringify(edits.map((edit) => edit.made)) !== both.edits) return {};
    const first = same(both.plain);
    const { start, sentence, parts, tokens } = both;
    const other = parts === null ? null : first ? both.edited : both.plain;
    return {
      start,
      sentence,
      parts,
      other,
      tokens: tokens?.[first ? 1 : 0] ?? [],
      edited: Boolean(first),
    };
  }

  // ---- what single heads do -----------------------------------------------------------------------------

  /** Traits of all heads; saved values hold only for the saved text and position. */
  #factTraits() {
    const own = readingName(this.reading) === this.start.text;
    const here = own && this.#place === this.start.place;
    const { _estimates, ...saved } = this.start.traits;
    const traits = {
      ...(own ? saved : { _scores: NO_BYTES, _score_names: {}, link: "" }),
      _estimates: here ? _estimates : NO_BYTES,
      _effects: this.effects.get(this.#facts) ?? {},
    };
    if (this.factsOf === this.#facts) return traits;
    this.factsOf = this.#facts;
    return { ...traits, _facts_of: this.page.get("_facts_of") + 1 };
  }

  #left(places) {
    const known = this.effects.get(this.#facts) ?? {};
    return places.filter(({ kind, layer, head }) => !known[`${kind}/${layer}/${head}`]);
  }

  #summary(found) {
    const outcome = outcomeOf(found, this.page.get("_about").tokens);
    const [row] = outcome.rows;
    const said = (begin) => outcomeSentence(begin(found, this.#several), outcome);
    return {
      kl: outcome.kl,
      mean: outcome.mean,
      token: row?.[0] ?? null,
      before: row?.[1] ?? null,
      after: row?.[2] ?? null,
      sentence: said(withoutHead),
      if_off: said(ifOff),
    };
  }

  #keep(facts, found) {
    const known = { [`${found.kind}/${found.layer}/${found.head}`]: this.#summary(found) };
    this.effects.set(facts, { ...this.effects.get(facts), ...known });
    return known;
  }

  async sweep(kind, layer) {
    const { heads } = this.page.get("_kinds")[kind];
    const facts = this.#facts;
    const places = this.#left(Array.from({ length: heads }, (_, head) => ({ kind, layer, head })));
    for (const found of await this.of({ ask: "effects", places, position: this.#place }))
      this.#keep(facts, found);
    this.page.set("_effects", this.effects.get(facts));
  }

  /** Measure effects that are not known yet, in the background. */
  async measure() {
    const { page } = this;
    const facts = this.#facts;
    const about = page.get("_about");
    if (
      !this.asked ||
      !this.ready ||
      this.measuring === facts ||
      about.note ||
      (about.predicts && this.position === null)
    )
      return;
    const kinds = Object.entries(page.get("_kinds")).sort(
      ([a], [b]) => Number(b === page.get("kind")) - Number(a === page.get("kind")),
    );
    const places = this.#left(kinds.flatMap(([kind, size]) => everyHead(kind, size)));
    if (!places.length) return;
    this.measuring = facts;
    const of = page.get("_facts_of");
    const part = (found) =>
      facts === this.#facts && this.tell({ type: "effects", of, found: this.#keep(facts, found) });
    await this.#readAgain();
    this.ask(
      { ask: "effects", places, position: this.#place },
      { lane: "effects", background: true, part },
    )
      .then(() => facts === this.#facts && page.set("_effects", this.effects.get(facts)))
      .catch(
        (error) =>
          error instanceof Superseded ||
          this.tell({ type: "effects", of, found: {}, failed: error.message }),
      )
      .finally(() => {
        if (this.measuring === facts) this.measuring = null;
      });
  }
}

/** @type {Record<string, (kernel: Kernel, message: any) => Promise<any>>} */
const ANSWERS = {
  run: (kernel, { type: _, request: __, ...wanted }) => kernel.run(wanted),
  write: (kernel, { options = {} }) => kernel.write(options),
  sweep: (kernel, { kind, layer }) => kernel.sweep(kind, layer),
  async facts(kernel) {
    kernel.asked = true;
    kernel.engine.then(() => kernel.inTurn(async () => {})).catch(() => {}); // a failure is reported already
  },
  labels: async () => {}, // the saved labels stay
  block: (kernel, message) => kernel.block(message.name),
};
