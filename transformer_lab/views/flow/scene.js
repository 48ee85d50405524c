// How a logit is built up: what heads carry between tokens, and what cutting an edge changes.

import { messages, percentText, withSign } from "../shared/messages.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const STOPS = [0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1];
const LONGEST = 256; // tokens, so that they can still be told apart
const LISTED = 40; // edges of the table
const BARS = 16; // edges of a still picture
const MLPS = 8; // rows of the sum; if there are more, the others share one row

/**
 * @typedef {object} Edge
 * @property {number} layer
 * @property {number} head
 * @property {number} query
 * @property {number} key
 * @property {number} value what it carries toward the logit
 */

/** @param {{layer: number, head: number, query: number, key: number}} edge */
export const cutOf = ({ layer, head, query, key }) => [layer, head, query, key];

/** The edge of a cut, which carries nothing. @param {ArrayLike<number>} cut @returns {Edge} */
export const edgeOf = ({ 0: layer, 1: head, 2: query, 3: key }, value = 0) => ({
  layer,
  head,
  query,
  key,
  value,
});

/** @param {number[]} a @param {number[]} b */
export const sameCut = (a, b) => a.every((place, i) => place === b[i]);

/** In the order of Python's tuples. @param {number[][]} cuts */
const sortedCuts = (cuts) =>
  [...cuts].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);

/** Name of a flow. @param {number} position @param {number | null} token @param {number[][]} cuts */
export function flowName(position, token, cuts) {
  const names = sortedCuts(cuts).map((cut) => cut.join("."));
  return `flow/${position}/${token ?? "-"}/${names.join("+") || "-"}`;
}

const sizesOf = ({ kinds }) => Object.values(kinds)[0];
const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** A flow as data.py packs it. */
function read({ info, numbers }, _, s) {
  const [{ layers }, n] = [sizesOf(s), s.tokens.length];
  let at = 0;
  const take = (count) => numbers.subarray(at, (at += count));
  const [places, values] = [take(4 * info.edges), take(info.edges)];
  return {
    info,
    edges: Array.from(values, (value, i) => edgeOf(places.subarray(4 * i, 4 * i + 4), value)),
    stream: take((layers + 1) * n),
    stays: take(layers * n),
    mlps: take(layers * n),
    largest: Math.abs(values[0] ?? 0),
  };
}

/** The name of the chosen flow; the likeliest token need not be named. */
function wanted({ position, token, cuts }, found) {
  const known = [...found.values()].map(({ info }) => info);
  const likeliest = known.find((info) => info.position === position && info.names.length > 1);
  return flowName(position, token === likeliest?.token ? null : token, cuts);
}

/** A flow with a threshold, and the edge in focus. */
class Shown {
  constructor(s, flow) {
    const { info, edges, largest } = flow;
    this.s = s;
    this.flow = flow;
    this.info = info;
    this.least = s.threshold * largest;
    this.edges = edges.filter(({ value }) => Math.abs(value) >= this.least);
    this.cuts = info.cuts.map((cut) => edgeOf(cut));
    this.reachable = [...this.edges, ...this.cuts];
    const own = s.hover.flow ?? selectedIn(s);
    this.focus = this.reachable.find((edge) => sameCut(cutOf(edge), own)) ?? null;
    this.circuit = s.circuit?.sentence ? s.circuit : null;
    this.heads = this.circuit && (s.options?.circuit ?? true) ? this.circuit.heads : null;
  }

  isCut(edge) {
    return this.info.cuts.some((cut) => sameCut(cut, cutOf(edge)));
  }

  get sentence() {
    const { s, info, edges, flow } = this;
    const [best] = flow.edges;
    const likeliest = info.answers.reduce((a, b) => (b[3] > a[3] ? b : a));
    return say("sentence", {
      layer: null,
      ...info,
      ...best,
      from: s.tokens[best?.key],
      to: s.tokens[best?.query],
      itself: best?.query === best?.key,
      token: info.name,
      at: s.tokens[info.position],
      shown: edges.length,
      rest: info.total - total(edges.map(({ value }) => value)),
      cuts: info.cuts.length,
      probability: likeliest[3],
      answer: likeliest[0] === info.token ? null : likeliest[1],
    });
  }

  /** The edge in focus, in words. */
  get readout() {
    const { s, focus } = this;
    if (!focus) return [{ quiet: say("hover_over_an_edge") }];
    const { layer, head, query, key, value } = focus;
    const cut = this.isCut(focus);
    return [
      say("layer_head", { layer, head }),
      { token: s.tokens[key] },
      ` (${key}) → `,
      { token: s.tokens[query] },
      ` (${query}) `,
      cut ? say("is_cut") : { text: withSign(value), part: "number" },
      { tip: cut ? say("click_to_remove_the") : say("click_to_cut_it") },
    ];
  }

  /** The picture. @param {string} sentence */
  picture(sentence) {
    const { s, flow, info, edges, least, heads, cuts } = this;
    const { layers, heads: n_heads } = sizesOf(s);
    const n = s.tokens.length;
    const says = `“${info.name}” ${withSign(info.logit)}`;
    const against = info.against === null ? "" : ` − “${info.against}”`;
    const grid = (values) => ({ shape: [values.length / n, n], values });
    const mark = {
      type: "routes",
      tokens: s.tokens,
      stream: grid(flow.stream),
      stays: grid(flow.stays),
      mlps: grid(flow.mlps),
      places: { shape: [edges.length, 4], values: Int32Array.from(edges.flatMap(cutOf)) },
      values: Float32Array.from(edges, ({ value }) => value),
      cuts: info.cuts,
      heads,
      n_heads,
      at: info.position,
      says,
    };
    const largest = Math.max(...flow.stream.map(Math.abs), 1e-9);
    const used = [...new Set(edges.map(({ head }) => head))].sort((a, b) => a - b);
    return {
      part: "flow",
      title: say("from_token_to_token"),
      hint: say("click_an_edge_to"),
      picture: say("tokens_from_left_to"),
      says: say("arrow_keys_choose_an", { summary: sentence }),
      mark,
      still: [{ title: "", mark }],
      readout: this.readout,
      heads: used,
      explained: `${say("dashed_against_the_logit")}${cuts.length ? say("dotted_with_a_cross") : ""}`,
      circuit: this.circuit?.sentence ?? "",
      reachable: this.reachable,
      focus: this.focus,
      largest,
      drawn: {
        found: flow,
        edges,
        least,
        cuts,
        layers,
        heads: n_heads,
        tokens: s.tokens,
        inside: heads && new Set(heads.map(([layer, head]) => `${layer}.${head}`)),
        name: `“${info.name}”${against} ${withSign(info.logit)}`,
      },
    };
  }

  /** The tables beside it, and in a still picture the largest edges and the stream. */
  get side() {
    const { s, flow, info, edges } = this;
    const changed = info.cuts.length > 0;
    const { tokens } = s;
    const rows = {
      title: say("after_layer"),
      labels: ["start", ...Array(sizesOf(s).layers).keys()],
    };
    const named = ({ layer, head, query, key }) =>
      `L${layer} H${head} ${tokens[key]} ${key} → ${tokens[query]} ${query}`;
    const listed = edges.slice(0, BARS);
    const bars = {
      type: "bars",
      values: listed.map(({ value }) => value),
      rows: { title: "", labels: listed.map(named) },
      means: say("carried_toward"),
    };
    const matrix = {
      type: "matrix",
      values: { shape: [rows.labels.length, tokens.length], values: flow.stream },
      rows,
      columns: { title: say("token"), labels: tokens, tokens: true },
      means: say("toward_the_logit"),
      signed: true,
    };
    const cell = (each, isCut) => ({
      ...each,
      isCut,
      name: named(each),
      text: isCut ? say("cut_word") : withSign(each.value),
    });
    return {
      part: "side",
      title: say("what_comes_next"),
      mark: { type: "side" },
      still: [
        { title: say("largest_edges"), mark: bars, width: 0.45 },
        { title: say("stream_at"), mark: matrix, width: 0.55 },
      ],
      chosen: info.answers.findIndex(([id]) => id === info.token),
      answers: {
        names: [
          say("token"),
          ...(changed ? [say("before"), say("after_word")] : [say("probability")]),
        ],
        rows: info.answers.map(([, name, before, after]) => [
          { token: name },
          ...(changed ? [before, after] : [before]).map((p) => percentText(p)),
        ]),
      },
      ...this.sums,
      tokens,
      edges: [
        ...this.cuts.map((cut) => cell(cut, true)),
        ...edges.slice(0, LISTED).map((edge) => cell(edge, false)),
      ],
    };
  }

  /** What the logit is made of: `sum`, and `mlps` if some of them share a row of it. */
  get sums() {
    const { s, flow, info } = this;
    const n = s.tokens.length;
    const mlps = Array.from({ length: sizesOf(s).layers }, (_, i) => ({
      name: say("mlp_of_layer", { i }),
      value: total(flow.mlps.slice(i * n, (i + 1) * n)),
    })).filter(({ value }) => value);
    const few = mlps.length > MLPS + 1 ? largestOf(mlps, MLPS) : mlps;
    const others = mlps.filter((mlp) => !few.includes(mlp));
    const name = say("other_mlps", { others: others.length });
    const rest = { name, value: total(others.map(({ value }) => value)) };
    const body = (rows) => rows.map(({ name, value }) => [name, withSign(value)]);
    const parts = [
      { name: say("embeddings"), value: total(flow.stream.slice(0, n)) },
      ...few,
      ...(others.length ? [rest] : []),
      { name: say("bias_same_for_every"), value: info.constant },
      { name: say("the_logit"), value: info.logit },
    ];
    return {
      sum: { caption: say("including_paths_through_heads"), rows: body(parts) },
      mlps: { rows: body(others.length ? mlps : []) },
    };
  }

  /** What a file holds. */
  get files() {
    const { s, flow, edges } = this;
    const layers = Array.from({ length: sizesOf(s).layers }, (_, layer) => say("layer", { layer }));
    const places = ["layer", "head", "query", "key"];
    /** @type {Record<string, any[]>} */
    const arrays = Object.fromEntries(
      places.map((name) => [
        name,
        [["edge"], Int32Array.from(edges, (edge) => edge[name]), say(`is_${name}`)],
      ]),
    );
    const values = Float32Array.from(edges, ({ value }) => value);
    arrays.carried = [["edge"], values, say("is_carried")];
    arrays.stream = [["after", "position"], flow.stream, say("is_stream")];
    arrays.stays = [["layer", "position"], flow.stays, say("is_stays")];
    arrays.mlp = [["layer", "position"], flow.mlps, say("is_mlp")];
    return { axes: { after: ["start", ...layers], position: s.tokens }, arrays };
  }
}

/** The n largest by size, in their original order. @param {{name: string, value: number}[]} all @param {number} n */
function largestOf(all, n) {
  const least = all.map(({ value }) => Math.abs(value)).sort((a, b) => b - a)[n - 1];
  return all.filter(({ value }) => Math.abs(value) >= least);
}

function scene(s, found) {
  const shown = new Shown(s, found.get(wanted(s, found)));
  const { info, sentence, edges } = shown;
  const { position, token, cuts } = info;
  return {
    name: info.names[0],
    title: say("flow_word"),
    subtitle: say("flow_word"),
    sentence,
    panels: [[shown.picture(sentence)], [shown.side]],
    marked: { edges: String(edges.length) },
    choices: { position, token, cuts },
    ...shown.files,
  };
}

/** Choose an edge, and cut it or remove the cut. @param {any} s @param {Edge} edge */
function pick(s, edge) {
  const own = cutOf(edge);
  const without = s.cuts.filter((cut) => !sameCut(cut, own));
  const cuts = without.length < s.cuts.length ? without : sortedCuts([...s.cuts, own]);
  return { ...chosen(edge), cuts };
}

/** The place of the chosen edge. @param {any} s */
export const selectedIn = ({ layer, head, selected }) => [
  layer,
  head,
  ...(selected ?? [null, null]),
];

/** @param {Edge} edge */
export const chosen = ({ layer, head, query, key }) => ({ layer, head, selected: [query, key] });

/** The start on another text. */
function taken(
  _,
  [
    {
      text: { tokens },
    },
  ],
) {
  const n = tokens.length;
  if (n > LONGEST)
    throw new Error(`text has ${n} tokens; a flow is drawn of up to ${LONGEST}: shorten it`);
  return { _tokens: tokens, position: n - 1, token: null, cuts: [] };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "flow",
  say,
  bare: true,
  forgets: true,
  traits: [
    "position",
    "token",
    "cuts",
    "threshold",
    "layer",
    "head",
    "selected",
    "_options",
    "_tokens",
    "_circuit",
    "_kinds",
    "_against",
  ],
  texts: { taken, about: ({ against }) => ({ against }) },
  needs: (s, found) => [wanted(s, found)],
  names: ({ info }) => info.names,
  read,
  scene,
  parts: { flow: { pick }, side: { pick } },
  controls(s, found) {
    const { info, circuit, heads } = new Shown(s, found.get(wanted(s, found)));
    /** @type {any[]} */
    const controls = [
      {
        label: say("after"),
        part: "position",
        count: s.tokens.length,
        chosen: info.position,
        text: (at) => `${at} ${s.tokens[at]}`,
        set: (position) => ({ position, token: null }),
      },
      {
        label: say("toward"),
        part: "token",
        choices: info.answers.map(([id, name]) => ({ value: id, text: name })),
        chosen: info.token,
      },
      {
        label: say("threshold"),
        part: "threshold",
        values: STOPS,
        value: s.threshold,
        title: say("edges_below_this_share"),
        text: (share) => `${Math.round(100 * share)}%`,
      },
    ];
    const over = { label: say("the_circuits_heads_stand"), part: "over", on: Boolean(heads) };
    if (circuit) controls.push({ ...over, set: (on) => ({ _options: { circuit: on } }) });
    if (info.cuts.length) controls.push({ part: "remove-all", sets: { cuts: [] } });
    return controls;
  },
  part: ({ position }) => `position-${position}`,
  failed: (_, why, { alone }) =>
    alone ? say("this_page_holds_the") : say("this_cannot_be_shown", { why }),
  code(s, found) {
    const { token, position, cuts } = found.get(wanted(s, found)).info;
    if (!cuts.length) return `tl.circuits.token_flow(trace, ${token}, ${position})`;
    const edits = cuts.map(
      ([layer, head, query, key]) => `tl.knock_out(${layer}, ${head}, query=${query}, key=${key})`,
    );
    return `with tl.edit(model, ${edits.join(", ")}):\n    tl.circuits.token_flow(tl.trace(model, tokens), ${token}, ${position})`;
  },
};
