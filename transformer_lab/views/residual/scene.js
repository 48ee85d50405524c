// The residual stream: its size by layer and token, what each block adds, and what it would predict.

import { around, percentText, sizeText, SLOT, withSign } from "../shared/messages.js";
import { callOn, tokensOf, within } from "../shared/scene.js";
import catalogue from "./messages.json" with { type: "json" };

export const COLUMNS = 16; // tokens of the logit lens in one answer, as in data.py
const LONGEST = 1024; // tokens shown
const FILED = 12; // tokens of the lens in a file and in a still picture
const COMPACT_FROM = 12; // rows from which cells show no probability

const nameOf = ({ kind }) => (kind === "cross" ? "decoder" : kind);
const streamOf = (s) => s.streams[nameOf(s)];
const isSeveral = ({ streams }) => Object.keys(streams).length > 1;
const answerOf = (token) => `lens/${token - (token % COLUMNS)}`;

/** The token of a pair (query, key), if this stream has it. */
function tokenOf(s, pair) {
  const token = pair?.[0] ?? (s.kind === "cross" ? null : pair?.[1]);
  return token == null || token >= streamOf(s).tokens.length ? null : token;
}

/** The token and the row pointed at, in any part; row 0 is before the first block. */
function pointedAt(s) {
  const { row = null, column } = s.hover.map ?? s.hover.lens ?? s.hover.blocks ?? {};
  return { row, column: tokenOf(s, [column]) };
}

/** The first tokens of the lens in a file: the last ones, or those around the chosen one. */
function filed(s) {
  const n = streamOf(s).tokens.length;
  const [chosen, count] = [tokenOf(s, s.selected), Math.min(FILED, n)];
  const from = chosen === null ? n : chosen - Math.floor(count / 2);
  return { from: Math.max(0, Math.min(n - count, from)), count };
}

const windowOf = (s) => s.seen.lens ?? filed(s);
const tokensIn = ({ from, count }) => Array.from({ length: count }, (_, i) => from + i);

/** The median; of an even number of values, the lower of the two in the middle. @param {ArrayLike<number>} values */
export function medianOf(values) {
  return Float32Array.from(values).sort()[Math.floor((values.length - 1) / 2)];
}

/** The numbers of a stream, or some tokens of the logit lens, as data.py packs them. */
function read({ info, numbers }, name, s) {
  let at = 0;
  const take = (n) => numbers.subarray(at, (at += n));
  if (name.startsWith("stream/")) {
    const { layers, tokens, parts } = s.streams[name.slice(7)];
    const added = parts.length * layers * tokens.length;
    return { norms: take((layers + 1) * tokens.length), share: take(added), cosine: take(added) };
  }
  const { rows, count, k, names } = info;
  const cells = rows * count;
  const [tokens, probabilities, answers, odds] = [cells * k, cells * k, count, cells].map(take);
  return Array.from(answers, (answer, column) => {
    const cell = (row) => row * count + column;
    const own = Array.from({ length: rows }, (_, row) => tokens[k * cell(row)] === answer);
    const likely = (at) => ({ name: names[tokens[at]], probability: probabilities[at] });
    return {
      top: (row) => Array.from({ length: k }, (_, i) => likely(k * cell(row) + i)),
      odds: (row) => odds[cell(row)], // of the model's own answer
      own, // whether it is the most likely, by row
      answer: names[answer],
      settled: own.lastIndexOf(false) + 1,
    };
  });
}

const lensAt = (found, token) => found.get(answerOf(token))?.[token % COLUMNS] ?? null;

/** What is shown of a stream at a token, or (null) at the typical one. */
class Profile {
  constructor(s, found) {
    const stream = streamOf(s);
    const { row, column } = pointedAt(s);
    this.s = s;
    this.found = found;
    this.stream = stream;
    /** @type {import("../shared/messages.js").Say} */
    this.say = s.say;
    this.numbers = found.get(`stream/${nameOf(s)}`);
    this.chosen = tokenOf(s, s.selected);
    this.token = column ?? this.chosen;
    this.pointed = row;
    this.row = row ?? Math.min(s.layer, stream.layers - 1) + 1;
    this.rows = [s.say("start"), ...Array.from({ length: stream.layers }, (_, i) => String(i))];
    const of = (values) => this.#along(values, this.token);
    this.norms = of(this.numbers.norms);
    this.shares = of(this.numbers.share);
    this.cosines = of(this.numbers.cosine);
  }

  /** The value of a token in each row of numbers, or the median. */
  #along(values, token) {
    const n = this.stream.tokens.length;
    return Array.from({ length: values.length / n }, (_, i) =>
      token === null ? medianOf(values.subarray(i * n, (i + 1) * n)) : values[i * n + token],
    );
  }

  get lens() {
    const { stream, token, found } = this;
    return stream.lens && token !== null ? lensAt(found, token) : null;
  }

  get sentence() {
    const { s, stream, token, norms, shares, cosines, lens } = this;
    const { layers, parts, tokens, here } = stream;
    const most = shares.indexOf(Math.max(...shares));
    const settled = lens?.settled;
    return this.say("sentence", {
      several: isSeveral(s),
      kind: nameOf(s),
      token: token === null ? null : tokens[token],
      position: token,
      first: norms[0],
      last: norms[layers],
      layers,
      part: parts[Math.floor(most / layers)] ?? null,
      layer: most % layers,
      share: shares[most],
      cosine: cosines[most],
      answer: lens?.answer ?? null,
      probability: lens?.odds(layers),
      here,
      settled: ["start", ...Array(layers - 1).keys(), "last"][settled] ?? null,
    });
  }

  get axes() {
    const { say, rows, stream } = this;
    return {
      rows: { title: say("after"), labels: rows },
      columns: { title: say("token"), labels: stream.tokens, tokens: true },
    };
  }

  /** The map of sizes. @param {string} sentence */
  map(sentence) {
    const { say, stream, numbers, token, chosen, rows } = this;
    const n = stream.tokens.length;
    const tops = new Float32Array(n);
    numbers.norms.forEach((x, i) => (tops[i % n] = Math.max(tops[i % n], x)));
    const [most, usual] = [Math.max(...tops), 2.5 * medianOf(tops)];
    // A few tokens of many models are a hundred times as long as the rest, and would hide it.
    const line = most > usual ? [{ quiet: say("longer", { size: most }) }] : null;
    return {
      part: "map",
      title: say("sizes"),
      hint: say("axes"),
      picture: say("sizes_picture"),
      width: 0.55,
      line,
      hover: token === null ? null : { row: this.pointed, column: token },
      says: say("map", { rows: rows.length, columns: n, sentence }),
      mark: {
        type: "matrix",
        values: { shape: [rows.length, n], values: numbers.norms },
        ...this.axes,
        means: say("size"),
        end: Math.min(most, usual),
        chosen: chosen === null ? null : [null, chosen],
      },
    };
  }

  /** What each block adds. */
  get blocks() {
    const { say, stream, token, norms, shares, cosines, rows, row } = this;
    const { parts, layers, note, tokens } = stream;
    const shape = [parts.length, layers];
    const bars = {
      type: "bars",
      values: { shape, values: shares },
      rows: { title: say("layers") },
      groups: parts,
      means: say("shares"),
      shades: { shape, values: cosines },
      shade: say("cosine"),
    };
    const largest = Math.min(1, Math.max(1e-9, ...shares));
    const longest = Math.max(...norms);
    const added = (part, layer) => {
      const at = part * layers + layer;
      return {
        bar: shares[at] / largest,
        over: shares[at] > 1.0001 * largest,
        shade: cosines[at],
        text: `× ${sizeText(shares[at])}`,
        more: withSign(cosines[at]),
      };
    };
    const caption = say("bars", { token: token === null ? null : SLOT });
    return {
      part: "blocks",
      title: say("blocks"),
      hint: say("blocks_hint"),
      width: 0.45,
      mark: parts.length ? bars : { type: "note", text: note.parts },
      row,
      note: note.parts || (parts.length ? say("colours") : ""),
      table: {
        caption: around(caption, { token: tokens[token ?? 0] }),
        names: [say("after"), say("size"), ...parts.map((part) => say("adds", { part }))],
        means: say("cosine"),
        rows: rows.map((name, i) => [
          name,
          { bar: norms[i] / longest, text: sizeText(norms[i]) },
          ...parts.map((_, part) => (i ? added(part, i - 1) : null)),
        ]),
      },
    };
  }

  /** What each layer would predict. */
  get predictions() {
    const { s, say, stream, token, chosen, row, rows, found } = this;
    const { tokens, note } = stream;
    const panel = {
      part: "lens",
      title: say("lens"),
      hint: say("lens_hint"),
      keys: say("lens_keys"),
    };
    const none = say("no_lens", { why: note.lens });
    const still = (mark) => ({ mark, still: [{ title: say("likeliest"), mark }] });
    if (!stream.lens) return { ...panel, note: none, ...still({ type: "note", text: none }) };
    const shown = windowOf(s);
    const columns = tokensIn(shown);
    const lenses = columns.map((at) => lensAt(found, at));
    const cells = rows.map((_, r) => lenses.map((one) => one && cellOf(one, r)));
    const each = (of) => cells.map((line) => line.map((cell) => cell && of(cell)));
    const place = { position: token, token: SLOT, row, layer: row - 1 };
    const all = tokens.length;
    return {
      ...panel,
      note: say("lens_note"),
      window: { ...shown, all, text: say("window", { ...rangeOf(s), all }) },
      at: { token, row, chosen },
      cells,
      tokens,
      compact: rows.length > COMPACT_FROM,
      caption: say("lens_caption", { here: stream.here, compact: rows.length > COMPACT_FROM }),
      picture: say("lens_picture"),
      pages: [say("earlier"), say("later")],
      top:
        token === null
          ? [{ quiet: say("choose") }]
          : around(say("predicted", place), { token: tokens[token] }),
      likeliest: token === null ? [] : (this.lens?.top(row) ?? null),
      ...still({
        type: "matrix",
        values: { shape: [rows.length, columns.length], values: each(({ odds }) => odds).flat() },
        rows: this.axes.rows,
        columns: { ...this.axes.columns, labels: columns.map((at) => tokens[at]) },
        means: say("own_answer"),
        end: 1,
        text: each(({ name, percent }) => `${cut(name)} ${percent}`),
        bold: each(({ own }) => own),
        chosen: columns.includes(chosen) ? [null, columns.indexOf(chosen)] : null,
        says: each(({ name, probability }) => `${name} (${probability.toFixed(4)})`),
      }),
    };
  }

  /** What a file holds. */
  get files() {
    const { s, say, stream, numbers, found } = this;
    const { layers, tokens, parts, lens } = stream;
    const after = ["start", ...Array.from({ length: layers }, (_, i) => `layer ${i}`)];
    /** @type {Record<string, any[]>} */
    const axes = { after, position: tokens };
    /** @type {Record<string, any[]>} */
    const arrays = { length: [["after", "position"], numbers.norms, say("is_length")] };
    const keep = (where, values) => {
      for (const [name, of] of Object.entries(values))
        arrays[name] = [where, of, say(`is_${name}`)];
    };
    if (parts.length) {
      Object.assign(axes, { part: parts, layer: [...Array(layers).keys()] });
      keep(["part", "layer", "position"], { share: numbers.share, cosine: numbers.cosine });
    }
    if (lens) {
      axes.read = tokensIn(filed(s));
      const of = (value) => (row, at) => {
        const one = lensAt(found, axes.read[at]);
        return one && value(one, row);
      };
      keep(["after", "read"], {
        answer: of((one, row) => one.odds(row)),
        likeliest: of((one, row) => one.top(row)[0].name),
        likeliest_probability: of((one, row) => one.top(row)[0].probability),
      });
    }
    return { axes, arrays };
  }
}

const cut = (name) =>
  Array.from(name).length > 9 ? `${Array.from(name).slice(0, 8).join("")}…` : name;

/** A cell of the lens. */
function cellOf(lens, row) {
  const [top] = lens.top(row);
  const percent = percentText(top.probability);
  return { ...top, percent, odds: lens.odds(row), own: lens.own[row] };
}

function scene(s, found) {
  const profile = new Profile(s, found);
  const { stream, token, chosen, row, say, numbers, sentence } = profile;
  const { layers, tokens, all } = stream;
  const place = { position: token, token: SLOT, row, layer: row - 1, size: SLOT };
  const number = () => numbers.norms[row * tokens.length + token].toFixed(3);
  return {
    name: nameOf(s),
    title: say("title"),
    subtitle: say("subtitle", { layers, tokens: all }),
    note: tokens.length < all ? say("cut", { shown: tokens.length, all }) : "",
    sentence,
    panels: [[profile.map(sentence), profile.blocks], [profile.predictions]],
    readout:
      token === null
        ? null
        : around(
            say("readout", place),
            { token: tokens[token] },
            { text: number(), part: "number" },
          ),
    marked: { selected: String(chosen ?? ""), layer: String(s.layer) },
    ...profile.files,
  };
}

/** The choice after a click on a row, a token, or both. */
function pick(s, { row, column }) {
  const changes = row ? { layer: row - 1 } : {};
  if (column === null) return changes;
  const again =
    column === tokenOf(s, s.selected) && s.selected[1] === null && (!row || row - 1 === s.layer);
  return { ...changes, selected: again ? null : [column, null] };
}

/** The choice after an arrow key; the first one only shows where it starts. */
function move(s, [down, right]) {
  const { tokens, layers } = streamOf(s);
  const now = tokenOf(s, s.selected);
  if (Math.abs(down) === 1) return { layer: within(s.layer + down, layers) };
  const start = now ?? pointedAt(s).column ?? tokens.length - 1;
  return { selected: [now === null ? start : within(start + right + down, tokens.length), null] };
}

const enter = (s) => (tokenOf(s, s.selected) === null ? move(s, [0, 0]) : { selected: null });

/** The streams of another text. */
function taken({ streams }, [read]) {
  const others = Object.entries(streams).map(([kind, before]) => {
    const all = tokensOf(read, kind);
    return [kind, { ...before, tokens: all.slice(0, LONGEST), all: all.length }];
  });
  return { _streams: Object.fromEntries(others) };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "residual",
  catalogue,
  traits: ["kind", "layer", "selected", "_streams", "_messages", "_batch"],
  needs(s, _, wanted = ["panels"]) {
    const stream = streamOf(s);
    const token = tokenOf(s, s.selected);
    const tokens = [
      ...(wanted.includes("sentence") && token !== null ? [token] : []),
      ...(wanted.includes("panels") ? tokensIn(windowOf(s)) : []),
      ...(wanted.includes("numbers") ? tokensIn(filed(s)) : []),
    ];
    return [`stream/${nameOf(s)}`, ...new Set(stream.lens ? tokens.map(answerOf) : [])];
  },
  texts: { taken, about: () => ({ columns: COLUMNS, longest: LONGEST }) },
  read,
  scene,
  parts: {
    map: {
      pick,
      move,
      enter,
      write: sizeText,
      height: ([rows]) => Math.max(20 * rows, 31 * Math.min(rows, 8)),
    },
    blocks: { pick, note: "block-note" },
    lens: { pick, move, enter, note: "lens-note" },
  },
  controls(s) {
    const { say, streams } = s;
    const layersOf = (kind) => streams[kind].layers;
    const kinds = {
      label: say("streams"),
      part: "kind",
      choices: Object.keys(streams).map((kind) => ({ value: kind, text: say("stream", { kind }) })),
      chosen: nameOf(s),
      set: (kind) => ({ selected: null, layer: Math.min(s.layer, layersOf(kind) - 1), kind }),
    };
    const count = layersOf(nameOf(s));
    const chosen = within(s.layer, count);
    const layers = { label: say("layers"), part: "layer", count, chosen, text: String };
    return kinds.choices.length > 1 ? [kinds, layers] : [layers];
  },
  spot(s) {
    const { column } = pointedAt(s);
    return column === null ? null : { query: column, key: null };
  },
  pointed(s, spot) {
    const column = spot && tokenOf(s, [spot.query, spot.key]);
    return column == null ? {} : { map: { row: null, column } };
  },
  working: (s) => s.say("working", rangeOf(s)),
  failed: (_, why, s) => s.say("failed", { ...rangeOf(s), why }),
  code(s) {
    const token = tokenOf(s, s.selected);
    const call = callOn(
      { kind: nameOf(s), several: isSeveral(s), batch: s.batch },
      "stream_norms",
      [],
    );
    return token === null ? call : `${call}[:, ${token}]`;
  },
};

function rangeOf(s) {
  const { from, count } = windowOf(s);
  return { first: from, last: from + count - 1 };
}
