// The controls of the maps: what is hidden, what the numbers are, which colours.

import { COLOUR_MAPS, headColour } from "../shared/colours.js";
import { button, checkbox, menu } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { sayHeads } from "./scale.js";

/** Controls of the maps. @param {import("./state.js").HeadState} state */
export function viewControls(state) {
  const rescaled = sayHeads("and_rescale_each_row");
  const hideFirst = checkbox(
    sayHeads("without_first_token"),
    "hide-first",
    sayHeads("leave_out_the_first", { rescaled }),
    (on) => state.option({ hide_first: on }),
  );
  const hideSpecial = checkbox(
    sayHeads("without_special_tokens"),
    "hide-special",
    sayHeads("leave_out_special_tokens", { rescaled }),
    (on) => state.option({ hide_special: on }),
  );
  const weights = menu(
    sayHeads("what_the_numbers_are"),
    "weights",
    [
      { value: "raw", text: sayHeads("attention_weights") },
      { value: "value", text: sayHeads("weight_value_length") },
    ],
    (value) => state.option({ weights: value }),
  );
  const colours = menu(
    sayHeads("colours_of_the_weights"),
    "colours",
    COLOUR_MAPS.map((name) => ({ value: name, text: sayHeads("colours", { name }) })),
    (value) => state.option({ colours: value }),
  );
  return {
    roots: [weights.root, hideFirst.root, hideSpecial.root, colours.root],
    show() {
      const { kind, options, valueWeighted } = state;
      hideFirst.root.hidden = Boolean(kind.spread);
      hideSpecial.root.hidden = !kind.special.length;
      weights.root.hidden = !kind.has_norms;
      hideFirst.set(Boolean(options.hide_first));
      hideSpecial.set(Boolean(options.hide_special));
      weights.set(valueWeighted ? "value" : "raw");
      colours.set(options.colours ?? "default");
    },
  };
}

/**
 * Chips that switch the lines of single heads on and off.
 * @param {number} heads
 * @param {number[]} off
 * @param {(off: number[]) => void} change
 * @returns {Node[]}
 */
export function lineFilter(heads, off, change) {
  const chip = (text, part, press, title) => {
    const made = button(text, part, title, press);
    made.className = "tl-chip";
    return made;
  };
  const chips = Array.from({ length: heads }, (_, head) => {
    const shown = !off.includes(head);
    const made = chip(
      String(head),
      "line-head",
      () => {
        change(shown ? [...off, head] : off.filter((other) => other !== head));
      },
      sayHeads("lines_of_head", { head }),
    );
    made.dataset.value = String(head);
    made.setAttribute("aria-pressed", String(shown));
    made.prepend(element("span.tl-dot", { style: `background:${headColour(head)}` }));
    return made;
  });
  const every = Array.from({ length: heads }, (_, head) => head);
  const all = off.length
    ? chip(sayHeads("all"), "line-all", () => change([]), sayHeads("lines_of_every_head"))
    : chip(sayHeads("none"), "line-all", () => change(every), sayHeads("lines_of_no_head"));
  return [...chips, all];
}
