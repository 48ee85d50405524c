// The controls of a HeadView: which attention, layer and head; what is hidden; what is shown.

import { COLOUR_MAPS, headColour } from "./colours.js";
import { button, checkbox, menu, radioGroup } from "./controls.js";
import { element } from "./dom.js";

const KIND_NAMES = { encoder: "Encoder", decoder: "Decoder", cross: "Cross" };

/**
 * @param {object} given
 * @param {Record<string, import("./head_store.js").Kind>} given.kinds
 * @param {string} given.kindName
 * @param {number} given.layer
 * @param {number} given.head
 * @param {import("./colours.js").Theme} given.theme
 * @param {(changes: object) => void} given.set
 * @param {(changes: object) => void} given.option
 * @param {(kind: string) => void} given.changeKind
 */
export function headControls({ kinds, kindName, layer, head, theme, set, option, changeKind }) {
  const kind = kinds[kindName];
  const names = Object.keys(kinds);
  const counted = (count, name, coloured) =>
    Array.from({ length: count }, (_, i) => ({
      value: i,
      text: String(i),
      name: `${name} ${i}`,
      colour: coloured ? headColour(i, theme) : undefined,
    }));
  const kindChips = radioGroup({
    label: "Attention",
    part: "kind",
    choices: names.map((name) => ({ value: name, text: KIND_NAMES[name] ?? name })),
    chosen: kindName,
    choose: changeKind,
  });
  const layers = radioGroup({
    label: "Layer",
    part: "layer",
    choices: counted(kind.layers, "Layer", false),
    chosen: layer,
    choose: (value) => set({ layer: value }),
  });
  const heads = radioGroup({
    label: "Head",
    part: "head",
    choices: counted(kind.heads, "Head", true),
    chosen: head,
    choose: (value) => set({ head: value }),
  });
  const rescaled = "and rescale each row to the same sum";
  const hideFirst = checkbox("hide first token", "hide-first", (on) => option({ hide_first: on }),
    `Leave out the first token, on which many heads rest, ${rescaled}`);
  const hideSpecial = checkbox("hide special", "hide-special", (on) => option({ hide_special: on }),
    `Leave out special tokens and padding, ${rescaled}`);
  const weights = menu("What the numbers are", "weights", [
    { value: "raw", text: "attention weights" },
    { value: "value", text: "weight × value length" },
  ], (value) => option({ weights: value }));
  const colours = menu("Colours", "colours", COLOUR_MAPS.map((name) => ({
    value: name,
    text: name !== "default" ? name : theme === "dark" ? "pale" : "blue",
  })), (value) => option({ colours: value }));
  const rest = element("div", { class: "tl-group" }, hideFirst.root);
  if (kind.special.length) rest.append(hideSpecial.root);
  if (kind.has_norms) rest.append(weights.root);
  rest.append(colours.root);
  return {
    roots: [...(names.length > 1 ? [kindChips.root] : []), layers.root, heads.root, rest],
    place(atKind, atLayer, atHead) {
      kindChips.set(atKind);
      layers.set(atLayer);
      heads.set(atHead);
    },
    options(now, valueWeighted) {
      hideFirst.set(Boolean(now.hide_first));
      hideSpecial.set(Boolean(now.hide_special));
      weights.set(valueWeighted ? "value" : "raw");
      colours.set(now.colours ?? "default");
    },
  };
}

/**
 * Chips that switch the lines of single heads on and off.
 * @param {number} heads
 * @param {number[]} off
 * @param {import("./colours.js").Theme} theme
 * @param {(off: number[]) => void} change
 * @returns {Node[]}
 */
export function lineFilter(heads, off, theme, change) {
  const chip = (text, part, press, title) => {
    const made = button(text, part, press, title);
    made.className = "tl-chip";
    return made;
  };
  const chips = Array.from({ length: heads }, (_, head) => {
    const shown = !off.includes(head);
    const made = chip(String(head), "line-head", () => {
      change(shown ? [...off, head] : off.filter((other) => other !== head));
    }, `Lines of head ${head}`);
    made.dataset.value = String(head);
    made.setAttribute("aria-pressed", String(shown));
    made.prepend(element("span", { class: "tl-dot", style: `background:${headColour(head, theme)}` }));
    return made;
  });
  const every = Array.from({ length: heads }, (_, head) => head);
  const all = off.length
    ? chip("all", "line-all", () => change([]), "Lines of every head")
    : chip("none", "line-all", () => change(every), "Lines of no head");
  return [...chips, all];
}
