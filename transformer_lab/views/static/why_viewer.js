// One score: the row that it competes in, its dimensions, and who wrote what query and key carry.

import { largest } from "./attention.js";
import { colourTable, headColour } from "./colours.js";
import { button, menu, radioGroup } from "./controls.js";
import { element, onceAFrame, tokenElement } from "./dom.js";
import { linked } from "./linked.js";
import { NumberMap } from "./number_map.js";
import { Superseded } from "./requests.js";
import { sheet } from "./sheet.js";
import { Shell } from "./shell.js";
import { firstCell, largestBySize, WhyCell } from "./why_cell.js";
import { partColour, Waterfall } from "./why_waterfall.js";
import { plainText, signedText, whySentence } from "./why_words.js";
import { short } from "./words.js";

const BUSY = 200; // ms
const LATE = 4000;
const COMPETITORS = 8;
const LISTED = 8; // sources of a side; the rest together
const MENU = 256; // tokens in a menu; of longer texts those around the chosen one
const KINDS = { encoder: "Encoder", decoder: "Decoder", cross: "Cross" };

export class WhyViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(model, root, signal) {
    Object.assign(this, { model, root, signal });
    this.shell = new Shell(model, root, signal, {
      draw: () => this.draw(),
      png: () => this.#png(),
      code: () => this.#code(),
    });
    /** @type {Map<string, WhyCell>} */
    this.known = new Map();
    this.turn = 0;
    /** @type {number | null} */
    this.place = null;
    this.cell = this.#keep(firstCell(model));
    this.link = linked(model, signal, (spot) => this.#pointed(spot));
    this.again = onceAFrame(() => this.#fetch());
    this.#build();
    for (const name of ["kind", "layer", "head", "selected"]) {
      model.on(`change:${name}`, this.again);
      signal.addEventListener("abort", () => model.off(`change:${name}`, this.again));
    }
    this.shell.watch(["_options"]);
  }

  // ---- state --------------------------------------------------------------------------------

  get kind() {
    return this.model.get("_kinds")[this.model.get("kind")];
  }

  get options() {
    return this.model.get("_options") ?? {};
  }

  /** Whether what lies above the row's mean is on view. */
  get above() {
    return Boolean(this.options.above) && this.cell.info.mean !== null;
  }

  get pairs() {
    return Boolean(this.options.pairs) && this.cell.info.pairs;
  }

  /** By what name the score of the present selection is asked for. */
  get wanted() {
    const kindName = this.model.get("kind");
    const { layers, heads, queries, keys } = this.kind;
    const [query, key] = this.model.get("selected") ?? [null, null];
    const at = (value, count) => (value === null || value === undefined ? "-" : Math.min(value, count - 1));
    const layer = Math.min(this.model.get("layer"), layers - 1);
    const head = Math.min(this.model.get("head"), heads - 1);
    return ["cell", kindName, layer, head, at(query, queries), at(key, keys)].join("/");
  }

  #keep(cell) {
    if (this.known.size > 200) this.known.delete(this.known.keys().next().value);
    for (const name of cell.info.names) this.known.set(name, cell);
    return cell;
  }

  #code() {
    const { kind, layer, head, query, key } = this.cell.info;
    const several = Object.keys(this.model.get("_kinds")).length > 1;
    const more = [several && `kind="${kind}"`, this.model.get("_batch") && `batch=${this.model.get("_batch")}`, this.above && "above_mean=True"];
    const call = this.cell.info.sources ? "score_by_source" : "score_by_dimension";
    return `tl.circuits.${call}(${["trace", layer, head, query, key, ...more.filter(Boolean)].join(", ")})`;
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, signal, shell } = this;
    const panel = (name, title, hint, ...content) =>
      element("section", { class: `tl-panel tl-panel-${name}`, "aria-label": title },
        element("p", { class: "tl-heading" }, element("b", {}, title), " ", hint), ...content);
    const quiet = (part, text = "") => element("span", { class: "tl-quiet", "data-part": part }, text);
    this.controlBar = element("div", { class: "tl-controls" });
    this.note = element("p", { class: "tl-hint", "data-part": "note" });
    this.busy = element("p", { class: "tl-hint", "data-part": "busy", role: "status", hidden: true });
    this.row = element("table", { class: "tl-blocks tl-rivals", "data-part": "row" });
    this.rowHint = quiet("row-hint");
    this.ledger = element("table", { class: "tl-blocks tl-ledger", "data-part": "ledger" });
    this.canvas = element("canvas", { role: "img", tabindex: 0, "data-part": "waterfall" });
    this.fall = new Waterfall(this.canvas, (place) => this.#point(place), signal);
    this.fallHint = quiet("fall-hint");
    this.readout = element("p", { class: "tl-readout", "data-part": "readout" });
    this.numbers = element("table", { class: "tl-table", "data-part": "dimensions" });
    this.sides = { key: this.#side("key"), query: this.#side("query") };
    this.tableCanvas = element("canvas", { role: "img", tabindex: 0, "data-part": "table" });
    this.table = new NumberMap(this.tableCanvas, { hover: (at) => this.#pointTable(at) }, signal);
    this.tableText = element("p", { class: "tl-readout", "data-part": "table-readout" });
    this.sourceNote = element("p", { class: "tl-hint", "data-part": "source-note" });
    this.sourceHint = quiet("source-hint");
    this.sources = element("div", { class: "tl-sources" }, this.sides.key.root, this.sides.query.root,
      element("div", { class: "tl-both-sides" }, element("p", { class: "tl-hint" }, "Both together: row, the query’s source; column, the key’s."),
        element("div", { class: "tl-map-box" }, this.tableCanvas), this.tableText));
    this.sentence = element("p", { class: "tl-sentence", role: "status", "aria-live": "polite", "data-part": "sentence" });
    root.append(
      shell.header, this.controlBar, this.note, shell.message, this.busy,
      element("div", { class: "tl-panels tl-why" },
        panel("row", "Who competes", this.rowHint, this.row, this.ledger),
        panel("fall", "The score, number by number", this.fallHint, this.canvas, this.readout,
          element("details", { class: "tl-details" }, element("summary", {}, "Every number as a table"), element("div", { class: "tl-numbers", tabindex: 0, role: "group", "aria-label": "Every number", "data-lm-suppress-shortcuts": "true" }, this.numbers))),
        panel("sources", "Who wrote it", this.sourceHint, this.sources, this.sourceNote)),
      element("footer", { class: "tl-foot" }, this.sentence),
    );
    this.canvas.addEventListener("keydown", (event) => this.#keyFall(event), { signal });
    this.tableCanvas.addEventListener("keydown", (event) => this.#keyTable(event), { signal });
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.model.get("selected")) return;
      event.stopPropagation();
      shell.set({ selected: null });
    }, { signal });
  }

  #side(side) {
    const table = element("table", { class: "tl-blocks tl-side", "data-part": `${side}-side` });
    return { root: element("div", {}, table), table };
  }

  #buildControls() {
    const { shell, model, cell } = this;
    const names = Object.keys(model.get("_kinds"));
    const { layers, heads, queries, keys, query_tokens: queryTokens, key_tokens: keyTokens } = this.kind;
    const { layer, head, query, key } = cell.info;
    const counted = (count, name, coloured) => Array.from({ length: count }, (_, i) => ({
      value: i, text: String(i), name: `${name} ${i}`, colour: coloured ? headColour(i, shell.theme) : undefined,
    }));
    const group = (label, part, choices, chosen, choose) => radioGroup({ label, part, choices, chosen, choose }).root;
    const controls = [];
    if (names.length > 1) {
      controls.push(group("Attention", "kind", names.map((name) => ({ value: name, text: KINDS[name] ?? name })), model.get("kind"), (name) => this.#changeKind(name)));
    }
    controls.push(
      group("Layer", "layer", counted(layers, "Layer"), layer, (value) => shell.set({ layer: value })),
      group("Head", "head", counted(heads, "Head", true), head, (value) => shell.set({ head: value })),
      this.#tokens("query", queryTokens, queries, query, (value) => shell.set({ selected: [value, null] })),
      this.#tokens("key", keyTokens, keys, key, (value) => shell.set({ selected: [query, value] })),
    );
    if (cell.info.mean !== null) {
      controls.push(group("Split", "split", [
        { value: "score", text: "the score" },
        { value: "above", text: "above the row’s mean", name: "What lies above the row’s mean: what all keys share falls away, as in the softmax" },
      ], this.above ? "above" : "score", (value) => shell.set({ _options: { ...this.options, above: value === "above" } })));
    }
    if (cell.info.pairs) {
      controls.push(group("By", "unit", [
        { value: "dimension", text: "dimension" },
        { value: "pair", text: "rotary pair", name: "Rotary pair: two dimensions that turn together" },
      ], this.pairs ? "pair" : "dimension", (value) => shell.set({ _options: { ...this.options, pairs: value === "pair" } })));
    }
    const focus = document.activeElement?.closest?.("[data-part]");
    const at = this.controlBar.contains(focus) ? focus.dataset.part : null;
    this.controlBar.replaceChildren(...controls);
    // What had the focus has been made anew.
    if (at) (this.controlBar.querySelector(`[data-part="${at}"] [aria-checked=true]`) ?? this.controlBar.querySelector(`[data-part="${at}"]`))?.focus();
  }

  /** A menu of tokens with a step back and forth. */
  #tokens(part, tokens, count, chosen, choose) {
    const from = Math.max(0, Math.min(count - MENU, chosen - MENU / 2));
    const choices = Array.from({ length: Math.min(MENU, count) }, (_, i) => ({ value: String(from + i), text: `${from + i} ${tokens[from + i]}` }));
    const select = menu(`The ${part}`, part, choices, (value) => choose(Number(value)));
    select.set(String(chosen));
    const step = (text, by) => {
      const made = button(text, `${part}-${by < 0 ? "back" : "on"}`, () => choose(chosen + by), `${by < 0 ? "Previous" : "Next"} ${part}`);
      made.disabled = chosen + by < 0 || chosen + by >= count;
      return made;
    };
    return element("div", { class: "tl-group tl-tokens" }, element("span", { class: "tl-label", "aria-hidden": "true" }, part === "query" ? "Query" : "Key"),
      step("◀", -1), select.root, step("▶", 1));
  }

  // ---- what the reader does -----------------------------------------------------------------

  #changeKind(name) {
    const { layers, heads } = this.model.get("_kinds")[name];
    this.shell.set({
      selected: null, layer: Math.min(this.model.get("layer"), layers - 1), head: Math.min(this.model.get("head"), heads - 1), kind: name,
    });
  }

  /** Another view points at a key of this row. */
  #pointed(spot) {
    const here = spot && (spot.query === null || spot.query === this.cell.info.query) ? spot.key : null;
    for (const key of this.row.querySelectorAll("[data-key]")) key.classList.toggle("tl-pointed", Number(key.dataset.key) === here);
  }

  #point(place) {
    if (place === this.place) return;
    this.place = place;
    this.fall.mark(place);
    this.#tell();
  }

  #keyFall(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    const last = this.fall.parts.length - 1;
    this.#point(Math.max(0, Math.min(last, this.place === null ? (moves[event.key] < 0 ? last : 0) : this.place + moves[event.key])));
  }

  #pointTable(at) {
    this.spot = at && at.row !== null && at.column !== null ? at : null;
    this.table.mark(this.spot);
    this.#tellTable();
  }

  #keyTable(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move || !this.table.scene) return;
    event.preventDefault();
    event.stopPropagation();
    const { rows, columns } = this.table.scene;
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    const now = this.spot;
    this.#pointTable(now ? { row: within(now.row + move[0], rows), column: within(now.column + move[1], columns) } : { row: 0, column: 0 });
  }

  async #fetch() {
    const turn = ++this.turn;
    const name = this.wanted;
    const known = this.known.get(name);
    if (known) return this.#show(known);
    const wait = (text, after) => setTimeout(() => this.#waiting(text), after);
    const timers = [wait("Splitting the score …", BUSY), wait("Still waiting: Python may be busy with a cell, or stopped.", LATE)];
    try {
      const { message, buffers } = await this.shell.requests.ask({ type: "block", name });
      const cell = this.#keep(new WhyCell(message.info, buffers[0]));
      this.known.set(name, cell);
      if (turn === this.turn && !this.signal.aborted) this.#show(cell); // else a later choice won
    } catch (error) {
      if (error instanceof Superseded || turn !== this.turn) return;
      const held = this.model.get("_held");
      const [, , layer, head] = name.split("/");
      this.#waiting("");
      this.shell.say(held ? `This page holds ${held} only; what is shown is still the last score of it.` : `Layer ${layer}, head ${head} cannot be shown: ${error.message}`);
    } finally {
      timers.forEach(clearTimeout);
    }
  }

  #waiting(text) {
    this.busy.textContent = text;
    this.busy.hidden = !text;
  }

  #show(cell) {
    this.cell = cell;
    this.place = this.spot = null;
    this.#waiting("");
    this.shell.say("");
    this.shell.draw();
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    const { model, shell, cell } = this;
    const { kind, layer, head, query, key } = cell.info;
    this.diverging = colourTable("diverging", shell.theme);
    this.#buildControls();
    shell.subtitle.textContent = "why here?";
    this.note.textContent = model.get("_note");
    this.note.hidden = !this.note.textContent;
    this.tokens = { query: this.#names(kind).query_tokens[query], key: this.#names(kind).key_tokens[key] };
    this.#drawRow();
    this.#drawLedger();
    this.#drawFall();
    this.#drawSources();
    this.sentence.textContent = whySentence(this.#why());
    this.canvas.setAttribute("aria-label", `The score as a sum of ${this.fall.parts.length} numbers. ${this.sentence.textContent} Left and right choose a number.`);
    this.root.dataset.shown = `${kind}/${layer}/${head}/${query}/${key}`;
    this.root.dataset.above = String(this.above);
  }

  #names(kind) {
    return this.model.get("_kinds")[kind];
  }

  #why() {
    const { cell, above, tokens } = this;
    const { kind, layer, head, weight, scaled, score, mean } = cell.info;
    const several = Object.keys(this.model.get("_kinds")).length > 1;
    const products = cell.productsOf(above);
    const best = largestBySize(products);
    return {
      name: `${several ? `${kind[0].toUpperCase()}${kind.slice(1)}, layer` : "Layer"} ${layer}, head ${head}`,
      query: tokens.query, key: tokens.key, weight, scaled, score, mean, above,
      dimension: /** @type {[number, number]} */ ([best, products[best]]),
      keyPart: cell.best("key", above), queryPart: cell.best("query", above),
    };
  }

  #drawRow() {
    const { cell, shell, tokens } = this;
    const { query, key, kind } = cell.info;
    const best = largest(cell.weights, COMPETITORS).map(({ index }) => index);
    if (!best.includes(key)) best.splice(Math.min(best.length, COMPETITORS - 1), 1, key);
    const most = Math.max(...best.map((k) => cell.weights[k]), 1e-9);
    const names = this.#names(kind).key_tokens;
    this.rowHint.replaceChildren("what “", tokenElement(tokens.query), `” (${query}) looks at; choose a key`);
    const lines = best.map((k) => {
      const choose = element("button", { type: "button", class: "tl-key", "data-key": k, "aria-pressed": String(k === key) }, tokenElement(names[k]), ` ${k}`);
      choose.addEventListener("click", () => shell.set({ selected: [query, k] }));
      choose.addEventListener("pointerenter", () => this.link.hover({ query, key: k }));
      choose.addEventListener("pointerleave", () => this.link.hover(null));
      const width = `width:${((100 * cell.weights[k]) / most).toFixed(1)}%`;
      return element("tr", { class: k === key ? "tl-on" : "" },
        element("th", { scope: "row" }, choose),
        element("td", {}, Number.isFinite(cell.scores[k]) ? plainText(cell.scores[k]) : "masked"),
        element("td", {}, element("span", { class: "tl-stripe", "aria-hidden": "true" }, element("span", { class: `tl-fill ${k === key ? "tl-chosen" : "tl-plain"}`, style: width })), short(cell.weights[k], 4)));
    });
    const head = ["key", "score", "weight"].map((name) => element("th", { scope: "col" }, name));
    this.row.replaceChildren(element("caption", { class: "tl-hint" }, "The largest weights of the row"), element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines));
  }

  #drawLedger() {
    const { dot, scale, scaled, softcap, capped, bias, score, weight, mean } = this.cell.info;
    const line = (name, value, note, part) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", { "data-number": part }, value), element("td", { class: "tl-quiet" }, note));
    const lines = [line("query · key", plainText(dot, 3), "the dot product", "dot"), line("× scale", plainText(scaled, 3), `times ${scale.toFixed(4)}`, "scaled")];
    if (softcap !== null) lines.push(line("softcap", plainText(capped, 3), `squeezed to ±${softcap}`, "capped"));
    if (bias !== 0) lines.push(line("+ bias", bias === null ? "−∞" : signedText(bias, 3), bias === null ? "masked: the query may not look here" : "position bias or mask", "bias"));
    lines.push(line("= score", score === null ? "−∞" : plainText(score, 3), mean === null ? "" : `the row’s mean before biases: ${plainText(mean, 3)}`, "score"));
    lines.push(line("softmax", weight.toFixed(4), "its share among the row’s keys", "weight"));
    this.ledger.replaceChildren(element("caption", { class: "tl-hint" }, "From dot product to weight"), element("tbody", {}, ...lines));
  }

  #drawFall() {
    const { cell, above, pairs, shell } = this;
    const values = pairs ? cell.byPair(above) : cell.productsOf(above);
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    this.fall.show({ values, table: this.diverging, colours: shell.inks, unit: pairs ? "rotary pair" : "dimension" }, Math.max(240, box.clientWidth), 260);
    this.fallHint.textContent = above ? "q · (key − the row’s mean key) × scale" : "q · k × scale";
    this.#tell();
    const k = above ? cell.aboveK : cell.k;
    const half = values.length;
    const rows = this.fall.parts.map(({ index, value, to }) =>
      element("tr", {}, element("th", { scope: "row" }, pairs ? `${index}, ${index + half}` : String(index)),
        ...(pairs ? [] : [element("td", {}, plainText(cell.q[index], 3)), element("td", {}, plainText(k[index], 3))]),
        element("td", {}, signedText(value, 3)), element("td", {}, plainText(to, 3))));
    const names = pairs ? ["pair", "product", "sum so far"] : ["dimension", "query", above ? "key above mean" : "key", "product", "sum so far"];
    this.numbers.replaceChildren(element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows));
  }

  /** The number under the pointer. */
  #tell() {
    const { place, fall, cell, pairs, above } = this;
    const part = place === null ? null : fall.parts[place];
    if (!part) {
      this.readout.replaceChildren(element("span", { class: "tl-quiet" }, `Bars add up to ${plainText(fall.total, 3)}. Point at one for its numbers.`));
      return;
    }
    const k = above ? cell.aboveK : cell.k;
    const how = pairs ? "" : `: ${plainText(cell.q[part.index], 3)} × ${plainText(k[part.index], 3)} × ${cell.info.scale.toFixed(4)}`;
    this.readout.replaceChildren(
      element("span", {}, `${pairs ? "Pair" : "Dimension"} ${part.index}${how} = `, element("b", { "data-part": "number" }, signedText(part.value, 4)), `; so far ${plainText(part.to, 3)}`),
    );
  }

  // ---- sources ------------------------------------------------------------------------------

  get split() {
    return this.cell.splits[this.above ? "above" : "score"];
  }

  #drawSources() {
    const { cell, split, above } = this;
    const { info } = cell;
    this.sources.hidden = !split;
    const why = info.why_no_sources || (above ? info.why_no_above : "");
    this.sourceNote.textContent = split
      ? "Norms are held at their actual scale, so that the parts add up; without a part the scale, too, would be another. An edit shows that."
      : `Not known: ${why}.`;
    this.sourceHint.textContent = split ? `into the stream, ${above ? "of what lies above the row’s mean" : "of the score"}: ${plainText(split.total)}` : "";
    if (!split) return;
    for (const side of ["key", "query"]) this.#drawSide(side);
    this.#drawTable();
  }

  #drawSide(side) {
    const { cell, split, diverging } = this;
    const { names } = cell.info.sources[side];
    const values = split[side];
    const order = Array.from(values, (_, i) => i).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b);
    const kept = order.slice(0, LISTED);
    const rest = order.slice(LISTED);
    const listed = kept.map((i) => ({ name: names[i], value: values[i] }));
    if (rest.length) listed.push({ name: `${rest.length} others`, value: rest.reduce((sum, i) => sum + values[i], 0) });
    const most = Math.max(...listed.map(({ value }) => Math.abs(value)), 1e-9);
    const lines = listed.map(({ name, value }) => element("tr", {},
      element("th", { scope: "row" }, name),
      element("td", {}, element("span", { class: "tl-stripe", "aria-hidden": "true" }, element("span", { class: "tl-fill", style: `width:${((100 * Math.abs(value)) / most).toFixed(1)}%;background:${partColour(diverging, value, most)}` })), element("span", { class: "tl-count" }, signedText(value)))));
    const token = tokenElement(this.tokens[side]);
    this.sides[side].table.replaceChildren(
      element("caption", { class: "tl-hint" }, side === "key" ? "The key’s side: what “" : "The query’s side: what “", token, `” (${cell.info[side]}) carries`),
      element("tbody", {}, ...lines),
    );
  }

  #drawTable() {
    const { cell, split, diverging, shell } = this;
    const names = (side, kept) => {
      const { short: all } = cell.info.sources[side];
      return kept.length < all.length ? [...kept.map((i) => all[i]), "rest"] : kept.map((i) => all[i]);
    };
    const [rows, columns] = split.shape;
    const most = Math.max(...split.table.map(Math.abs), 1e-9);
    const box = /** @type {HTMLElement} */ (this.tableCanvas.parentElement);
    this.table.show({
      rows, columns, value: (row, column) => split.table[row * columns + column], low: -most, high: most, table: diverging,
      colours: shell.inks, rowNames: names("query", split.rows), columnNames: names("key", split.columns), write: (x) => (Math.abs(x) < 0.05 ? "" : plainText(x, 1)),
    }, Math.max(240, Math.min(560, box.clientWidth)), 31 * rows);
    this.#tellTable();
  }

  #tellTable() {
    const { spot, split, cell } = this;
    const about = "Parts of the score by source: rows are the query’s, columns the key’s.";
    if (!spot) {
      this.tableCanvas.setAttribute("aria-label", `${about} Arrow keys choose a cell.`);
      this.tableText.replaceChildren(element("span", { class: "tl-quiet" }, "Point at a cell for its number."));
      return;
    }
    const name = (side, kept, i) => (i < kept.length ? cell.info.sources[side].names[kept[i]] : "all others");
    const value = split.table[spot.row * split.shape[1] + spot.column];
    const text = `query’s ${name("query", split.rows, spot.row)} × key’s ${name("key", split.columns, spot.column)}: `;
    this.tableText.replaceChildren(element("span", {}, text, element("b", { "data-part": "table-number" }, signedText(value, 3))));
    this.tableCanvas.setAttribute("aria-label", `${about} ${text}${signedText(value, 3)}. Arrow keys move.`);
  }

  #png() {
    const parts = [{ canvas: this.canvas, title: `the score, ${this.pairs ? "rotary pair by rotary pair" : "dimension by dimension"}` }];
    if (this.split) parts.push({ canvas: this.tableCanvas, title: "query’s source (row) × key’s source (column)" });
    return sheet({ title: `${this.model.get("_title")}: why here?`, sentence: this.sentence.textContent, parts, inks: this.shell.inks });
  }
}
