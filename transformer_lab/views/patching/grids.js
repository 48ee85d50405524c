// What is known about every cell: the estimates and exact numbers of both directions, as Python
// sends them.

import { numbersOf } from "../shared/files.js";
import { floatsOf } from "../shared/shell.js";
import { fixed, messages } from "../shared/messages.js";
import patchingMessages from "./messages.json" with { type: "json" };

export const sayPatching = messages(patchingMessages);
const ALIKE = 1e-6; // of the larger metric, as in analysis/patching/results.py
// Toward the other run, and away from it.
const EFFECTS = { denoising: ["restores", "further"], noising: ["removes", "opposes"] };
const OF_HEADS = ["z", "q", "k", "v", "pattern"];
const DIRECTIONS = ["denoising", "noising"]; // as in analysis/patching/prompt_pair.py

/** @typedef {import("./measuring.js").Place} Place */

/**
 * @typedef {object} Spot a cell
 * @property {string} site
 * @property {number} layer
 * @property {number} place the head, or the position of `label` in the clean prompt
 * @property {string} label
 * @property {boolean} shared whether several heads share it
 * @property {number | null} exact
 * @property {number | null} estimate
 */

/** The metric: its description, its value in the patched run and in the run patched in. */
class Metric {
  /** @param {string} description @param {string} direction @param {number} into @param {number} source */
  constructor(description, direction, into, source) {
    this.description = description;
    this.direction = direction;
    this.into = into;
    this.source = source;
    this.between = source - into;
    this.alike = Math.abs(this.between) <= ALIKE * Math.max(1, Math.abs(source));
    this.sign = this.between < 0 && !this.alike ? -1 : 1;
    this.runs = direction === "denoising" ? ["clean", "corrupted"] : ["corrupted", "clean"];
  }

  /** @param {number} x */
  amount(x) {
    const size = Math.abs(this.between);
    return fixed(x, size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
  }

  /** A sentence on the effect of a cell on the metric. @param {Spot} cell */
  spot({ exact, estimate, ...cell }) {
    const change = exact ?? estimate;
    const x = change === null ? "" : this.amount(this.sign * change);
    return sayPatching("spot", {
      ...cell,
      whole: this.amount(Math.abs(this.between)),
      measured: exact !== null,
      both: exact !== null && estimate !== null,
      effect:
        change === null
          ? null
          : this.alike
            ? "changes"
            : EFFECTS[this.direction][Number(x.startsWith("−"))],
      x: this.alike ? x : x.replace("−", ""),
      estimate: estimate === null ? "" : this.amount(this.sign * estimate),
    });
  }

  /** @param {Spot} cell */
  sentence(cell) {
    const [source, into] = this.runs;
    const of = { [source]: this.amount(this.source), [into]: this.amount(this.into) };
    return sayPatching("sentence", {
      ...of,
      metric: this.description,
      alike: this.alike,
      source,
      into,
      spot: this.spot(cell),
    });
  }
}

export class Grids {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
  }

  /** Read the numbers that have arrived. */
  look() {
    this.estimates = floatsOf(this.model, "_estimates");
    this.measured = floatsOf(this.model, "_exact");
    this.sites = this.model.get("_sites");
    this.starts = new Map();
    let at = 0;
    for (const { site, places, there } of this.sites) {
      this.starts.set(site, at);
      at += places * there.length;
    }
    this.width = at;
  }

  get direction() {
    return this.model.get("direction");
  }

  /** The metric in both runs of this direction; null while Python works on it. */
  get metric() {
    const runs = this.model.get("_runs")[this.direction];
    return runs
      ? new Metric(this.model.get("_pair").metric, this.direction, runs[0], runs[1])
      : null;
  }

  isOfHeads(site) {
    return OF_HEADS.includes(site);
  }

  /** @param {string} site */
  size(site) {
    return this.sites.find((one) => one.site === site);
  }

  /** How many heads share a column of a site. @param {string} site */
  group(site) {
    const { heads } = this.model.get("_kinds")[this.model.get("kind")];
    return Math.max(1, Math.floor(heads / this.size(site).places));
  }

  #at(direction, { site, layer, place }) {
    return (
      DIRECTIONS.indexOf(direction) * this.width +
      this.starts.get(site) +
      layer * this.size(site).places +
      place
    );
  }

  /** @param {Place} cell @returns {number | null} */
  exact(cell) {
    const found = this.measured[this.#at(this.direction, cell)];
    return Number.isNaN(found) ? null : found;
  }

  /** @param {Place} cell @returns {number | null} */
  estimate(cell) {
    const found = this.estimates[this.#at(this.direction, cell)];
    return Number.isNaN(found) ? null : found;
  }

  /** The exact number if it is known, else the estimate; NaN if neither is. @param {Place} cell */
  value(cell) {
    return this.exact(cell) ?? this.estimate(cell) ?? NaN;
  }

  /** All cells of some sites. @param {string[]} sites @returns {Place[]} */
  cells(sites) {
    return this.sites
      .filter(({ site }) => sites.includes(site))
      .flatMap(({ site, there }) =>
        there.flatMap((n, layer) =>
          Array.from({ length: n }, (_, place) => ({ site, layer, place })),
        ),
      );
  }

  /** The cells that are not measured, the largest estimate first. @param {string[]} sites */
  left(sites) {
    const size = (cell) => Math.abs(this.estimate(cell) ?? 0);
    return this.cells(sites)
      .filter((cell) => this.exact(cell) === null)
      .sort((a, b) => size(b) - size(a));
  }

  /**
   * The change at the end of the scale: the difference of the runs, or the largest change if they
   * are alike.
   */
  get end() {
    const { metric } = this;
    if (!metric) return 1;
    if (!metric.alike) return Math.abs(metric.between);
    const all = this.cells(this.sites.map(({ site }) => site));
    return all.reduce((most, cell) => Math.max(most, Math.abs(this.value(cell)) || 0), 0) || 1;
  }

  /** @param {string} chosen the site on view @param {string[]} tokens labels of the columns of positions */
  forFile(chosen, tokens) {
    const [source, into] = this.metric.runs;
    /** @type {Parameters<typeof numbersOf>[1]} */
    const arrays = {};
    /** @type {Record<string, any[]>} */
    const axes = { position: tokens };
    for (const { site, places, there } of [...this.sites].sort(
      (a, b) => Number(b.site === chosen) - Number(a.site === chosen),
    )) {
      const axis = !this.isOfHeads(site)
        ? "position"
        : this.group(site) === 1
          ? "head"
          : "key_value_head";
      Object.assign(axes, {
        layer: [...there.keys()],
        ...(axis === "position" ? {} : { [axis]: [...Array(places).keys()] }),
      });
      for (const way of /** @type {const} */ (["exact", "estimate"])) {
        arrays[`${way}${site === chosen ? "" : `_${site}`}`] = [
          ["layer", axis],
          (layer, place) => this[way]({ site, layer, place }),
          sayPatching("is_effect", {
            description: this.metric.description,
            site,
            source,
            into,
            way,
          }),
        ];
      }
    }
    return numbersOf(axes, arrays);
  }

  /** Store numbers that this page has measured itself. @param {string} direction @param {Place[]} cells @param {number[]} found */
  learn(direction, cells, found) {
    const kept = this.measured.slice();
    cells.forEach((cell, i) => (kept[this.#at(direction, cell)] = found[i]));
    this.model.set("_exact", new DataView(kept.buffer));
    this.model.save_changes();
  }
}
