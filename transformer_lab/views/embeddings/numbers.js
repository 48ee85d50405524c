// A cloud as numbers for a file, named as Python names them (exported.py).

import { nested, single } from "../shared/files.js";

/**
 * @param {import("./cloud.js").CloudData} data
 * @param {{shows: string, row: number, colour: string}} chosen
 * @returns {import("../shared/files.js").Numbers}
 */
export function cloudNumbers(data, { shows, row, colour }) {
  const { n, rows } = data;
  const [own, chance] = data.explained(shows, row);
  const of = (means, value) => ({ axes: ["point"], means, values: nested([n], value) });
  const component = (share, i) => [
    `component_${i + 1}`,
    of(`principal component ${i + 1}; the share of the variance that it holds: ${Number(share.toPrecision(6))}`, (point) => single(data.at(shows, row, point, i))),
  ];
  const { numbers, names, places } = data.painted(colour, row);
  const arrays = {
    ...Object.fromEntries((shows === "random" ? chance : own).map(component)),
    position: of("in the text", (point) => data.positions[point]),
    length: of("L2 norm of the vector", (point) => single(data.norm(row, point))),
    kept: of("share of the squared length that three components keep", (point) => single(data.at(shows, row, point, 3))),
    [`colour_${colour}`]: of(`what the colour shows: the ${colour}`, (point) => (numbers ? single(numbers[point]) : names[places[point]])),
  };
  const axes = { point: data.tokens };
  if (shows !== "paths") return { arrays, axes };
  const values = nested([rows, n, 3], (at, point, i) => single(data.at(shows, at, point, i)));
  return {
    arrays: { ...arrays, path: { axes: ["row", "point", "component"], means: "the way of each point through the layers", values } },
    axes: { ...axes, row: data.where, component: [1, 2, 3] },
  };
}
