// Measures cells: in Python, or in the engine of a page that carries its model; one on a click, and
// all in the background.

import { carriesModel, PageModel } from "../pages/page_model.js";
import { bytesOf, typed } from "../shared/codecs.js";
import { Superseded } from "../shared/requests.js";
import { stateOf } from "../shared/scene.js";
import { deskOf, gridsOf, placeOf, view } from "./scene.js";

const { say } = view;
const PATIENCE = 400; // ms that a click may have to wait for a measurement in progress
const AHEAD = 6; // among this many times as many cells as share a pass, those of one layer are collected

/** @typedef {[string, number, number]} Place site, layer, and head or index of a position */

class MeasuringPage extends PageModel {
  /** @param {any} page @param {AbortSignal} signal */
  constructor(page, signal) {
    super(page, signal, { measure: (own, { cells, direction }) => own.measure(cells, direction) });
    this.read = ""; // the direction whose text the engine has read
  }

  /** @param {Place[]} cells @param {string} direction */
  async measure(cells, direction) {
    const { page } = this;
    const { ids, positions, token, against, plain, whole, kind } = page.get("_carried");
    const [source, into] = direction === "denoising" ? [0, 1] : [1, 0];
    if (this.read !== direction) {
      await this.ask({ ask: "read", of: direction, text: "", ids: ids[into] });
      this.read = direction;
    }
    const s = stateOf(view, (name) => page.get(name));
    const pairs = s.pair.places.map((pair) => [pair[source], pair[into]]);
    const grids = new Map(gridsOf(s, direction).map((grid) => [grid.site, grid]));
    const edits = cells.map(([site, layer, place]) => ({
      edit: "patch",
      source: { tokens: ids[source], target: null },
      layer,
      kind,
      what: site,
      ...(grids.get(site).group
        ? { head: place, position: whole ? null : pairs }
        : { position: [pairs[place]] }),
    }));
    const of = { of: direction, position: positions[into], token, against, plain };
    const found = await this.ask({ ask: "changes", edits, ...of });
    const kept = typed(Float32Array, bytesOf(page.get("_exact"))).slice();
    cells.forEach(([site, layer, place], i) => {
      const { start, shape } = grids.get(site);
      kept[start + layer * shape[1] + place] = found[i];
    });
    page.set({ _exact: new DataView(kept.buffer) });
    page.save_changes();
  }
}

/** The model of a view: one that measures here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export function aliveDesk(model, signal) {
  if (carriesModel(model)) return new MeasuringPage(model, signal);
  model.substitute?.({ Kernel: MeasuringPage, answers: ({ type }) => type === "measure" });
  return model;
}

export class Measuring {
  /** @param {any} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.runs = false; // whether all are being measured
  }

  /** Whether Python or an engine can measure. */
  get can() {
    const { saved, carried } = this.viewer.state;
    return !saved || carried.travels;
  }

  /** Measure the chosen cell, unless it is. */
  async one() {
    const { answers, shell, state } = this.viewer;
    const { grid, cell, at } = deskOf(state);
    if (!this.can || !grid.left.includes(cell)) return;
    const measured = this.#measure([[grid.site, at.row, at.column]], state.direction, true);
    try {
      await answers.waiting.during(measured, say("measuring"));
      shell.say("");
    } catch (error) {
      if (!(error instanceof Superseded))
        shell.say(say("that_cell_cannot_be", { why: error.message }));
    }
  }

  /** Measure all cells that are left, or those of a site, the most promising first, until `stop`. @param {string} [site] */
  async all(site) {
    const { viewer } = this;
    const { direction } = viewer.state;
    this.runs = true;
    viewer.shell.redraw();
    try {
      let [most, left] = [1, leftOf(viewer.state, site)];
      while (this.runs && left.length && viewer.state.direction === direction) {
        const some = alike(left, most);
        const start = performance.now();
        await this.#measure(some, direction, false);
        const each = Math.max(performance.now() - start, 1) / some.length;
        most = Math.max(1, Math.min(4 * most, Math.floor(PATIENCE / each)));
        left = leftOf(viewer.state, site);
        viewer.shell.redraw();
      }
      viewer.shell.say("");
    } catch (error) {
      viewer.shell.say(say("the_measuring_ended", { why: error.message }));
    } finally {
      this.stop();
    }
  }

  stop() {
    this.runs = false;
    this.viewer.shell.redraw();
  }

  /** @param {Place[]} cells @param {string} direction @param {boolean} urgent */
  #measure(cells, direction, urgent) {
    return this.viewer.shell.requests.ask({ type: "measure", direction, cells }, urgent);
  }
}

/** The cells that are not measured, the largest estimate first. @param {any} s @param {string} [site] @returns {Place[]} */
function leftOf(s, site) {
  const found = gridsOf(s, s.direction)
    .filter((one) => !site || one.site === site)
    .flatMap((grid) =>
      grid.left.map((cell) => ({
        place: [grid.site, ...placeOf(grid, cell)],
        size: Math.abs(grid.estimate[cell]) || 0,
      })),
    );
  return found.sort((a, b) => b.size - a.size).map(({ place }) => /** @type {Place} */ (place));
}

/** The first cell, and those after it in the same layer. @param {Place[]} left @param {number} most */
const alike = (left, most) =>
  left
    .slice(0, AHEAD * most)
    .filter(([, layer]) => layer === left[0][1])
    .slice(0, most);
