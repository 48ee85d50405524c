// The Explorer: a text to type, heads to switch off, edges to cut, and the predictions before and
// after. It builds on the heads of HeadViewer.

import { afterPaint, atMostOnceAFrame, copyText, element } from "./dom.js";
import { button, menu, radioGroup } from "./controls.js";
import {
  cutRow, cutsOf, cutsReachOnly, defaultKind, editWords, editsCode, headOff, headTouched, sameEdits, Steps, toggleCut, toggleHeads,
} from "./explorer_edits.js";
import { GridMarks } from "./explorer_grid.js";
import { klText, percentText, Predictions, question } from "./explorer_predictions.js";
import { NEEDS_KERNEL, Runner } from "./explorer_runner.js";
import { HeadStore } from "./head_store.js";
import { HeadViewer } from "./head_viewer.js";
import { Superseded } from "./requests.js";
import { headName, quoted, short } from "./words.js";

const SCOPES = [
  { value: "head", text: "in this head" },
  { value: "layer", text: "in this layer" },
  { value: "all", text: "in all heads" },
];

const LEAST_CHANGE = 0.01; // of a probability, or a share: where no head does more, no bar is long

export class ExplorerViewer extends HeadViewer {
  // ---- what there is --------------------------------------------------------------------------

  get about() {
    return this.model.get("_about");
  }

  get usual() {
    return defaultKind(Object.keys(this.model.get("_kinds")));
  }

  get place() {
    return { kind: this.kindName, layer: this.layer, head: this.head };
  }

  /** Whether Python has computed the maps with these edits. */
  get mapsHere() {
    return sameEdits(this.model.get("_edits"), this.model.get("_after_edits"));
  }

  /** Whether the maps with the edits are here, or can be had. */
  get mapsEdited() {
    const edits = this.model.get("_edits");
    return edits.length > 0 && (this.mapsHere || cutsReachOnly(edits, this.place, this.usual));
  }

  get mode() {
    const wanted = this.options.map ?? "after";
    return this.mapsEdited ? wanted : "before";
  }

  get signed() {
    return this.mode === "difference";
  }

  get edited() {
    return this.mode === "after";
  }

  get cuts() {
    return cutsOf(this.runner.edits, this.shown ?? this.place, this.usual);
  }

  get tool() {
    return this.options.tool ?? "look";
  }

  /** The token that could be masked: the chosen query, where it is one of the text. */
  get chosenToken() {
    const chosen = this.selected?.query ?? this.selected?.key ?? null;
    return this.kindName === "encoder" && chosen !== null && !this.model.get("_masked").includes(chosen) ? chosen : null;
  }

  // ---- building -------------------------------------------------------------------------------

  layout() {
    const { model, root, signal } = this;
    this.after = new HeadStore(model, signal, this.store);
    this.group = new Set();
    this.steps = new Steps();
    this.runner = new Runner(model, signal, {
      working: (on) => this.#working(on),
      say: (text, state) => this.#told(text, state),
      settled: () => this.showSoon(),
    });
    this.showSoon = atMostOnceAFrame(() => this.show());
    this.predictions = new Predictions((position) => this.runner.want({ position }), () => this.#mask());
    this.marksOnGrid = new GridMarks(this.thumbnails);
    this.#buildAsk();
    this.#buildEdits();
    this.#buildHead();
    this.#buildMap();
    this.headsPanel.insertBefore(this.clickSwitch.root, this.thumbnails.root);
    this.headsPanel.append(this.card);
    this.linesPanel.classList.add("tl-panel-wide");
    const verdict = element("div", { class: "tl-loop" }, this.predictions.root, this.editsPanel);
    root.append(this.header, this.ask, this.status, this.message, this.note, verdict, this.controlBar, this.panels, this.foot);
    this.#listenMore();
    this.#fillAsk();
    this.show();
  }

  #buildAsk() {
    const live = this.runner.live;
    this.text = element("textarea", {
      class: "tl-text", rows: 1, spellcheck: "false", "aria-label": "Text that the model reads", "data-part": "text",
      readonly: !live, maxlength: 100_000,
    });
    this.target = element("textarea", {
      class: "tl-text", rows: 1, spellcheck: "false", "aria-label": "What it writes (empty: its own answer)",
      "data-part": "target", readonly: !live, maxlength: 100_000,
    });
    this.run = button("Run", "run", () => this.#run(), "Run the model on this text (Enter)");
    this.run.classList.add("tl-main");
    this.whose = element("span", { class: "tl-quiet tl-whose", "data-part": "whose" });
    const targetRow = element("div", { class: "tl-ask-row", "data-part": "target-row" },
      element("span", { class: "tl-label" }, "writes"), this.target, this.whose);
    this.targetRow = targetRow;
    this.unread = element("p", { class: "tl-hint", role: "status", "data-part": "unread", hidden: true });
    this.lead = live
      ? "Type a text, press Enter. Click a head to see what it looks at; switch it off to see if it matters."
      : this.about.effects
        ? "A saved page: click a head to see what it looks at; switch it off to see if it matters. Another text, or cutting edges, needs a live kernel."
        : "A saved page: click a head to see what it looks at. Switching it off, cutting edges, or another text needs a live kernel.";
    this.leadLine = element("p", { class: "tl-lead", "data-part": "lead" }, this.lead);
    this.ask = element(
      "div",
      { class: "tl-ask" },
      this.leadLine,
      element("div", { class: "tl-ask-row" }, element("span", { class: "tl-label" }, "reads"), this.text, this.run),
      targetRow,
      this.unread,
    );
    this.run.hidden = !live;
    this.status = element("p", { class: "tl-message", role: "alert", "data-part": "status", hidden: true });
    for (const area of [this.text, this.target]) {
      area.addEventListener("input", () => {
        this.#grow(area);
        this.#showAsk();
      });
      area.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.#run();
      });
    }
  }

  #buildEdits() {
    this.undo = button("Undo", "undo", () => this.#step("undo"), "Undo the last change (Z)");
    this.redo = button("Redo", "redo", () => this.#step("redo"), "Do it again (Y)");
    this.reset = button("Reset", "reset", () => this.#change([]), "Take every edit back");
    this.copyEdits = button("Copy edits as Python", "copy-edits", () => this.#copyEdits(), "Copy the edits, and a run without and with them, as Python");
    this.chips = element("ul", { class: "tl-chips", "data-part": "edits" });
    this.copiedEdits = element("span", { class: "tl-quiet", role: "status", "data-part": "copied-edits" });
    this.editsPanel = element(
      "section",
      { class: "tl-edits", "aria-label": "Edits" },
      element("p", { class: "tl-heading" }, element("b", {}, "Your edits"), " ",
        element("span", { class: "tl-actions" }, this.undo, this.redo, this.reset)),
      this.chips,
      element("p", { class: "tl-actions" }, this.copyEdits, this.copiedEdits),
    );
  }

  #buildHead() {
    this.clickSwitch = radioGroup({
      label: "Click", part: "click-mode",
      choices: [{ value: "look", text: "shows" }, { value: "off", text: "switches off" }],
      chosen: "look",
      choose: (value) => this.option({ click: value }),
    });
    this.headTitle = element("b", { "data-part": "head-title" });
    this.matter = element("p", { class: "tl-matter", role: "status", "aria-live": "polite", "data-part": "head-effect" });
    this.evidence = element("p", { class: "tl-hint", "data-part": "head-label" });
    this.offButton = button("Switch this head off", "head-off", () => this.#toggleHeads(this.#chosenHeads()), "Switch the chosen heads off, or on again (X)");
    this.offButton.classList.add("tl-main");
    this.askEffect = button("Does it matter?", "ask-effect", () => this.#effect(true), "Compute what happens without this head");
    this.sweep = button("What does each head do?", "sweep", () => this.#sweepAll(), "Switch every head off in turn, and show what that changes");
    this.nameButton = button("Name the heads", "names", () => this.#nameHeads(), "Look for heads that do one thing, on repeated random tokens; takes some seconds");
    this.sweepNote = element("p", { class: "tl-hint", "data-part": "sweep-note" });
    this.card = element(
      "div",
      { class: "tl-card", "data-part": "card" },
      element("p", {}, this.headTitle),
      this.evidence,
      this.matter,
      element("p", { class: "tl-actions" }, this.offButton, this.askEffect, this.sweep, this.nameButton),
      this.sweepNote,
      element("p", { class: "tl-hint", "data-part": "keys" }, "Keys: arrows choose, X switches off, Shift-click takes several, Z undoes."),
    );
  }

  #buildMap() {
    this.tools = radioGroup({
      label: "Tool", part: "tool", quiet: true,
      choices: [{ value: "look", text: "look" }, { value: "cut", text: "✂ cut" }],
      chosen: "look",
      choose: (value) => this.option({ tool: value }),
    });
    this.scope = menu("Where an edge is cut", "scope", SCOPES, (value) => this.option({ scope: value }));
    this.modes = radioGroup({
      label: "Map", part: "map-mode", quiet: true,
      choices: [{ value: "before", text: "before" }, { value: "after", text: "after" }, { value: "difference", text: "difference" }],
      chosen: "after",
      choose: (value) => this.option({ map: value }),
    });
    this.toolHint = element("span", { class: "tl-quiet", "data-part": "tool-hint" });
    this.mapTools = element("div", { class: "tl-map-tools" }, this.tools.root, this.scope.root, this.modes.root, this.toolHint);
    this.mapPanel.insertBefore(this.mapTools, this.mapPanel.children[1]);
    this.mapPanel.append(this.flag);
  }

  #listenMore() {
    const { model, signal } = this;
    const watch = (name, callback) => {
      model.on(`change:${name}`, callback);
      signal.addEventListener("abort", () => model.off(`change:${name}`, callback));
    };
    for (const name of ["layer", "head", "kind"]) watch(name, () => this.grouping || this.group.clear());
    watch("_stamp", () => this.#arrived());
    for (const name of ["_effects", "_labels"]) watch(name, () => this.showSoon());
    for (const name of ["layer", "head", "kind", "selected"]) watch(name, () => this.showSoon());
    watch("_text", () => {
      this.runner.forget();
      this.group.clear();
      this.steps = new Steps(); // edits of the old text may name its tokens
      this.#fillAsk();
    });
    watch("_masked", () => this.runner.forget());
    watch("_target", () => {
      this.runner.forget();
      this.target.value = model.get("_target") ?? "";
    });
    this.root.addEventListener("keydown", (event) => this.#keys(event), { signal });
  }

  /** After the first paint: what takes time. */
  later() {
    if (this.runner.live && this.about.names && !this.#named) this.#nameHeads();
  }

  // ---- what the reader does -------------------------------------------------------------------

  chooseHead(layer, head, event) {
    const name = `${layer}/${head}`;
    if (event?.shiftKey) {
      if (!this.group.size) this.group.add(`${this.layer}/${this.head}`);
      if (this.group.has(name)) this.group.delete(name);
      else this.group.add(name);
      this.grouping = true;
      this.set({ layer, head });
      this.grouping = false;
      return this.showSoon();
    }
    this.group.clear();
    this.set({ layer, head });
    if (event?.type === "click" && this.options.click === "off") this.#toggleHeads([{ kind: this.kindName, layer, head }]);
    this.showSoon();
  }

  tellHead(layer, head) {
    const label = this.#label(layer, head);
    const off = headOff(this.runner.edits, { kind: this.kindName, layer, head }, this.usual) ? ", switched off" : "";
    const effect = this.model.get("_effects")[`${this.kindName}/${layer}/${head}`]?.sentence ?? "";
    return [`Layer ${layer}, head ${head}${off}${label.tag ? ` · ${label.sentence}` : ""}`, effect].filter(Boolean).join("\n");
  }

  pickSpot(spot) {
    if (this.tool !== "cut") return super.pickSpot(spot);
    const query = spot.query ?? (spot.key !== null ? this.selected?.query ?? null : null);
    if (spot.query !== null && spot.key === null) return super.pickSpot(spot); // from here, then to a key
    this.#cut({ query, key: spot.key });
  }

  #cut(edge) {
    const { kind } = this;
    if (edge.query === null && edge.key === null) return;
    if (kind.causal && kind.same && edge.query !== null && edge.key !== null && edge.key > edge.query) {
      return this.#told(`There is nothing to cut: ${quoted(kind.query_tokens[edge.query])} cannot look at ${quoted(kind.key_tokens[edge.key])}, which comes later.`, "error");
    }
    this.#change(toggleCut(this.runner.edits, this.place, edge, this.options.scope ?? "head", this.usual));
  }

  #chosenHeads() {
    if (this.group.size < 2) return [this.place];
    return [...this.group].map((name) => {
      const [layer, head] = name.split("/").map(Number);
      return { kind: this.kindName, layer, head };
    });
  }

  #toggleHeads(places) {
    this.#change(toggleHeads(this.runner.edits, places, this.usual));
  }

  #change(edits, remember = true) {
    const now = this.runner.edits;
    if (sameEdits(now, edits)) return;
    if (this.about.note) return this.#told(this.about.note, "error");
    if (remember) this.steps.push(now);
    this.runner.want({ edits });
    this.showSoon();
  }

  #step(which) {
    const edits = this.steps[which](this.runner.edits);
    if (edits) this.#change(edits, false);
    this.showSoon();
  }

  #run() {
    if (!this.runner.live) return;
    const target = this.about.kind === "encoder-decoder" ? { target: this.target.value.trim() ? this.#ownTarget() : null } : {};
    this.group.clear();
    this.runner.want({ text: this.text.value, ...target, masked: this.text.value === this.model.get("_text") ? this.model.get("_masked") : [], position: null });
  }

  /** What was typed as the target; null where it is still the model's own answer. */
  #ownTarget() {
    const same = this.target.value === this.model.get("_target");
    return same && this.about.own_target ? null : this.target.value;
  }

  #mask() {
    const chosen = this.chosenToken;
    if (chosen === null) return;
    if (!this.runner.live) return this.#told(`Masking another token ${NEEDS_KERNEL}.`, "error");
    this.runner.want({ masked: [...this.model.get("_masked"), chosen], position: chosen });
  }

  #keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tag = event.target.tagName;
    if (tag === "TEXTAREA" || tag === "INPUT" || tag === "SELECT") return;
    const onMap = event.target === this.canvas;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const does = {
      x: () => (onMap && this.selected ? this.#cut(this.selected) : this.#toggleHeads(this.#chosenHeads())),
      z: () => this.#step("undo"),
      y: () => this.#step("redo"),
    };
    if (event.target === this.thumbnails.canvas) {
      const toggle = () => this.#toggleHeads(this.#chosenHeads());
      Object.assign(does, { Enter: toggle, " ": () => (event.shiftKey ? this.chooseHead(this.layer, this.head, event) : toggle()) });
    }
    if (key === "Escape" && this.group.size) {
      this.group.clear();
      this.showSoon();
      return;
    }
    if (!does[key]) return;
    event.preventDefault();
    event.stopPropagation();
    does[key]();
  }

  /** What the picture says below the maps. */
  pictureWords() {
    const { rows, states, kl } = this.model.get("_outcome");
    const told = rows?.length
      ? rows.map(([token, before, after]) => `${token} ${short(before)}${after === null ? "" : ` → ${short(after)}`}`)
      : (states ?? []).map(([, token, change]) => `${token} ${percentText(change)}`);
    const edits = this.runner.edits.map((edit) => editWords(edit, this.model.get("_kinds"))).join("; ");
    return [
      told.length ? `${question(this.about)}: ${told.join(" · ")}` : "",
      edits ? `Edits: ${edits}.${kl === null ? "" : ` KL ${klText(kl)} nats.`}` : "",
    ].filter(Boolean);
  }

  async #copyEdits() {
    const { position } = this.model.get("_outcome");
    const code = editsCode(this.runner.edits, this.model.get("_code"), position);
    const done = await copyText(code);
    this.root.dataset.copiedEdits = code;
    this.copiedEdits.textContent = done ? "Copied: paste it into a cell below." : code;
  }

  get #named() {
    return Object.keys(this.model.get("_labels")).length > 0;
  }

  #nameHeads() {
    this.naming = true;
    this.runner.requests.ask({ type: "labels" }, false).catch(() => {
      this.naming = false;
    });
    this.showSoon();
  }

  // ---- what single heads do -------------------------------------------------------------------

  #label(layer, head) {
    return this.model.get("_labels")[this.kindName]?.[layer]?.[head] ?? { tag: "", sentence: "" };
  }

  /** Show what happens without the chosen head: where that is known or quick, or asked for. */
  async #effect(asked = false) {
    const { kind, layer, head } = this.place;
    const name = `${kind}/${layer}/${head}`;
    if (this.model.get("_effects")[name] || this.#blind()) return;
    const quick = this.runner.live ? this.about.quick : this.about.effects;
    this.askEffect.hidden = Boolean(quick) || !this.runner.live;
    if (!(quick || asked)) return;
    try {
      const tables = await this.runner.effectOf(kind, layer, head);
      const found = tables[this.model.get("_outcome").position ?? Object.keys(tables)[0]];
      if (!found || this.signal.aborted) return;
      const here = this.place;
      if (`${here.kind}/${here.layer}/${here.head}` === name) this.matter.textContent = found.sentence;
    } catch (error) {
      if (!(error instanceof Superseded) && asked) this.#told(error.message, "error");
    }
  }

  /** Whether there is nothing that an effect could be measured by. */
  #blind() {
    return Boolean(this.about.note) || (this.about.predicts && this.model.get("_outcome").position === null);
  }

  async #sweepAll() {
    if (this.sweeping) {
      this.sweeping = null;
      return this.showSoon();
    }
    const mine = (this.sweeping = {});
    const kind = this.kindName;
    const { layers } = this.kind;
    try {
      for (let layer = 0; layer < layers; layer++) {
        this.sweepNote.textContent = `Switching off the heads of layer ${layer} of ${layers} …`;
        this.sweep.textContent = "Stop";
        const { message } = await this.runner.requests.ask({ type: "sweep", kind, layer }, false);
        if (this.sweeping !== mine || this.signal.aborted) return;
        if (message.training) {
          this.#told(message.training, "training");
          break;
        }
      }
    } catch (error) {
      this.#told(error.message, "error");
    }
    if (this.sweeping === mine) this.sweeping = null;
    this.showSoon();
  }

  // ---- drawing --------------------------------------------------------------------------------

  headHere(kind, layer, head) {
    const before = this.store.at(kind, layer, head);
    if (this.mode === "before" || !before) return before;
    const after = this.mapsHere ? this.after.at(kind, layer, head) : this.#cutMap(before);
    return after && this.#both(before, after);
  }

  /** A head with its edges cut, where nothing before it has changed: computed here, exactly. */
  #cutMap(before) {
    const cuts = cutsOf(this.model.get("_edits"), this.place, this.usual);
    return { error: before.error, norms: before.norms, row: (query) => cutRow(before.row(query), query, cuts) };
  }

  async fetchHead(kind, layer, head, urgent = true) {
    if (this.mode === "before") return this.store.get(kind, layer, head, urgent);
    // One after the other: of two urgent questions the newer would win.
    const before = this.store.at(kind, layer, head) ?? (await this.store.get(kind, layer, head, false));
    if (!this.mapsHere) return this.#both(before, this.#cutMap(before));
    return this.#both(before, this.after.at(kind, layer, head) ?? (await this.after.get(kind, layer, head, urgent)));
  }

  #both(before, after) {
    return this.mode === "after" ? after : { ...after, row: (query) => after.row(query), before, after, error: before.error + after.error };
  }

  rowsOf(weights) {
    if (!weights.before) return super.rowsOf(weights);
    const [before, after] = [super.rowsOf(weights.before), super.rowsOf(weights.after)];
    return (query) => {
      const [was, is] = [before(query), after(query)];
      return is.map((weight, key) => weight - was[key]);
    };
  }

  /** Lines show weights, not changes of weights. */
  lineRows() {
    return this.weightsHere.before ? super.rowsOf(this.weightsHere.after) : this.rowOf;
  }

  smallMaps(kind) {
    return this.mode === "before" || !this.mapsHere ? this.store.thumbnails(kind) : this.after.thumbnails(kind);
  }

  mapFlags() {
    const notes = [];
    const { mode } = this;
    const place = this.shown;
    if (mode === "difference") notes.push("Difference: the edited weights less those before. Lines and small maps show the edited weights.");
    else if (mode === "after") notes.push("Edited: these are the weights with your edits in force.");
    else if (this.mapsEdited) notes.push("Before: these are the weights without your edits.");
    else if (this.model.get("_edits").length) notes.push(`The weights are those without your edits; seeing the others ${NEEDS_KERNEL}.`);
    if (headOff(this.runner.edits, place, this.usual)) notes.push("This head is switched off: what it looks at stays to be seen, but what it adds is set to 0.");
    if (this.cuts.length) notes.push("A cut edge gets no weight; the rest of its row is scaled up to 1 again.");
    return notes;
  }

  drawn() {
    this.#marks();
    this.tools.set(this.tool);
    this.clickSwitch.set(this.options.click ?? "look");
    this.scope.set(this.options.scope ?? "head");
    this.scope.root.hidden = this.tool !== "cut";
    this.modes.root.hidden = !this.mapsEdited;
    this.modes.set(this.options.map ?? "after");
    this.toolHint.textContent = this.tool === "cut" ? "click a cell, or press X on the locked one" : "";
    this.root.classList.toggle("tl-cutting", this.tool === "cut");
    this.thumbnails.canvas.setAttribute("aria-label", this.#gridWords());
  }

  #gridWords() {
    const { layers, heads } = this.kind;
    return `${layers} layers by ${heads} heads, each as a small map. ${this.tellHead(this.layer, this.head)}. Arrow keys choose a head, X switches it off or on, Shift with Space takes several.`;
  }

  #marks() {
    if (!this.inks) return;
    const { kindName: kind, usual } = this;
    const { edits } = this.runner;
    const effects = this.model.get("_effects");
    const changes = new Map();
    for (const [name, effect] of Object.entries(effects)) {
      if (name.startsWith(`${kind}/`)) changes.set(name, effect.mean ?? (effect.after ?? 0) - (effect.before ?? 0));
    }
    const swept = changes.size >= this.kind.layers * this.kind.heads;
    const most = Math.max(0, ...[...changes.values()].map(Math.abs));
    const scale = Math.max(most, LEAST_CHANGE);
    this.marksOnGrid.draw((layer, head) => {
      const place = { kind, layer, head };
      const change = changes.get(`${kind}/${layer}/${head}`);
      return {
        off: headOff(edits, place, usual),
        touched: headTouched(edits, place, usual),
        grouped: this.group.has(`${layer}/${head}`),
        tag: this.#label(layer, head).tag,
        effect: swept && change !== undefined ? change / scale : null,
      };
    }, this.inks, this.theme);
    this.#sweepWords(swept, effects, most);
  }

  #sweepWords(swept, effects, most) {
    if (this.sweeping) return;
    this.sweep.textContent = "What does each head do?";
    this.sweep.hidden = swept || this.#blind() || !this.runner.live;
    if (!swept) {
      this.sweepNote.textContent = "";
      return;
    }
    const one = Object.values(effects)[0];
    this.sweepNote.textContent = one.token === null || one.token === undefined
      ? `Bars: how far the final states move without each head (up to ${(100 * most).toFixed(1)} %).`
      : most < LEAST_CHANGE
        ? `Switching off one head changes P(${quoted(one.token)}) by less than ${short(LEAST_CHANGE)}, whichever it is.`
        : `Bars: how P(${quoted(one.token)}) changes without each head. Brown falls, blue rises; the longest is ${short(most)}.`;
  }

  /** A result has come. */
  #arrived() {
    this.after.forget();
    this.refresh();
    this.showSoon();
  }

  /** Everything but the heads' own pictures. */
  show() {
    const { model, about, runner } = this;
    const edits = runner.edits;
    const outcome = model.get("_outcome");
    this.predictions.show({
      outcome,
      about,
      edited: edits.length > 0,
      missing: outcome.missing ?? "",
      tokens: about.tokens,
      chosen: this.chosenToken,
      live: runner.live,
      asked: runner.wanted?.position ?? null,
      locked: about.kind !== "encoder" && this.kindName !== "encoder" ? this.selected?.query ?? null : null,
    });
    const note = outcome.note ? ` ${outcome.note}` : "";
    this.predictions.effect.textContent = `${edits.length ? outcome.sentence ?? "" : ""}${note}`.trim();
    this.#showAsk();
    this.#showEdits(edits);
    this.#showHead();
    this.#marks();
    if (this.map.scene) {
      this.map.scene.cuts = this.cuts;
      this.marks();
    }
    Object.assign(this.root.dataset, { edits: String(edits.length), stamp: String(model.get("_stamp")), settled: String(runner.wanted === null) });
  }

  #showEdits(edits) {
    const kinds = this.model.get("_kinds");
    const chips = edits.map((edit, i) => {
      const words = editWords(edit, kinds);
      const remove = button("×", "remove-edit", () => this.#change(edits.filter((_, at) => at !== i)), `Take back: ${words}`);
      return element("li", { class: "tl-edit-chip" }, element("bdi", {}, words), remove);
    });
    const masks = this.model.get("_masked").map((position) => {
      const token = this.about.tokens[position];
      const take = () => this.runner.want({ masked: this.model.get("_masked").filter((at) => at !== position), position: null });
      return element("li", { class: "tl-edit-chip" }, element("bdi", {}, `token ${position} behind ${token}`),
        button("×", "remove-mask", take, `Show token ${position} again`));
    });
    const none = element("li", { class: "tl-quiet" }, "None: everything is as the model learned it.");
    this.chips.replaceChildren(...(chips.length + masks.length ? [...masks, ...chips] : [none]));
    this.undo.disabled = !this.steps.past.length;
    this.redo.disabled = !this.steps.future.length;
    this.reset.disabled = this.copyEdits.disabled = !edits.length;
    if (!edits.length) this.copiedEdits.textContent = "";
  }

  #showHead() {
    const { layer, head, kindName } = this;
    const several = Object.keys(this.model.get("_kinds")).length > 1;
    const label = this.#label(layer, head);
    this.headTitle.textContent = `${headName({ kind: kindName, layer, head, several })}${label.tag ? ` · ${label.tag}` : ""}`;
    this.evidence.textContent = label.sentence;
    this.evidence.hidden = !label.sentence;
    this.nameButton.hidden = this.#named || !this.runner.live || this.about.names;
    this.nameButton.disabled = Boolean(this.naming);
    this.nameButton.textContent = this.naming ? "Naming the heads …" : "Name the heads";
    const chosen = this.#chosenHeads();
    const off = chosen.every((place) => headOff(this.runner.edits, place, this.usual));
    const what = chosen.length > 1 ? `${chosen.length} heads` : "this head";
    this.offButton.textContent = `Switch ${what} ${off ? "on again" : "off"}`;
    const name = `${kindName}/${layer}/${head}`;
    const effect = this.model.get("_effects")[name];
    this.matter.textContent = effect?.sentence ?? "";
    this.askEffect.hidden = true;
    if (!effect) this.#effect();
  }

  /** Whether what stands in the fields has been run, and whose the target is. */
  #showAsk() {
    const text = this.model.get("_text");
    const target = this.model.get("_target") ?? "";
    const waits = this.text.value !== text || this.target.value !== target;
    this.leadLine.textContent = waits ? `Not run yet: press Enter. What stands below is of ${quoted(shortened(text))}.` : this.lead;
    const own = this.about.own_target && this.target.value === target;
    this.whose.textContent = own ? "its own answer" : this.runner.live ? "yours; empty it for its own answer" : "given";
    this.unread.textContent = this.about.unread ?? "";
    this.unread.hidden = !this.about.unread;
  }

  #fillAsk() {
    this.text.value = this.model.get("_text");
    this.target.value = this.model.get("_target") ?? "";
    this.targetRow.hidden = this.about.kind !== "encoder-decoder";
    afterPaint().then(() => [this.text, this.target].forEach((area) => this.#grow(area)));
  }

  #grow(area) {
    area.style.height = "auto";
    area.style.height = `${Math.min(140, area.scrollHeight + 2)}px`;
  }

  #working(on) {
    this.predictions.working(on);
  }

  #told(text, state) {
    this.status.textContent = text;
    this.status.hidden = !text;
    this.root.dataset.state = state;
  }
}

/** @param {string} text */
const shortened = (text) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);
