// Attention as lines between two columns of tokens: of the chosen head, or of a whole layer.

import { headColour } from "../shared/colours.js";
import { radioGroup } from "../shared/controls.js";
import { element, say } from "../shared/dom.js";
import { lineFilter } from "./controls.js";
import { columnLines, isLong, lineScene, LineView, strongestScene } from "./lines.js";
import { headTag } from "../shared/messages.js";
import { Room } from "../shared/screen.js";
import { sayHeads } from "./scale.js";

/**
 * @typedef {object} LinesScene
 * @property {number} layer
 * @property {number} head the chosen one
 * @property {{head: number, rowOf: (query: number) => Float32Array, nothing: ((query: number) => number) | null}[]} rows
 *   of each head that is loaded; nothing: weight to no key, if heads may attend to nothing
 * @property {import("./state.js").Spot | null} hover
 * @property {number} end of the scale
 * @property {any} inks
 * @property {{edges: [number, number, number][], whose: string} | null} [strongest] for a long
 *   text: the strongest edges of the visible part, drawn if nothing is in focus
 * @property {((key: number) => Float32Array) | null} [columnOf] for a long text: a column that is
 *   loaded
 */

export class LinesPanel {
  /** @param {import("./state.js").HeadState} state @param {ConstructorParameters<typeof LineView>[0]} on @param {import("../shared/shell.js").Shell} shell */
  constructor(state, on, shell) {
    this.state = state;
    this.lines = new LineView(on, shell.signal);
    this.note = element("p.tl-hint#line-note");
    this.filter = element("div.tl-filter", {
      role: "group",
      "aria-label": sayHeads("heads_whose_lines_are"),
    });
    this.choice = radioGroup({
      label: sayHeads("lines_of"),
      quiet: true,
      part: "line-switch",
      choices: [
        { value: "head", text: sayHeads("this_head") },
        { value: "layer", text: sayHeads("all_heads_of_the") },
      ],
      chosen: "head",
      choose: (value) => state.option({ lines: value }),
    });
    this.whose = element("span.tl-quiet#lines-of");
    this.heading = element(
      "p.tl-heading",
      element("b", sayHeads("attention_as_lines")),
      " ",
      this.whose,
    );
    this.scroll = element(
      "div.tl-scroll",
      { tabindex: 0, role: "region", "aria-label": sayHeads("tokens_and_lines") },
      this.lines.root,
    );
    this.fixed = false;
    this.root = element(
      "section.tl-panel.tl-panel-lines",
      { "aria-label": sayHeads("lines_label") },
      this.heading,
      this.choice.root,
      this.filter,
      element(
        "div.tl-ends",
        { "aria-hidden": "true" },
        element("span", sayHeads("query_word")),
        element("span", sayHeads("attends_to_key")),
      ),
      this.scroll,
      this.note,
    );
    this.room = new Room(
      this.scroll,
      [this.root, this.choice.root, this.filter, this.note],
      shell.signal,
      () => shell.redraw(),
    );
  }

  get wholeLayer() {
    return this.state.options.lines === "layer" && !this.state.kind.long;
  }

  /** Measure the room for lines. @param {boolean} fixed whether the height is fixed rather than that of the content @param {string} layout arrangement of the panels */
  measure(fixed, layout) {
    const { width, height } = this.room.of(fixed, layout);
    this.lines.height = fixed && height ? height - 2 : undefined;
    this.inSight = width > 0;
    this.fixed = fixed;
  }

  /** Show the choices above the lines. */
  showChoice() {
    const { options, kind } = this.state;
    this.choice.set(options.lines ?? "head");
    this.filter.hidden = !this.wholeLayer;
    const chips = this.filter.hidden
      ? []
      : lineFilter(kind.heads, options.off ?? [], (off) => this.state.option({ off }));
    this.filter.replaceChildren(...chips);
  }

  /** @param {LinesScene} scene */
  draw({ layer, head, rows: here, hover, end, inks, strongest, columnOf }) {
    this.hover = hover;
    const { kind, options, selected, valueWeighted, block } = this.state;
    const focus = hover ?? selected;
    const long = block
      ? isLong(block.a[1] - block.a[0]) || isLong(block.b[1] - block.b[0])
      : isLong(kind.queries) || isLong(kind.keys);
    const layerMode = this.wholeLayer;
    const off = new Set(options.off ?? []);
    const rows = here.filter((one) => (layerMode ? !off.has(one.head) : one.head === head));
    const scene =
      strongest && !focus
        ? strongestScene({ ...strongest, kind, head, block })
        : lineScene({ kind, focus, long, rows, layerMode, end, valueWeighted, block, columnOf });
    const coming =
      layerMode && rows.length < kind.heads - off.size ? sayHeads("other_heads_are_on") : "";
    const note = kind.spread ? sayHeads("lines_where_texts_differ") : scene.note + coming;
    const ghost = (focus || !strongest) && rows.some((one) => one.nothing); // a query may attend to nothing
    say(this.note, note);
    say(this.whose, layerMode ? sayHeads("layer_of", { layer }) : headTag(layer, head));
    this.#listTokens(scene, long || Boolean(kind.long), ghost);
    if (!this.inSight) return; // the map is in this place
    this.room.take(this.fixed ? this.lines.high + 4 : null); // the note follows directly below
    this.lines.draw({
      edges: scene.edges.map((edge) => ({
        ...edge,
        share: Math.min(1, edge.weight / Math.max(end, 1e-9)),
      })),
      colourOf: (other) => (layerMode ? headColour(other) : inks.accent), // colours distinguish heads
      focus: scene.focus,
      selected: this.state.selected,
      queryNotes: scene.weights.queries,
      keyNotes: scene.weights.keys,
      named: layerMode && Boolean(focus),
      ground: inks.ground,
    });
  }

  #listTokens({ focus, edges }, long, ghost) {
    const { kind, kindName, options, hidden, block } = this.state;
    const keys = [];
    const queries = [];
    if (long && focus?.query !== null)
      keys.push(...edges.map((edge) => edge.key).filter((key) => key !== null));
    if (long && focus && focus.query !== null && focus.key !== null) keys.push(focus.key);
    if (long && (focus ?? { query: null }).query === null)
      queries.push(...edges.map((edge) => edge.query));
    const layout = JSON.stringify([
      kindName,
      keys,
      queries,
      long && focus,
      options.hide_first,
      options.hide_special,
      ghost,
      this.lines.height,
      block,
    ]);
    if (layout === this.listed && kind === this.listedKind) return; // another text comes with a new kind
    this.listed = layout;
    this.listedKind = kind;
    this.lines.list(
      kind.query_tokens,
      kind.key_tokens,
      spanLines(block?.a ?? [0, kind.queries], this.#steadyQuery(focus), queries),
      spanLines(block?.b ?? [0, kind.keys], focus?.key ?? null, keys),
      hidden,
      ghost,
    );
  }

  /** The query column of a long text is centred on the locked token, not on the hovered one. */
  #steadyQuery(focus) {
    const inColumn = this.hover && this.lines.places.queries.has(this.hover.query ?? -1);
    if (!inColumn) this.centre = focus?.query ?? null;
    return this.centre;
  }
}

/** A column's lines for a span of its tokens. @param {import("./between.js").Span} span */
function spanLines([from, to], focus, wanted) {
  const inside = wanted.filter((index) => index >= from && index < to).map((index) => index - from);
  const lines = columnLines(
    to - from,
    focus === null ? null : Math.max(0, Math.min(to - from - 1, focus - from)),
    inside,
  );
  return lines.map((line) => ("index" in line ? { index: line.index + from } : line));
}
