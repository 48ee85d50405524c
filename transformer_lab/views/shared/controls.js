// Controls: radio chips, switches and buttons, all usable with keyboard and screen reader.

import { element, taken } from "./dom.js";
import { headTag, sayShared } from "./messages.js";
import { nearestStop } from "./ticks.js";

/**
 * A radio group: one Tab stop, arrow keys choose.
 * @template T
 * @param {object} options
 * @param {string} options.label
 * @param {{value: T, text: string, short?: string, name?: string, colour?: string}[]} options.choices
 * @param {T} options.chosen
 * @param {(value: T) => void} options.choose
 * @param {string} options.part names the group in the page
 * @param {boolean} [options.quiet] whether the label is for screen readers only
 */
export function radioGroup({ label, choices, chosen, choose, part, quiet }) {
  const group = element(`div.tl-group#${part}`, { role: "radiogroup", "aria-label": label });
  if (!quiet) group.append(element("span.tl-label", { "aria-hidden": "true" }, label));
  const chips = choices.map(({ value, text, short, name, colour }) => {
    const on = value === chosen;
    const chip = element(
      "button.tl-chip",
      {
        role: "radio",
        "aria-checked": String(on),
        ...named(text, name),
        tabindex: on ? 0 : -1,
        "data-value": String(value),
        click: () => choose(value),
      },
      colour && element("span.tl-dot", { style: `background:${colour}` }),
      orShort(text, short),
    );
    return chip;
  });
  group.append(element("span.tl-joined", chips));
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const jump = { Home: 0, End: choices.length - 1 }[event.key];
    if (step === undefined && jump === undefined) return;
    taken(event);
    // Start from the chip with the focus: the chosen one may not be drawn yet.
    const now = chips.findIndex((chip) => chip.contains(/** @type {Node} */ (event.target)));
    const by = step ?? (jump ? -1 : 1);
    let next = jump ?? (now + by + choices.length) % choices.length;
    while (chips[next].disabled) next = (next + by + choices.length) % choices.length;
    choose(choices[next].value);
    chips[next].focus();
  });
  return {
    root: group,
    focus: () => chips.find((chip) => chip.tabIndex === 0)?.focus(),
    /** Disable a choice, with the reason, or enable it. @param {T} value @param {string} why "" if it can be chosen */
    able(value, why) {
      const at = choices.findIndex((choice) => choice.value === value);
      chips[at].disabled = Boolean(why);
      chips[at].title = why || (choices[at].name ?? "");
    },
    /** @param {T} value */
    set(value) {
      chips.forEach((chip, i) => {
        const on = choices[i].value === value;
        chip.setAttribute("aria-checked", String(on));
        chip.tabIndex = on ? 0 : -1;
      });
    },
  };
}

/** The same, after buttons for the previous and the next choice. @param {Parameters<typeof radioGroup>[0] & {steps: string[]}} options steps: names of the two buttons */
export function railGroup({ steps: [previous, next], ...options }) {
  const { choices, chosen, choose } = options;
  const at = choices.findIndex(({ value }) => value === chosen);
  const step = (sign, part, name, to) => {
    const made = button(sign, part, name, () => choose(choices[to].value));
    made.disabled = !choices[to];
    return made;
  };
  const [back, on] = [step("◀", "back", previous, at - 1), step("▶", "on", next, at + 1)];
  const { root } = radioGroup(options);
  return { root: element("div.tl-group", element("span.tl-joined", back, on), root) };
}

/** @param {string} text @param {string} part @param {...any} more its title, if any, then the handler of changes */
export function checkbox(text, part, ...more) {
  const change = more.pop();
  const [title] = more;
  const box = element(`input#${part}`, { type: "checkbox" });
  const root = element("label.tl-check", { title }, box, text);
  box.addEventListener("change", () => change(box.checked));
  return { root, set: (on) => (box.checked = on) };
}

/** @param {string} text @param {string} part @param {...any} more its title, if any, then the handler of presses */
export function button(text, part, ...more) {
  const press = more.pop();
  const [title] = more;
  return element(`button.tl-button#${part}`, { ...named(text, title), click: press }, text);
}

/** A text, and a shorter one for views as narrow as a phone. @param {string} text @param {string} [short] */
export const orShort = (text, short) =>
  short ? [element("span.tl-long", text), element("span.tl-short", short)] : [text];

/** Attributes that name a button: a title, also read aloud if its text has no letters. @param {string} text @param {string | undefined} title */
const named = (text, title) =>
  !text || /\p{L}/u.test(text) ? { title } : { title, "aria-label": title };

/** A button that removes every edit. @param {() => void} remove @param {string} [text] @param {string} [title] */
export function removeAll(
  remove,
  text = sayShared("remove_all"),
  title = sayShared("remove_all_edits"),
) {
  const made = button(text, "remove-all", title, remove);
  made.className = "tl-link";
  return made;
}

/** @param {string} label @param {string} part @param {{value: string, text: string}[]} choices @param {(value: string) => void} change */
export function menu(label, part, choices, change) {
  const select = element(
    `select.tl-menu#${part}`,
    { "aria-label": label, title: label, change: () => change(select.value) },
    choices.map(({ value, text }) => element("option", { value }, text)),
  );
  return { root: select, set: (value) => (select.value = value) };
}

/**
 * Content that is rarely needed, behind a button that opens it over the view.
 * @param {string} text
 * @param {string} part
 * @param {string} title
 * @param {...Node} children
 */
export function popover(text, part, title, ...children) {
  const summary = element(`summary.tl-button#${part}`, named(text, title), text);
  const popped = element("div.tl-popped", children);
  const root = element(
    "details.tl-popover",
    {
      toggle: () => root.open && keepInside(popped),
      keydown: (event) => {
        if (event.key !== "Escape" || !root.open) return;
        event.stopPropagation();
        root.open = false;
        summary.focus();
      },
      focusout: (event) => {
        if (event.relatedTarget && !root.contains(event.relatedTarget)) root.open = false;
      },
    },
    summary,
    popped,
  );
  return root;
}

/** Move a box sideways until it is within its view. @param {HTMLElement} box */
function keepInside(box) {
  box.style.translate = "";
  const view = box.closest(".tl-view");
  if (!view) return;
  const [around, at] = [view, box].map((each) => each.getBoundingClientRect());
  const zoom = at.width / box.offsetWidth || 1; // in presentation size
  const by = Math.max(0, around.left + 4 - at.left) - Math.max(0, at.right - around.right + 4);
  if (by) box.style.translate = `${by / zoom}px`;
}

const IN_MENU = 256; // most entries of a menu; of more, those around the chosen one

/**
 * A menu with buttons for the previous and the next choice.
 * @param {object} of
 * @param {string} of.label
 * @param {string} of.part
 * @param {number} of.count
 * @param {number} of.chosen
 * @param {(at: number) => string} of.text
 * @param {(at: number) => void} of.choose
 * @param {boolean} [of.around] whether the first follows the last
 */
export function stepped({ label, part, count, chosen, text, choose, around = false }) {
  let [at, all] = [chosen, count];
  const select = menu(`The ${part}`, part, [], (value) => choose(Number(value))).root;
  const step = (sign, by, name) =>
    button(
      sign,
      `${part}-${name}`,
      `${by < 0 ? sayShared("previous") : sayShared("next")} ${part}`,
      () => choose((at = (at + by + all) % all)),
    );
  const [back, on] = [step("◀", -1, "back"), step("▶", 1, "on")];
  let written = "";
  /** @param {number} now @param {number} [of] */
  const show = (now, of = all) => {
    [at, all] = [now, of];
    const from = Math.max(0, Math.min(all - IN_MENU, at - IN_MENU / 2));
    const names = Array.from({ length: Math.min(IN_MENU, all) }, (_, i) => text(from + i));
    if (written !== (written = `${from} ${names.join("\n")}`))
      select.replaceChildren(
        ...names.map((name, i) => element("option", { value: from + i }, name)),
      );
    select.value = String(at);
    [back.disabled, on.disabled] = around ? [all < 2, all < 2] : [at < 1, at + 1 >= all];
  };
  show(chosen);
  const root = element(
    "div.tl-group",
    { role: "group", "aria-label": label },
    element("span.tl-label", { "aria-hidden": "true" }, label),
    element("span.tl-joined", back, select, on),
  );
  return { root, show };
}

/**
 * Every head of a kind of attention.
 * @param {{layers: number, heads: number, counts?: number[], headless?: Record<string, string>}} kind
 *   `counts`: heads of each layer, if they differ; `headless`: layers without heads; no layers: the
 *   heads are the same in all layers
 */
export const headPlaces = ({ layers, heads, counts, headless }) =>
  Array.from({ length: layers || 1 }, (_, layer) =>
    Array.from({ length: headless?.[layer] ? 0 : (counts?.[layer] ?? heads) }, (_, head) => ({
      layer,
      head,
    })),
  ).flat();

/**
 * A control to choose a head of any layer; `show` draws the current choice.
 * @param {{layer: number, head: number, kind: Parameters<typeof headPlaces>[0]}} at
 * @param {(place: {layer: number, head: number}) => void} choose
 * @param {string} [label]
 */
export function headChoice(at, choose, label = sayShared("head_label")) {
  /** @type {{layer: number, head: number}[]} */
  let places = [];
  const made = stepped({
    label,
    part: "head",
    count: 0,
    chosen: 0,
    around: true,
    text: (i) => (at.kind.layers ? headTag(places[i].layer, places[i].head) : `H${places[i].head}`),
    choose: (i) => choose(places[i]),
  });
  const show = () => {
    places = headPlaces(at.kind);
    made.show(
      places.findIndex(({ layer, head }) => layer === at.layer && head === at.head),
      places.length,
    );
  };
  return { root: made.root, show };
}

/**
 * A control to choose the kind of attention; hidden if there is only one.
 * @param {Record<string, any>} kinds
 * @param {string} chosen
 * @param {(kind: string) => void} choose
 */
export function kindChoice(kinds, chosen, choose) {
  const made = radioGroup({
    label: sayShared("attention"),
    part: "kind",
    chosen,
    choose,
    choices: Object.keys(kinds).map((value) => ({ value, text: value })),
  });
  made.root.hidden = Object.keys(kinds).length < 2;
  return made;
}

/** Replace a bar's children, and give the focus to the new version of the control that had it. @param {HTMLElement} bar @param {HTMLElement[]} children */
export function putAnew(bar, children) {
  if (
    children.length === bar.childElementCount &&
    children.every((one, i) => one === bar.children[i])
  )
    return;
  const focus = document.activeElement;
  const part = bar.contains(focus)
    ? focus?.closest("[data-part]")?.getAttribute("data-part")
    : null;
  bar.replaceChildren(...children);
  if (!part) return;
  const found = /** @type {any} */ (bar.querySelector(`[data-part="${part}"]`));
  const again = found?.querySelector("[aria-checked=true]") ?? found;
  const group = found?.closest(".tl-group") ?? bar;
  (again?.disabled ? group.querySelector("[aria-checked=true], select") : again)?.focus();
}

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.part
 * @param {number[]} options.values ascending; the slider stops at these
 * @param {number} options.value
 * @param {(value: number) => void} options.change
 * @param {(value: number) => string} [options.text]
 * @param {string} [options.title]
 */
export function slider({ label, part, values, value, change, text = String, title }) {
  let stops = values;
  const shown = element("output.tl-slider-value");
  const input = element(`input#${part}`, {
    type: "range",
    min: 0,
    step: 1,
    "aria-label": label,
    title,
  });
  const root = element("label.tl-slider", { title }, element("span.tl-label", label), input, shown);
  const say = (at) => {
    const said = text(stops[at]);
    shown.textContent = said;
    input.setAttribute("aria-valuetext", said);
  };
  input.addEventListener("input", () => {
    say(Number(input.value));
    change(stops[Number(input.value)]);
  });
  // Arrow keys belong to the slider, not to the view or the notebook around it.
  input.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(event.key))
      event.stopPropagation();
  });
  const set = (to, among = stops, disabled = false) => {
    stops = among;
    const at = nearestStop(stops, to);
    input.max = String(Math.max(0, stops.length - 1));
    input.value = String(at);
    input.disabled = disabled || stops.length < 2;
    say(at);
  };
  set(value);
  return { root, input, set };
}
