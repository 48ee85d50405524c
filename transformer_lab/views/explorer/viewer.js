// The Explorer: a text to type, heads to switch off, edges to cut, and the predictions before and
// after. It contains the heads of a HeadView, and passes them the weights before and after the
// edits.

import { alive } from "./alive.js";
import { Answer } from "./answer.js";
import { AskPanel } from "./ask.js";
import { popover } from "../shared/controls.js";
import { Entrance, Tour } from "./entrance.js";
import {
  atMostOnceAFrame,
  element,
  hearChanges,
  hearOf,
  onceForAll,
  taken,
  listen,
} from "../shared/dom.js";
import {
  editsOf,
  headOff,
  headTouched,
  sameEdits,
  Steps,
  toggleCut,
  toggleExpert,
  toggleHeads,
} from "./edits.js";
import { EditedMaps } from "./maps.js";
import { EditsPanel, Tools } from "./edits_panel.js";
import { ExpertsPanel } from "./experts.js";
import { ExplorerState } from "./state.js";
import { GridMarks } from "./grid.js";
import { effectsOf, HeadCard } from "./head_card.js";
import { Facts } from "./facts.js";
import { Heads } from "../heads/heads.js";
import { explorerNumbers } from "./numbers.js";
import { Predictions, question } from "./predictions.js";
import { outcomeSentence, sayExplorer, subjectOf } from "./prose.js";
import { Runner } from "./runner.js";
import { picture } from "../heads/picture.js";
import { sayProse } from "../shared/prose.js";
import { inPageLine } from "../pages/in_page_line.js";
import { keepHeight } from "../shared/screen.js";
import { Shell } from "../shared/shell.js";
import { Spans } from "../heads/spans.js";
import { Strip } from "./strip.js";
import { Shares, TableFace } from "./table_face.js";
import { percentText } from "../shared/messages.js";
import { Writing } from "./writing.js";

const MOSTLY = 0.5; // of a token's attention
const [HALF, TENTH] = [0.5, 0.9]; // what is left of a probability

export class ExplorerViewer {
  /** @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(given, root, signal) {
    const model = alive(given, signal);
    this.model = model;
    this.root = root;
    this.signal = signal;
    const state = (this.state = new ExplorerState(model));
    state.simplify();
    state.facts = new Facts(model, signal, () => this.showSoon());
    this.group = new Set(); // heads that are chosen together, "layer/head"
    this.steps = new Steps();
    this.showSoon = onceForAll(atMostOnceAFrame(() => this.show())); // after the request of a click has been sent
    this.shell = new Shell(model, root, signal, {
      copies: sayExplorer("copy_the_selection_as"),
      draw: () => this.heads.draw(),
      png: () =>
        picture(
          this.heads,
          this.#pictureWords(),
          headOff(this.runner.edits, state.place) ? sayExplorer("switched_off") : "",
        ),
      code: () => state.code(),
      part: () => `layer-${state.layer}-head-${state.head}`,
      numbers: () => explorerNumbers(this.heads, state),
      sentence: () => this.#sentence(),
      linked: () => state.linked,
    });
    this.runner = new Runner(state, signal, {
      working: (on) => this.predictions.working(on),
      say: (text, now) => this.#report(text, now),
      settled: () => this.#settled(),
    });
    this.maps = new EditedMaps(model, state, this.runner, this.shell.requests);
    this.heads = new Heads(this.shell, state, this.maps, {
      chosen: (layer, head, event) => this.#choose(layer, head, event),
      tell: (layer, head) => this.#tell(layer, head),
      picked: (spot) => this.#pick(spot),
      drawn: () => this.#drawn(),
      followed: () => this.#strips(),
      rests: () => (state.allTools ? null : this.#predicted),
      known: (layer, head) => this.card.known(layer, head),
    });
    this.spans = new Spans(this.shell, state);
    this.marksOnGrid = new GridMarks(this.heads.thumbnails);
    this.#build();
  }

  #build() {
    const { model, state, runner, signal } = this;
    const { heads, shell } = this;
    this.predictions = new Predictions(
      (position) => runner.want({ position }),
      () => this.#mask(),
    );
    this.status = element("p.tl-message#status", { role: "alert", hidden: true });
    this.ask = new AskPanel(state, {
      run: (goes, stopped) => this.#run(goes, stopped),
      actions: shell.top.actions,
    });
    this.answer = new Answer(heads.readout.sentence, (needed) => {
      this.guessed = { needed, of: this.#question };
      this.#toggleHeads([state.place]);
      this.card.focus(); // what was clicked disappears
    });
    this.edits = new EditsPanel(state, {
      step: (which) => this.#step(which),
      change: (edits) => this.#change(edits),
      unmask: (position) =>
        runner.want({
          masked: model.get("_masked").filter((at) => at !== position),
          position: null,
        }),
      copied: (code) => (this.root.dataset.copiedEdits = code),
      left: () => this.card.focus(),
    });
    this.card = new HeadCard(state, runner, signal, {
      toggle: () => this.#toggleHeads(this.#chosenHeads()),
      report: (text, now) => this.#report(text, now),
      show: () => this.showSoon(),
      choose: (layer, head) => this.#choose(layer, head),
      search: (label) => {
        state.option({ heads: "table" });
        this.table.table.searchFor(label);
      },
      choice: this.heads.choice.root,
    });
    this.table = new TableFace(state, {
      choose: ({ layer, head }) => this.#choose(layer, head),
      toggle: (places) => this.#toggleHeads(places),
      whyNot: (places) => runner.whyNot(toggleHeads(runner.edits, places, state.kinds)),
      edits: () => runner.edits,
      canName: () => this.card.canName,
      shares: new Shares(state, this.maps, shell.requests, () => this.showSoon()),
    });
    this.tools = new Tools(state);
    this.writing = new Writing(
      state,
      runner,
      (was) => this.steps.push({ edits: runner.edits, words: was }),
      {
        pick: (index) => this.#pickToken(state.predictedSide, index),
        fold: (name) => this.#fold(name),
        signal,
      },
    );
    this.entrance = new Entrance(state, {
      sample: (sample) => this.#begin(sample),
      tools: () => this.#changeTools(),
    });
    this.experts = new ExpertsPanel((layer, expert) => this.#toggleExpert(layer, expert));
    this.tint = element("p.tl-tint-note#tint");
    const strip = (side) =>
      new Strip(
        {
          pick: (index) => this.#pickToken(side, index),
          hover: (index) => heads.point(index === null ? null : state.spotOf(side, index)),
          fold: (name) => this.#fold(name),
          append: runner.live ? (place) => this.writing.append(place) : null,
        },
        signal,
        `strip-${side}`,
      );
    this.strips = { text: strip("text"), target: strip("target") };
  }

  /** Lay out the text, the answer, the heads, the map and the predictions on one screen. */
  async open() {
    const { root, shell, heads, card, ask, strips, tools } = this;
    heads.headsPanel.below.append(card.ofAll);
    heads.headsPanel.also(this.table);
    const side = element(
      "section.tl-panel.tl-panel-side.tl-stays",
      { "aria-label": sayExplorer("prediction") },
      this.predictions.root,
      card.root,
      this.edits.root,
      card.cannot,
    );
    heads.panels.append(side);
    this.reads = element("span.tl-quiet", sayExplorer("reads"));
    this.writes = element(
      "div.tl-strip-row",
      element("span.tl-quiet", sayExplorer("writes")),
      strips.target.root,
      ask.whose,
    );
    shell.top.actions.before(this.entrance.toolsButton);
    ask.notes.append(heads.note, inPageLine(this.model, this.signal), this.status, shell.message);
    const foot = element(
      "div.tl-tools",
      tools.tools.root,
      tools.scope.root,
      tools.modes.root,
      this.spans.opener,
      element("span.tl-push"),
      popover(
        sayExplorer("view"),
        "view",
        sayExplorer("what_the_numbers_are"),
        ...heads.viewControls.roots,
      ),
      popover(sayExplorer("keys"), "help", sayExplorer("keys_label"), tools.keys),
      this.spans.root,
    );
    this.screen = element(
      "div.tl-screen",
      this.entrance.root,
      ask.root,
      ask.notes,
      element(
        "div.tl-strips",
        element("div.tl-strip-row", this.reads, strips.text.root),
        this.writes,
        this.writing.other,
        this.writing.row,
        this.tint,
      ),
      this.experts.root,
      this.answer.root,
      heads.panels,
      foot,
    );
    root.append(this.screen);
    this.entrance.leads(new Tour(this.state, this.screen, () => this.#stops(), this.signal));
    this.#showTools();
    heads.headsPanel.showFace(); // the screen is new and needs its class
    (this.state.about.kind === "encoder-decoder" ? this.writes : this.reads.parentElement).append(
      this.writing.root,
    );
    keepHeight(root, this.signal, () => shell.redraw());
    this.#listen();
    this.ask.fill();
    this.show();
    this.spans.start();
    await heads.start();
  }

  #listen() {
    const { model, root, signal } = this;
    const watch = (names, callback) => hearChanges(model, names.split(" "), signal, callback);
    watch("layer head kind", () => this.grouping || this.group.clear());
    watch("_stamp", () => this.#arrived());
    watch("_carried", () => this.ask.allow());
    watch("_outcome _effects _labels _samples layer head kind selected a b", this.showSoon);
    watch("_text", () => {
      this.runner.forget();
      this.group.clear();
      if (!this.writing.growing) this.steps = new Steps(); // Python has changed the text
      this.ask.fill();
    });
    watch("_masked", () => this.runner.forget());
    watch("_options", () => this.state.simplify());
    hearOf(model, ["training"], signal, (text) => this.#report(text, "training"));
    watch("_target", () => {
      this.runner.forget();
      this.ask.target.value = model.get("_target") ?? "";
    });
    listen(root, "keydown", signal, (event) => this.#keys(event));
  }

  /** Slow work, after the first paint. */
  later() {
    if (this.runner.live) this.runner.requests.tell({ type: "facts" }); // a busy kernel reads it later
    if (this.state.about.names && this.card.unnamed) this.card.naming.start();
  }

  /** Follow a link: its text on a page with a model, its edits on other pages too. @param {Record<string, any>} more */
  async follow({ text, target, masked, ids, segments, edits, position }) {
    if (
      !Array.isArray(edits) ||
      !edits.every((edit) => typeof edit?.code === "string" && edit.made)
    )
      throw new Error("this link names what is not in this page");
    const wanted = { text, target, masked, ids, segments, edits, position };
    if (JSON.stringify(wanted) === JSON.stringify(this.state.linked)) return;
    const why = this.runner.whyNot(edits, position);
    if (why) throw new Error(why);
    await this.runner.want(this.runner.live ? wanted : { edits, position });
  }

  // ---- what the reader does -------------------------------------------------------------------

  /** Choose a token: the map shows its row (or column), and the model predicts there if it can. */
  #pickToken(side, index) {
    const { state, runner, model } = this;
    const { position, positions } = model.get("_outcome");
    const moves =
      side === state.predictedSide &&
      positions?.includes(index) &&
      index !== (runner.wanted?.position ?? position) &&
      !runner.whyNot(runner.edits, index);
    if (moves) runner.want({ position: index });
    const spot = state.spotOf(side, index);
    if (!spot) return;
    if (moves) state.set({ selected: [spot.query, spot.key] });
    else if (state.cutting && spot.key !== null) this.#pick(spot);
    else state.pick(spot);
  }

  #fold(name) {
    this.state.fold(name);
    this.showSoon();
  }

  #choose(layer, head, event) {
    const { state } = this;
    const name = `${layer}/${head}`;
    if (event?.shiftKey) {
      if (!this.group.size) this.group.add(`${state.layer}/${state.head}`);
      if (this.group.has(name)) this.group.delete(name);
      else this.group.add(name);
      this.grouping = true;
      state.set({ layer, head });
      this.grouping = false;
      return this.showSoon();
    }
    this.group.clear();
    state.set({ layer, head });
    if (event?.type === "click" && state.tool === "off")
      this.#toggleHeads([{ kind: state.kindName, layer, head }]);
    this.showSoon();
  }

  #tell(layer, head) {
    const label = this.state.labelOf(layer, head);
    const off = headOff(this.runner.edits, { kind: this.state.kindName, layer, head })
      ? sayExplorer("switched_off")
      : "";
    const effect =
      this.state.facts.effects[`${this.state.kindName}/${layer}/${head}`]?.if_off ?? "";
    return [
      sayExplorer("layer_head_of", {
        layer,
        head,
        off,
        part: label.tag ? ` · ${label.sentence}` : "",
      }),
      effect,
    ]
      .filter(Boolean)
      .join("\n");
  }

  #pick(spot) {
    if (this.state.tool === "off") return this.#toggleHeads([this.state.place]);
    if (!this.state.cutting) return this.state.pick(spot);
    const query = spot.query ?? (spot.key !== null ? (this.state.selected?.query ?? null) : null);
    if (spot.query !== null && spot.key === null) return this.state.pick(spot); // first a query, then a key
    this.#cut({ query, key: spot.key });
  }

  #cut(edge) {
    const { kind, place, options } = this.state;
    if (edge.query === null && edge.key === null) return;
    if (
      kind.causal &&
      kind.same &&
      edge.query !== null &&
      edge.key !== null &&
      edge.key > edge.query
    ) {
      return this.#report(
        sayExplorer("there_is_nothing_to", {
          query_token: kind.query_tokens[edge.query],
          key_token: kind.key_tokens[edge.key],
        }),
        "error",
      );
    }
    this.#change(
      toggleCut(this.runner.edits, place, edge, options.scope ?? "head", this.state.kinds),
    );
  }

  #chosenHeads() {
    if (this.group.size < 2) return [this.state.place];
    return [...this.group].map((name) => {
      const [layer, head] = name.split("/").map(Number);
      return { kind: this.state.kindName, layer, head };
    });
  }

  #toggleHeads(places) {
    this.#change(toggleHeads(this.runner.edits, places, this.state.kinds));
  }

  #toggleExpert(layer, expert) {
    const kind = this.state.about.kind === "encoder" ? "encoder" : "decoder";
    this.#change(toggleExpert(this.runner.edits, { kind, layer, expert }, this.state.kinds));
  }

  #change(edits, remember = true) {
    const now = this.runner.edits;
    if (sameEdits(now, edits)) return;
    const why = this.runner.whyNot(edits);
    if (why) return this.#report(why, "error");
    if (remember) this.steps.push({ edits: now, words: this.writing.words });
    this.runner.want({ edits });
    this.showSoon();
  }

  #step(which) {
    const to = this.steps[which]({ edits: this.runner.edits, words: this.writing.words });
    if (to && !this.writing.back(to)) this.#change(to.edits, false);
    this.showSoon();
  }

  /** Start from a sample text, without the edits of another, at the head that it is about. @param {import("./entrance.js").Sample} sample */
  async #begin({ text, layer, head }) {
    const { ask, state, writing } = this;
    this.group.clear();
    this.#change([]);
    ask.text.value = text;
    ask.ran();
    await writing.read({ text, masked: [], position: null });
    if (layer !== undefined && this.model.get("_text") === text) state.set({ layer, head });
  }

  /** Show all tools or few; with few, nothing stays that only a hidden control could change. */
  #changeTools() {
    this.state.changeTools();
    this.group.clear();
    const { present, presentation } = this.shell.top;
    if (!this.state.allTools) {
      this.spans.toggle(false);
      if (presentation.on) present.click();
    }
    this.#showTools();
  }

  #showTools() {
    this.screen.classList.toggle("tl-few", !this.state.allTools);
    this.shell.redraw();
    this.showSoon();
  }

  /** What the tour outlines, step by step, and what must stay visible meanwhile. @returns {[HTMLElement, HTMLElement[]][]} */
  #stops() {
    const { ask, predictions, card, heads, entrance, answer } = this;
    const strips = Object.values(this.strips).map((strip) => strip.root);
    return [
      [ask.root, [ask.root, ...strips]],
      [predictions.root, [predictions.root, card.root]],
      [heads.mapPanel.root, [heads.mapPanel.canvas, predictions.root, answer.root, ...strips]],
      [card.offButton, [card.offButton, predictions.root]],
      [entrance.toolsButton, [entrance.toolsButton]],
    ];
  }

  /** @param {import("../shared/task.js").Goes} goes @param {AbortSignal} stopped */
  async #run(goes, stopped) {
    const { runner, ask, model } = this;
    if (!runner.live) return;
    const before = this.state.linked;
    stopped.addEventListener("abort", () => {
      if (model.get("_saved")) model.send({ type: "stop" });
      runner.want(before); // if Python is still reading, this returns it to the text before
    });
    goes("Reading …");
    const target = this.state.about.kind === "encoder-decoder" ? { target: ask.ownTarget } : {};
    this.group.clear();
    // With few tools every text starts without the edits of another; with all tools a reader may
    // compare texts.
    if (!this.state.allTools && ask.typed !== model.get("_text")) this.#change([]);
    ask.ran();
    await this.writing.read({
      text: ask.typed,
      ...target,
      masked: ask.typed === model.get("_text") ? model.get("_masked") : [],
      position: null,
    });
  }

  #mask() {
    const chosen = this.state.chosenToken;
    if (chosen === null) return;
    this.runner.want({ masked: [...this.model.get("_masked"), chosen], position: chosen });
  }

  #keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tag = event.target.tagName;
    if (tag === "TEXTAREA" || tag === "INPUT" || tag === "SELECT") return;
    const onMap = event.target === this.heads.mapPanel.canvas;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const does = {
      x: () =>
        onMap && this.state.selected
          ? this.#cut(this.state.selected)
          : this.#toggleHeads(this.#chosenHeads()),
      z: () => this.#step("undo"),
      y: () => this.#step("redo"),
    };
    if (event.target === this.heads.thumbnails.canvas) {
      const toggle = () => this.#toggleHeads(this.#chosenHeads());
      Object.assign(does, {
        Enter: toggle,
        " ": () =>
          event.shiftKey ? this.#choose(this.state.layer, this.state.head, event) : toggle(),
      });
    }
    if (key === "Escape" && this.group.size) {
      this.group.clear();
      this.showSoon();
      return;
    }
    if (!does[key]) return;
    taken(event);
    does[key]();
  }

  /**
   * What the head attends to, and the effect of the edits, or of the head itself if that is known.
   */
  #sentence() {
    const { kindName, layer, head, facts } = this.state;
    const effect = this.#effect || facts.effects[`${kindName}/${layer}/${head}`]?.if_off;
    return [this.heads.readout.text, effect].filter(Boolean).join(" ");
  }

  /** The text below the maps in a picture. */
  #pictureWords() {
    const { rows, states, kl } = this.model.get("_outcome");
    const predicted = rows?.length
      ? rows.map(
          ([token, before, after]) =>
            `${token} ${percentText(before)}${after === null ? "" : ` → ${percentText(after)}`}`,
        )
      : (states ?? []).map(([, token, change]) => `${token} ${percentText(change, 1)}`);
    const edits = this.runner.edits.map((edit) => edit.words).join("; ");
    return [
      predicted.length ? `${question(this.state.about)}: ${predicted.join(" · ")}` : "",
      edits
        ? sayExplorer("edits_of", {
            edits,
            part: kl === null ? "" : sayExplorer("kl_nats", { kl: sayExplorer("kl", { kl }) }),
          })
        : "",
    ].filter(Boolean);
  }

  // ---- drawing --------------------------------------------------------------------------------

  /** The head on view has been drawn. */
  #drawn() {
    const { state, heads } = this;
    this.#marks();
    this.tools.show(this.maps.there);
    this.root.dataset.tool = state.tool;
    this.root.classList.toggle("tl-head-off", headOff(this.runner.edits, state.place));
    heads.thumbnails.canvas.ariaLabel = this.#gridWords();
  }

  #gridWords() {
    const { layers, heads } = this.state.kind;
    const words = this.#tell(this.state.layer, this.state.head).replace(/\.?$/, ".");
    return sayExplorer("layers_by_heads_each", { layers, heads, words });
  }

  #marks() {
    const { inks } = this.shell;
    if (!inks) return;
    const { kindName: kind } = this.state;
    const { effects } = this.state.facts;
    const { edits } = this.runner;
    if (effects !== this.found?.effects || kind !== this.foundKind) {
      this.found = effectsOf(this.state);
      this.foundKind = kind;
    }
    const { found } = this;
    this.marksOnGrid.draw(
      (layer, head) => {
        const place = { kind, layer, head };
        const change = found.changes.get(`${kind}/${layer}/${head}`);
        const { tag, short } = this.state.labelOf(layer, head);
        return {
          off: headOff(edits, place),
          touched: headTouched(edits, place),
          grouped: this.group.has(`${layer}/${head}`),
          tag: short ?? tag, // a view saved earlier has no short one
          effect:
            found.swept && change !== undefined
              ? {
                  part: change / found.scale,
                  estimate: found.estimates.has(`${kind}/${layer}/${head}`),
                }
              : null,
        };
      },
      inks,
      [edits, effects, this.model.get("_labels"), kind, [...this.group].join()],
    );
    this.card.tellSweep(found);
  }

  /** Show a result that has arrived. */
  #arrived() {
    this.maps.arrived();
    this.heads.renew();
    this.showSoon();
  }

  /** Python has answered; if the answer is on view already, do not show it again. */
  #settled() {
    const { model, runner, showed } = this;
    const now = [model.get("_stamp"), model.get("_outcome"), model.get("_outcome").position];
    const same =
      showed &&
      now.every((one, i) => one === showed.now[i]) &&
      sameEdits(showed.edits, runner.edits);
    if (same) this.root.dataset.settled = "true";
    else this.showSoon();
  }

  /** Show everything except the heads' own pictures. */
  show() {
    const { model, runner, state } = this;
    const { about } = state;
    const edits = runner.edits;
    const outcome = model.get("_outcome");
    this.showed = {
      edits,
      now: [model.get("_stamp"), outcome, runner.wanted?.position ?? outcome.position],
    };
    this.predictions.show({
      outcome,
      about,
      edited: edits.length > 0,
      tokens: about.tokens,
      chosen: state.chosenToken,
      runner,
      asked: runner.wanted?.position ?? null,
      locked:
        about.kind !== "encoder" && state.kindName !== "encoder"
          ? (state.selected?.query ?? null)
          : null,
    });
    const note = outcome.note ? ` ${outcome.note}` : "";
    this.answer.show(
      `${edits.length ? this.#effect : this.#invitation(outcome)}${note}`.trim(),
      state.place,
      this.#verdict(outcome),
      !edits.length && Boolean(this.#invitation(outcome)) && about.predicts,
    );
    this.ask.show();
    this.entrance.show();
    this.#strips();
    this.writing.show(runner.wanted?.position ?? outcome.position);
    this.experts.show(outcome.experts ?? null, state, outcome.position ?? 0);
    this.edits.show(runner, this.steps, this.writing.differs(this.steps.past.at(-1)?.words));
    this.card.show(this.#chosenHeads());
    this.table.show();
    this.#marks();
    this.heads.markCuts();
    Object.assign(this.root.dataset, {
      edits: String(edits.length),
      stamp: String(model.get("_stamp")),
      settled: String(runner.wanted === null),
    });
  }

  /** A sentence about the edits whose outcome is on view. */
  get #effect() {
    const outcome = this.model.get("_outcome");
    const { sentence, edits_of_maps: given } = outcome;
    if (sentence || !given.length) return sentence;
    return outcomeSentence(subjectOf(editsOf(this.model, given)), outcome); // Python lacks the words
  }

  /** Whether the prediction needs the only head that is off. */
  #verdict({ rows, edits_of_maps: given }) {
    const [only, ...more] = editsOf(this.model, given);
    const off = only?.made.edit === "ablate" && only.made.head !== undefined && !more.length;
    if (!off || !rows?.length || rows[0][2] === null) return "";
    const [[, before, after]] = rows;
    const other = rows.some((row) => row[2] > after);
    const how = other || after < HALF * before ? "yes" : after < TENTH * before ? "partly" : "no";
    const { needed, of } = this.guessed ?? {};
    const right = how === "partly" ? "half" : (how === "yes") === needed ? "right" : "wrong";
    return sayExplorer("verdict", { how, guess: of === this.#question ? right : "none" });
  }

  /** What the headline asks about: a guess belongs to it. */
  get #question() {
    const { text, position } = this.state.linked;
    return JSON.stringify([text, position, this.state.place]);
  }

  /** What a reader could try before the first edit. */
  #invitation({ rows, position }) {
    const { about, blind, layer, head } = this.state;
    if (blind || this.state.whyNot("off")) return "";
    if (!about.predicts) return sayExplorer("invite_states", { layer, head });
    if (!rows?.length || position === null) return "";
    return sayExplorer("invite", {
      token: rows[0][0],
      before: rows[0][1],
      kind: about.kind,
      at: about.tokens[position],
      layer,
      head,
    });
  }

  /** The spot in the map of the token that the prediction follows or replaces. */
  get #predicted() {
    const { position } = this.model.get("_outcome");
    return position === null || position === undefined
      ? null
      : this.state.spotOf(this.state.predictedSide, position);
  }

  /** How much the locked token, or the one with the prediction, attends to each token of a side. */
  #tints() {
    const { state, heads, runner } = this;
    const query = (heads.hover ?? state.selected ?? this.#predicted)?.query ?? null;
    if (
      query === null ||
      query >= state.kind.queries ||
      !heads.rowOf ||
      heads.signed ||
      state.valueWeighted ||
      state.block
    )
      return null;
    const side =
      state.kindName === "encoder" || state.kindName === "cross" ? "text" : state.predictedSide;
    const off = headOff(runner.edits, state.place);
    const token = state.kind.query_tokens[query];
    return { side, weights: heads.rowOf(query), token, from: query, off };
  }

  /** Show the tokens that the model reads and writes. */
  #strips() {
    const { state, model, heads, runner, strips } = this;
    const { about } = state;
    const both = about.kind === "encoder-decoder";
    this.writes.hidden = !both;
    this.reads.hidden = !both && !this.writing.compares;
    this.writing.nameStrip();
    const tints = this.#tints();
    const spaced = state.about.tokens?.some((token) => /^·+$/.test(token)); // others are seen as gaps
    const self = tints && tints.side === state.predictedSide ? tints.weights[tints.from] : 0;
    const arcs = state.kindName === "cross" ? null : tints; // there, the keys are another text's
    const values = { token: tints?.token, spaced: Boolean(spaced), self: self >= MOSTLY };
    sayProse(this.tint, tints && !tints.off ? sayExplorer("tint", values) : "");
    for (const side of /** @type {("text" | "target")[]} */ (
      both ? ["text", "target"] : ["text"]
    )) {
      const predicted = side === state.predictedSide;
      const outcome = model.get("_outcome");
      const at = predicted ? (runner.wanted?.position ?? outcome.position) : null;
      strips[side].show({
        tokens: state.tokensOf(side),
        segments: predicted ? state.about.segments : [],
        folded: state.folded,
        at,
        chosen: state.tokenOf(side, state.selected),
        hover: state.tokenOf(side, heads.hover),
        marked:
          about.kind === "encoder"
            ? new Set(outcome.positions ?? [])
            : new Set(predicted ? this.writing.parts : []),
        since: predicted ? this.writing.since : Infinity,
        first: predicted ? this.writing.parts[0] : undefined,
        open: predicted || state.spotOf(side, 0) !== null,
        next: predicted && at === outcome.position && at !== null ? (outcome.rows ?? []) : [],
        weights: tints?.side === side && !tints.off ? tints.weights : null,
        arched: state.allTools ? undefined : arcs?.side === side ? arcs : null,
        inside: about.kind === "encoder",
        name:
          side === "target"
            ? sayExplorer("tokens_that_it_writes")
            : sayExplorer("tokens_that_it_reads"),
      });
    }
  }

  #report(text, state) {
    this.status.textContent = text;
    this.status.hidden = !text;
    this.root.dataset.state = state;
    if (state === "error") this.ask.refuse();
  }
}
