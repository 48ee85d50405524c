// The controls of the heads: one step to the next head, what is hidden, what the numbers are.

import { COLOUR_MAPS, headColour } from "../shared/colours.js";
import { button, checkbox, menu, radioGroup } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { headTag } from "../shared/map_sentences.js";

/**
 * ◀ L5H3 ▶: one head back, or on, through all layers.
 * @param {{layer: number, head: number, kind: {layers: number, heads: number}}} state
 * @param {(layer: number, head: number) => void} choose
 */
export function headStepper(state, choose) {
  const go = (by) => {
    const { layers, heads } = state.kind;
    const at = (state.layer * heads + state.head + by + layers * heads) % (layers * heads);
    choose(Math.floor(at / heads), at % heads);
  };
  const back = button("◀", "head-back", "Previous head", () => go(-1));
  const on = button("▶", "head-on", "Next head", () => go(1));
  const name = element("span.tl-here#here");
  return {
    root: element("span.tl-step", { role: "group", "aria-label": "Head" }, back, name, on),
    show() {
      name.textContent = headTag(state.layer, state.head);
      name.title = `Layer ${state.layer}, head ${state.head}`;
      back.disabled = on.disabled = state.kind.layers * state.kind.heads < 2;
    },
  };
}

/** The kinds of attention, where there are several. @param {(kind: string) => void} choose */
export function kindChoice(choose) {
  const root = element("span.tl-kinds");
  let [names, group] = ["", null];
  return {
    root,
    /** @param {Record<string, any>} kinds @param {string} chosen */
    show(kinds, chosen) {
      const all = Object.keys(kinds);
      root.hidden = all.length < 2;
      if (!root.hidden && names !== all.join()) {
        names = all.join();
        group = radioGroup({
          label: "Attention",
          part: "kind",
          quiet: true,
          chosen,
          choose,
          choices: all.map((value) => ({ value, text: value })),
        });
        root.replaceChildren(group.root);
      }
      group?.set(chosen);
    },
  };
}

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
