// Another text in a ModelView, and every edit of it, on a page that carries its model. The counterpart of data.py.

import { walkBlock } from "../block/alive.js";
import { floatsView, viewOf } from "../pages/page_model.js";
import { aliveTextPage, tokensOf } from "../pages/text_page.js";

const NAMES = /^(pass|lens|map|walk)\//;
const LENS = 3; // tokens per row of the lens

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const aliveModel = (model, signal) =>
  aliveTextPage(model, signal, { traits: modelTraits, block: modelBlock, names: NAMES });

/** First token of the window that is shown at first. @param {any} about @param {string[]} tokens */
export const firstShown = ({ main, window }, tokens) =>
  main === "decoder" ? Math.max(0, tokens.length - window) : 0;

async function modelTraits(ask, [reading], page) {
  const about = page.get("_about");
  const [kinds, stacks] = [{}, {}];
  for (const [kind, before] of Object.entries(page.get("_kinds"))) {
    const tokens = tokensOf(reading, kind);
    kinds[kind] = {
      ...before,
      queries: tokens.length,
      keys: kind === "cross" ? reading.text.tokens.length : tokens.length,
    };
    if (kind !== "cross") stacks[kind] = tokens;
  }
  const start = about.here ? (reading.positions[0] ?? 0) : stacks[about.main].length - 1;
  const first = firstShown(about, stacks[about.main]);
  const { info, buffers } = await passOf(ask, reading, { kinds, stacks, about }, first, "[]");
  const lens = await lensOf(ask, reading, start, "[]");
  return {
    _kinds: kinds,
    _stacks: stacks,
    _about: { ...about, start },
    _edits: [],
    first: null,
    step: null,
    _pass: info,
    _pass_data: buffers[0],
    _lens: lens,
  };
}

async function modelBlock(ask, [reading], name, page) {
  const [what, ...of] = name.split("/");
  const [kinds, stacks, about] = ["_kinds", "_stacks", "_about"].map((trait) => page.get(trait));
  const rest = (from) => of.slice(from).join("/"); // edits as JSON
  if (what === "pass")
    return passOf(ask, reading, { kinds, stacks, about }, Number(of[0]), rest(1));
  if (what === "lens")
    return {
      type: "block",
      info: await lensOf(ask, reading, Number(of[0]), rest(1)),
      buffers: [viewOf(new Uint8Array(0))],
    };
  if (what === "walk")
    return walkBlock(ask, [reading], name, {
      get: () =>
        Object.fromEntries(
          Object.entries(stacks).map(([kind, tokens]) => [kind, { ...kinds[kind], tokens }]),
        ),
    });
  const place = { kind: of[0], layer: Number(of[1]), head: Number(of[2]) };
  const [{ weights }] = await ask({
    ask: "map",
    of: reading.of,
    edits: JSON.parse(rest(3)),
    places: [place],
  });
  return { type: "block", info: { name }, buffers: [viewOf(weights)] };
}

async function lensOf(ask, { of }, position, named) {
  const info = {
    name: `lens/${position}/${named}`,
    position,
    why: "",
    rows: [],
    answers: [],
    risen: 0,
  };
  const edits = JSON.parse(named);
  try {
    const found = [await ask({ ask: "lens", of, positions: [position], k: LENS })];
    found.push(
      edits.length
        ? await ask({ ask: "lens", of, edits, positions: [position], k: LENS })
        : found[0],
    );
    const cells = found.map((rows) => rows.map(([{ cells }]) => cells));
    const ids = [...new Set(cells.flat(2).map(({ id }) => id))];
    const names = new Map((await ask({ ask: "names", of, ids })).map((name, i) => [ids[i], name]));
    info.rows = cells.map((rows) =>
      rows.map((row) => row.map(({ id, probability }) => [names.get(id), probability])),
    );
  } catch (error) {
    info.why = error.message; // a model whose logits depend on more than the stream
  }
  const { rows } = await ask({ ask: "predict", of, edits, position });
  info.risen = rows.filter(({ risen }) => risen).length;
  info.answers = rows.map(({ token, before, after }) => [token, before, after ?? before]);
  return info;
}

/** Pack a pass like ModelData of data.py. */
async function passOf(ask, { of }, { kinds, stacks, about }, first, named) {
  const edits = JSON.parse(named);
  const data = [];
  let size = 0;
  const put = (...parts) => {
    const at = size;
    for (const part of parts) {
      data.push(part);
      size += part.length;
    }
    return at;
  };
  const steps = /** @type {any[]} */ ([{ what: "start", stack: about.main, layer: 0 }]);
  const windows = {};
  for (const [stack, tokens] of Object.entries(stacks)) {
    const from =
      stack === about.main ? Math.min(first, Math.max(0, tokens.length - about.window)) : 0;
    const to = Math.min(tokens.length, from + about.window);
    const found = [await ask({ ask: "stream", of, kind: stack })];
    found.push(edits.length ? await ask({ ask: "stream", of, edits, kind: stack }) : found[0]);
    const both = (read) =>
      put(...found.flatMap((one) => read(one).map((row) => row.subarray(from, to))));
    const parts = found[0].shares.map(({ part }) => part);
    windows[stack] = {
      first: from,
      count: to - from,
      norms: both(({ norms }) => norms),
      shares: {},
    };
    for (const [i, part] of parts.entries())
      windows[stack].shares[part] = both(({ shares }) => shares[i].share);
    const last = ["MLP", "block"].find((part) => parts.includes(part));
    for (let layer = 0; layer < kinds[stack].layers; layer++) {
      for (const [what, kind] of stack === "decoder" && kinds.cross
        ? [
            ["attention", stack],
            ["cross", "cross"],
          ]
        : [["attention", stack]]) {
        const why = about.none[kind][layer];
        if (why) {
          steps.push({ what: "none", stack, layer, kind, why });
          continue;
        }
        const { edges, sums } = await ask({ ask: "carried", of, edits, kind, layer, from, to });
        steps.push({ what, stack, layer, kind, edges: edges[0].length, at: put(...edges), sums });
      }
      if (last) steps.push({ what: last, stack, layer });
    }
  }
  steps.push({ what: "end", stack: about.main, layer: kinds[about.main].layers - 1 });
  const info = { name: `pass/${first}/${named}`, edited: edits.length > 0, stacks: windows, steps };
  return { type: "block", info, buffers: [floatsView(data)] };
}
