// The stream as numbers for a file, named as Python names them (exported.py).

import { nested, single } from "../shared/files.js";

const LENS_TOKENS = 12; // as in figure.py

/**
 * @param {any} viewer
 * @returns {Promise<import("../shared/files.js").Numbers>}
 */
export async function residualNumbers(viewer) {
  const { stream, store, chosen } = viewer;
  const { layers, tokens, parts } = stream;
  const n = tokens.length;
  const axes = { after: ["start", ...nested([layers], (layer) => `layer ${layer}`)], position: tokens };
  const arrays = {
    length: { axes: ["after", "position"], means: "L2 norm of the residual stream", values: nested([layers + 1, n], (row, at) => single(viewer.norm(row, at))) },
  };
  if (parts.length) {
    axes.part = parts;
    const added = (what, means) => ({ axes: ["part", "layer", "position"], means, values: nested([parts.length, layers, n], (...place) => single(viewer.added(what, ...place))) });
    arrays.share = added(0, "length of what a part adds, over the stream's");
    arrays.cosine = added(1, "of what a part adds with the stream");
  }
  if (stream.lens) {
    const count = Math.min(LENS_TOKENS, n);
    const first = chosen === null ? n - count : Math.max(0, Math.min(n - count, chosen - Math.floor(count / 2)));
    await store.fetch(first, first + count).catch(() => {}); // a long page holds some tokens only
    axes.read = nested([count], (at) => first + at);
    const read = (means, value) => ({ axes: ["after", "read"], means: `logit lens: ${means}`, values: nested([layers + 1, count], (row, at) => value(row, first + at)) });
    arrays.answer = read("probability of the answer", (row, token) => single(store.answerProbability(row, token) ?? NaN));
    arrays.likeliest = read("the likeliest token", (row, token) => store.top(row, token)?.[0].name ?? null);
    arrays.likeliest_probability = read("its probability", (row, token) => single(store.top(row, token)?.[0].probability ?? NaN));
  }
  return { arrays, axes };
}
