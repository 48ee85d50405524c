// The grids as numbers for a file, named as Python names them (exported.py).

import { nested, single } from "../shared/files.js";

/**
 * @param {import("./grids.js").Grids} grids
 * @param {string} chosen the site on view
 * @param {string[]} tokens at the columns of positions
 * @returns {import("../shared/files.js").Numbers}
 */
export function patchingNumbers(grids, chosen, tokens) {
  /** @type {import("../shared/files.js").Numbers["arrays"]} */
  const arrays = {};
  const [source, into] = grids.metric.runs;
  const sites = [...grids.sites].sort((a, b) => Number(b.site === chosen) - Number(a.site === chosen));
  for (const { site, places, there } of sites) {
    const axis = grids.isOfHeads(site) ? (grids.group(site) === 1 ? "head" : "key_value_head") : "position";
    const told = `change of the ${grids.metric.told} when ${site} of the ${source} run is put into the ${into} one`;
    const more = site === chosen ? "" : `_${site}`;
    const values = (of) => nested([there.length, places], (layer, place) => single(of({ site, layer, place }) ?? NaN));
    arrays[`exact${more}`] = { axes: ["layer", axis], means: `${told}, measured`, values: values((cell) => grids.exact(cell)) };
    arrays[`estimate${more}`] = { axes: ["layer", axis], means: `${told}, by attribution patching`, values: values((cell) => grids.estimate(cell)) };
  }
  return { arrays, axes: { position: tokens } };
}
