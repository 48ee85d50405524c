// The controls of the maps: what is hidden, what the numbers are, in which colours.

import { COLOUR_MAPS, headColour } from "../shared/colours.js";
import { button, checkbox, menu } from "../shared/controls.js";
import { element } from "../shared/dom.js";

/** What is hidden, what the numbers are, in which colours. @param {import("./state.js").HeadState} state */
export function viewControls(state) {
  const rescaled = "and rescale each row to the same sum";
  const hideFirst = checkbox(
    "without first token",
    "hide-first",
    `Leave out the first token, on which many heads rest, ${rescaled}`,
    (on) => state.option({ hide_first: on }),
  );
  const hideSpecial = checkbox(
    "without special tokens",
    "hide-special",
    `Leave out special tokens and padding, ${rescaled}`,
    (on) => state.option({ hide_special: on }),
  );
  const weights = menu(
    "What the numbers are",
    "weights",
    [
      { value: "raw", text: "attention weights" },
      { value: "value", text: "weight × value length" },
    ],
    (value) => state.option({ weights: value }),
  );
  const colours = menu(
    "Colours of the weights",
    "colours",
    COLOUR_MAPS.map((name) => ({
      value: name,
      text: `colours: ${name}`,
    })),
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
      `Lines of head ${head}`,
    );
    made.dataset.value = String(head);
    made.setAttribute("aria-pressed", String(shown));
    made.prepend(element("span.tl-dot", { style: `background:${headColour(head)}` }));
    return made;
  });
  const every = Array.from({ length: heads }, (_, head) => head);
  const all = off.length
    ? chip("all", "line-all", () => change([]), "Lines of every head")
    : chip("none", "line-all", () => change(every), "Lines of no head");
  return [...chips, all];
}
