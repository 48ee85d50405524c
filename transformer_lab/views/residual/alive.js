// Another text in a ResidualView, on a page that carries its model. The counterpart of data.py.

import { floatsView, viewOf } from "../pages/page_model.js";
import { aliveTextPage, tokensOf } from "../pages/text_page.js";
import { LENS_COLUMNS } from "./lens.js";

const LONGEST = 1024; // tokens shown
const TOP = 5;

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const aliveStream = (model, signal) =>
  aliveTextPage(model, signal, { traits: streamTraits, block: lensBlock, names: /^lens\// });

async function streamTraits(ask, [read], page) {
  const streams = {};
  const [norms, shares] = [[], []];
  let [normsAt, sharesAt] = [0, 0];
  for (const [kind, before] of Object.entries(page.get("_streams"))) {
    const all = tokensOf(read, kind);
    const tokens = all.slice(0, LONGEST);
    const found = await ask({ ask: "stream", of: read.of, kind });
    const shown = (rows) => rows.map((row) => row.subarray(0, tokens.length));
    streams[kind] = {
      ...before,
      tokens,
      all: all.length,
      parts: found.shares.map(({ part }) => part),
      norms: normsAt,
      shares: sharesAt,
    };
    norms.push(...shown(found.norms));
    for (const what of ["share", "cosine"])
      shares.push(...found.shares.flatMap((part) => shown(part[what])));
    normsAt += found.norms.length * tokens.length;
    sharesAt += 2 * found.shares.length * before.layers * tokens.length;
  }
  return {
    _streams: streams,
    _norms: floatsView(norms),
    _shares: floatsView(shares),
    _lens: [],
    _lens_data: floatsView([]),
  };
}

/** A block of the logit lens, by its name. */
async function lensBlock(ask, [read], name, page) {
  const first = Number(name.match(/^lens\/(\d+)$/)?.[1] ?? NaN);
  const [kind] = Object.entries(page.get("_streams")).find(([, { lens }]) => lens) ?? [];
  if (!kind || !(first % LENS_COLUMNS === 0)) throw new Error("this page does not hold it");
  const tokens = tokensOf(read, kind);
  const positions = Array.from(
    { length: Math.min(LENS_COLUMNS, tokens.length - first) },
    (_, i) => first + i,
  );
  const rows = await ask({ ask: "lens", of: read.of, positions, k: TOP });
  const cells = rows.flat();
  const answers = rows[0].map(({ answer }) => answer);
  const ids = [
    ...new Set([...cells.flatMap((cell) => cell.cells.map(({ id }) => id)), ...answers]),
  ];
  const place = new Map(ids.map((id, i) => [id, i]));
  const codes = (of) =>
    new Uint8Array(Int32Array.from(of, (id) => /** @type {number} */ (place.get(id))).buffer);
  const parts = [
    codes(cells.flatMap((cell) => cell.cells.map(({ id }) => id))),
    new Uint8Array(
      Float32Array.from(cells.flatMap((cell) => cell.cells.map(({ probability }) => probability)))
        .buffer,
    ),
    codes(answers),
    new Uint8Array(Float32Array.from(cells, ({ probability }) => probability).buffer),
  ];
  const info = {
    from: first,
    count: positions.length,
    rows: rows.length,
    k: rows[0][0].cells.length,
    names: await ask({ ask: "names", of: read.of, ids }),
    settled: positions.map((_, column) => settled(rows, column)),
  };
  return {
    type: "block",
    info,
    buffers: [viewOf(new Uint8Array(await new Blob(parts).arrayBuffer()))],
  };
}

/**
 * The first row from which the answer stays the likeliest token; the number of rows if it never
 * does.
 */
function settled(rows, column) {
  let row = rows.length;
  while (row > 0 && rows[row - 1][column].rank === 0) row--;
  return row;
}
