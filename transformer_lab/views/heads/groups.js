// The map of a long text by sentences or paragraphs: how much each attends to each.

import { element } from "../shared/dom.js";
import { quoted } from "../shared/messages.js";
import { sayHeads } from "./scale.js";

export class Groups {
  /** The groups that the reader has chosen; null for tokens. @param {any} weights @param {import("./state.js").HeadState} state */
  static async of(weights, { options, kind }) {
    const starts = kind.long?.groups[options.rows];
    return starts
      ? new Groups(options.rows, starts, await weights.groups(options.rows), kind)
      : null;
  }

  /** @param {string} name @param {[number[], number[]]} starts where each begins, for queries and for keys @param {Float32Array} shares [row, column] @param {import("./store.js").Kind} kind */
  constructor(name, [queries, keys], shares, kind) {
    this.unit = name.replace(/s$/, "");
    this.kind = kind;
    this.starts = { queries, keys };
    this.shares = shares;
    const all = shares.reduce((a, b) => Math.max(a, b), 0);
    /** The scene that a map draws. */
    this.scene = {
      of: name,
      rowOf: (row) => shares.subarray(row * keys.length, (row + 1) * keys.length),
      cheap: true,
      nothing: null,
      signed: false,
      hidden: null,
      cuts: [],
      queries: queries.map((_, i) => this.#name("queries", i, 24)),
      keys: keys.map((_, i) => this.#name("keys", i, 24)),
      bounds: /** @type {import("./map_panel.js").Bounds} */ ([
        [0, queries.length],
        [0, keys.length],
      ]),
      offset: keys.length - queries.length,
      measure: sayHeads("fraction_of_a_s", { unit: this.unit }),
      ends: { most: all, end: all },
    };
  }

  /** The tokens of a range of groups. @param {"queries" | "keys"} side @returns {import("./between.js").Span} */
  tokens(side, [first, end]) {
    const starts = this.starts[side];
    return [starts[first], starts[end] ?? this.kind[side]];
  }

  /** A group's name, or its number with its first words. */
  #name(side, i, room) {
    if (this.unit === "segment" && this.kind.segment_names) return this.kind.segment_names[i];
    const [from, to] = this.tokens(side, [i, i + 1]);
    const words = this.kind[side === "queries" ? "query_tokens" : "key_tokens"].slice(
      from,
      Math.min(from + 12, to),
    );
    const text = words
      .join(words.some((word) => word.includes("·")) ? "" : " ")
      .replaceAll("·", " ")
      .trim();
    return `${i} ${text.length > room ? `${text.slice(0, room - 1)}…` : text}`;
  }

  /** The text for a cell: how much one group attends to another. @returns {(string | Node)[]} */
  words({ query, key }) {
    if (query === null || key === null) return [];
    const number = element("b#number", this.scene.rowOf(query)[key].toFixed(4));
    return [
      `${quoted(this.#name("queries", query, 40))} → ${quoted(this.#name("keys", key, 40))}: `,
      number,
      sayHeads("of_its_weight"),
    ];
  }
}
