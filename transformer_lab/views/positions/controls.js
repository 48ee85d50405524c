// The controls of a PositionView: the scheme, its sizes, the test, and which head of a model.

import { button, checkbox, headChoice, radioGroup, slider } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { known, SCHEMES, sayPositions } from "./schemes.js";

const D_MODELS = [4, 8, 16, 32, 64, 128, 256, 512];
const HEADS = [1, 2, 3, 4, 6, 8, 12, 16];
const BASES = [10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 500000, 1000000];
const LENGTHS = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
/** The stops of a slider, with the given value among them. */
const withOwn = (stops, value) =>
  stops.includes(value) ? stops : [...stops, value].sort((a, b) => a - b);

export class PositionControls {
  /** @param {import("../shared/shell.js").Shell} shell */
  constructor(shell) {
    const { model } = (this.shell = shell);
    const set = (changes) => shell.set(changes);
    const names = [...new Set([...Object.keys(SCHEMES), model.get("_given")?.scheme ?? "none"])];
    this.schemes = radioGroup({
      label: sayPositions("positions_label"),
      part: "scheme",
      chosen: model.get("scheme"),
      choices: names.map((value) => ({ value, text: known(value).name })),
      choose: (scheme) => set({ scheme }),
    });
    const make = (label, part, values, text, title) =>
      slider({
        label,
        part,
        values,
        value: model.get(part),
        change: (value) => set({ [part]: value }),
        text,
        title,
      });
    const grouped = (value) => value.toLocaleString("en");
    this.sliders = {
      d_model: make(
        "d_model",
        "d_model",
        D_MODELS,
        String,
        sayPositions("numbers_in_the_residual"),
      ),
      n_heads: make(
        sayPositions("heads"),
        "n_heads",
        HEADS,
        String,
        sayPositions("heads_that_share_d"),
      ),
      base: make(
        sayPositions("base"),
        "base",
        BASES,
        grouped,
        sayPositions("the_slowest_wave_turns"),
      ),
      length: make(
        sayPositions("length"),
        "length",
        LENGTHS,
        (n) => sayPositions("tokens", { n }),
        sayPositions("positions_that_are_shown"),
      ),
    };
    this.shift = make(
      sayPositions("move_by"),
      "shift",
      [0],
      (n) => sayPositions("tokens", { n }),
      sayPositions("where_the_sentence_begins"),
    );
    this.note = element("p.tl-hint#note");
    this.sliderBar = element(
      "div.tl-sliders",
      Object.values(this.sliders).map(({ root }) => root),
    );
    this.tests = radioGroup({
      label: sayPositions("test"),
      quiet: true,
      part: "test",
      chosen: model.get("test"),
      choices: [
        { value: "move", text: sayPositions("move_the_sentence") },
        { value: "shuffle", text: sayPositions("shuffle_the_words") },
      ],
      choose: (test) => set({ test }),
    });
    this.again = button(sayPositions("shuffle_again"), "again", () =>
      set({ shuffle: model.get("shuffle") + 1 }),
    );
    this.causal = checkbox(
      sayPositions("causal_mask"),
      "causal",
      sayPositions("whether_each_word_attends"),
      (causal) => set({ causal }),
    );
    /** The head on view, if heads differ. */
    this.at = { layer: 0, head: 0, kind: { layers: 0, heads: 1 } };
    this.choice = headChoice(this.at, set);
  }

  /** @param {import("./view.js").Now} now */
  show({ state, facts, scheme: shown, change }) {
    const { scheme, own, measured } = facts;
    this.schemes.set(scheme);
    const stops = { d_model: D_MODELS, n_heads: HEADS, base: BASES, length: LENGTHS };
    for (const [name, { root, set }] of Object.entries(this.sliders)) {
      root.hidden = name !== "length" && !shown.sizes.includes(name);
      let among = stops[name];
      if (name === "n_heads" && shown.heads_divide)
        among = HEADS.filter((h) => state.d_model % (2 * h) === 0);
      if (name === "length" && own && state.given.n_ctx)
        among = LENGTHS.filter((n) => n <= state.given.n_ctx);
      const value = own && name !== "length" ? (state.given[name] ?? state[name]) : state[name];
      set(value, withOwn(among, value), own && name !== "length");
    }
    const { n } = change;
    const most = Math.max(0, state.length - n);
    const moves =
      measured === "own" ? state.given.shifts : Array.from({ length: most + 1 }, (_, i) => i);
    this.shift.set(state.shift, moves);
    this.shift.root.hidden = state.test !== "move";
    this.again.hidden = state.test !== "shuffle";
    this.tests.set(state.test);
    this.causal.set(facts.causal);
    this.causal.root.hidden = Boolean(own || measured);
    this.#chooseHead(state, facts, shown);
    const { name } = state.given;
    const notes = [];
    if (name && own) notes.push(sayPositions("the_sizes_are_those", { name }));
    else if (name)
      notes.push(
        sayPositions("has_positions_these_are", {
          name,
          name2: known(state.given.scheme).name,
          part: measured
            ? sayPositions("its_own_weights_with")
            : sayPositions("computed_from_the_formula"),
        }),
      );
    notes.push(sayPositions("note", { ...facts, trained: Boolean(facts.trained) }));
    this.note.textContent = notes.filter(Boolean).join(" ");
  }

  /** Show the choice of the head, if heads differ. */
  #chooseHead(state, facts, shown) {
    const heads = facts.measured || shown.per_head ? facts.heads : 0;
    const layers = facts.measured ? state.given.layers : 0;
    const layer = Math.min(state.layer, Math.max(0, layers - 1));
    Object.assign(this.at, { layer, head: facts.head, kind: { layers, heads } });
    this.choice.root.hidden = heads * (layers || 1) < 2;
    this.choice.show();
  }
}
