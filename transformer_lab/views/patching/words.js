// What a cell of a patching grid does, in words and numbers. The counterpart of patching/words.py.

import { fixed, quoted } from "../shared/messages.js";

const ALIKE = 1e-6; // of the larger metric, as in desk/grid.py

export const SITE_NAMES = {
  resid_pre: "stream before", resid_mid: "stream inside", resid_post: "stream after",
  attn_out: "attention out", mlp_out: "feed-forward out",
  z: "z", q: "q", k: "k", v: "v", pattern: "pattern",
};
/** What each site is, for its button. */
export const SITE_HINTS = {
  resid_pre: "The residual stream before a layer", resid_mid: "The residual stream between attention and feed-forward", resid_post: "The residual stream after a layer",
  attn_out: "What a layer’s attention adds to the stream", mlp_out: "What a layer’s feed-forward part adds to the stream",
  z: "A head’s output, before W_O", q: "A head’s queries", k: "A head’s keys", v: "A head’s values", pattern: "A head’s attention weights",
};
const STREAM_WORDS = {
  resid_pre: (layer) => `The stream before layer ${layer}`, resid_mid: (layer) => `The stream inside layer ${layer}`,
  resid_post: (layer) => `The stream after layer ${layer}`, attn_out: (layer) => `What attention of layer ${layer} adds`,
  mlp_out: (layer) => `What the feed-forward part of layer ${layer} adds`,
};

/**
 * @typedef {object} Spot
 * @property {string} site
 * @property {number} layer
 * @property {number} place
 * @property {string} label
 * @property {boolean} shared whether several heads share it
 * @property {number | null} exact
 * @property {number | null} estimate
 */

/** The number that is moved. */
export class Metric {
  /** @param {string} told @param {string} direction @param {number} into @param {number} source */
  constructor(told, direction, into, source) {
    this.told = told;
    this.direction = direction;
    this.into = into;
    this.source = source;
    this.between = source - into;
    this.alike = Math.abs(this.between) <= ALIKE * Math.max(1, Math.abs(source));
    this.sign = this.between < 0 ? -1 : 1;
    this.runs = direction === "denoising" ? ["clean", "corrupted"] : ["corrupted", "clean"];
  }

  /** @param {number} x */
  amount(x) {
    const size = Math.abs(this.between);
    return fixed(x, size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
  }

  /** What a change of the metric is, seen from the other run. @param {number} change */
  moved(change) {
    if (this.alike) return `moves it by ${this.amount(change)}`;
    const x = this.sign * change;
    const [back, whole] = [this.amount(x), this.amount(Math.abs(this.between))];
    if (this.direction === "denoising") return back.startsWith("−") ? `takes it ${this.amount(-x)} further away` : `puts ${back} of ${whole} back`;
    return back.startsWith("−") ? `moves it ${this.amount(-x)} the other way` : `takes ${back} of ${whole} away`;
  }

  /** The metric, with its value in both runs. */
  words() {
    const [clean, corrupted] = this.direction === "denoising" ? [this.source, this.into] : [this.into, this.source];
    const told = this.told.slice(0, 1).toUpperCase() + this.told.slice(1);
    return `${told}: ${this.amount(clean)} in the clean run, ${this.amount(corrupted)} in the corrupted one${this.alike ? ", so there is nothing to recover" : ""}.`;
  }
}

/** @param {Spot} spot */
function whose({ site, layer, place, label, shared }) {
  if (Object.hasOwn(STREAM_WORDS, site)) return `${STREAM_WORDS[site](layer)} at ${quoted(label)} (${place})`;
  return `${shared ? "Key-value head" : "Head"} ${place} of layer ${layer}${site === "z" ? "" : `, ${site}`}`;
}

/** @param {Metric} metric @param {Spot} spot @param {string} [colon] */
export function spotWords(metric, spot, colon = ":") {
  const { exact, estimate } = spot;
  const who = whose(spot);
  if (exact === null && estimate === null) return `${who}${colon || " is"} not measured.`;
  if (exact === null) return `${who}${colon} ${metric.moved(/** @type {number} */ (estimate))} by an estimate, not measured.`;
  if (estimate === null) return `${who}${colon} ${metric.moved(exact)}.`;
  return `${who}${colon} ${metric.moved(exact)} (estimate ${metric.amount((metric.alike ? 1 : metric.sign) * estimate)}).`;
}

/** @param {Metric} metric @param {Spot} spot */
export function patchingSentence(metric, spot) {
  const told = spotWords(metric, spot, "");
  return `${metric.words()} From the ${metric.runs[0]} run into the ${metric.runs[1]} one, ${told.slice(0, 1).toLowerCase()}${told.slice(1)}`;
}
