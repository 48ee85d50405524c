// The weights before and after the sentence is moved or its words are shuffled.

import { element, hint, tokenElement } from "../shared/dom.js";
import { MapPair } from "../shared/map_pair.js";
import { four, numberLine } from "./parts.js";
import { sayPositions } from "./schemes.js";

export class ChangePanel {
  /** @param {import("../shared/shell.js").Shell} shell @param {AbortSignal} signal */
  constructor(shell, signal) {
    this.shell = shell;
    this.pair = new MapPair(shell, signal, ["before", "after"], () => [this.change.n - 1, 0]);
    this.title = element("b");
    this.lines = { change: numberLine("change-line"), pair: numberLine("pair-line") };
    const { legends, box } = this.pair;
    this.said = element(
      "div.tl-said",
      this.lines.change,
      this.lines.pair,
      legends.weight,
      legends.difference,
    );
    box.append(this.said);
  }

  /** @param {import("./view.js").Now} now */
  show({ change, facts, state }) {
    this.change = change;
    const { names, n, shift, order: shuffled, causal } = change;
    const moved = state.test === "move";
    this.title.textContent = facts.measured
      ? sayPositions("what_changes_in_layer", {
          min: Math.min(state.layer, state.given.layers - 1),
          head: facts.head,
        })
      : sayPositions("what_changes_in_one");
    const captions = moved
      ? [
          sayPositions("positions", { n: n - 1 }),
          sayPositions("positions_of", { shift, n: shift + n - 1 }),
        ]
      : [sayPositions("as_written"), sayPositions("shuffled_words_put_back")];
    const count = this.pair.show({
      rows: names,
      columns: names,
      first: change.before,
      second: change.after,
      ahead: (q, k) => causal && k > q,
      captions: [...captions, sayPositions("after_before")],
      widths: [320, 560, 900],
      height: 300,
      text: this.#pairText(),
    });
    this.said.classList.toggle("tl-under", count === 3);
    this.said.style.width = count === 3 ? "100%" : this.pair.maps[1].figure.style.width;
    const order = shuffled
      ? [" Order: ", ...shuffled.flatMap((i, at) => [at ? " " : "", tokenElement(names[i])])]
      : [];
    const largest = (value) => sayPositions("largest", { largest: value });
    const { everywhere, output } = change;
    const more =
      everywhere === null
        ? []
        : [
            sayPositions("of_any_head", { largest: largest(everywhere) }),
            ...(typeof output === "number"
              ? [
                  sayPositions("of_a_logit", {
                    part: output < 5e-5 ? largest(output) : output.toFixed(2),
                  }),
                ]
              : []),
          ];
    this.lines.change.replaceChildren(
      sayPositions("largest_change_of_a"),
      element("b#largest", largest(change.largest)),
      ...more,
      ".",
      ...order,
    );
    this.lines.pair.replaceChildren(...this.#pairWords());
  }

  /** The cell in focus: its names and its numbers. */
  #cell() {
    const { query = null, key = null } = (this.pair.scene && this.pair.focus) ?? {};
    const { n, names, before, after } = this.change;
    if (query === null || key === null || Math.max(query, key) >= n) return null;
    return {
      from: names[query],
      to: names[key],
      before: four(before[query * n + key]),
      after: four(after[query * n + key]),
    };
  }

  #pairWords() {
    const cell = this.#cell();
    if (!cell) return [element("span.tl-quiet", hint(sayPositions("hover_over_a_cell")))];
    const number = (part) => element(`b#number-${part}`, cell[part]);
    return [
      tokenElement(cell.from),
      " → ",
      tokenElement(cell.to),
      ": ",
      number("before"),
      " before, ",
      number("after"),
      " after",
    ];
  }

  #pairText() {
    const cell = this.#cell();
    return cell
      ? sayPositions("to_before_after", {
          from: cell.from,
          to: cell.to,
          before: cell.before,
          after: cell.after,
        })
      : "";
  }
}
