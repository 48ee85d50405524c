// Heads that a reader has pinned: their maps beside that of the chosen head, in the same colours and with
// the same cell marked.

import { button } from "../shared/controls.js";
import { drawnOf } from "./pyramid.js";
import { element, listen } from "../shared/dom.js";
import { MatrixMap, valueIn } from "../marks/matrix.js";
import { changeText, headTag, short } from "../shared/messages.js";
import { TO_NOTHING } from "../shared/map_sentences.js";
import { sayHeads } from "./scale.js";

const MOST_PINS = 4; // as in Python
const FULL = sayHeads("heads_are_pinned_as", { most_pins: MOST_PINS });

/** @typedef {{layer: number, head: number}} Pinned */

/** One map beside that of the chosen head. */
class Tile {
  /** @param {Pinned} place @param {{choose: () => void, unpin: () => void}} does @param {ConstructorParameters<typeof MatrixMap>[2]} on @param {AbortSignal} signal */
  constructor(place, does, on, signal) {
    const name = sayHeads("layer_head_of", { layer: place.layer, head: place.head });
    this.place = place;
    this.canvas = element("canvas.tl-map#pinned-map", {
      role: "img",
      "data-head": `${place.layer}/${place.head}`,
    });
    this.map = new MatrixMap(this.canvas, signal, on);
    this.line = element("span.tl-quiet#pinned-number");
    const choose = button(
      headTag(place.layer, place.head),
      "pinned",
      sayHeads("choose", { name }),
      does.choose,
    );
    const unpin = button("×", "unpin", sayHeads("unpin", { name }), does.unpin);
    choose.className = unpin.className = "tl-link";
    this.root = element(
      "figure.tl-tile",
      element("figcaption", choose, this.line, unpin),
      this.canvas,
    );
  }
}

export class Pins {
  /** @param {import("./heads.js").Heads} heads @param {ConstructorParameters<typeof MatrixMap>[2]} on handlers of the pointer in a map */
  constructor(heads, on) {
    const { model, signal, root, mapPanel, state } = heads;
    this.heads = heads;
    this.on = on;
    this.state = state;
    this.there = model.get("pins") !== undefined; // not every view of heads has them
    /** @type {Map<string, Tile>} */
    this.tiles = new Map();
    this.now = []; // scenes of the maps beside, as drawn
    /** @type {Map<string, any>} weights, or why there are none, by kind/layer/head */
    this.known = new Map();
    this.button = button(sayHeads("pin"), "pin", sayHeads("pin_this_head_its"), () =>
      this.toggle(),
    );
    this.button.className = "tl-link";
    this.line = element("span.tl-quiet#chosen-number");
    this.caption = element("figcaption", { hidden: true }, element("b"), this.line);
    if (!this.there) return;
    mapPanel.chosen.prepend(this.caption);
    mapPanel.title.after(this.button);
    const changed = () => heads.refreshSoon();
    model.on("change:pins", changed);
    signal.addEventListener("abort", () => model.off("change:pins", changed));
    listen(root, "keydown", signal, (event) => {
      const { target } = event;
      if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (
        /** @type {Element} */ (target).matches(
          "textarea, select, input:not([type=range]):not([type=checkbox])",
        )
      )
        return;
      event.stopPropagation();
      this.toggle();
    });
  }

  /** The pinned heads that exist in the kind on view. @returns {Pinned[]} */
  get all() {
    if (!this.there) return [];
    const { layers, heads } = this.state.kind;
    return this.heads.model
      .get("pins")
      .map(([layer, head]) => ({ layer, head }))
      .filter(({ layer, head }) => layer < layers && head < heads);
  }

  /** The pinned heads other than the chosen one. */
  get beside() {
    const { layer, head } = this.state;
    return this.all.filter((one) => one.layer !== layer || one.head !== head);
  }

  #nameOf({ layer, head }) {
    return `${this.state.kindName}/${layer}/${head}`;
  }

  #isPinned({ layer, head }) {
    return this.all.some((one) => one.layer === layer && one.head === head);
  }

  /** Pin a head, or unpin it. @param {Pinned} [place] default: the chosen one */
  toggle(place = this.state.place) {
    const now = this.heads.model.get("pins");
    const others = now.filter(([layer, head]) => layer !== place.layer || head !== place.head);
    if (others.length === now.length && now.length >= MOST_PINS)
      return this.heads.shell.say(`${FULL}.`);
    this.state.set({
      pins: others.length < now.length ? others : [...now, [place.layer, place.head]],
    });
  }

  /** Get the weights of the maps beside; those that are loaded at once. @param {() => boolean} still whether they are still wanted */
  async fetch(still) {
    const { maps } = this.heads;
    const { kindName } = this.state;
    this.known.clear();
    const missing = [];
    for (const place of this.beside) {
      const here = maps.at(kindName, place.layer, place.head);
      if (here) this.known.set(this.#nameOf(place), { weights: here });
      else missing.push(place);
    }
    for (const place of missing) {
      const found = await maps.get(kindName, place.layer, place.head, false).then(
        (weights) => ({ weights }),
        (error) => ({ why: error.message }),
      );
      if (!still()) return;
      this.known.set(this.#nameOf(place), found);
      this.heads.shell.draw();
    }
  }

  /** Scenes of the maps beside the chosen one. @returns {{tile: Tile, layer: number, rowOf: (query: number) => Float32Array, nothing: any, signed: boolean, cuts: any[]}[]} */
  scenes() {
    const { heads, known } = this;
    return this.beside.map((place) => {
      const { weights } = known.get(this.#nameOf(place)) ?? {};
      const none = new Float32Array(this.state.kind.keys); // until the weights have arrived
      return {
        ...drawnOf(weights),
        tile: this.#tile(place),
        layer: place.layer,
        signed: Boolean(weights?.before),
        rowOf: weights ? heads.rowsOf(weights) : () => none,
        nothing: weights && !this.state.block ? heads.nothingOf(weights, place.layer) : null,
        cuts: heads.maps.cuts({ kind: this.state.kindName, ...place }),
      };
    });
  }

  #tile(place) {
    const name = `${place.layer}/${place.head}`;
    const known = this.tiles.get(name);
    if (known) return known;
    const made = new Tile(
      place,
      {
        choose: () => this.state.set(place),
        unpin: () => {
          this.toggle(place);
          this.heads.mapPanel.canvas.focus();
        },
      },
      this.on,
      this.heads.signal,
    );
    this.tiles.set(name, made);
    return made;
  }

  /** Update the button, the captions and the marks. @param {ReturnType<Pins["scenes"]>} scenes that were drawn */
  show(scenes) {
    this.now = scenes;
    if (!this.there) return;
    const { heads } = this;
    const { layer, head } = heads.shown;
    const pinned = this.#isPinned(heads.shown);
    const full = !pinned && heads.model.get("pins").length >= MOST_PINS;
    this.button.textContent = pinned ? sayHeads("unpin_word") : sayHeads("pin");
    this.button.title = full
      ? FULL
      : pinned
        ? sayHeads("unpin_this_head_p")
        : sayHeads("pin_this_head_its");
    this.button.setAttribute("aria-disabled", String(full));
    this.caption.hidden = !scenes.length;
    this.caption.firstChild.textContent = headTag(layer, head);
    heads.thumbnails.pin(this.all);
  }

  /** Show the numbers at the spot pointed at or locked. @param {any} hover @param {any} selected */
  follow(hover, selected) {
    if (!this.now?.length) return;
    const focus = hover ?? selected;
    this.#tell(this.line, this.heads.shown, this.heads.mapPanel.scene, focus, "");
    for (const { tile, ...scene } of this.now) {
      const { weights, why } = this.known.get(this.#nameOf(tile.place)) ?? {};
      const text = this.#tell(tile.line, tile.place, scene, focus, weights ? "" : (why ?? "…"));
      tile.canvas.ariaLabel = sayHeads("map_of_layer_head_pinned", {
        layer: tile.place.layer,
        head: tile.place.head,
        text,
      });
    }
  }

  /** Show the number of the cell in focus or, without one, what is known about the head. */
  #tell(place, { layer, head }, scene, focus, missing) {
    const { nothing, signed: isChange } = scene;
    const at =
      focus &&
      focus.query !== null &&
      !focus.level &&
      (focus.nothing ? nothing : focus.key !== null);
    const value =
      at && (focus.nothing ? nothing(focus.query) : valueIn(scene, focus.query, focus.key));
    const cell = at && Number.isFinite(value);
    const [brief, whole = brief] = missing
      ? [missing]
      : cell
        ? [`${focus.nothing ? `${TO_NOTHING} ` : ""}${isChange ? changeText(value) : short(value)}`]
        : (this.heads.does.known?.(layer, head) ?? [""]);
    place.textContent = brief;
    place.title = whole;
    return whole;
  }
}
