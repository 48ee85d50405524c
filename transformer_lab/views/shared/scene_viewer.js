// Draws a view that is one pure function (see scene.js), and does what all such views do: answers,
// controls, pointer, keys, links, files and pictures.

import { Answers } from "./answers.js";
import { bytesOf } from "./codecs.js";
import {
  button,
  checkbox,
  headChoice,
  kindChoice,
  putAnew,
  radioGroup,
  railGroup,
  removeAll,
  slider,
  stepped,
} from "./controls.js";
import { byTouch, element, hint, onceAFrame, say } from "./dom.js";
import { linked } from "./linked.js";
import { sayShared } from "./messages.js";
import { mounted } from "./mounted.js";
import { numbersOf } from "./numbers.js";
import { Superseded } from "./requests.js";
import { fillTable, nodesOf } from "./pieces.js";
import { answerOf, sayOf, stateOf } from "./scene.js";
import { BaseViewer } from "./viewer.js";

const KEPT = 200; // answers

export class SceneViewer extends BaseViewer {
  /** @param {import("./scene.js").SceneOf & Record<string, any>} view @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(view, given, root, signal) {
    const model = view.alive ? view.alive(given, signal, view) : given;
    const part = () => view.part?.(this.state) ?? "";
    const reads = given.get("_carried")?.sides && given; // else it reads no other text
    const words = sayOf(view, (name) => model.get(name));
    const title = [model.get("_title"), view.title?.(words)].filter(Boolean).join(" · ");
    const { copies } = view;
    super(model, root, signal, { given: reads, part, title, copies, sentence: () => this.said });
    this.view = view;
    if (view.above) this.sentence.dataset.part = view.above;
    /** What the reader points at, by part. @type {Record<string, any>} */
    this.hover = {};
    /** What of a part is on view. @type {Record<string, any>} */
    this.seen = {};
    this.words = words;
    root.lang = this.words("language");
    /** @type {import("./scene.js").Shown | null} */
    this.shown = null;
    this.asked = "";
    /** Controls by part, and what each is to be now. @type {Record<string, any>} */
    this.kept = {};
    /** @type {Record<string, any>} */
    this.given = {};
    const working = () => view.working?.(this.state) ?? this.words("working");
    this.answers = new Answers(this.shell, {
      most: KEPT + (model.get("_answers")?.length ?? 0),
      get working() {
        return working();
      },
      names: (found) => view.names?.(found) ?? [],
      show: () => view.forgets && (this.hover = {}),
      read: (info, bytes, name) => answerOf(view, info, bytesOf(bytes), name, this.state),
      failed: (name, error) => this.#failed(name, error.message),
    });
    this.link = linked(model, signal, (spot) => this.#point(view.pointed?.(this.state, spot)));
    this.#build();
    this.#take();
    this.answers.follow(
      view.traits.filter((name) => name[0] !== "_"),
      () => (this.wanted === this.followed ? undefined : (this.followed = this.wanted)),
    );
    this.shell.watch(view.traits);
    const again = onceAFrame(() => this.open()); // the name of what is needed may be the same
    this.shell.watch(["_answers"], () => {
      this.answers.known.clear(); // the text has changed
      this.#take();
      again();
    });
  }

  /** Keep the answers that came with the page. */
  #take() {
    const bytes = bytesOf(this.model.get("_answers_data"));
    let at = 0;
    for (const [name, info, size] of this.model.get("_answers") ?? []) {
      const own = bytes.slice(at, (at += size));
      this.answers.keep(answerOf(this.view, info, own, name, this.state), name);
    }
  }

  get layer() {
    return this.state.layer ?? super.layer;
  }

  get head() {
    return this.state.head ?? super.head;
  }

  /** Everything that the scene depends on, besides the answers. */
  get state() {
    const { hover, seen, model } = this;
    const saved = Boolean(model.get("_saved"));
    const alone = saved && !model.get("_live");
    return stateOf(this.view, (name) => model.get(name), { hover, seen, saved, alone });
  }

  /** Name of the answer that the present choices need most. */
  get wanted() {
    const names = this.view.needs(this.state, this.answers.known);
    return this.#lacking(names) ?? names[0];
  }

  /** The first answer without which nothing is drawn. @param {string[]} names */
  #lacking(names) {
    const { least = 1 } = this.view;
    return names.slice(0, least).find((name) => name && !this.answers.known.has(name));
  }

  /** Point at something, here or in a linked view. @param {Record<string, any> | null | undefined} hover @param {boolean} [tell] */
  #point(hover, tell = false) {
    if (JSON.stringify(hover ?? {}) === JSON.stringify(this.hover)) return;
    this.hover = hover ?? {};
    if (tell) this.link.hover(this.view.spot?.(this.state) ?? null);
    this.shell.redraw();
  }

  #build() {
    const { view, shell, root } = this;
    this.bar = element("div.tl-controls");
    const choose = (place) => shell.set({ ...place, ...view.choosing });
    this.choice = headChoice(this, choose, this.words("head_label"));
    this.stays = element("p.tl-hint#stays");
    this.note = element("p.tl-hint#note");
    this.readout = element("p.tl-number-line#readout", { role: "status" });
    this.table = element("table.tl-table#table");
    this.tableName = element("summary");
    this.foot = element("details.tl-details", { hidden: true }, this.tableName, this.table);
    this.lock = element("span.tl-lock#lock", { hidden: true }, hint(this.words("locked")));
    this.panels = element(`div.tl-panels.tl-${view.folder}`);
    /** @type {Map<string, import("./panels.js").MarkPanel>} */
    this.parts = new Map();
    root.append(
      ...shell.above,
      this.stays,
      this.bar,
      ...(view.above ? [] : [this.note]), // what it is above has its own
      shell.message,
      this.sentence,
      this.answers.busy,
      this.panels,
    );
    const line = !view.bare && element("div.tl-row", this.readout, this.lock);
    this.footer = element("footer.tl-foot", line, this.foot);
    if (!view.bare) root.append(this.footer);
    if (view.traits.includes("selected"))
      this.freeByEscape(() => [...this.parts.values()].some((one) => one.close?.()));
  }

  async open() {
    this.answers.open(this.wanted);
    await Promise.all(this.#parts("ready"));
  }

  /** @param {boolean} [controls] whether they may have changed */
  draw(controls = true) {
    const { view, shell, answers, model } = this;
    const state = this.state;
    this.turned = false;
    const names = view.needs(state, answers.known);
    const lacking = this.#lacking(names);
    if (lacking) {
      if (view.least) answers.ask(lacking);
      return this.shown && this.#drawPanels();
    }
    /** @type {import("./scene.js").Shown} */
    let shown;
    try {
      shown = this.shown = view.scene(state, answers.known);
    } catch (error) {
      const chosen = view.traits
        .filter((name) => name[0] !== "_")
        .map((name) => [name, model.get(name)]);
      const values = { view: view.folder, state: JSON.stringify(Object.fromEntries(chosen)) };
      shell.say(sayShared("scene_failed", { ...values, why: error.message }));
      throw error;
    }
    if (controls) this.#controls(state);
    shell.subtitle.textContent = shown.subtitle ?? "";
    for (const [place, text] of [
      [this.stays, view.traits.includes("_note") ? "" : model.get("_note")],
      [this.note, shown.note],
    ]) {
      say(place, text ?? "");
      place.hidden = !text;
    }
    this.#drawPanels();
    this.say(shown.spoken ?? shown.sentence);
    this.#drawFoot(state, shown);
    Object.assign(this.root.dataset, { shown: shown.name, ...shown.marked });
    if (this.turned) return this.draw(controls);
    this.#complete(names.slice(1));
  }

  /** Show another section of a part. @param {string} part @param {any} section @returns {boolean} whether it is another; then the view is drawn again */
  see(part, section) {
    if (JSON.stringify(this.seen[part]) === JSON.stringify(section)) return false;
    this.seen = { ...this.seen, [part]: section };
    return (this.turned = true);
  }

  /** Request what only a part of the scene needs. @param {string[]} names */
  async #complete(names) {
    const { answers, shell } = this;
    const lacking = names.filter((name) => !answers.known.has(name)).join(" ");
    if (lacking === this.asked) return;
    this.asked = lacking;
    const ended = lacking ? answers.waiting.begin(answers.how.working) : () => {};
    try {
      if (await answers.fetch(names)) shell.redraw();
      if (this.failed) shell.say((this.failed = "")); // another message stays
    } catch (error) {
      if (lacking !== this.asked) return; // the reader went on
      if (error instanceof Superseded) return void (this.asked = "");
      shell.say((this.failed = answers.how.failed(lacking.split(" ")[0], error)));
    } finally {
      ended();
      if (lacking && lacking === this.asked) answers.waiting.say("");
    }
  }

  #drawPanels() {
    const given = this.shown?.panels.flat().filter(({ page = true }) => page) ?? [];
    const every = this.view.panels;
    for (const panel of given) {
      const known = this.parts.get(panel.part);
      const made =
        known ??
        new (every[panel.part] ?? every[panel.mark.type])(
          this,
          panel,
          this.view.parts?.[panel.part] ?? {},
        );
      if (!known) {
        this.parts.set(panel.part, made);
        if (!made.root.isConnected) this.panels.append(made.root);
      }
      made.show(panel);
    }
    for (const [part, one] of this.parts) {
      const hidden = !given.some((panel) => panel.part === part);
      if (hidden && !one.root.hidden) one.hide?.();
      one.root.hidden = hidden;
    }
  }

  /** @param {any} state @param {import("./scene.js").Shown} shown */
  #drawFoot({ selected }, { readout, table }) {
    const { bare } = this.view;
    if (bare && table && !this.footer.isConnected) this.root.append(this.footer);
    this.footer.hidden = bare && !table;
    this.lock.hidden = !selected;
    if (!bare)
      this.readout.replaceChildren(
        ...nodesOf(readout ?? [{ quiet: this.words("try", { touch: byTouch() }) }]),
      );
    this.#fill();
  }

  #controls(state) {
    const { view, model, answers } = this;
    const shared = state.size && !view.above;
    if (shared) this.choice.show();
    const kinds = () => kindChoice(state.kinds, model.get("kind"), (name) => this.changeKind(name));
    this.fill(
      this.bar,
      view.controls?.(state, answers.known) ?? [],
      shared ? [kinds(), this.choice] : [],
    );
  }

  /** Put controls into a bar, after others. @param {HTMLElement} bar @param {any[]} given @param {{root: HTMLElement}[]} [first] */
  fill(bar, given, first = []) {
    const controls = [...first, ...given.map((of) => this.#control(of))];
    putAnew(
      bar,
      controls.map(({ root }) => root),
    );
    for (const [part, { root }] of Object.entries(this.kept))
      if (!root.isConnected) delete this.kept[part]; // it may return with others
  }

  /** A control as it is now; it stays while it looks the same, for a reader may be using it. @param {any} of */
  #control(of) {
    const { part, count, chosen, choices, steps, values } = of;
    const look = JSON.stringify([of.label, choices, steps && chosen]);
    this.given[part] = of;
    if (this.kept[part]?.look !== look) this.kept[part] = Object.assign(this.#make(part), { look });
    const kept = this.kept[part];
    if (count !== undefined) kept.show(chosen, count);
    else if (!steps) kept.set?.(choices ? chosen : values ? of.value : of.on, values, of.off);
    kept.root.hidden = Boolean(of.hidden);
    return kept;
  }

  /** A choice, a step, a switch, a slider, or a button that sets something. @param {string} part @returns {any} */
  #make(part) {
    const now = () => this.given[part];
    const choose = (value) => this.shell.set(now().set?.(value) ?? { [part]: value });
    const press = () => this.shell.set(now().sets);
    const text = now().text && ((value) => now().text(value));
    const of = { ...now(), text, choose, change: choose };
    const made = this.view.makes?.[part]?.(this);
    if (made) return made;
    if (of.count !== undefined) return stepped(of);
    if (of.steps) return railGroup(of);
    if (of.choices) return radioGroup(of);
    if (of.sets) return { root: of.label ? button(of.label, part, press) : removeAll(press) };
    return of.values ? slider(of) : checkbox(of.label, part, of.title, choose);
  }

  #fill() {
    const { table, name } = this.shown;
    this.foot.hidden = !table;
    if (!table || name === this.tabled) return;
    this.tabled = name;
    say(this.tableName, table.name);
    fillTable(this.table, table);
  }

  /** Why there is no answer; the choices return to what is shown, if the view says to which. @param {string} name @param {string} why */
  #failed(name, why) {
    const { view, model, shell, shown } = this;
    const said = view.failed(name, why, { ...this.state, held: model.get("_held") });
    if (shown?.choices) {
      shell.set(shown.choices);
      this.followed = this.wanted;
    }
    return said;
  }

  /** What the reader points at in a part. @param {string} part @param {any} at */
  pointAt(part, at) {
    const { [part]: _, ...rest } = this.hover;
    this.#point(at === null ? rest : { ...rest, [part]: at }, true);
  }

  /** After a key, what the pointer rests on counts no longer. */
  unpoint() {
    this.#point({}, true);
  }

  code() {
    return this.view.code(this.state, this.answers.known);
  }

  async fileNumbers() {
    const { view, state, answers } = this;
    const names = view.needs(state, answers.known, ["numbers"]);
    await answers.fetch(names).catch(() => {}); // a page may not hold them all
    const { axes, arrays, chosen, columns } = view.scene(state, answers.known);
    const [first, ...more] = Object.entries(columns ?? { "": [] });
    const rows = first[1].map((x, i) => [x, ...more.map(([, values]) => values[i])]);
    const table = columns && { header: Object.keys(columns), rows };
    const every = [numbersOf(axes, arrays, { chosen }), ...this.#parts("numbers")];
    const together = (name) => Object.assign({}, ...every.map((one) => one[name]));
    return {
      axes: together("axes"),
      arrays: together("arrays"),
      chosen: together("chosen"),
      table,
    };
  }

  /** What the parts on view have of something. @param {"numbers" | "pictures" | "ready" | "said"} name @returns {any[]} */
  #parts(name) {
    const parts = [...this.parts.values()].filter(({ root }) => !root.hidden);
    return parts.flatMap((/** @type {any} */ one) => one[name] || []);
  }

  get said() {
    return [this.shown.sentence, ...this.#parts("said")].join(" ");
  }

  get title() {
    return [super.title, this.shown.title].filter(Boolean).join(" · ");
  }

  pictures() {
    return this.#parts("pictures");
  }
}

/** A view's module. @param {any} view what its scene.js exports, and what only pages need */
export const scened = (view) =>
  mounted(
    class extends SceneViewer {
      constructor(model, root, signal) {
        super(view, model, root, signal);
      }
    },
    view.folder,
  );
