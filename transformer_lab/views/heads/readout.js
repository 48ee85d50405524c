// The texts below the picture: the sentence, the number under the cursor, the top-5 table.

import { largest } from "../shared/attention.js";
import {
  byTouch,
  element,
  hint,
  sentencePart,
  svgPart,
  tableParts,
  tokenElement,
} from "../shared/dom.js";
import { sayProse } from "../shared/prose.js";
import { MANY_QUERIES } from "./lines.js";
import {
  betweenChangeSentence,
  betweenSentence,
  cellSentence,
  decimalsFor,
  differenceSentence,
  headSentence,
  keySentence,
  nothingSentence,
  querySentence,
  spreadSentence,
  TO_NOTHING,
} from "../shared/map_sentences.js";
import { sayHeads } from "./scale.js";

const SAMPLED_ROWS = 256;

/**
 * @typedef {object} Scene
 * @property {import("../shared/map_sentences.js").Seen} seen
 * @property {import("./lines.js").Spot | null} focus of the sentence and the table
 * @property {{spot?: import("./lines.js").Spot | null, value?: number, words?: (string | Node)[]}} number
 *   the readout of the spot under the pointer, or of the locked one: its number, or words for a
 *   cell of many weights
 * @property {boolean} locked whether the focus is the locked selection
 * @property {(query: number) => Float32Array} rowOf as shown
 * @property {boolean} [plain] whether tokens in sentences cannot be chosen
 * @property {boolean} changed whether the numbers are no longer the weights themselves
 * @property {boolean} [signed] whether values are changes
 * @property {({share: number, even: number, about: boolean, was?: {share: number, about: boolean}} & import("./between.js").Block) | null} [between]
 *   shares from A to B, if these are marked; was: for a change, the share before it
 * @property {number} error how far a weight may be from Python's
 * @property {string} [overall] for a long text: the sentence if nothing is in focus
 * @property {((key: number) => Float32Array) | null} [columnOf] for a long text: its columns
 */

export class Readout {
  constructor() {
    this.sentence = sentencePart();
    this.numbers = element("p.tl-readout#readout");
    this.table = element("table.tl-table#table");
    this.details = element(
      "details.tl-details",
      element("summary", { title: sayHeads("the_five_largest_as") }, sayHeads("top_word")),
      this.table,
    );
    this.text = "";
  }

  /** @param {Scene} scene */
  show(scene) {
    this.text = this.#say(scene);
    sayProse(this.sentence, this.text, scene.seen, scene.plain ? [] : scene.seen.queries);
    this.#number(scene);
    this.#top(scene);
  }

  /** @param {Scene} scene */
  #say({ seen, focus, rowOf, signed: isChange, between, overall, columnOf: given }) {
    const many = seen.queries.length > MANY_QUERIES && !given;
    if (focus?.nothing && seen.nothing)
      return nothingSentence(seen, focus.query, seen.nothing[focus.query], isChange);
    if (isChange && between?.was && !focus)
      return betweenChangeSentence(
        seen,
        between.a,
        between.b,
        between.was.share,
        between.share,
        between.about || between.was.about,
      );
    if (isChange) return differenceSentence(seen, rowOf, focus);
    if (seen.spread) return spreadSentence(seen, rowOf, focus);
    if (!focus && between)
      return betweenSentence(
        seen,
        between.a,
        between.b,
        between.share,
        between.even,
        between.about,
      );
    if (!focus && overall) return overall;
    if (!focus) {
      // The sentence stays the same until the rows change, and reads every row.
      if (this.saidOf !== rowOf) {
        const text = headSentence(seen, rowOf, many ? SAMPLED_ROWS : seen.queries.length);
        this.saidOf = rowOf;
        this.said = many
          ? sayHeads("of_its_rows_were", { text, sampled_rows: SAMPLED_ROWS })
          : text;
      }
      return this.said;
    }
    const { query, key } = focus;
    if (query !== null && key !== null) return cellSentence(seen, query, key, rowOf(query));
    if (query !== null) return querySentence(seen, query, rowOf(query));
    if (many) return sayHeads("choose_a_query_to", { key: seen.keys[key] });
    return keySentence(seen, key, given ? given(key) : columnOf(rowOf, seen.queries.length, key));
  }

  /** @param {Scene} scene */
  #number({ seen, number: { spot, value, words }, locked, changed, error, signed: isChange }) {
    const lock = locked
      ? [
          element(
            "span.tl-lock#lock",
            lockSign(),
            byTouch() ? sayHeads("locked_tap_it_again") : sayHeads("locked_press_esc_to"),
          ),
        ]
      : [];
    if (words) return this.numbers.replaceChildren(...lock, element("span", words));
    if (value === undefined || !spot) {
      const how = spot ? sayHeads("hover_over_a_cell") : sayHeads("hover_over_a_token");
      this.numbers.replaceChildren(...lock, element("span.tl-quiet", hint(how)));
      return;
    }
    const { query, key, nothing } = spot;
    const decimals = seen.valueWeighted ? 3 : decimalsFor(error);
    const text = isChange
      ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(decimals)}`
      : value.toFixed(decimals);
    const later = seen.causal && seen.same && key > query; // the sentence says that it cannot attend
    const number = later
      ? []
      : [
          ": ",
          element("b#number", text),
          element("span.tl-quiet", changed ? "" : howExact(error, decimals)),
        ];
    this.numbers.replaceChildren(
      ...lock,
      element(
        "span",
        `${query} `,
        tokenElement(seen.queries[query]),
        nothing ? ` → ${TO_NOTHING}` : ` → ${key} `,
        nothing ? "" : tokenElement(seen.keys[key]),
        number,
      ),
    );
  }

  /** @param {Scene} scene */
  #top({ seen, focus, rowOf, error, signed: isChange, columnOf: given }) {
    this.details.hidden = Boolean(isChange);
    if (isChange) return;
    let row = null;
    let title = sayHeads("choose_a_token_to");
    if (focus && focus.query !== null) {
      row = rowOf(focus.query);
      title = sayHeads("what_attends_to", { query: seen.queries[focus.query] });
    } else if (focus && (given || seen.queries.length <= MANY_QUERIES)) {
      row = given ? given(focus.key) : columnOf(rowOf, seen.queries.length, focus.key);
      title = sayHeads("what_attends_to_of", { key: seen.keys[focus.key] });
    }
    const rest =
      row && focus.query !== null && !seen.valueWeighted
        ? (seen.nothing?.[focus.query] ?? null)
        : null;
    const tokens = focus?.query === null ? seen.queries : seen.keys;
    const decimals = seen.valueWeighted ? 3 : decimalsFor(error);
    const top = row ? largest(row, 5) : [];
    const rows = top.map(({ index, weight }, i) => {
      const bar = element("div.tl-bar", { style: `width:${(100 * weight) / top[0].weight}%` });
      return element(
        "tr",
        element("td", String(i + 1)),
        element("th", { scope: "row" }, tokenElement(tokens[index])),
        element("td", String(index)),
        element("td", weight.toFixed(decimals)),
        element("td", { "aria-hidden": "true" }, bar),
      );
    });
    if (rest !== null) {
      const cells = [TO_NOTHING, "", rest.toFixed(decimals), ""].map((text, i) =>
        element(i ? "td" : "th", i ? {} : { scope: "row" }, text),
      );
      rows.push(element("tr.tl-apart", element("td"), cells));
    }
    this.table.replaceChildren(
      element("caption", title),
      ...tableParts(["", sayHeads("token"), sayHeads("position"), sayHeads("weight"), ""], rows),
    );
  }
}

/** @param {number} error @param {number} decimals */
export function howExact(error, decimals) {
  if (error === 0) return sayHeads("exact_to_decimals", { decimals });
  if (error < 1e-5) return sayHeads("exact_to_decimals_computed", { decimals });
  return sayHeads("computed_here_from_bit", { error: error.toPrecision(1) });
}

const columnOf = (rowOf, queries, key) =>
  Float32Array.from({ length: queries }, (_, query) => rowOf(query)[key]);

function lockSign() {
  const svg = svgPart("svg", {
    viewBox: "0 0 16 16",
    width: "14",
    height: "14",
    "aria-hidden": "true",
  });
  const shape = "M4 7V5a4 4 0 0 1 8 0v2h1v8H3V7zm2 0h4V5a2 2 0 0 0-4 0z";
  svg.append(svgPart("path", { d: shape, fill: "currentColor", "fill-rule": "evenodd" }));
  return svg;
}
