// Replaces Python on a page that carries an image model: the page's engine answers requests for
// another position, for edits and for another image. The counterpart of data.py and effects.py.

import { carriesModel, PageModel, viewOf } from "../pages/page_model.js";
import { bytesOf } from "../shared/codecs.js";
import { digitsApart, percentText } from "../shared/messages.js";
import { sameEdit } from "../shared/trials.js";
import { pngOf } from "./another_image.js";
import { sayPatch } from "./prose.js";

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const alivePatches = (model, signal) =>
  carriesModel(model) ? new ImagePage(model, signal) : model;

class ImagePage extends PageModel {
  /** @param {any} page @param {AbortSignal} signal */
  constructor(page, signal) {
    super(page, signal, {
      run: (own, { pixels, name }) => own.run(pixels, name),
      block: (own, message) => own.block(message),
    });
    /** The image on view, read by the engine. @type {Promise<any> | null} */
    this.reading = null;
  }

  /** Stay live if the engine fails: each request then reports why. */
  get(name) {
    return name === "_live" || this.page.get(name);
  }

  get carried() {
    return this.page.get("_carried");
  }

  /** @returns {import("./view.js").Grid} */
  get grid() {
    return this.page.get("_grid");
  }

  async #again() {
    const bytes = bytesOf(this.page.get("_pixels")).slice();
    const pixels = { shape: this.carried.shape, data: new Float32Array(bytes.buffer) };
    this.reading ??= this.ask({ ask: "read", pixels });
    await this.reading;
  }

  /** @param {{name: string, edits?: any[]}} asked */
  async block({ name, edits = [] }) {
    const saved = this.carried.moved ? null : await this.savedBlock(name);
    if (saved) return saved;
    await this.#again();
    const [what, at] = name.split("/");
    const { heads } = this.grid;
    const { pool } = this.carried;
    if (what === "rows")
      return { type: "block", info: {}, buffers: [await this.#rows(Number(at))] };
    if (what === "effect") return { type: "block", info: await this.#effect(edits) };
    const layer = Number(at);
    const sizes = await this.ask({ ask: "answerChanges", layer, heads: heads[layer], pool });
    const known = this.page.get("_every");
    const values = heads.map((n, i) => (i === layer ? sizes : (known[i] ?? Array(n).fill(null))));
    return { type: "block", info: { values } };
  }

  async #rows(query) {
    return viewOf(await this.ask({ ask: "rows", query, heads: this.grid.heads }));
  }

  /** @param {any[]} edits */
  async #effect(edits) {
    const { names, what, pool } = this.carried;
    const found = await this.ask({ ask: "answerChange", edits, pool });
    const own = {
      edited: sayPatch("with", { edits: edits.map((edit) => this.#words(edit)).join(" and ") }),
      code: `[${edits.map((edit) => this.#code(edit)).join(", ")}]`,
      size: found.size,
    };
    if (!found.listed) {
      const [before, after] = found.lengths;
      const values = { what, cosine: found.cosine, before, after };
      return { ...own, sentence: sayPatch("state_change", values) };
    }
    const rows = found.listed.map(({ id, before, after }) => [names[id], before, after]);
    const [[name, ...shares]] = rows;
    const [before, after] = shares.map((x) => percentText(x, digitsApart(shares[0], shares[1])));
    const now = found.now === null ? null : names[found.now];
    const values = { name, same: before === after, before, after, about: "" };
    const { chance } = found;
    return { ...own, rows, sentence: sayPatch("answer_change", { ...values, now, chance }) };
  }

  #words({ edit, kind = null, layer = null, head = null, query = null, key = null }) {
    const name = (at) => (at === null ? null : this.grid.labels[at]);
    return sayPatch("edit", { edit, kind, layer, head, query: name(query), key: name(key) });
  }

  /** Python code that makes an edit; for edits saved with the page it was sent. */
  #code(edit) {
    const { codes, patterns, slots } = this.carried;
    const known = codes.find(([one]) => sameEdit(one, edit));
    const places = [edit.layer, edit.head, edit.query, edit.key];
    return known
      ? known[1]
      : slots.reduce((code, slot, i) => code.replace(slot, places[i]), patterns[edit.edit]);
  }

  /** Another image. @param {{shape: number[], data: Uint8ClampedArray}} pixels [3, height, width] @param {string} name */
  async run(pixels, name) {
    const { page, grid, carried } = this;
    const { heads, columns, start, labels } = grid;
    const read = await this.ask({ ask: "read", pixels, prepare: true });
    this.reading = Promise.resolve(); // it is the image on view from now on
    const count = grid.rows * columns;
    const inside = (i) => i >= start && i < start + count;
    const at = labels.map((_, i) =>
      inside(i) ? [Math.floor((i - start) / columns), (i - start) % columns] : [0, 0],
    );
    const patches = labels.map((_, i) => Number(inside(i)));
    const far =
      page.get("kind") === "encoder"
        ? await this.ask({ ask: "distances", at, patches, heads })
        : page.get("_far");
    const { listed } = await this.ask({ ask: "answerChange", edits: [], pool: carried.pool });
    const unit = listed ? sayPatch("unit", { name: carried.names[listed[0].id] }) : null;
    const how = page.get("_how");
    const edits = page.get("_edits"); // the positions are the same, so they hold for this image too
    page.set({
      _rows: await this.#rows(grid.first),
      _rows_of: grid.first,
      _pixels: viewOf(read.pixels),
      _picture: await pngOf(read.seen, carried.shape.slice(-2)),
      _far: far,
      _effect: edits.length ? await this.#effect(edits) : {},
      _every: [],
      ...(unit ? { _unit: unit } : {}),
      selected: null,
      link: "",
      _how: { ...how, edits: [], image: name },
      _carried: { ...carried, moved: true, image: name },
    });
    return {};
  }
}
