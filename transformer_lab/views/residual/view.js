// The residual stream: its norm by layer and token, what each block adds, and what it would
// predict.

import { mounted } from "../shared/mounted.js";
import { aliveStream } from "./alive.js";
import { floatsOf, linearLegend } from "../shared/shell.js";
import { colourTable } from "../shared/colours.js";
import { button, radioGroup, stepped } from "../shared/controls.js";
import {
  byTouch,
  element,
  hearChanges,
  legendPart,
  listen,
  onceAFrame,
  panelPart,
  picturePart,
  taken,
  tokenElement,
  within,
} from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { NumberMap } from "../shared/number_map.js";
import { Waiting } from "../shared/requests.js";
import { BlockTable, COMPACT_FROM, lensColumns, LensStore, LensTable } from "./lens.js";
import { numbersOf } from "../shared/files.js";
import { around, messages, sizeText, SLOT } from "../shared/messages.js";
import residualMessages from "./messages.json" with { type: "json" };
import { BaseViewer } from "../shared/viewer.js";

/** The median; of an even number of values, the lower of the two in the middle. @param {number[]} values */
export function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/**
 * @typedef {object} Profile of one token, or of the typical token
 * @property {number[]} norms [layer + 1]
 * @property {string[]} parts
 * @property {number[][]} shares [part][layer]
 * @property {number[][]} cosines
 */

const FILED_LENS = 12; // tokens of the lens in a file, as LENS_TOKENS in scene.py

/** The layer from which an answer is the most likely, given the first row in which it is. @param {number} row @param {number} layers */
const settledAt = (row, layers) =>
  row > layers ? null : row === layers ? "last" : row === 0 ? "start" : row - 1;

export class ResidualViewer extends BaseViewer {
  /** @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(given, root, signal) {
    const model = aliveStream(given, signal);
    super(model, root, signal, { given });
    this.words = messages(residualMessages, model.get("_messages"));
    root.lang = this.words("language");
    this.store = new LensStore(model, this.shell.requests);
    /** @type {number | null} */
    this.hoverToken = null;
    /** @type {number | null} */
    this.hoverRow = null;
    this.from = null;
    this.failed = ""; // why the lens's last request failed
    this.marks = onceAFrame(() => this.#follow());
    this.link = linked(model, signal, (spot) => {
      this.hoverToken = this.#tokenOf(spot && [spot.query, spot.key]);
      this.marks();
    });
    this.#build();
    this.shell.watch(["kind"], () => {
      this.from = this.hoverToken = this.hoverRow = null;
    });
    this.shell.watch(["_streams"], () => {
      this.store = new LensStore(model, this.shell.requests); // the text has changed
      this.from = this.hoverToken = this.hoverRow = null;
    });
    hearChanges(model, ["selected", "layer"], signal, () => this.#selected());
  }

  // ---- state --------------------------------------------------------------------------------

  get streamName() {
    const kind = this.model.get("kind");
    return kind === "cross" ? "decoder" : kind;
  }

  get stream() {
    return this.model.get("_streams")[this.streamName];
  }

  /** The token in this stream of a pair (query, key). */
  #tokenOf(pair) {
    if (!pair) return null;
    const [query, key] = pair;
    const token = query ?? (this.model.get("kind") === "cross" ? null : key);
    return token === null || token === undefined || token >= this.stream.tokens.length
      ? null
      : token;
  }

  get chosen() {
    return this.#tokenOf(this.model.get("selected"));
  }

  get token() {
    return this.hoverToken ?? this.chosen;
  }

  /** Row 0 is before the first block; row l + 1 after block l. */
  get row() {
    return this.hoverRow ?? Math.min(this.model.get("layer"), this.stream.layers - 1) + 1;
  }

  get rowNames() {
    return [
      this.words("start"),
      ...Array.from({ length: this.stream.layers }, (_, i) => String(i)),
    ];
  }

  /** @param {number} row @param {number} token */
  norm(row, token) {
    const { norms, tokens } = this.stream;
    return this.norms[norms + row * tokens.length + token];
  }

  /** @param {0 | 1} what share or cosine */
  added(what, part, layer, token) {
    const { shares, parts, layers, tokens } = this.stream;
    return this.shares[
      shares + ((what * parts.length + part) * layers + layer) * tokens.length + token
    ];
  }

  /** @param {number | null} token @returns {Profile} */
  profile(token) {
    const { layers, parts, tokens } = this.stream;
    const of = (value) =>
      token === null ? medianOf(tokens.map((_, i) => value(i))) : value(token);
    const every = (count, make) => Array.from({ length: count }, (_, i) => make(i));
    return {
      norms: every(layers + 1, (row) => of((i) => this.norm(row, i))),
      parts,
      shares: parts.map((_, p) => every(layers, (l) => of((i) => this.added(0, p, l, i)))),
      cosines: parts.map((_, p) => every(layers, (l) => of((i) => this.added(1, p, l, i)))),
    };
  }

  code() {
    const { chosen } = this;
    return `${this.callOn("stream_norms", this.streamName, [])}${chosen === null ? "" : `[:, ${chosen}]`}`;
  }

  pictures() {
    const { words: say, stream, store, from, count, rowNames, sequential, shell, signal } = this;
    const sizes = { canvas: this.canvas, title: say("sizes_picture") };
    if (!stream.lens) return [sizes];
    const canvas = document.createElement("canvas");
    new NumberMap(canvas, signal, {}).show(60 + 68 * count, 31 * rowNames.length, {
      rows: rowNames.length,
      columns: count,
      value: (row, i) => store.answerProbability(row, from + i) ?? NaN,
      low: 0,
      high: 1,
      table: sequential,
      colours: shell.inks,
      rowNames,
      columnNames: stream.tokens.slice(from, from + count),
      write: (_, row, i) => store.top(row, from + i)?.[0].name ?? "",
      cut: true,
      bold: (row, i) => store.agrees(row, from + i),
    });
    return [sizes, { canvas, title: say("lens_picture") }];
  }

  async fileNumbers() {
    const { store, chosen, words: say } = this;
    const { layers, tokens, parts, lens } = this.stream;
    const [where, read] = [
      ["part", "layer", "position"],
      ["after", "read"],
    ];
    /** @type {Record<string, any[]>} */
    const axes = {
      after: ["start", ...Array.from({ length: layers }, (_, layer) => `layer ${layer}`)],
      position: tokens,
      part: parts,
      layer: [...Array(layers).keys()],
    };
    /** @type {Parameters<typeof numbersOf>[1]} */
    const arrays = {
      length: [["after", "position"], (row, at) => this.norm(row, at), say("is_length")],
    };
    for (const i of parts.length ? /** @type {const} */ ([0, 1]) : [])
      arrays[["share", "cosine"][i]] = [
        where,
        (part, layer, token) => this.added(i, part, layer, token),
        say(["is_share", "is_cosine"][i]),
      ];
    if (lens) {
      const count = Math.min(FILED_LENS, tokens.length);
      const first =
        chosen === null
          ? tokens.length - count
          : Math.max(0, Math.min(tokens.length - count, chosen - Math.floor(count / 2)));
      await store.fetch(first, first + count).catch(() => {}); // a long page holds some tokens only
      axes.read = Array.from({ length: count }, (_, at) => first + at);
      arrays.answer = [
        read,
        (row, at) => store.answerProbability(row, first + at),
        say("is_answer"),
      ];
      arrays.likeliest = [
        read,
        (row, at) => store.top(row, first + at)?.[0].name,
        say("is_likeliest"),
      ];
      arrays.likeliest_probability = [
        read,
        (row, at) => store.top(row, first + at)?.[0].probability,
        say("is_likeliest_probability"),
      ];
    }
    return numbersOf(axes, arrays);
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, signal, shell, words: say } = this;
    this.canvas = picturePart("map", "tl-map");
    this.map = new NumberMap(this.canvas, signal, {
      hover: (cell) => this.#hover(cell?.row ?? null, cell?.column ?? null),
      pick: (cell) => this.#pick(cell.row, cell.column),
    });
    this.legend = legendPart();
    this.mapNote = element("p.tl-hint#map-note");
    this.blocks = new BlockTable(
      { hover: (row) => this.#hoverRow(row), pick: (row) => this.#pick(row, null) },
      signal,
      say,
    );
    this.blockNote = element("p.tl-hint#block-note");
    this.lens = new LensTable(
      {
        hover: (row, token) => this.#hover(row, token),
        pick: (row, token) => this.#pick(row, token),
      },
      signal,
    );
    this.lensBox = element(
      "div.tl-lens-box",
      { tabindex: 0, role: "group", "aria-label": say("lens_keys") },
      this.lens.table,
    );
    this.busy = element("p.tl-hint#busy", { role: "status", hidden: true });
    this.waiting = new Waiting(this.busy);
    this.lensLegend = legendPart("lens-legend");
    this.lensNote = element("p.tl-hint#lens-note");
    this.top = element("p.tl-readout#lens-top");
    this.back = button("◀", "earlier", say("earlier"), () => this.#page(-1));
    this.on = button("▶", "later", say("later"), () => this.#page(1));
    this.where = element("span.tl-quiet#window");
    this.pager = element("span.tl-pager", this.back, this.where, this.on);
    this.controlBar = element("div.tl-controls");
    this.note = element("p.tl-hint#note");
    this.numbers = element("p.tl-readout#readout");
    root.append(
      ...shell.above,
      this.controlBar,
      this.note,
      shell.message,
      this.sentence,
      this.numbers,
      element(
        "div.tl-panels.tl-residual",
        panelPart(
          "norms",
          say("sizes"),
          say("axes"),
          element("div.tl-map-box", this.canvas),
          this.legend,
          this.mapNote,
        ),
        panelPart(
          "blocks",
          say("blocks"),
          say("blocks_hint"),
          element(
            "div.tl-blocks-box",
            { tabindex: 0, role: "group", "aria-label": say("blocks") },
            this.blocks.table,
          ),
          this.blockNote,
        ),
        panelPart(
          "lens",
          say("lens"),
          element(
            "span",
            { style: "display:contents" },
            element("span.tl-quiet", say("lens_hint")),
            this.pager,
          ),
          this.lensLegend,
          this.lensBox,
          this.busy,
          this.top,
          this.lensNote,
        ),
      ),
    );
    for (const part of [this.canvas, this.lensBox])
      listen(part, "keydown", signal, (event) => this.#key(event));
    this.freeByEscape();
  }

  #buildControls() {
    const names = Object.keys(this.model.get("_streams"));
    const { words: say } = this;
    const { layers } = this.stream;
    const streams = radioGroup({
      label: say("streams"),
      part: "kind",
      choices: names.map((name) => ({ value: name, text: say("stream", { kind: name }) })),
      chosen: this.streamName,
      choose: (kind) =>
        this.shell.set({
          selected: null,
          layer: Math.min(this.model.get("layer"), this.model.get("_streams")[kind].layers - 1),
          kind,
        }),
    });
    this.layers = stepped({
      label: say("layers"),
      part: "layer",
      count: layers,
      chosen: this.row - 1,
      text: String,
      choose: (layer) => this.shell.set({ layer }),
    });
    this.controlBar.replaceChildren(...(names.length > 1 ? [streams.root] : []), this.layers.root);
  }

  // ---- what the reader does -----------------------------------------------------------------

  #hover(row, token) {
    if (row === this.hoverRow && token === this.hoverToken) return;
    const moved = token !== this.hoverToken;
    [this.hoverRow, this.hoverToken] = [row, token];
    this.marks();
    if (moved) this.link.hover(token === null ? null : { query: token, key: null });
  }

  #hoverRow(row) {
    if (row === this.hoverRow) return;
    this.hoverRow = row;
    this.marks();
  }

  /** @param {number | null} row @param {number | null} token */
  #pick(row, token) {
    const changes = row ? { layer: row - 1 } : {};
    const onlyToken = this.model.get("selected")?.[1] ?? null;
    if (token !== null) {
      const again =
        token === this.chosen &&
        onlyToken === null &&
        (!row || row - 1 === this.model.get("layer"));
      changes.selected = again ? null : [token, null];
    }
    this.shell.set(changes);
  }

  #key(event) {
    const moves = {
      ArrowLeft: -1,
      ArrowRight: 1,
      Home: -Infinity,
      End: Infinity,
      PageUp: -10,
      PageDown: 10,
    };
    const { tokens, layers } = this.stream;
    const now = this.chosen;
    const changes = {};
    if (event.key === "Enter" || event.key === " ") {
      changes.selected = now === null ? [this.hoverToken ?? tokens.length - 1, null] : null;
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      changes.layer = within(this.model.get("layer") + (event.key === "ArrowUp" ? -1 : 1), layers);
    } else if (event.key in moves) {
      // The first arrow only shows the cursor.
      const start = now ?? this.hoverToken ?? tokens.length - 1;
      changes.selected = [
        now === null ? start : within(start + moves[event.key], tokens.length),
        null,
      ];
    } else {
      return;
    }
    taken(event);
    this.hoverToken = this.hoverRow = null;
    this.shell.set(changes);
  }

  #page(by) {
    this.from = Math.max(
      0,
      Math.min(this.stream.tokens.length - this.count, this.from + by * this.count),
    );
    this.#drawLens();
    this.#follow();
  }

  // ---- drawing ------------------------------------------------------------------------------

  draw() {
    const { stream, shell, model } = this;
    this.norms = floatsOf(model, "_norms");
    this.shares = floatsOf(model, "_shares");
    this.sequential = colourTable("default", shell.theme);
    this.diverging = colourTable("diverging", shell.theme);
    this.#buildControls();
    shell.subtitle.textContent = this.words("subtitle", {
      layers: stream.layers,
      tokens: stream.all,
    });
    const cut =
      stream.tokens.length < stream.all
        ? this.words("cut", { shown: stream.tokens.length, all: stream.all })
        : "";
    this.note.textContent = [model.get("_note"), cut].filter(Boolean).join(" ");
    this.note.hidden = !this.note.textContent;
    this.#drawMap();
    this.#drawLens();
    this.#follow();
  }

  #drawMap() {
    const { stream, shell } = this;
    const columns = stream.tokens.length;
    const tops = stream.tokens.map((_, token) =>
      Math.max(...this.rowNames.map((_, row) => this.norm(row, token))),
    );
    const most = Math.max(...tops);
    const usual = 2.5 * medianOf(tops);
    // A few tokens of many models are a hundred times as long as the rest, and would hide it.
    this.end = most > usual ? usual : most;
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    this.map.show(
      Math.max(220, box.clientWidth),
      Math.max(20 * (stream.layers + 1), 31 * Math.min(stream.layers + 1, 8)),
      {
        rows: stream.layers + 1,
        columns,
        value: (row, token) => this.norm(row, token),
        low: 0,
        high: this.end,
        table: this.sequential,
        colours: shell.inks,
        rowNames: this.rowNames,
        rowNumber: (row) => this.rowNames[row],
        columnNames: stream.tokens,
        write: sizeText,
      },
    );
    this.legend.replaceChildren(
      ...linearLegend(this.sequential, 0, this.end, this.words("size"), sizeText),
    );
    this.mapNote.textContent = most > usual ? this.words("longer", { size: most }) : "";
    this.mapNote.hidden = !this.mapNote.textContent;
  }

  #drawLens() {
    const { stream, words: say } = this;
    this.lensBox.hidden =
      this.lensLegend.hidden =
      this.top.hidden =
      this.pager.hidden =
        !stream.lens;
    this.lensNote.textContent = stream.lens
      ? say("lens_note")
      : say("no_lens", { why: stream.note.lens });
    if (!stream.lens) return;
    const n = stream.tokens.length;
    this.count = lensColumns(this.lensBox.clientWidth, n);
    const around = this.chosen === null ? n : this.chosen - Math.floor(this.count / 2);
    this.from = Math.max(0, Math.min(n - this.count, this.from ?? around));
    const to = this.from + this.count;
    this.lens.show({
      store: this.store,
      tokens: stream.tokens,
      from: this.from,
      count: this.count,
      rows: this.rowNames,
      table: this.sequential,
      caption: say("lens_caption", {
        here: stream.here,
        compact: this.rowNames.length > COMPACT_FROM,
      }),
      after: say("after"),
    });
    this.where.textContent = say("window", { first: this.from, last: to - 1, all: n });
    this.pager.hidden = this.count >= n;
    this.back.disabled = this.from === 0;
    this.on.disabled = to === n;
    this.lensLegend.replaceChildren(
      ...linearLegend(this.sequential, 0, 1, say("own_answer"), String),
    );
    this.#fetch(to);
  }

  async #fetch(to) {
    const { from } = this;
    const range = { first: from, last: to - 1 };
    const ended = this.waiting.begin(this.words("reading", range));
    try {
      if ((await this.store.fetch(from, to)) && from === this.from && !this.signal.aborted) {
        this.#drawLens();
        this.#follow();
      }
      if (this.failed) this.shell.say((this.failed = "")); // leave a link's message
    } catch (error) {
      if (from === this.from)
        this.shell.say((this.failed = this.words("failed", { ...range, why: error.message })));
    } finally {
      ended();
      if (from === this.from) this.waiting.say("");
    }
  }

  /** Show the chosen token in the lens, after the selection has changed here or elsewhere. */
  #selected() {
    const { chosen } = this;
    const seen = chosen === null || (chosen >= this.from && chosen < this.from + this.count);
    if (this.stream.lens && !seen) {
      this.from = chosen - Math.floor(this.count / 2);
      this.#drawLens();
    }
    this.marks();
  }

  /** Draw what depends on the token and the layer. */
  #follow() {
    if (this.signal.aborted || !this.norms || !this.map.scene) return;
    const { stream, token, chosen, row } = this;
    const profile = this.profile(token);
    const tall = this.rowNames.map((_, r) =>
      token === null ? profile.norms[r] : this.norm(r, token),
    );
    this.blocks.show({
      profile,
      longest: Math.max(...tall),
      largest: Math.min(1, Math.max(1e-9, ...profile.shares.flat())),
      rows: this.rowNames,
      diverging: this.diverging,
      token: token === null ? null : stream.tokens[token],
    });
    this.blocks.mark(row);
    this.blockNote.textContent =
      stream.note.parts || (stream.parts.length ? this.words("colours") : "");
    this.map.mark(
      token === null ? null : { row: this.hoverRow, column: token },
      chosen === null ? null : { row: null, column: chosen },
    );
    this.layers.show(this.model.get("layer"));
    if (stream.lens) this.lens.mark(token, row, chosen);
    this.#tell(profile);
    this.root.classList.toggle("tl-locked", chosen !== null);
    this.root.dataset.selected = chosen === null ? "" : String(chosen);
    this.root.dataset.layer = String(this.model.get("layer"));
    this.canvas.ariaLabel = this.words("map", {
      rows: stream.layers + 1,
      columns: stream.tokens.length,
      sentence: this.sentence.textContent,
    });
  }

  /** Values of the sentence. @param {Profile} profile @param {number | null} token */
  #values({ norms, parts, shares, cosines }, token) {
    const { stream, store } = this;
    const layers = norms.length - 1;
    const [most, part, layer] = shares
      .flatMap((row, p) => row.map((share, l) => [share, p, l]))
      .reduce((best, each) => (each[0] > best[0] ? each : best), [-1, 0, 0]);
    const found = token === null || !stream.lens ? null : store.answer(token);
    return {
      several: this.several,
      kind: this.streamName,
      token: token === null ? null : stream.tokens[token],
      position: token,
      first: norms[0],
      last: norms[layers],
      layers,
      part: parts[part] ?? null,
      layer,
      share: most,
      cosine: cosines[part]?.[layer],
      answer: found?.token ?? null,
      probability: found?.probability,
      here: stream.here,
      settled: found ? settledAt(found.settled, layers) : null,
    };
  }

  #tell(profile) {
    const { stream, token, row, words: say } = this;
    this.say(say("sentence", this.#values(profile, token)));
    if (token === null) {
      this.numbers.replaceChildren(element("span.tl-quiet", say("try", { touch: byTouch() })));
      this.top.replaceChildren(element("span.tl-quiet", say("choose")));
      return;
    }
    const place = { position: token, token: SLOT, row, layer: row - 1, size: SLOT };
    const number = element("b#number", this.norm(row, token).toFixed(3));
    this.numbers.replaceChildren(
      element("span", around(say("readout", place), tokenElement(stream.tokens[token]), number)),
    );
    const top = stream.lens ? this.store.top(row, token) : null;
    this.top.replaceChildren(
      element("span", around(say("predicted", place), tokenElement(stream.tokens[token]))),
      ...(top ?? []).map(({ name: word, probability }) =>
        element("span.tl-top-token", tokenElement(word), " ", element("b", probability.toFixed(4))),
      ),
      ...(top ? [] : [element("span.tl-quiet", "…")]),
    );
  }
}

export default mounted(ResidualViewer, "residual");
