// The choice of the text of a batch on view, or of the mean or spread over all; with an average,
// the head by distance. In a notebook Python sends the chosen text; a saved page holds each as a
// block.

import { button, menu } from "../shared/controls.js";
import { element, hearOf, taken, listen } from "../shared/dom.js";
import { Plot, nearestIndex } from "../shared/plot.js";
import { Superseded } from "../shared/requests.js";
import { sayHeads } from "./scale.js";

const PROFILE_HEIGHT = 150;
const TEXT_BYTES = ["_maps", "_norms", "_thumbs"]; // the trait that triggers a redraw comes last
const TEXT_SENT = ["_thumbs", "_maps", "_norms"];

/** @typedef {{distances: Float32Array, mean: Float32Array, spread: Float32Array, shuffled: Float32Array, said: string}} Profile */

export class Texts {
  /**
   * @param {import("../shared/shell.js").Shell} shell
   * @param {import("./state.js").HeadState} state
   * @param {import("./heads.js").Heads} heads
   */
  constructor(shell, state, heads) {
    const { model, signal } = shell;
    this.shell = shell;
    this.state = state;
    this.heads = heads;
    this.model = model;
    this.signal = signal;
    this.turn = 0;
    this.held = model.get("_held_text"); // the text whose maps the model holds
    /** @type {Map<string, Profile>} */
    this.known = new Map();
    const { names, why, held } = model.get("_texts");
    const over = [
      ["mean", sayHeads("mean_of_all", { names: names.length })],
      ["spread", sayHeads("spread_of_all", { names: names.length })],
    ];
    this.values = [...names.map((_, i) => String(i)), ...over.map(([value]) => value)];
    this.menu = menu(
      sayHeads("text_on_view_or"),
      "text",
      [
        ...names.map((text, i) => ({ value: String(i), text: sayHeads("text", { text }) })),
        ...over.map(([value, text]) => ({ value, text })),
      ],
      (value) => this.choose(value),
    );
    for (const option of this.menu.root.options) {
      const averaged = option.value === "mean" || option.value === "spread";
      option.disabled =
        (averaged && Boolean(why)) || (held && !held.map(String).includes(option.value));
    }
    const step = (by) => () => {
      const open = this.values.filter((_, i) => !this.menu.root.options[i].disabled);
      this.choose(open[(open.indexOf(String(model.get("text"))) + by + open.length) % open.length]);
    };
    this.picker = element(
      "span.tl-joined.tl-texts",
      { role: "group", "aria-label": sayHeads("text_label") },
      button("◀", "text-back", sayHeads("previous_text"), step(-1)),
      this.menu.root,
      button("▶", "text-on", sayHeads("next_text"), step(1)),
    );
    this.why = element(
      "p.tl-hint#texts-note",
      { hidden: !why },
      why ? sayHeads("no_average_of_these", { why }) : "",
    );
    this.#buildPanel();
    this.#listen();
  }

  #buildPanel() {
    this.canvas = element("canvas#distance", { role: "application", tabindex: 0 });
    this.plot = new Plot(this.canvas, this.signal, { hover: (x) => this.#point(x) });
    this.said = element("p.tl-hint#over-texts");
    this.number = element("span.tl-quiet#distance-number", { role: "status" });
    this.curve = element(
      "div",
      element("p.tl-heading", element("b", sayHeads("by_distance")), " ", this.number),
      this.canvas,
    );
    this.panel = element(
      "section.tl-panel",
      { "aria-label": sayHeads("over_the_texts"), hidden: true },
      this.curve,
      this.said,
    );
    listen(this.canvas, "keydown", this.signal, (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || !this.profile?.distances.length) return;
      taken(event);
      const { distances } = this.profile;
      const now =
        this.at === null || this.at === undefined ? -by : nearestIndex(distances, this.at);
      this.#point(distances[Math.max(0, Math.min(distances.length - 1, now + by))]);
    });
  }

  #listen() {
    const { model, signal } = this;
    const on = (name, heard) => hearOf(model, [name], signal, heard);
    on("change:text", () => this.#changed());
    on("change:_held_text", () => {
      if (!model.get("_live")) return;
      this.held = model.get("_held_text");
      this.ended?.();
      this.heads.maps.forget();
      this.heads.start();
      this.show();
    });
  }

  /** Whether an average is on view. */
  get averaged() {
    return typeof this.held === "string";
  }

  /** @param {string} value of the menu */
  choose(value) {
    this.state.set({ text: /^\d+$/.test(value) ? Number(value) : value });
  }

  /** Python code that reads the average. */
  code() {
    if (!this.averaged) return "";
    const { layer, head, kindName, several, selected } = this.state;
    const { query = null, key = null } = selected ?? {};
    const index =
      query !== null && key !== null
        ? `[${query}, ${key}]`
        : query !== null
          ? `[${query}]`
          : key !== null
            ? `[:, ${key}]`
            : "";
    return `tl.heads.average_map(trace, layer=${layer}, head=${head}${several ? `, kind="${kindName}"` : ""}).${this.held}${index}`;
  }

  /**
   * Prepare the first drawing: a page that was saved again may start with another text than that of
   * its maps.
   */
  async open() {
    this.show();
    if (this.model.get("text") !== this.held) await this.#fetch();
  }

  show() {
    this.menu.set(String(this.model.get("text")));
    this.panel.hidden = !this.averaged;
    this.shell.root.dataset.text = String(this.held);
  }

  #changed() {
    this.menu.set(String(this.model.get("text")));
    if (this.model.get("text") === this.held) return;
    if (!this.model.get("_live")) {
      this.#fetch();
      return;
    }
    this.ended?.();
    this.ended = this.heads.waiting.begin(sayHeads("fetching_the_text"));
    this.shell.requests.ask({ type: "there" }, false).catch(() => {}); // a missing kernel is reported elsewhere
  }

  async #fetch() {
    const { model } = this;
    const text = model.get("text");
    const turn = ++this.turn;
    try {
      const { message, buffers } = await this.shell.requests.ask({
        type: "block",
        name: `text/${text}`,
      });
      if (turn !== this.turn || this.signal.aborted) return;
      this.held = text;
      this.show();
      if (typeof text === "number") model.set("_batch", text);
      for (const [name, value] of Object.entries(message.info)) model.set(name, value);
      for (const name of TEXT_BYTES) model.set(name, buffers[TEXT_SENT.indexOf(name)]);
    } catch (error) {
      if (error instanceof Superseded || turn !== this.turn) return;
      this.shell.say(sayHeads("text_cannot_be_shown", { text, why: error.message }));
      this.state.set({ text: this.held });
    }
  }

  // ---- the head by distance -------------------------------------------------------------------

  /** The head on view has been drawn. */
  async drawn() {
    if (!this.averaged) return;
    const { kind, layer, head } = this.heads.shown;
    const name = `profile/${kind}/${layer}/${head}`;
    if (!this.known.has(name)) {
      this.wanted = name;
      try {
        const { message, buffers } = await this.shell.requests.ask({ type: "block", name }, false);
        const floats = buffers.map((bytes) => new Float32Array(bytes.slice().buffer));
        const [distances, mean, spread, shuffled] = floats.length
          ? floats
          : Array(4).fill(new Float32Array());
        this.known.set(name, { distances, mean, spread, shuffled, said: message.info.said });
      } catch (error) {
        this.known.set(name, {
          ...NO_PROFILE,
          said: sayHeads("by_distance_of", { why: error.message }),
        });
      }
      if (this.wanted !== name || this.signal.aborted) return;
    }
    this.wanted = name;
    this.profile = this.known.get(name);
    this.#draw();
  }

  #point(x) {
    this.at = x;
    this.#draw();
  }

  #draw() {
    const { profile, shell } = this;
    if (!profile || !this.averaged) return;
    const { distances, mean, spread, shuffled } = profile;
    const before = this.panel.offsetHeight;
    this.said.textContent = profile.said;
    this.curve.hidden = distances.length < 2;
    if (this.curve.hidden || !this.panel.clientWidth) return this.#fit(before);
    const band = {
      low: mean.map((m, i) => Math.max(0, m - spread[i])),
      high: mean.map((m, i) => m + spread[i]),
    };
    const i = this.at === null || this.at === undefined ? -1 : nearestIndex(distances, this.at);
    this.plot.show(this.panel.clientWidth, PROFILE_HEIGHT, {
      series: [
        {
          name: sayHeads("keys_shuffled"),
          colour: shell.inks.quiet,
          x: distances,
          y: shuffled,
          thick: 1,
        },
        {
          name: sayHeads("mean_spread"),
          colour: shell.inks.accent,
          x: distances,
          y: mean,
          thick: 2,
          band,
        },
      ],
      xTitle: distances[0] < 0 ? sayHeads("tokens_back_below_ahead") : sayHeads("tokens_back"),
      yTitle: "weight",
      whole: true,
      colours: shell.inks,
      at: i < 0 ? null : distances[i],
      dots: distances.length <= 40,
    });
    const values =
      i < 0
        ? ""
        : sayHeads("keys_shuffled_of", {
            distance_name: distanceName(distances[i]),
            mean: mean[i],
            spread: spread[i],
            shuffled: shuffled[i],
          });
    this.number.textContent = values || sayHeads("hover_over_the_curve");
    this.canvas.ariaLabel = sayHeads("weight_by_distance_left", { said: profile.said, values });
    this.#fit(before);
  }

  /** Redraw what is above if this panel's height has changed. */
  #fit(before) {
    if (this.panel.offsetHeight !== before) this.shell.redraw();
  }
}

const NO_PROFILE = {
  distances: new Float32Array(),
  mean: new Float32Array(),
  spread: new Float32Array(),
  shuffled: new Float32Array(),
};

/** @param {number} distance */
function distanceName(distance) {
  if (distance === 0) return "itself";
  return distance < 0 ? sayHeads("ahead", { value: -distance }) : sayHeads("back", { distance });
}
