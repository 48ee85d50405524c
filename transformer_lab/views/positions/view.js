// The position schemes: the encoding, the curve by distance, and what moving or shuffling changes.

import { mounted } from "../shared/mounted.js";
import { bytesOf } from "../shared/codecs.js";
import { ChangePanel } from "./change.js";
import { PositionControls } from "./controls.js";
import { DistancePanel } from "./distances.js";
import { element } from "../shared/dom.js";
import { EncodingPanel, titleOf } from "./encoding.js";
import { numbersOf } from "../shared/files.js";
import { heading } from "./parts.js";
import { byDistance, changeOf, encodingOf, positionValues, schemeFacts } from "./scheme.js";
import { known, sayPositions } from "./schemes.js";
import { floatsOf } from "../shared/shell.js";
import { BaseViewer } from "../shared/viewer.js";

const STATE = [
  "scheme",
  "d_model",
  "n_heads",
  "base",
  "length",
  "shift",
  "causal",
  "test",
  "shuffle",
  "layer",
  "head",
  "_given",
  "_table",
  "_maps",
  "_words",
];

/**
 * @typedef {object} Now what is on view
 * @property {import("./scheme.js").PositionState} state
 * @property {import("./schemes.js").Words} scheme
 * @property {ReturnType<typeof schemeFacts>} facts
 * @property {ReturnType<typeof encodingOf>} map
 * @property {ReturnType<typeof byDistance>} curve
 * @property {ReturnType<typeof changeOf>} change
 * @property {string} computed identifies the state that it was computed from
 */

export class PositionViewer extends BaseViewer {
  constructor(model, root, signal) {
    super(model, root, signal, { part: () => model.get("scheme") });
    this.controls = new PositionControls(this.shell);
    this.encoding = new EncodingPanel(this.shell, signal);
    this.distances = new DistancePanel(this.shell, signal);
    this.change = new ChangePanel(this.shell, signal);
    this.#place();
    this.shell.watch([...STATE, "selected"], () => this.#forget());
    this.freeByEscape(() => {
      const pointed = Boolean(this.encoding.cell) || this.distances.distance !== null;
      this.#forget();
      if (pointed) this.shell.redraw();
      return pointed;
    });
  }

  #forget() {
    this.encoding.cell = this.distances.distance = null;
  }

  /** @returns {import("./scheme.js").PositionState} */
  get state() {
    const get = (name) => this.model.get(name);
    const bytes = bytesOf(get("_maps"));
    if (this.mapBytes !== get("_maps")) {
      this.mapBytes = get("_maps");
      this.maps = bytes.length ? floatsOf(this.model, "_maps") : new Float32Array(0);
    }
    return {
      scheme: get("scheme"),
      d_model: get("d_model"),
      n_heads: get("n_heads"),
      base: get("base"),
      length: get("length"),
      shift: get("shift"),
      causal: get("causal"),
      test: get("test"),
      shuffle: get("shuffle"),
      layer: get("layer"),
      head: get("head"),
      given: get("_given") ?? {},
      words: get("_words"),
      table: floatsOf(this.model, "_table"),
      maps: this.maps,
    };
  }

  #place() {
    const { controls, encoding, distances, change } = this;
    const panel = (title, ...content) =>
      element("section.tl-panel", { "aria-label": title }, content);
    this.root.append(
      this.shell.header,
      element("div.tl-controls", controls.schemes.root),
      controls.sliderBar,
      controls.note,
      this.shell.message,
      this.sentence,
      element(
        "div.tl-panels.tl-positions",
        panel(sayPositions("the_encoding"), ...encoding.parts),
        panel(sayPositions("by_position_and_by"), encoding.curveBox, ...distances.parts),
        panel(
          sayPositions("what_changes"),
          heading(change.title),
          element("div.tl-row", controls.tests.root, controls.shift.root, controls.again),
          element("div.tl-row", controls.causal.root, controls.choice.root),
          change.pair.box,
        ),
      ),
      element("footer.tl-foot", distances.details),
    );
  }

  draw() {
    const { state } = this;
    const computed = JSON.stringify([...STATE.slice(0, 11).map((name) => state[name])]);
    if (computed !== this.now?.computed || this.now.state.given !== state.given) {
      this.now = {
        computed,
        map: encodingOf(state),
        curve: byDistance(state),
        change: changeOf(state),
      };
    }
    const scheme = known(state.scheme);
    Object.assign(this.now, { state, scheme, facts: schemeFacts(state) });
    this.shell.subtitle.textContent = scheme.name;
    this.controls.show(this.now);
    this.encoding.show(this.now);
    this.distances.show(this.now, this.encoding.curveBox.hidden ? 300 : 180);
    this.change.show(this.now);
    this.#speak(this.now);
  }

  #speak({ facts, change, state, computed }) {
    this.text = sayPositions("sentence", positionValues(state, facts, change));
    this.say(this.text);
    // For scripts and tests: what is shown now.
    this.root.dataset.shown = computed;
    this.root.dataset.largest = String(change.largest);
    this.root.dataset.selected = String(this.model.get("selected") ?? "");
  }

  /** A head's weights before and after the test; the curve by distance; the encoding. */
  fileNumbers() {
    const { pair } = this.change;
    const { change, curve, facts, map, scheme } = this.now;
    const { n, names, causal } = change;
    /** @returns {[string[], (query: number, key: number) => any, string]} */
    const weights = (part, i) => [
      ["query", "key"],
      (query, key) => (causal && key > query ? null : change[part][query * n + key]),
      sayPositions("attention_weight", { caption: pair.maps[i].caption.textContent }),
    ];
    const [first] = curve.series;
    const banded = Boolean(first?.band);
    const lines = banded
      ? [first.y, first.band.low, first.band.high]
      : curve.series.map(({ y }) => y);
    const axes = {
      query: names,
      key: names,
      distance: curve.x,
      ...(banded ? { line: ["mean", "least", "most"] } : { head: lines.map((_, head) => head) }),
    };
    /** @type {Parameters<typeof numbersOf>[1]} */
    const arrays = {
      before: weights("before", 0),
      after: weights("after", 1),
      by_distance: [
        [banded ? "line" : "head", "distance"],
        (at, i) => lines[at][i],
        sayPositions("by_key_query_in", { what: curve.what }),
      ],
    };
    if (map) {
      const [row, column] = (
        map.what === "bias" ? ["query", "key"] : ["position", scheme.unit ?? "dimension"]
      ).map((name) => sayPositions("encoding", { name }));
      Object.assign(axes, {
        [row]: [...Array(map.rows).keys()],
        [column]: [...Array(map.columns).keys()],
      });
      arrays.encoding = [
        [row, column],
        (at, i) => map.value(at, i),
        scheme.scale ?? titleOf(scheme, facts),
      ];
    }
    return numbersOf(axes, arrays);
  }

  code() {
    const s = this.state;
    const model = s.given.name ? "model" : `"${s.scheme}"`;
    const size = s.given.name ? "" : `, d_model=${s.d_model}, n_heads=${s.n_heads}, base=${s.base}`;
    return `tl.views.PositionView(${model}${size}, length=${s.length}, shift=${s.shift}, test="${s.test}")`;
  }

  get title() {
    return `${super.title} · ${this.now.scheme.name}`;
  }

  pictures() {
    const { encoding, distances, change } = this;
    const part = (canvas, title) => ({ canvas, title });
    return [
      part(encoding.canvas, encoding.titles.encoding.textContent),
      part(encoding.curves, encoding.titles.curves.textContent),
      part(distances.canvas, distances.title.textContent),
      ...change.pair.pictures,
    ];
  }
}

export default mounted(PositionViewer, "positions");
