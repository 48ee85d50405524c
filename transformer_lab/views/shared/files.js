// Files of what is on view: their names, and those that a page writes itself, in the layout of
// Python's (see exports.py).

import { button, popover } from "./controls.js";
import { csvText } from "./csv.js";
import { download, element, taken } from "./dom.js";
import { sayShared } from "./messages.js";

/** @typedef {import("./numbers.js").Numbers} Numbers */

const LONGEST_WORDS = 40; // characters of a text in a file's name

/** @param {string} text */
const slugOf = (text) =>
  text
    .normalize("NFC")
    .replace(/[^\p{L}\p{N}_-]+/gu, "-")
    .replace(/-{2,}/g, "-")
    .replace(/^-+|-+$/g, "");

/** A file name without extension: the view, the model, the part on view, the text. @param {{view?: string, model?: string, part?: string, text?: string}} of */
export function fileName({ view = "", model = "", part = "", text = "" }) {
  const short = slugOf(Array.from(text).slice(0, LONGEST_WORDS).join(""));
  return [view, model, part, short].map(slugOf).filter(Boolean).join("-").toLowerCase() || "view";
}

/** Header and rows of a long table, with a row for every index that has a number. @param {Numbers} numbers */
export function tableOf({ arrays, axes, table }) {
  if (table) return table;
  const [first] = Object.values(arrays);
  const same = Object.entries(arrays).filter(([, one]) => String(one.axes) === String(first.axes));
  const words = first.axes.map((axis) => axes[axis].some((name) => typeof name === "string"));
  const header = [
    ...first.axes.flatMap((axis, i) => (words[i] ? [axis, `${axis}_token`] : [axis])),
    ...same.map(([name]) => name),
  ];
  const rows = [];
  const walk = (places, values) => {
    if (places.length === first.axes.length) {
      if (values.every((value) => value === null)) return;
      const names = places.flatMap((at, i) =>
        words[i] ? [at, axes[first.axes[i]][at]] : [axes[first.axes[i]][at]],
      );
      rows.push([...names, ...values]);
      return;
    }
    for (let i = 0; i < axes[first.axes[places.length]].length; i++)
      walk(
        [...places, i],
        values.map((value) => value[i]),
      );
  };
  walk(
    [],
    same.map(([, one]) => one.values),
  );
  return { header, rows };
}

/** Fill in the labels along every axis. @param {Numbers} numbers */
function whole({ arrays, axes, ...numbers }) {
  /** @type {Numbers["axes"]} */
  const found = {};
  for (const { axes: names, values } of Object.values(arrays)) {
    let along = values;
    for (const name of names) {
      found[name] ??= axes[name] ?? along.map((_, i) => i);
      along = along[0] ?? [];
    }
  }
  return { ...numbers, arrays, axes: found };
}

/** @param {Numbers} numbers @param {Record<string, any>} about in the last column of the first row */
export function csvFile(numbers, about) {
  const { header, rows } = tableOf(whole(numbers));
  const arrays = Object.fromEntries(
    Object.entries(numbers.arrays).map(([name, { axes, means }]) => [name, { axes, means }]),
  );
  const document = JSON.stringify({ ...about, chosen: numbers.chosen, arrays });
  const lines = rows.length
    ? rows.map((row, i) => [...row, i ? "" : document])
    : [[...header.map(() => ""), document]];
  return csvText([[...header, "about"], ...lines]);
}

/** @param {Numbers} numbers @param {Record<string, any>} about */
export function jsonFile(numbers, about) {
  const { arrays, axes, chosen } = whole(numbers);
  return `${JSON.stringify({ ...about, chosen, axes, arrays })}\n`;
}

// ---- the menu -------------------------------------------------------------------------------

const FILE_KINDS = {
  png: ["PNG", sayShared("a_picture_of_what")],
  svg: ["SVG", sayShared("a_picture_that_stays")],
  html: [sayShared("html_page"), sayShared("one_interactive_page_with")],
  csv: ["CSV", sayShared("a_table_of_the")],
  json: ["JSON", sayShared("the_numbers_on_view")],
  npz: ["NPZ", sayShared("the_numbers_on_view_as")],
};
const FILE_TYPES = {
  svg: "image/svg+xml",
  html: "text/html",
  csv: "text/csv",
  json: "application/json",
  npz: "application/octet-stream",
};

export class SaveMenu {
  /**
   * @param {any} model
   * @param {HTMLElement} root of the view
   * @param {import("./requests.js").Requests} requests
   * @param {import("./header.js").HeaderDoes & {say: (text: string) => void}} does
   * @param {HTMLElement[]} copies buttons that copy something
   * @param {HTMLElement} copied status line for what was copied
   */
  constructor(model, root, requests, does, copies, copied) {
    this.model = model;
    this.root = root;
    this.requests = requests;
    this.does = does;
    // A saved page has no Python: it offers only the files that it writes itself.
    this.alone = Boolean(model.get("_saved") || does.within);
    const own = ["png", "html", ...(does.numbers ? ["csv", "json"] : [])];
    const kinds = Object.keys(FILE_KINDS).filter((kind) => !this.alone || own.includes(kind));
    const choices = [
      ...copies,
      ...kinds.map((kind) =>
        button(FILE_KINDS[kind][0], kind, `${FILE_KINDS[kind][0]}: ${FILE_KINDS[kind][1]}`, () =>
          this.#save(kind),
        ),
      ),
    ];
    const python = this.alone ? [element("p.tl-hint", sayShared("svg_and_npz_are"))] : [];
    this.element = popover(
      sayShared("save"),
      "save",
      sayShared("save_or_copy_what"),
      ...choices,
      ...python,
      copied,
    );
    this.element.classList.add("tl-save");
    this.element.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || !this.element.open) return;
      taken(event);
      const now = choices.indexOf(/** @type {any} */ (document.activeElement));
      choices[
        now < 0
          ? step > 0
            ? 0
            : choices.length - 1
          : (now + step + choices.length) % choices.length
      ].focus();
    });
  }

  /** File name for what is on view. @param {string} kind */
  name(kind) {
    const { model, does } = this;
    const how = model.get("_how") ?? {};
    const [of] = how.of ?? [];
    const tokens = of?.tokens?.[model.get("_batch") ?? 0] ?? [];
    const text =
      model.get("_text") ??
      tokens.join(tokens.some((/** @type {string} */ token) => /[·▁\s]/.test(token)) ? "" : " ");
    return `${fileName({ view: how.view, model: of?.model || model.get("_title"), part: does.part?.() ?? "", text })}.${kind}`;
  }

  /** The reader's choices, by Python's names. */
  #chosen() {
    const { model } = this;
    const names = /** @type {string[]} */ (model.get("_chosen") ?? []);
    return {
      ...Object.fromEntries(names.map((name) => [name, model.get(name)])),
      ...model.get("_options"),
    };
  }

  async #save(kind) {
    this.element.open = false;
    this.element.querySelector("summary").focus();
    const name = this.name(kind);
    try {
      const blob = await this.#made(kind);
      if (blob) download(blob, name);
      this.root.dataset.saved = name;
      this.does.say("");
    } catch (error) {
      this.does.say(
        sayShared("the_could_not_be", { file_kind: FILE_KINDS[kind][0], why: error.message }),
      );
    }
  }

  /** @returns {Promise<Blob | null>} */
  async #made(kind) {
    const { model, does } = this;
    if (kind === "png") return does.png();
    if (kind !== "html" && this.alone) {
      const how = model.get("_how") ?? {};
      const sentence =
        does.sentence?.() ??
        /** @type {any} */ (this.root.querySelector('[data-part="sentence"]'))?.textContent ??
        "";
      const about = { view: how.view, title: model.get("_title"), sentence, computed: how };
      const numbers = await does.numbers();
      const chosen = { ...this.#chosen(), ...numbers.chosen };
      return new Blob([(kind === "csv" ? csvFile : jsonFile)({ ...numbers, chosen }, about)], {
        type: FILE_TYPES[kind],
      });
    }
    const question = kind === "html" ? { type: "page" } : { type: "save", as: kind };
    const { buffers } = await this.requests.ask(question, false);
    return new Blob([buffers[0]], { type: FILE_TYPES[kind] });
  }
}
