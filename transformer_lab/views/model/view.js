// The whole model as one moving picture: it plays the forward pass, unfolds layers and heads, and
// shows the effect of edits.

import { mounted } from "../shared/mounted.js";
import { BlockViewer } from "../block/viewer.js";
import { carriesModel } from "../pages/page_model.js";
import { Answers } from "../shared/answers.js";
import { bytesOf, typed } from "../shared/codecs.js";
import { colourTable, headColour, PALETTE } from "../shared/colours.js";
import {
  button,
  headChoice,
  kindChoice,
  putAnew,
  radioGroup,
  removeAll,
  slider,
} from "../shared/controls.js";
import {
  barPart,
  byTouch,
  element,
  hearPointer,
  listen,
  panelPart,
  picturePart,
  rowPart,
  say,
  tableParts,
  taken,
  tokenElement,
  within,
} from "../shared/dom.js";
import { numbersOf } from "../shared/files.js";
import { linked } from "../shared/linked.js";
import { fixed, messages, numbered, percentText } from "../shared/messages.js";
import { Clock, crossFade, glide, travel } from "../shared/motion.js";
import { NumberMap } from "../shared/number_map.js";
import { Requests } from "../shared/requests.js";
import { linearLegend } from "../shared/shell.js";
import { sameEdit } from "../shared/trials.js";
import { aliveModel, firstShown } from "./alive.js";
import { ModelPicture, PassFound } from "./picture.js";
import { Within } from "./within.js";
import modelMessages from "./messages.json" with { type: "json" };
import { BaseViewer } from "../shared/viewer.js";

const SPEEDS = [0.5, 1, 2, 4];
const [SHORTEST, LONGEST_STEP, ALL_STEPS] = [0.22, 1, 15]; // seconds of a step, and of the whole pass
const LISTED_EDGES = 10;
const COLOURS = PALETTE.heads.length;
const MOST_CELLS = 1e6; // of a head's map

/** @typedef {import("./picture.js").Edge} Edge @typedef {import("./picture.js").Spot} Spot */

const editsOf = (name) => name.split("/").slice(2).join("/");

export class ModelViewer extends BaseViewer {
  /** @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(given, root, signal) {
    const model = aliveModel(given, signal);
    const words = messages(modelMessages, model.get("_messages") ?? {});
    super(model, root, signal, {
      given,
      part: () => `step-${model.get("step") ?? "end"}`,
      title: words("title", { title: model.get("_title") }),
    });
    this.words = words;
    root.lang = this.words("language");
    this.mayEdit = !model.get("_saved") || carriesModel(given);
    this.speed = 1;
    this.pointed = /** @type {Spot | null} */ (null);
    this.unfolded = /** @type {{what: string, ended: AbortController} | null} */ (null);
    this.passes = this.#answers(
      24,
      (info, bytes) => new PassFound(info, typed(Float32Array, bytes)),
    );
    this.lenses = this.#answers(200, (info) => ({ info }));
    this.maps = this.#answers(64, (info, bytes) => ({ info, weights: typed(Float32Array, bytes) }));
    this.#first();
    this.clock = new Clock(
      {
        last: () => this.last,
        pace: () => Math.max(SHORTEST, Math.min(LONGEST_STEP, ALL_STEPS / this.last)) / this.speed,
        tick: (at) => this.#tick(at),
        changed: () => this.#drawTransport(),
      },
      signal,
    );
    this.clock.at = model.get("step") ?? this.last;
    this.link = linked(model, signal, (spot) =>
      this.#point(
        spot && (spot.query ?? spot.key) !== null
          ? { stack: this.stack, token: /** @type {number} */ (spot.query ?? spot.key) }
          : null,
        false,
      ),
    );
    this.#build();
    this.passes.follow(["first", "_edits"], () => this.#names().pass);
    this.lenses.follow(["_edits", "selected", "kind"], () => this.#names().lens);
    this.shell.watch(
      ["layer", "head", "kind", "selected"],
      () => this.unfolded?.what === "map" && this.#askMap(),
    );
    this.shell.watch(["step"], () => this.#follow());
    this.shell.watch(["_stacks"], () => {
      for (const answers of [this.passes, this.lenses, this.maps]) answers.known.clear(); // the text has changed
      this.#fold();
      this.#first();
      this.clock.seek(this.last);
    });
  }

  /** Answers with their own queue, in which the newest request wins. */
  #answers(most, read) {
    const { shell, model, signal } = this;
    const own = /** @type {any} */ ({
      model,
      signal,
      requests: new Requests(model, signal),
      say: (text) => text && shell.say(text),
      draw: () => this.#settle(),
    });
    return new Answers(own, {
      most,
      read,
      working: this.words("working"),
      names: ({ info }) => [info.name],
      show: () => {},
      failed: (name, error) => this.#failed(name, error),
    });
  }

  /** Show what came with the page. */
  #first() {
    const { model } = this;
    this.found = this.passes.keep(
      new PassFound(model.get("_pass"), typed(Float32Array, bytesOf(model.get("_pass_data")))),
    );
    this.guessed = this.lenses.keep({ info: model.get("_lens") }).info;
    this.edits = JSON.parse(editsOf(this.found.info.name));
  }

  /** Names of the requests for the chosen pass and predictions. */
  #names() {
    const { model } = this;
    const edits = JSON.stringify(model.get("_edits"));
    const first = model.get("first") ?? firstShown(this.about, this.stacks[this.main]);
    return { pass: `pass/${first}/${edits}`, lens: `lens/${this.token}/${edits}` };
  }

  /** Show a pass and predictions once both for the same edits have arrived. */
  #settle() {
    const names = this.#names();
    const [found, said] = [this.passes.known.get(names.pass), this.lenses.known.get(names.lens)];
    if (!found || !said) return;
    const changed = found !== this.found || said.info !== this.guessed;
    Object.assign(this, { found, guessed: said.info, edits: JSON.parse(editsOf(names.pass)) });
    if (changed) this.shell.say("");
    this.shell.draw();
  }

  /** Keep what is on view, and undo the choice that failed. @param {string} name @param {Error} error */
  #failed(name, error) {
    const { model, shell, main } = this;
    const isEdit = JSON.stringify(model.get("_edits")) !== JSON.stringify(this.edits);
    if (isEdit) shell.set({ _edits: this.edits });
    else if (/^(pass|lens)\//.test(name))
      shell.set({
        first: Number(this.found.info.name.split("/")[1]),
        ...(this.stack === main ? { selected: [this.guessed.position, null] } : {}),
      });
    return model.get("_saved") && !this.mayEdit
      ? this.words(isEdit ? "snapshot" : "not_held")
      : this.words("failed", { why: error.message });
  }

  // ---- state --------------------------------------------------------------------------------

  get about() {
    return this.model.get("_about");
  }

  get main() {
    return this.about.main;
  }

  /** @returns {Record<string, string[]>} */
  get stacks() {
    return this.model.get("_stacks");
  }

  /** The stack of the current choice. */
  get stack() {
    const kind = this.model.get("kind");
    return kind === "cross" ? "decoder" : kind;
  }

  get several() {
    return Object.keys(this.stacks).length > 1;
  }

  get last() {
    return this.found.steps.length - 1;
  }

  /** The current step: the one that is playing, or the last one played. */
  get step() {
    return Math.min(this.last, Math.ceil(this.clock.at - 1e-6));
  }

  /** The token of the stack that predicts. */
  get token() {
    return this.#tokenOf(this.main);
  }

  /** The chosen token of a stack, or its last. @param {string} stack */
  #tokenOf(stack) {
    return this.#chosenOf(stack) ?? this.stacks[stack].length - 1;
  }

  /** @param {string} stack @param {number | null} token */
  #inText(stack, token) {
    return token === null ? null : Math.min(token, this.stacks[stack].length - 1);
  }

  /** The chosen token of a stack; the stack with the predictions always has one. @param {string} stack @returns {number | null} */
  #chosenOf(stack) {
    const [query, key] = this.model.get("selected") ?? [null, null];
    const kind = this.model.get("kind");
    const chosen =
      kind === stack || (kind === "cross" && stack === "decoder")
        ? query
        : kind === "cross"
          ? key
          : null;
    return this.#inText(stack, chosen ?? (stack === this.main ? this.about.start : null));
  }

  /** The chosen edge, if it is listed. @returns {Edge | null} */
  get edge() {
    const [query, key] = this.model.get("selected") ?? [null, null];
    const { model, layer, head, found } = this;
    if (query === null || key === null) return null;
    const step = found.steps.findIndex(
      (one) => one.kind === model.get("kind") && one.layer === layer && one.edges,
    );
    return step < 0
      ? null
      : (found
          .edges(step)
          .find((edge) => edge.head === head && edge.query === query && edge.key === key) ?? null);
  }

  /** The layer in focus: the step's or, at the first and last step, the chosen one. */
  get focus() {
    const { what, stack, layer } = this.found.steps[this.step];
    return ["start", "end"].includes(what)
      ? { stack: this.stack, layer: this.layer }
      : { stack, layer };
  }

  code() {
    const edits = this.edits.map(
      ({ edit, ...values }) =>
        `tl.${edit}(${Object.entries(values)
          .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
          .join(", ")})`,
    );
    return `tl.views.ModelView(trace${edits.length ? `, edits=[${edits.join(", ")}]` : ""})`;
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, signal, shell, clock } = this;
    this.legend = element("p.tl-hint#legend");
    this.note = element("p.tl-hint#note");
    this.playButton = button("", "play", () => this.#play());
    this.playButton.classList.add("tl-play", "tl-main");
    this.bar = slider({
      label: this.words("progress"),
      part: "step",
      values: [0],
      value: 0,
      text: (at) => this.#stepName(at),
      change: (at) => clock.seek(at),
    });
    this.speeds = radioGroup({
      label: this.words("speed"),
      part: "speed",
      chosen: 1,
      choices: SPEEDS.map((value) => ({ value, text: `${value}×` })),
      choose: (value) => this.speeds.set((this.speed = value)),
    });
    this.back = button("◀", "step-back", this.words("back"), () => clock.step(-1));
    this.on = button("▶", "step-on", this.words("on"), () => clock.step(1));
    this.canvas = picturePart("model");
    this.picture = new ModelPicture(this.canvas);
    this.key = element("p.tl-hint.tl-row#colours");
    this.readout = element("p.tl-readout#readout");
    this.pager = element(
      "span.tl-row#pager",
      button("◀", "earlier", this.words("earlier"), () => this.#page(-1)),
      (this.where = element("span.tl-quiet")),
      button("▶", "later", this.words("later"), () => this.#page(1)),
    );
    this.answersTitle = element("b");
    this.answersTable = element("table.tl-answers#answers");
    this.card = element("div.tl-row#card");
    this.choice = headChoice(this, (place) => this.shell.set(place), this.words("head"));
    this.edgeLine = element("div.tl-row#edge");
    this.editsBar = element("div.tl-row.tl-edits#edits");
    this.strongest = element("table.tl-strongest#strongest");
    this.list = element("details.tl-details", (this.listName = element("summary")), this.strongest);
    this.below = element("section.tl-unfolded#unfolded", { hidden: true });
    root.append(
      ...shell.above,
      element("div.tl-said", this.sentence),
      shell.message,
      this.passes.busy,
      element(
        "div.tl-transport",
        this.playButton,
        element("span.tl-joined", this.back, this.on),
        this.bar.root,
        this.speeds.root,
      ),
      element(
        "div.tl-pictured",
        element("div", this.legend, this.key, this.canvas, this.pager, this.readout, this.note),
        element(
          "div.tl-side",
          element(
            "section.tl-panel",
            element("p.tl-heading", this.answersTitle),
            this.answersTable,
          ),
          panelPart(
            "head",
            this.words("chosen"),
            "",
            this.card,
            this.edgeLine,
            this.editsBar,
            this.list,
          ),
        ),
      ),
      this.below,
    );
    hearPointer(this.canvas, signal, (x, y) => this.picture.hit(x, y), {
      hover: (spot) => this.#point(spot),
      pick: (spot) => this.#pick(spot),
    });
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
    this.freeByEscape(() => this.#fold());
  }

  #stepName(at) {
    const step = this.found.steps[Math.min(this.last, at)];
    return this.words("step", { ...step, several: this.several });
  }

  // ---- what the reader does -----------------------------------------------------------------

  #play() {
    if (this.clock.playing && !this.clock.single) this.clock.pause();
    else this.clock.play();
  }

  /** @param {Spot | null} spot */
  #point(spot, tell = true) {
    const before = JSON.stringify(this.pointed);
    if (before === JSON.stringify(spot)) return;
    this.pointed = spot;
    this.canvas.style.cursor = spot ? "pointer" : "default";
    if (tell && spot?.token !== undefined && spot.stack === this.stack)
      this.link.hover({ query: spot.token, key: null });
    else if (tell && !spot) this.link.hover(null);
    this.picture.scene.pointed = this.#pointedToken();
    this.picture.scene.edge = spot?.edge ?? this.edge;
    this.picture.key = "";
    this.picture.draw(this.clock.at);
    this.#tell();
  }

  #pointedToken() {
    const { stack, token } = this.pointed ?? {};
    return stack === undefined || token === undefined ? null : { stack, token };
  }

  /** @param {Spot} spot */
  #pick({ edge, stack, token, layer, part }) {
    if (edge) return this.#choose(edge);
    if (token === undefined || part) {
      this.shell.set({ kind: stack, layer, ...(stack === this.stack ? {} : { selected: null }) });
      return this.#unfold("steps");
    }
    this.#chooseToken(/** @type {string} */ (stack), token);
  }

  /** @param {Edge} edge */
  #choose({ kind, layer, head, query, key }) {
    this.shell.set({ kind, layer, head, selected: [query, key] });
  }

  #chooseToken(stack, token) {
    const { model } = this;
    const kind = stack === this.stack ? model.get("kind") : stack;
    const { first, count } = this.found.info.stacks[stack];
    const outside = stack === this.main && (token < first || token >= first + count);
    const from = Math.max(0, Math.min(token, this.stacks[stack].length - this.about.window));
    this.shell.set({
      kind,
      selected: [token, null],
      layer: Math.min(model.get("layer"), model.get("_kinds")[kind].layers - 1),
      ...(outside ? { first: from } : {}),
    });
  }

  #page(by) {
    const { from, to } = /** @type {any} */ (this.picture.seen)[this.main];
    this.#chooseToken(
      this.main,
      within(by < 0 ? from - 1 : to + (to - from) - 1, this.stacks[this.main].length),
    );
  }

  /** Make an edit, or undo it. @param {Record<string, any>} edit */
  #toggle(edit) {
    const edits = this.model.get("_edits");
    const others = edits.filter((one) => !sameEdit(one, edit));
    if (!this.mayEdit) return;
    this.clock.seek(this.last); // show the effect on the prediction
    this.shell.set({ _edits: others.length < edits.length ? others : [...edits, edit] });
  }

  /** The edit that switches the chosen head off, and the one that cuts the chosen edge. */
  get #edits() {
    const { layer, head, edge, several } = this;
    const kind = several ? { kind: this.model.get("kind") } : {};
    return {
      off: { edit: "ablate", layer, head, ...kind },
      cut: edge && { edit: "knock_out", layer, head, query: edge.query, key: edge.key, ...kind },
    };
  }

  #isMade(edit) {
    return this.model.get("_edits").some((one) => sameEdit(one, edit));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { clock, model } = this;
    const token = (by) =>
      this.#chooseToken(
        this.stack,
        within(this.#tokenOf(this.stack) + by, this.stacks[this.stack].length),
      );
    const layer = (by) =>
      this.shell.set({ layer: within(model.get("layer") + by, this.kind.layers) });
    const act = {
      " ": () => this.#play(),
      ArrowRight: () => clock.step(1),
      ArrowLeft: () => clock.step(-1),
      Home: () => clock.seek(0),
      End: () => clock.seek(this.last),
      ArrowUp: () => token(-1),
      ArrowDown: () => token(1),
      PageUp: () => layer(-1),
      PageDown: () => layer(1),
      Enter: () => this.#unfold("steps"),
      m: () => this.#unfold("map"),
      x: () => this.#toggle(this.#edits.off),
      c: () => this.#edits.cut && this.#toggle(this.#edits.cut),
    }[event.key.length > 1 ? event.key : event.key.toLowerCase()];
    if (!act) return;
    taken(event);
    act();
  }

  // ---- unfolding ---------------------------------------------------------------------

  /** Close what is unfolded; true if something was. */
  #fold() {
    this.unfolded?.ended.abort();
    const was = this.unfolded !== null;
    this.unfolded = null;
    this.below.hidden = true;
    this.below.replaceChildren();
    if (was) this.#drawCard();
    return was;
  }

  /** Open a layer's steps or a head's map, or close it if it is open. @param {string} what */
  async #unfold(what) {
    const again = this.unfolded?.what === what;
    this.#fold();
    if (again) return;
    const ended = new AbortController();
    listen(this.signal, "abort", ended.signal, () => ended.abort());
    this.unfolded = { what, ended };
    this.#drawCard();
    if (what === "map") return this.#openMap(ended.signal);
    try {
      const name = ["walk", this.stack, this.layer, this.head, this.#tokenOf(this.stack)].join("/");
      const { message, buffers } = await this.maps.shell.requests.ask({ type: "block", name });
      if (ended.signal.aborted) return;
      const place = element("div.tl-view.tl-view-block");
      this.below.replaceChildren(place);
      this.below.hidden = false;
      const walk = new BlockViewer(
        new Within(this, message.info, buffers[0], this.edits.length ? this.words("unedited") : ""),
        place,
        ended.signal,
      );
      walk.open();
      this.below.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (ended.signal.aborted) return;
      this.#fold();
      this.shell.say(this.words("failed", { why: error.message }));
    }
  }

  #openMap(signal) {
    const canvas = element("canvas#map", { role: "img" });
    this.map = new NumberMap(canvas, signal, { hover: (at) => this.map?.mark(at) });
    this.mapTitle = element("b");
    this.mapLegend = element("div.tl-legend");
    this.below.replaceChildren(
      element("p.tl-heading", this.mapTitle),
      element("div", { style: "position:relative" }, canvas),
      this.mapLegend,
    );
    this.#askMap();
  }

  /** Whether the chosen kind's maps have too many cells to be drawn here. */
  get #isLarge() {
    return this.kind.queries * this.kind.keys > MOST_CELLS;
  }

  get #mapName() {
    return `map/${this.model.get("kind")}/${this.layer}/${this.head}/${JSON.stringify(this.model.get("_edits"))}`;
  }

  #askMap() {
    this.maps.ask(this.#mapName).then(() => this.#drawMap());
  }

  #drawMap() {
    const found = this.maps.known.get(this.#mapName);
    if (this.unfolded?.what !== "map" || !found || !this.map) return;
    const first = this.below.hidden;
    this.below.hidden = false;
    const { queries, keys } = this.kind;
    const kind = this.model.get("kind");
    const table = colourTable("default", this.shell.theme);
    const draw = () =>
      this.map?.show(Math.max(240, Math.min(760, this.below.clientWidth)), 460, {
        rows: queries,
        columns: keys,
        value: (row, column) =>
          kind === "decoder" && column > row ? NaN : found.weights[row * keys + column],
        low: 0,
        high: 1,
        table,
        colours: this.shell.inks,
        square: true,
        rowNames: this.stacks[this.stack],
        columnNames: this.stacks[kind === "cross" ? "encoder" : kind],
        write: (x) => (x < 0.005 ? "" : fixed(x)),
      });
    const title = this.words("heads_map", { layer: this.layer, head: this.head });
    say(this.mapTitle, title);
    this.map.canvas.ariaLabel = title;
    crossFade(this.map.canvas, draw);
    this.mapLegend.replaceChildren(...linearLegend(table, 0, 1, this.words("weight"), String));
    if (first) this.below.scrollIntoView({ block: "nearest" });
  }

  // ---- drawing ------------------------------------------------------------------------------

  open() {
    const { pass, lens } = this.#names();
    this.shell.draw();
    if (!this.passes.known.has(pass)) this.passes.ask(pass);
    if (!this.lenses.known.has(lens)) this.lenses.ask(lens);
  }

  draw() {
    const { shell, found, about, stacks, main } = this;
    const both = Object.keys(stacks).length > 1;
    shell.subtitle.textContent = this.words("subtitle", {
      layers: found.rows(main) - 1,
      tokens: stacks[main].length,
      encoder_layers: both ? found.rows("encoder") - 1 : null,
      encoder_tokens: both ? stacks.encoder.length : null,
    });
    this.bar.set(
      this.step,
      found.steps.map((_, i) => i),
    );
    this.#show();
    const { from, to, before, after } = /** @type {any} */ (this.picture.seen)[main];
    this.pager.hidden = !before && !after;
    Object.assign(this.pager.firstElementChild, { disabled: !before });
    Object.assign(this.pager.lastElementChild, { disabled: !after });
    say(this.where, this.words("window", { from, to: to - 1, all: stacks[main].length }));
    const without = this.found.steps.filter(({ what }) => what === "none");
    const has = (part) => this.found.steps.some(({ what }) => what === part);
    const legend = this.words("legend", {
      without: without.map(({ layer }) => layer).join(", ") || null,
      part: has("MLP") ? "MLP" : has("block") ? "block" : null,
      edited: Boolean(this.found.now),
    });
    say(this.legend, legend);
    const notes = [
      this.model.get("_note"),
      ...(about.weighted ? [] : [this.words("unweighted")]),
      ...(about.norms ? [] : [this.words("no_norms")]),
      ...(this.guessed.why && this.guessed.answers.length && !about.classes
        ? [this.words("no_lens", { why: this.guessed.why })]
        : []),
    ];
    if (this.#isLarge) notes.push(this.words("large"));
    const share = this.#listedShare();
    if (share !== null) notes.push(this.words("listed", { layer: this.focus.layer, share }));
    say(this.note, notes.filter(Boolean).join(" "));
    this.#drawAnswers();
    this.#drawKey();
    this.#drawCard();
    this.#drawTransport();
    this.#tell();
    this.root.dataset.edits = String(this.edits.length);
  }

  /** The fraction that is drawn of what attention moves in the layer in focus. */
  #listedShare() {
    const { stack, layer } = this.focus;
    const band = this.found.bands.find((one) => one.stack === stack && one.layer === layer);
    const step = band?.steps.find((at) => this.found.steps[at].edges);
    if (!band || step === undefined) return null;
    const sum = this.found.steps[step].sums?.[this.found.now] ?? 0;
    const pointed = this.picture.scene.pointed;
    this.picture.scene.pointed = null;
    const drawn = this.picture
      .drawn({ ...band, high: 99 }, step)
      .reduce((all, edge) => all + edge.after, 0);
    this.picture.scene.pointed = pointed;
    return sum > 0 ? Math.min(1, drawn / sum) : null;
  }

  /** Set the picture's scene, and let its layers glide to their heights. */
  #show() {
    const { picture, found, stacks, main, shell, several } = this;
    const width = Math.max(260, /** @type {HTMLElement} */ (this.canvas.parentElement).clientWidth);
    const tokens = Object.fromEntries(
      Object.keys(stacks).map((stack) => [stack, this.#tokenOf(stack)]),
    );
    const kindOf = (edit) => (edit.kind === "cross" ? "decoder" : (edit.kind ?? main));
    const off = (stack, layer) =>
      this.edits
        .filter(
          (edit) =>
            edit.edit === "ablate" && kindOf(edit) === stack && (edit.layer ?? layer) === layer,
        )
        .map(({ head }) => `✕${head ?? ""}`)
        .join(" ");
    const marked = Object.fromEntries(
      Object.keys(stacks).map((stack) => [stack, this.#chosenOf(stack)]),
    );
    const words = {
      lens: this.words("lens"),
      layer: (stack, layer, short) =>
        short
          ? String(layer)
          : several
            ? `${this.words("stack", { stack })} ${layer}`
            : this.words("layer", { layer }),
      off,
    };
    picture.show({
      found,
      stacks,
      main,
      focus: this.focus,
      tokens,
      marked,
      pointed: this.#pointedToken(),
      edge: this.pointed?.edge ?? this.edge,
      lens: this.guessed.rows,
      words,
      inks: shell.inks,
      width,
    });
    const [was, wanted] = [picture.heights, picture.wanted()];
    this.stopped?.();
    if (was.every((high, i) => Math.abs(high - wanted[i]) < 0.5))
      return picture.draw(this.clock.at);
    this.stopped = glide((share) => {
      picture.reshape(was.map((high, i) => high + (wanted[i] - high) * share));
      picture.draw(this.clock.at);
    }, this.signal);
  }

  /** @param {number} at */
  #tick(at) {
    this.#bound();
    const step = this.step;
    if (step === this.drawnStep && !this.clock.playing) return this.picture.draw(at);
    if (step !== this.drawnStep) {
      const { stack, layer } = this.focus;
      const focus = this.picture.scene.focus;
      this.drawnStep = step;
      this.bar.set(
        step,
        this.found.steps.map((_, i) => i),
      );
      if (stack !== focus.stack || layer !== focus.layer) this.#show();
      this.#tell();
    }
    this.picture.draw(at);
    if (!this.clock.playing) this.#stepped();
  }

  /** Set the `step` trait if the step has changed. */
  #stepped() {
    const step = this.clock.at >= this.last ? null : this.step;
    if (step !== this.model.get("step")) this.shell.set({ step });
  }

  #follow() {
    const step = this.model.get("step") ?? this.last;
    if (!this.clock.playing && this.step !== step) this.clock.seek(step);
  }

  /** Disable the back button at the first step, and the forward button at the last. */
  #bound() {
    this.back.disabled = this.clock.at <= 0;
    this.on.disabled = (this.clock.playing ? this.step : this.clock.at) >= this.last;
  }

  #drawTransport() {
    const { playing, single, at } = this.clock;
    this.playButton.textContent = this.words("play", {
      playing: playing && !single,
      ended: at >= this.last,
    });
    this.playButton.ariaLabel = this.playButton.title = this.playButton.textContent.replace(
      /^\S+ /,
      "",
    );
    this.#bound();
    this.root.dataset.playing = String(playing);
    if (!playing) this.#stepped();
  }

  #drawAnswers() {
    const { guessed: said, found, about, stacks, main } = this;
    const edited = found.now > 0;
    say(
      this.answersTitle,
      this.words("answers", {
        classes: about.classes,
        here: about.here,
        token: stacks[main][said.position],
      }),
    );
    const bar = (p, look, name) => {
      const part = barPart(
        p, // the whole track is 100%
        look,
        `var(--tl-${look === "tl-after" ? "edited" : edited ? "quiet" : "accent"})`,
      );
      part.firstElementChild?.setAttribute("data-moves", name);
      return part;
    };
    const rows = said.answers.map(([name, before, after], i) =>
      rowPart(
        {
          "data-moves": `row ${name}`,
          class: edited && i >= said.answers.length - said.risen ? "tl-new" : "",
        },
        tokenElement(name),
        [
          bar(before, "tl-before", `before ${name}`),
          edited && bar(after, "tl-after", `after ${name}`),
        ],
        element("td.tl-number", percentText(before)),
        edited && element("td.tl-number", percentText(after)),
      ),
    );
    const heads = [this.words("token"), "", this.words("before"), this.words("after")];
    travel(this.answersTable, () =>
      this.answersTable.replaceChildren(
        ...(rows.length
          ? tableParts(edited ? heads : [this.words("token"), "", this.words("probability")], rows)
          : [element("caption", this.words("no_answers"))]),
      ),
    );
  }

  /** Show the colours of the heads. */
  #drawKey() {
    const heads = Math.min(COLOURS, this.kind.heads);
    const one = (head) =>
      element(
        "span.tl-check",
        element("span.tl-dot", { style: `background:${headColour(head)}` }),
        ` ${head}`,
      );
    this.key.replaceChildren(
      element("span", this.words("key")),
      ...Array.from({ length: heads }, (_, head) => one(head)),
      ...(this.kind.heads > COLOURS ? [element("span", this.words("repeats"))] : []),
    );
  }

  #drawCard() {
    const { shell, layer, head, mayEdit, edge, stacks, stack, model } = this;
    const { off, cut } = this.#edits;
    const able = (made, on = true) => Object.assign(made, { disabled: !on });
    const isOpen = (what) => ({ open: this.unfolded?.what === what, layer });
    const dot = element("span.tl-dot", { style: `background:${headColour(head)}` });
    this.choice.show();
    putAnew(this.card, [
      kindChoice(model.get("_kinds"), model.get("kind"), (kind) => this.changeKind(kind)).root,
      this.choice.root,
      dot,
      able(
        button(this.words("off", { off: this.#isMade(off), layer, head }), "off", () =>
          this.#toggle(off),
        ),
        mayEdit,
      ),
      able(
        button(this.words("map", isOpen("map")), "open-map", () => this.#unfold("map")),
        !this.#isLarge,
      ),
      button(this.words("steps", isOpen("steps")), "open-steps", () => this.#unfold("steps")),
    ]);
    const names = stacks[model.get("kind") === "cross" ? "encoder" : stack];
    putAnew(
      this.edgeLine,
      edge && cut
        ? [
            element("span", this.#edgeWords(edge)),
            able(
              button(this.words("cut", { cut: this.#isMade(cut) }), "cut", () => this.#toggle(cut)),
              mayEdit,
            ),
          ]
        : [],
    );
    const edits = model.get("_edits");
    const chip = (edit, i) => {
      const words = this.#editWords(edit);
      return button(`${words} ×`, `undo-${i}`, this.words("undo_one", { edit: words }), () =>
        this.#toggle(edit),
      );
    };
    putAnew(
      this.editsBar,
      mayEdit
        ? [
            ...edits.map(chip),
            ...(edits.length > 1
              ? [
                  removeAll(
                    () => shell.set({ _edits: [] }),
                    this.words("undo"),
                    this.words("undo_all"),
                  ),
                ]
              : []),
          ]
        : [element("span.tl-hint", this.words("snapshot"))],
    );
    say(this.listName, this.words("strongest", { layer }));
    const step = this.found.steps.findIndex(
      (one) => one.kind === model.get("kind") && one.layer === layer && one.edges,
    );
    const top =
      step < 0
        ? []
        : this.found
            .edges(step)
            .toSorted((a, b) => b.after - a.after)
            .slice(0, LISTED_EDGES);
    putAnew(this.strongest, [
      element(
        "tbody",
        top.map((one) => {
          const link = element(
            `button.tl-link#edge-${one.head}-${one.query}-${one.key}`,
            { click: () => this.#choose(one) },
            tokenElement(stacks[stack][one.query]),
            " → ",
            tokenElement(names[one.key]),
          );
          return element(
            "tr",
            element(
              "td",
              element("span.tl-dot", {
                style: `display:inline-block;background:${headColour(one.head)}`,
              }),
              ` ${one.head}`,
            ),
            element("td", link),
            element("td.tl-number", fixed(one.after, 2)),
          );
        }),
      ),
    ]);
  }

  /** Describe an edit like edit_words.py. @param {Record<string, any>} edit */
  #editWords({ edit, kind: own, layer = null, head = null, query = null, key = null }) {
    const { stacks, main, several, model } = this;
    const [queries, keys] =
      own === "cross"
        ? [stacks.decoder, stacks.encoder]
        : [stacks[own ?? main], stacks[own ?? main]];
    const shown = own ?? (several ? "" : null);
    const kind =
      shown === null || shown === (several ? model.get("kind") : "") ? null : shown || "decoder";
    return this.words("edit", {
      edit,
      kind,
      layer,
      head,
      query: query === null ? null : queries[query],
      key: key === null ? null : keys[key],
    });
  }

  /** @param {Edge} edge */
  #edgeWords({ kind, layer, head, query, key, before, after }) {
    const [queries, keys] =
      kind === "cross"
        ? [this.stacks.decoder, this.stacks.encoder]
        : [this.stacks[kind], this.stacks[kind]];
    return this.words("edge", {
      layer,
      head,
      from: keys[key],
      key,
      token: queries[query],
      query,
      size: before,
      after: this.found.now ? after : null,
    });
  }

  /** Write the sentence, and the readout of the spot pointed at. */
  #tell() {
    const sentence = this.words("sentence", this.#values());
    this.say(sentence);
    this.canvas.ariaLabel = this.words("canvas", { sentence });
    this.root.dataset.step = String(this.step);
    const { edge, stack, token, row, part, layer } = this.pointed ?? {};
    let words = this.words("try", { touch: byTouch() });
    if (edge) words = this.#edgeWords(edge);
    else if (stack !== undefined && token !== undefined && row !== undefined) {
      const [name, now] = [this.stacks[stack][token], this.found.now];
      const of = (read) => ({ was: read(0), is: now ? read(1) : null });
      const { was, is } = part
        ? of((n) => this.found.share(stack, part, layer ?? 0, token, n))
        : of((n) => this.found.norm(stack, row, token, n));
      words = part
        ? this.words("added", { part, layer, token: name, position: token, share: was, after: is })
        : this.words("stream", {
            token: name,
            position: token,
            size: was,
            layer: row ? row - 1 : null,
            after: is,
          });
    }
    say(this.readout, words);
  }

  /** Values of the sentence, as in view.py. */
  #values() {
    const { found, guessed: said, stacks, main, about, several, edits } = this;
    const step = found.steps[this.step];
    const { what, stack, layer, why = null } = step;
    const token =
      stack === main ? said.position : Math.min(said.position, stacks[stack].length - 1); // the token for which this is known
    const words = edits.map((edit) => this.#editWords(edit));
    const values = /** @type {any} */ ({
      what,
      stack,
      several,
      layer,
      why,
      n: stacks[main].length,
      token: numbered(stacks[stack], token),
      here: about.here,
      classes: about.classes,
      share: null,
      would: null,
      head: null,
      answer: null,
      edits: words.join(this.words("and")) || null,
      best: null,
      from: null,
    });
    if (step.edges) {
      const edge = found.strongest(this.step, token);
      if (edge)
        Object.assign(values, {
          from: numbered(stacks[edge.kind === "cross" ? "encoder" : edge.kind], edge.key),
          head: edge.head,
        });
    } else if (what in found.info.stacks[stack].shares) {
      values.share = found.share(stack, what, layer, token);
      if (stack === main && said.rows.length)
        [[values.would, values.chance]] = said.rows[found.now][layer + 1];
    }
    if (said.answers.length) {
      const [answer, before, after] = said.answers[0];
      const best = said.answers.reduce((a, b) => (b[2] > a[2] ? b : a));
      Object.assign(values, {
        answer,
        before,
        after,
        best_after: best[2],
        best: best[0] === answer ? null : best[0],
      });
    }
    return values;
  }

  get title() {
    return this.words("title", { title: super.title });
  }

  pictures() {
    return [{ canvas: this.canvas, title: this.words("picture") }];
  }

  fileNumbers() {
    const { found, guessed: said, stacks, main } = this;
    const edges = found.steps.flatMap((step, i) => (step.edges ? found.edges(i) : []));
    const { first, count } = found.info.stacks[main];
    const of = (name, read, key = name) => [
      name,
      [["edge"], edges.map(read), this.words(`is_${key}`)],
    ];
    const size = (now) => [
      ["after", "position"],
      (row, at) => found.norm(main, row, first + at, now),
      this.words(now ? "is_size_edited" : "is_size"),
    ];
    const chance = (now) => [
      ["prediction"],
      said.answers.map((row) => row[1 + now]),
      this.words(now ? "is_probability_edited" : "is_probability"),
    ];
    const parts = Object.fromEntries([
      .../** @type {const} */ (["kind", "layer", "head", "query", "key"]).map((name) =>
        of(name, (edge) => edge[name]),
      ),
      of("carried", ({ before }) => before),
      ["size", size(0)],
      ...(said.answers.length ? [["probability", chance(0)]] : []),
      ...(found.now
        ? [
            of("carried_edited", ({ after }) => after),
            ["size_edited", size(1)],
            ...(said.answers.length ? [["probability_edited", chance(1)]] : []),
          ]
        : []),
    ]);
    const after = [
      this.words("start_row"),
      ...Array.from({ length: found.rows(main) - 1 }, (_, i) => String(i)),
    ];
    return numbersOf(
      {
        edge: edges.map((_, i) => i),
        after,
        position: stacks[main].slice(first, first + count),
        prediction: said.answers.map(([name]) => name),
      },
      parts,
    );
  }
}

export default mounted(ModelViewer, "model");
