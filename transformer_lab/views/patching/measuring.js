// Measures cells: in Python, or on a page that carries its model in the page's engine; single cells
// on a click, and all cells in the background.

import { Engine } from "../engine/client.js";
import { IN_PAGE } from "../engine/in_page.js";
import { PageModel } from "../pages/page_model.js";
import { Superseded } from "../shared/requests.js";
import { sayPatching } from "./grids.js";

const PATIENCE = 400; // ms that a click may have to wait for a measurement in progress
const AHEAD = 6; // among this many times as many cells as share a pass, those of one layer are collected

/** @typedef {{site: string, layer: number, place: number}} Place */

export class Measuring {
  /**
   * @param {any} model
   * @param {import("./grids.js").Grids} grids
   * @param {import("../shared/shell.js").Shell} shell
   * @param {import("../shared/requests.js").Waiting} waiting
   */
  constructor(model, grids, shell, waiting) {
    this.model = model;
    this.grids = grids;
    this.shell = shell;
    this.waiting = waiting;
    this.runs = false; // whether all are being measured
    /** @type {Promise<{engine: Engine}> | null} */
    this.engine = null;
    this.read = ""; // the direction whose text the engine has read
    const measures = (own, { direction, cells }) =>
      this.#by(
        own,
        cells.map(([site, layer, place]) => ({ site, layer, place })),
        direction,
        { lane: "clicked" },
      ).then(() => ({}));
    class MeasuringPage extends PageModel {
      constructor(page, signal) {
        super(page, signal, { measure: measures });
        this.read = "";
      }
    }
    model.substitute?.({ Kernel: MeasuringPage, answers: ({ type }) => type === "measure" });
  }

  get saved() {
    return Boolean(this.model.get("_saved"));
  }

  get travels() {
    return Boolean(this.model.get("_carried").travels);
  }

  /** Whether Python or an engine can measure. */
  get can() {
    return !this.saved || this.travels;
  }

  /** Measure a cell that was clicked. @param {Place} cell */
  async one(cell) {
    if (!this.can || this.grids.exact(cell) !== null) return;
    const done = this.waiting.begin("Measuring …");
    try {
      await this.#measure([cell], true);
      this.shell.say("");
    } catch (error) {
      if (!(error instanceof Superseded))
        this.shell.say(sayPatching("that_cell_cannot_be", { why: error.message }));
    } finally {
      done();
      this.waiting.say("");
    }
  }

  /** Measure all cells of some sites that are left, the most promising first, until `stop`. @param {string[]} sites */
  async all(sites) {
    const { direction } = this.grids;
    this.runs = true;
    this.shell.redraw();
    let most = 1;
    try {
      let left = this.grids.left(sites);
      while (this.runs && left.length && this.grids.direction === direction) {
        const some = alike(left, most);
        const start = performance.now();
        await this.#measure(some, false);
        const took = performance.now() - start;
        most = Math.max(
          1,
          Math.min(4 * most, Math.floor((some.length * PATIENCE) / Math.max(took, 1))),
        );
        left = left.filter((cell) => this.grids.exact(cell) === null);
        this.shell.redraw();
      }
      this.shell.say("");
    } catch (error) {
      this.shell.say(sayPatching("the_measuring_ended", { why: error.message }));
    } finally {
      this.stop();
    }
  }

  stop() {
    this.runs = false;
    this.shell.redraw();
  }

  /** @param {Place[]} cells @param {boolean} urgent */
  async #measure(cells, urgent) {
    const { direction } = this.grids;
    if (this.saved) return this.#here(cells, direction, urgent);
    const plain = cells.map(({ site, layer, place }) => [site, layer, place]);
    await this.shell.requests.ask({ type: "measure", direction, cells: plain }, urgent);
  }

  /** Measure cells with the engine of this page. */
  async #here(cells, direction, urgent) {
    this.engine ??= Engine.ofPage(this.shell.requests, this.shell.signal);
    const { engine } = await this.engine;
    if (engine.inPage) this.shell.say(IN_PAGE);
    await this.#by(this, cells, direction, urgent ? { lane: "clicked" } : { background: true });
  }

  /** @param {{engine: any, read: string, page?: any}} own holder of the engine, with the direction that the engine has read @param {Parameters<Engine["ask"]>[1]} how */
  async #by(own, cells, direction, how) {
    const { engine } = await own.engine;
    const carried = (own.page ?? this.model).get("_carried");
    const { ids, positions, token, against, plain } = carried;
    const [source, into] = direction === "denoising" ? [0, 1] : [1, 0];
    if (own.read !== direction) {
      await engine.ask({ ask: "read", of: direction, text: "", ids: ids[into] });
      own.read = direction;
    }
    const edits = cells.map((cell) => this.#edit(cell, direction, ids[source], carried));
    const found = await engine.ask(
      { ask: "changes", of: direction, edits, position: positions[into], token, against, plain },
      how,
    );
    if (!this.shell.signal.aborted) this.grids.learn(direction, cells, found);
  }

  /** The edit of a cell, as in patching.py. @param {Place} cell */
  #edit({ site, layer, place }, direction, tokens, { whole, kind }) {
    const pairs = this.model
      .get("_pair")
      .places.map(([clean, corrupted]) =>
        direction === "denoising" ? [clean, corrupted] : [corrupted, clean],
      );
    const where = this.grids.isOfHeads(site)
      ? { head: place, position: whole ? null : pairs }
      : { position: [pairs[place]] };
    return { edit: "patch", source: { tokens, target: null }, layer, kind, what: site, ...where };
  }
}

/** The first cell, and those after it in the same layer. @param {Place[]} left @param {number} most */
const alike = (left, most) =>
  left
    .slice(0, AHEAD * most)
    .filter(({ layer }) => layer === left[0].layer)
    .slice(0, most);
