// A forward pass: its steps in words, what is drawn of it, and what the reader can choose.

import { PALETTE } from "../shared/colours.js";
import { fixed, numbered, percentText } from "../shared/messages.js";
import { sameEdit, tokensOf } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };

const [SEEN, VANISHED] = [0.12, 0.5]; // fractions of a layer's largest edge, and of what an edge carried
const THIN = 0.45; // width of the widest curve of a still picture, relative to the widest line
const LISTED = 10; // edges in the list
const COLOURS = PALETTE.heads.length;
const MOST_CELLS = 1e6; // of a head's map

/**
 * @typedef {{head: number, query: number, key: number, before: number, after: number, kind: string, layer: number, step: number, first: boolean}} Edge
 *   first: whether it is a query's strongest
 * @typedef {{what: string, stack: string, layer: number, kind?: string, why?: string, edges?: number, at?: number, sums?: number[]}} Step
 * @typedef {{stack: string, layer: number, steps: number[], top: number, high: number}} Band
 * @typedef {{edge?: Edge, stack?: string, token?: number, layer?: number, row?: number, part?: string}} Spot
 */

/** A pass as it is sent; see ModelData.block of data.py. */
export class Pass {
  /** @param {any} info @param {Float32Array} flat */
  constructor(info, flat) {
    this.info = info;
    this.flat = flat;
    /** @type {Step[]} */
    this.steps = info.steps;
    /** @type {Map<number, Edge[]>} */
    this.known = new Map();
    /** @type {Band[]} */
    this.bands = [];
    this.steps.forEach(({ what, stack, layer }, i) => {
      if (what === "start" || what === "end") return;
      const last = this.bands[this.bands.length - 1];
      if (last?.stack === stack && last.layer === layer) last.steps.push(i);
      else this.bands.push({ stack, layer, steps: [i], top: 0, high: 0 });
    });
    this.now = Number(info.edited);
  }

  get last() {
    return this.steps.length - 1;
  }

  /** @param {string} what */
  has(what) {
    return this.steps.some((step) => step.what === what);
  }

  /** How many rows of sizes a stack has. @param {string} stack */
  rows(stack) {
    return this.bands.filter((band) => band.stack === stack).length + 1;
  }

  /** Sizes of a stack's streams, [row, token]. @param {string} stack @param {number} [now] 1: with the edits */
  norms(stack, now = this.now) {
    const { count, norms } = this.info.stacks[stack];
    const size = this.rows(stack) * count;
    return this.flat.subarray(norms + now * size, norms + (now + 1) * size);
  }

  /** What a part adds, relative to the stream's size, [layer, token]; null if it is not known. @param {string} stack @param {string} part @param {number} [now] */
  shares(stack, part, now = this.now) {
    const { count, shares } = this.info.stacks[stack];
    const size = (this.rows(stack) - 1) * count;
    return part in shares
      ? this.flat.subarray(shares[part] + now * size, shares[part] + (now + 1) * size)
      : null;
  }

  /** Size of a token's stream. @param {string} stack @param {number} row @param {number} token @param {number} [now] */
  norm(stack, row, token, now) {
    const { first, count } = this.info.stacks[stack];
    return this.norms(stack, now)[row * count + token - first];
  }

  /** What a part adds to a token. @param {string} stack @param {string} part @param {number} layer @param {number} token @param {number} [now] @returns {number | null} */
  share(stack, part, layer, token, now) {
    const { first, count } = this.info.stacks[stack];
    const at = token - first;
    return at >= 0 && at < count
      ? (this.shares(stack, part, now)?.[layer * count + at] ?? null)
      : null;
  }

  /** The edges of a step. @param {number} step @returns {Edge[]} */
  edges(step) {
    const known = this.known.get(step);
    const { at = 0, edges: n, kind = "", layer } = this.steps[step];
    if (known || !n) return known ?? [];
    const read = (row, i) => this.flat[at + row * n + i];
    const found = Array.from({ length: n }, (_, i) => ({
      head: read(0, i),
      query: read(1, i),
      key: read(2, i),
      before: read(3, i),
      after: read(4, i),
      kind,
      layer,
      step,
      first: false,
    }));
    const led = new Set();
    for (const edge of [...found].sort((a, b) => larger(b) - larger(a))) {
      edge.first = !led.has(edge.query);
      led.add(edge.query);
    }
    this.known.set(step, found);
    return found;
  }

  /** The edges of a layer. @param {string} kind @param {number} layer */
  edgesOf(kind, layer) {
    const step = this.steps.findIndex(
      (one) => one.kind === kind && one.layer === layer && one.edges,
    );
    return step < 0 ? [] : this.edges(step);
  }

  /** What the largest edge of a step carries. @param {number} step */
  most(step) {
    return this.edges(step).reduce((most, edge) => Math.max(most, larger(edge)), 1e-9);
  }

  /** The edges of a step to draw. @param {number} step @param {boolean} [thin] in a low layer */
  drawn(step, thin = false) {
    const least = SEEN * this.most(step);
    const large = (edge) => larger(edge) > least;
    return this.edges(step).filter((edge) =>
      thin ? edge.first && large(edge) : edge.first || large(edge),
    );
  }

  /** Whether the edits take most of an edge away. @param {Edge} edge */
  isGone({ before, after }) {
    return Boolean(this.now) && after < VANISHED * before;
  }

  /** The edge that carries most to a token in a step. @param {number} step @param {number} token @returns {Edge | null} */
  strongest(step, token) {
    return this.edges(step).reduce(
      (best, edge) => (edge.query === token && edge.after > (best?.after ?? 0) ? edge : best),
      /** @type {Edge | null} */ (null),
    );
  }
}

/** @param {Edge} edge */
export const larger = ({ before, after }) => Math.max(before, after);

// ---- choices --------------------------------------------------------------------------------

/** The stack of the current choice. */
export const stackOf = ({ kind }) => (kind === "cross" ? "decoder" : kind);

/** The chosen token of a stack; the stack that predicts always has one. @param {any} s @param {string} stack @returns {number | null} */
function chosenIn(s, stack) {
  const [query, key] = s.selected ?? [null, null];
  const { main, start } = s.about;
  const chosen = stackOf(s) === stack ? query : s.kind === "cross" ? key : null;
  const token = chosen ?? (stack === main ? start : null);
  return token === null ? null : Math.min(token, s.stacks[stack].length - 1);
}

/** The chosen token of a stack, or its last. @param {any} s @param {string} [stack] */
export const tokenIn = (s, stack = s.about.main) =>
  chosenIn(s, stack) ?? s.stacks[stack].length - 1;

/** Names of the queries and of the keys. @param {any} s @param {string} kind */
const sidesOf = ({ stacks }, kind) =>
  kind === "cross" ? [stacks.decoder, stacks.encoder] : [stacks[kind], stacks[kind]];

/** The chosen edge, if it is listed. @param {any} s @param {Pass} pass */
const edgeOf = ({ kind, layer, head, selected }, pass) =>
  pass
    .edgesOf(kind, layer)
    .find(
      (edge) => edge.head === head && edge.query === selected?.[0] && edge.key === selected[1],
    ) ?? null;

/** The edit that switches the chosen head off, and the one that cuts the chosen edge. @param {any} s @param {Pass} pass */
export function editsAt(s, pass) {
  const { kind, layer, head, several } = s;
  const edge = edgeOf(s, pass);
  const own = several ? { kind } : {};
  return {
    off: { edit: "ablate", layer, head, ...own },
    cut: edge && { edit: "knock_out", layer, head, query: edge.query, key: edge.key, ...own },
  };
}

/** Make an edit, or undo it, and go to the end, where its effect is. @param {any} s @param {any} edit */
export function toggled({ edits }, edit) {
  const others = edits.filter((one) => !sameEdit(one, edit));
  return { step: null, _edits: others.length < edits.length ? others : [...edits, edit] };
}

/** @param {any} s @param {Pass} pass @param {string} stack @param {number} token */
export function tokenChosen(s, pass, stack, token) {
  const { main, window } = s.about;
  const kind = stack === stackOf(s) ? s.kind : stack;
  const { first, count } = pass.info.stacks[stack];
  const outside = stack === main && (token < first || token >= first + count);
  const from = Math.max(0, Math.min(token, s.stacks[stack].length - window));
  return {
    kind,
    selected: [token, null],
    layer: Math.min(s.layer, s.kinds[kind].layers - 1),
    ...(outside ? { first: from } : {}),
  };
}

/** What a click in the picture chooses. @param {any} s @param {Pass} pass @param {Spot} spot */
export function picked(s, pass, { edge, stack, token, layer, part }) {
  if (edge) return edgeChosen(edge);
  if (token === undefined || part)
    return { kind: stack, layer, ...(stack === stackOf(s) ? {} : { selected: null }) };
  return tokenChosen(s, pass, stack, token);
}

/** @param {Edge} edge */
export const edgeChosen = ({ kind, layer, head, query, key }) => ({
  kind,
  layer,
  head,
  selected: [query, key],
});

/** The name of what opens: a layer's "steps", or a head's "map". @param {any} s @param {string} what */
export function unfoldedAs(s, what) {
  const { kind, layer, head, edits } = s;
  const stack = stackOf(s);
  return what === "map"
    ? `map/${kind}/${layer}/${head}/${JSON.stringify(edits)}`
    : ["walk", stack, layer, head, tokenIn(s, stack)].join("/");
}

/** @param {any} s */
function needs(s) {
  const { first, about, edits, seen } = s;
  const under = JSON.stringify(edits);
  const { unfolded } = seen;
  return [
    `pass/${first ?? about.first}/${under}`,
    `likely/${tokenIn(s)}/${under}`,
    ...(unfolded ? [unfolded === "map" ? unfoldedAs(s, "map") : unfolded] : []),
  ];
}

// ---- what is shown --------------------------------------------------------------------------

class Shown {
  constructor(s, found) {
    const [name, lens, more] = needs(s);
    this.s = s;
    this.name = name;
    /** @type {import("../shared/messages.js").Say} */
    this.say = s.say;
    /** @type {Pass} */
    this.pass = found.get(name);
    /** What is predicted at the token. */
    this.said = found.get(lens).info;
    this.unfolded = more && found.has(more) ? { name: more, ...found.get(more) } : null;
    this.both = Object.keys(s.stacks).length > 1;
    const [at, arrived] = s.seen.model ?? [s.step ?? this.pass.last, true];
    this.at = Math.min(this.pass.last, at);
    this.step = this.pass.steps[this.at];
    /** Whether the stream has got to the answer. */
    this.ended = this.step.what === "end" && arrived;
    this.edge = edgeOf(s, this.pass);
    this.choices = { first: s.first, _edits: s.edits, selected: s.selected };
    this.marked = { step: String(this.at), edits: String(s.edits.length) };
  }

  get title() {
    return this.say("work");
  }

  get subtitle() {
    const { s, pass, both } = this;
    const { main } = s.about;
    return this.say("subtitle", {
      layers: pass.rows(main) - 1,
      tokens: s.stacks[main].length,
      encoder_layers: both ? pass.rows("encoder") - 1 : null,
      encoder_tokens: both ? s.stacks.encoder.length : null,
    });
  }

  /** The layer in focus: the step's or, at the first and last step, the chosen one. */
  get focus() {
    const { what, stack, layer } = this.step;
    const { s } = this;
    return ["start", "end"].includes(what)
      ? { stack: stackOf(s), layer: s.layer }
      : { stack, layer };
  }

  get sentence() {
    const { s, say, pass, said, both, step } = this;
    const { about, stacks, edits } = s;
    const { what, stack, layer, why = null } = step;
    const isMain = stack === about.main;
    const token = isMain ? said.position : Math.min(said.position, stacks[stack].length - 1);
    const edge = pass.strongest(this.at, token);
    const adds = what in pass.info.stacks[stack].shares;
    const [would, chance] =
      adds && isMain && said.rows.length ? said.rows[pass.now][layer + 1][0] : [null, null];
    const likeliest = said.answers[0] ?? [null];
    const [answer, before, after] = likeliest;
    const best = said.answers.reduce((a, b) => (b[2] > a[2] ? b : a), likeliest);
    return say("sentence", {
      what: what === "end" && !this.ended ? "ending" : what,
      stack,
      several: both,
      layer,
      why,
      n: stacks[about.main].length,
      token: numbered(stacks[stack], token),
      here: about.here,
      classes: about.classes,
      share: adds ? pass.share(stack, what, layer, token) : null,
      would,
      chance,
      from: edge && numbered(sidesOf(s, edge.kind)[1], edge.key),
      head: edge && edge.head,
      edits: edits.map((edit) => this.editWords(edit)).join(say("and")) || null,
      answer,
      before,
      after,
      best: best[0] === answer ? null : best[0],
      best_after: best[2],
    });
  }

  /** Describe an edit like edit_words.py. @param {Record<string, any>} edit */
  editWords({ edit, kind: own, layer = null, head = null, query = null, key = null }) {
    const { s, say } = this;
    const [queries, keys] = sidesOf(s, own ?? s.about.main);
    const shown = own ?? (s.several ? "" : null);
    return say("edit", {
      edit,
      kind: shown === null || shown === (s.several ? s.kind : "") ? null : shown || "decoder",
      layer,
      head,
      query: query === null ? null : queries[query],
      key: key === null ? null : keys[key],
    });
  }

  /** @param {Edge} edge */
  edgeWords({ kind, layer, head, query, key, before, after }) {
    const [queries, keys] = sidesOf(this.s, kind);
    return this.say("edge", {
      layer,
      head,
      from: keys[key],
      key,
      token: queries[query],
      query,
      size: before,
      after: this.pass.now ? after : null,
    });
  }

  /** The spot pointed at, in words. */
  get pointedAt() {
    const { s, say, pass } = this;
    /** @type {Spot} */
    const { edge, stack, token, row, part, layer = 0 } = s.hover.model ?? {};
    if (edge) return this.edgeWords(edge);
    if (stack === undefined || token === undefined || row === undefined) return null;
    const of = (now) =>
      part ? pass.share(stack, part, layer, token, now) : pass.norm(stack, row, token, now);
    const after = pass.now ? of(1) : null;
    const at = { token: s.stacks[stack][token], position: token, after };
    return part
      ? say("added", { ...at, part, layer, share: of(0) })
      : say("stream", { ...at, size: of(0), layer: row ? row - 1 : null });
  }

  get note() {
    const { s, say, said, pass, focus } = this;
    const { weighted, norms, classes } = s.about;
    const step = pass.steps.findIndex(
      (one) => one.edges && one.stack === focus.stack && one.layer === focus.layer,
    );
    const sum = pass.steps[step]?.sums?.[pass.now] ?? 0;
    const drawn = sum > 0 ? pass.drawn(step).reduce((all, { after }) => all + after, 0) / sum : 0;
    return [
      weighted ? "" : say("unweighted"),
      norms ? "" : say("no_norms"),
      said.why && said.answers.length && !classes ? say("no_lens", { why: said.why }) : "",
      this.isLarge ? say("large") : "",
      sum > 0 ? say("listed", { layer: focus.layer, share: Math.min(1, drawn) }) : "",
    ]
      .filter(Boolean)
      .join(" ");
  }

  /** Whether the chosen kind's maps have too many cells to be drawn here. */
  get isLarge() {
    const { queries, keys } = this.s.size;
    return queries * keys > MOST_CELLS;
  }

  get panels() {
    const stills = Object.keys(this.s.stacks).map((stack) => [this.routes(stack)]);
    const below = [this.map, this.steps].filter(Boolean);
    return [[this.picture], ...stills, [this.answers, this.card], below];
  }

  /** The picture, in a page. */
  get picture() {
    const { s, say, pass, sentence, both } = this;
    const { heads } = s.size;
    const without = pass.steps.filter(({ what }) => what === "none");
    return {
      part: "model",
      title: say("picture"),
      says: say("canvas", { sentence }),
      mark: { type: "model" },
      still: [],
      step: this.at,
      last: pass.last,
      words: sentence.split(" ").length,
      legend: say("legend", {
        without: without.map(({ layer }) => layer).join(", ") || null,
        part: ["MLP", "block"].find((part) => pass.has(part)) ?? null,
        edited: Boolean(pass.now),
      }),
      colours: [
        say("key"),
        ...Array.from({ length: Math.min(COLOURS, heads) }, (_, dot) => ({ dot })),
        ...(heads > COLOURS ? [say("repeats")] : []),
      ],
      readout: this.pointedAt,
      stepName: (at) => say("step", { ...pass.steps[at], several: both }),
      draws: () => this.drawing,
    };
  }

  /** What picture.js draws. */
  get drawing() {
    const { s, say, pass, said, focus, edge, both } = this;
    const { stacks, about, edits, hover } = s;
    const of = (read) =>
      Object.fromEntries(Object.keys(stacks).map((stack) => [stack, read(s, stack)]));
    const { stack, token, edge: pointed } = hover.model ?? {};
    const kindOf = ({ kind = about.main }) => stackOf({ kind });
    const isOff = (edit, name, layer) =>
      edit.edit === "ablate" && kindOf(edit) === name && (edit.layer ?? layer) === layer;
    return {
      found: pass,
      stacks,
      main: about.main,
      focus,
      tokens: of(tokenIn),
      marked: of(chosenIn),
      pointed: stack === undefined || token === undefined ? null : { stack, token },
      edge: pointed ?? edge,
      lens: said.rows,
      words: {
        lens: say("lens"),
        layer: (name, layer, short) =>
          short
            ? String(layer)
            : both
              ? `${say("stack", { stack: name })} ${layer}`
              : say("layer", { layer }),
        off: (name, layer) =>
          edits
            .filter((edit) => isOff(edit, name, layer))
            .map(({ head }) => `✕${head ?? ""}`)
            .join(" "),
      },
    };
  }

  /** A stack in a still picture: its streams, and its edges relative to the largest of their layer. @param {string} stack */
  routes(stack) {
    const { s, say, pass, both } = this;
    const { first, count, shares } = pass.info.stacks[stack];
    const grid = (values) => {
      const most = Math.max(1e-9, ...values);
      return { shape: [values.length / count, count], values: values.map((x) => x / most) };
    };
    const [edges, cuts] = [/** @type {any[]} */ ([]), /** @type {any[]} */ ([])];
    pass.steps.forEach((step, at) => {
      if (step.stack !== stack || step.kind === "cross") return;
      const most = pass.most(at);
      for (const edge of pass.edges(at)) {
        const { layer, head, query, key, before, after } = edge;
        if (key < first || key >= first + count) continue;
        const place = [layer, head, query - first, key - first];
        if (pass.isGone(edge) && before > SEEN * most) cuts.push(place);
        else if (after > SEEN * most) edges.push({ place, value: (THIN * after) / most });
      }
    });
    const { values: sizes, shape } = grid(pass.norms(stack));
    const part = ["MLP", "block"].find((name) => name in shares);
    const mlps = part ? pass.shares(stack, part) : new Float32Array(sizes.length - count);
    return {
      part: `still-${stack}`,
      title: both ? say("stack", { stack }) : "",
      page: false,
      mark: {
        type: "routes",
        tokens: s.stacks[stack].slice(first, first + count),
        stream: { shape, values: sizes },
        stays: { shape: [shape[0] - 1, count], values: sizes.subarray(count) },
        mlps: grid(mlps),
        places: {
          shape: [edges.length, 4],
          values: Int32Array.from(edges.flatMap(({ place }) => place)),
        },
        values: Float32Array.from(edges, ({ value }) => value),
        cuts,
        heads: null,
        n_heads: s.kinds[s.about.main].heads,
        at: count - 1,
        says: "",
        down: true,
      },
    };
  }

  /** The predictions; a still picture shows the sizes of the streams beside them. */
  get answers() {
    const { s, say, pass, said } = this;
    const { main, classes, here } = s.about;
    const edited = Boolean(pass.now);
    const values = said.answers.map(([, before, after]) => (edited ? [before, after] : [before]));
    const guesses = this.ended ? null : this.guesses;
    const columns = edited ? [say("before"), say("after")] : [say("probability")];
    return {
      part: "answers",
      title: guesses
        ? say("guesses")
        : say("answers", { classes, here, token: s.stacks[main][said.position] }),
      mark: { type: "answers" },
      names: [say("token"), "", ...(guesses ? [say("probability")] : columns)],
      edited: edited && !guesses,
      rows:
        guesses?.map(([name, p]) => ({ name, values: [p], isNew: false })) ??
        said.answers.map(([name], i) => ({
          name,
          values: values[i],
          isNew: edited && i >= values.length - said.risen,
        })),
      none: say(guesses && said.answers.length ? "still_open" : "no_answers"),
      still: [
        { title: say("probability"), mark: this.bars(values), width: 0.4 },
        { title: say("is_size"), mark: this.sizes, width: 0.6 },
      ],
    };
  }

  /** What the model would predict if it stopped at this step, the likeliest first. @returns {[string, number][]} */
  get guesses() {
    const { said, pass, step, s } = this;
    const { what, stack, layer } = step;
    const isOver = ["MLP", "block", "end"].includes(what);
    const row = stack !== s.about.main || what === "start" ? 0 : layer + Number(isOver);
    return said.rows[pass.now]?.[row] ?? [];
  }

  /** @param {number[][]} rows */
  bars(rows) {
    const { say, said, pass } = this;
    if (!rows.length) return { type: "note", text: say("no_answers") };
    const values = rows[0].map((_, i) => rows.map((row) => row[i]));
    const text = values.map((row) => row.map((x) => percentText(x)));
    return {
      type: "bars",
      values,
      rows: { title: "", labels: said.answers.map(([name]) => name), tokens: true },
      groups: pass.now ? [say("before"), say("after")] : [""],
      colours: pass.now ? ["quiet", "edited"] : [],
      means: say("probability"),
      text: pass.now ? text : text[0],
    };
  }

  get sizes() {
    const { say, pass, s, axes } = this;
    const { main } = s.about;
    return {
      type: "matrix",
      values: { shape: [axes.after.length, axes.position.length], values: pass.norms(main) },
      rows: { title: say("after_layer"), labels: axes.after },
      columns: { title: "", labels: axes.position, tokens: true },
      means: say("is_size"),
    };
  }

  /** The chosen head and edge, and the edits. */
  get card() {
    const { s, say, pass, edge } = this;
    const { layer, head, edits, alone, seen } = s;
    const { off, cut } = editsAt(s, pass);
    const isMade = (edit) => edits.some((one) => sameEdit(one, edit));
    const opens = (what, open, off = false) => ({
      press: { unfold: what },
      part: `open-${what}`,
      of: [say(what, { open, layer })],
      off,
    });
    const [queries, keys] = sidesOf(s, s.kind);
    const undo = (edit, i) => {
      const words = this.editWords(edit);
      const title = say("undo_one", { edit: words });
      return { press: { edit }, part: `undo-${i}`, of: [`${words} ×`], title };
    };
    const all = {
      press: { edits: [] },
      part: "remove-all",
      of: [say("undo")],
      title: say("undo_all"),
    };
    const strongest = [...pass.edgesOf(s.kind, layer)].sort((a, b) => b.after - a.after);
    return {
      part: "head",
      title: say("chosen"),
      mark: { type: "card" },
      still: [],
      head: [
        { dot: head },
        { press: { edit: off }, part: "off", of: [say("off", { off: isMade(off) })], off: alone },
        opens("map", seen.unfolded === "map", this.isLarge),
        opens("steps", Boolean(seen.unfolded) && seen.unfolded !== "map"),
      ],
      edge:
        edge && cut
          ? [
              this.edgeWords(edge),
              {
                press: { edit: cut },
                part: "cut",
                of: [say("cut", { cut: isMade(cut) })],
                off: alone,
              },
            ]
          : [],
      edits: alone
        ? [{ quiet: say("snapshot") }]
        : [...edits.map(undo), ...(edits.length > 1 ? [all] : [])],
      list: say("strongest", { layer }),
      strongest: strongest
        .slice(0, LISTED)
        .map((one) => [
          { dot: one.head },
          {
            press: { edge: edgeChosen(one) },
            part: `edge-${one.head}-${one.query}-${one.key}`,
            look: "tl-link",
            of: [{ token: queries[one.query] }, " → ", { token: keys[one.key] }],
          },
          fixed(one.after, 2),
        ]),
    };
  }

  /** The chosen head's map, if it is open. */
  get map() {
    const { s, say, unfolded } = this;
    if (s.seen.unfolded !== "map" || !unfolded) return null;
    const { kind, layer, head, size } = s;
    const [queries, keys] = sidesOf(s, kind);
    const isLater = (at) => kind === "decoder" && at % size.keys > Math.floor(at / size.keys);
    const title = say("heads_map", { layer, head });
    return {
      part: "map",
      title,
      says: title,
      still: [],
      hover: s.hover.map,
      mark: {
        type: "matrix",
        values: {
          shape: [size.queries, size.keys],
          values: unfolded.numbers.map((x, at) => (isLater(at) ? NaN : x)),
        },
        rows: { labels: queries, tokens: true },
        columns: { labels: keys, tokens: true },
        means: say("weight"),
        end: 1,
        square: true,
      },
    };
  }

  /** The steps of a layer, if they are open. */
  get steps() {
    const { s, say, unfolded } = this;
    if (s.seen.unfolded === "map" || !unfolded) return null;
    return {
      part: "steps",
      title: unfolded.name,
      mark: { type: "steps" },
      still: [],
      walk: unfolded,
      note: s.edits.length ? say("unedited") : "",
    };
  }

  // ---- files --------------------------------------------------------------------------------

  get axes() {
    const { s, say, pass, said } = this;
    const { main } = s.about;
    const { first, count } = pass.info.stacks[main];
    const layers = Array.from({ length: pass.rows(main) - 1 }, (_, layer) => String(layer));
    return {
      after: [say("start_row"), ...layers],
      position: s.stacks[main].slice(first, first + count),
      prediction: said.answers.map(([name]) => name),
    };
  }

  get arrays() {
    const { s, say, pass, said } = this;
    const edges = pass.steps.flatMap((_, step) => pass.edges(step));
    const of = (name, type = Int32Array) => [
      name,
      [["edge"], type.from(edges, (edge) => edge[name]), say(`is_${name}`)],
    ];
    const results = (now) => {
      const end = now ? "_edited" : "";
      const carried = Float32Array.from(edges, ({ before, after }) => (now ? after : before));
      const chances = said.answers.map((row) => row[1 + now]);
      const size = pass.norms(s.about.main, now);
      return [
        [`carried${end}`, [["edge"], carried, say(`is_carried${end}`)]],
        [`size${end}`, [["after", "position"], size, say(`is_size${end}`)]],
        ...(chances.length
          ? [[`probability${end}`, [["prediction"], chances, say(`is_probability${end}`)]]]
          : []),
      ];
    };
    return Object.fromEntries([
      of("kind", /** @type {any} */ (Array)),
      ...["layer", "head", "query", "key"].map((name) => of(name)),
      ...results(0),
      ...(pass.now ? results(1) : []),
    ]);
  }
}

/** The start on another text. */
function taken({ kinds, about }, [read]) {
  const named = Object.keys(kinds).filter((kind) => kind !== "cross");
  const stacks = Object.fromEntries(named.map((kind) => [kind, tokensOf(read, kind)]));
  const { main, here, window } = about;
  const n = stacks[main].length;
  const start = here ? (read.positions[0] ?? 0) : n - 1;
  const first = main === "decoder" ? Math.max(0, n - window) : 0;
  const choices = { _edits: [], first: null, step: null };
  return { _stacks: stacks, _about: { ...about, start, first }, ...choices };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "model",
  catalogue,
  bare: true,
  least: 2,
  traits: [
    "step",
    "first",
    "kind",
    "layer",
    "head",
    "selected",
    "_edits",
    "_kinds",
    "_stacks",
    "_about",
    "_messages",
  ],
  texts: { taken, about: ({ about: { main, window, none } }) => ({ main, window, none }) },
  title: (say) => say("work"),
  needs,
  read: (found, name) => (name.startsWith("pass/") ? new Pass(found.info, found.numbers) : found),
  scene: (s, found) => new Shown(s, found),
  parts: { map: { size: [760, 460], write: (x) => (x && x < 0.005 ? "" : fixed(x)) } },
  spot(s) {
    const { stack, token } = s.hover.model ?? {};
    return token !== undefined && stack === stackOf(s) ? { query: token, key: null } : null;
  },
  pointed(s, spot) {
    const token = spot?.query ?? spot?.key ?? null;
    return token === null ? {} : { model: { stack: stackOf(s), token } };
  },
  part: ({ step }) => `step-${step ?? "end"}`,
  failed: (_, why, { alone, say }) => (alone ? say("not_held") : say("failed", { why })),
  code({ edits }) {
    const calls = edits.map(
      ({ edit, ...values }) =>
        `tl.${edit}(${Object.entries(values)
          .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
          .join(", ")})`,
    );
    return `tl.views.ModelView(trace${calls.length ? `, edits=[${calls.join(", ")}]` : ""})`;
  },
};
