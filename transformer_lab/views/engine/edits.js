// Edits of a pass: their plain values, as Python's edit_from_dict reads them, and what each does at
// its site. Edits of one site act in the order given.

import { checkedEdit, EditError, outsideOf } from "./edit_values.js";
import { copyOf, matrix } from "./tensors.js";

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {import("./attention.js").Call} Call
 *
 * @typedef {object} MapChange an edge that is cut, or a row of weights that is replaced
 * @property {number | null} head null: all
 * @property {number | null} query
 * @property {number | null} [key]
 * @property {(head: number) => Float32Array} [put] the row
 */

const OF_CALL = { q: "query", k: "key", v: "value" };

/** Edits, checked against a model. */
export class Edits {
  /**
   * @param {any[]} values
   * @param {import("./graph_model.js").GraphModel} model
   * @param {(source: any) => import("./pass.js").Pass} [read] runs another text without edits, for
   *   patches
   * @throws {EditError} for a value that is not an edit, or fits nothing in the model
   */
  constructor(values, model, read) {
    this.model = model;
    this.list = values.map((value) => checkedEdit(value, model, read));
  }

  /** The edits of one layer, in order. */
  at(kind, layer) {
    return this.list.filter((edit) => edit.kind === kind && (edit.layer ?? layer) === layer);
  }

  /** The factor that is left of a head's output: 0 if the output is replaced. @param {string} kind @param {number} layer @param {number} head */
  left(kind, layer, head) {
    const own = this.at(kind, layer).filter((edit) => (edit.head ?? head) === head);
    const replaced = own.some(
      ({ name, what }) => name === "ablate" || (name === "patch" && what === "z"),
    );
    return replaced
      ? 0
      : own.reduce((left, { name, by }) => (name === "scale" ? left * Math.abs(by) : left), 1);
  }

  /** The first block of a pass that differs under other edits. @param {Edits} other */
  firstChange(other) {
    let same = 0;
    while (
      same < this.list.length &&
      same < other.list.length &&
      this.list[same].text === other.list[same].text
    )
      same++;
    const changed = [...this.list.slice(same), ...other.list.slice(same)];
    return Math.min(
      Infinity,
      ...changed.map(({ kind, layer }) => this.model.turnOf(kind, layer ?? 0)),
    );
  }

  /**
   * Patch queries, keys and values, and add changes of attention patterns.
   * @param {Call} call
   * @returns {Call}
   * @throws {EditError} for a token outside the text
   */
  call(call) {
    const end = call.start + call.query.rows;
    for (const edit of this.at(call.kind, call.layer)) {
      if (edit.name === "knock_out") {
        for (const [name, limit] of /** @type {[string, number][]} */ ([
          ["query", end],
          ["key", call.key.rows],
        ])) {
          if (edit[name] !== null && !(edit[name] >= 0 && edit[name] < limit))
            throw outsideOf(name, edit[name], `the ${limit} tokens`, limit);
        }
        call = {
          ...call,
          changes: [...call.changes, { head: edit.head, query: edit.query, key: edit.key }],
        };
      } else if (edit.name === "patch" && edit.what === "pattern") {
        call = { ...call, changes: [...call.changes, ...rowsPutIn(edit, call, end)] };
      } else if (edit.name === "patch" && Object.hasOwn(OF_CALL, edit.what)) {
        const name = OF_CALL[edit.what];
        if (name !== "value" && !call.dHead) {
          throw new EditError(
            `source_trace cannot be patched in: the model computes its scores in its own code, so what='${edit.what}' is not available`,
          );
        }
        const first = edit.what === "q" ? call.start : 0;
        const x = copyOf(call[name]);
        const source = edit.source.at(call.kind, call.layer).call[name];
        const heads = name === "query" ? call.heads : call.groups;
        const part = name === "value" ? call.part : 0;
        putRows(edit, source, x, first, first + x.rows, heads, part);
        call = { ...call, [name]: x };
      }
    }
    return call;
  }

  /** Edit z, each head's output before W_O; the same matrix if there is nothing to do. @param {Call} call @param {Matrix} z */
  heads(call, z) {
    let y = z;
    for (const edit of this.at(call.kind, call.layer)) {
      const act = HEADS[edit.name];
      if (!act || (edit.name === "patch" && edit.what !== "z")) continue;
      if (y === z) y = copyOf(z);
      act(edit, call, y);
    }
    return y;
  }

  /** Edit the residual stream, or what is added to it. @param {string} name @param {string} kind of the stack @param {number} layer @param {Matrix} x @param {number} [start] position of its first row in the text */
  stream(name, kind, layer, x, start = 0) {
    for (const edit of [
      ...this.at(kind, layer),
      ...(kind === "decoder" ? this.at("cross", layer) : []),
    ]) {
      if (edit.stream === name) x = STREAM[edit.name](edit, x, start, kind, layer);
    }
    return x;
  }
}

// ---- what they do to heads --------------------------------------------------------------------------

/** @type {Record<string, (edit: any, call: Call, z: Matrix) => void>} */
const HEADS = { ablate: ablated, scale: scaled, patch: patchedHeads };

function ablated(edit, call, z) {
  const mean = new Float64Array(z.columns);
  if (edit.value === "mean") {
    if (call.start || z.rows === 1) {
      throw new EditError(
        "value='mean' is the mean over a text's positions, and there is only one position here: take the mean over other texts, " +
          "value=tl.mean_of(model, texts), or generate with cached=False",
      );
    }
    for (let i = 0; i < z.data.length; i++) mean[i % z.columns] += z.data[i] / z.rows;
  }
  const [first, last] = columnsOf(edit, call.heads, z.columns);
  for (let at = 0; at < z.data.length; at += z.columns)
    z.data.set(mean.subarray(first, last), at + first);
}

function scaled(edit, call, z) {
  const [first, last] = columnsOf(edit, call.heads, z.columns);
  for (let at = 0; at < z.data.length; at += z.columns)
    for (let c = first; c < last; c++) z.data[at + c] *= edit.by;
}

function patchedHeads(edit, call, z) {
  const source = edit.source.heads(call.kind, call.layer);
  putRows(edit, source, z, call.start, call.start + z.rows, call.heads, call.part);
}

/** Rows of a pattern that are replaced by another text's, each as a change. @returns {MapChange[]} */
function rowsPutIn(edit, call, end) {
  const n = call.key.rows;
  const source = edit.source.at(call.kind, call.layer).call;
  if (source.key.rows !== n) {
    throw new EditError(
      `source_trace has maps of ${source.heads} heads and ${source.key.rows} keys, and this text has ${call.heads} and ${n}: ` +
        "patch maps between texts of the same length",
    );
  }
  const heads =
    edit.head === null ? Array.from({ length: call.heads }, (_, head) => head) : [edit.head];
  const maps = new Map(
    heads.map((head) => [head, edit.source.pattern(call.kind, call.layer, head)]),
  );
  return pairsOf(edit, source.query.rows, call.start, end).map(([there, here]) => ({
    head: edit.head,
    query: here,
    put: (head) => maps.get(head).subarray(there * n, (there + 1) * n),
  }));
}

/** Copy another text's rows into x, whose first row is at position `first`; `heads`: how many it has; `part`: which part of each head x is. */
function putRows(edit, source, x, first, end, heads, part = 0) {
  const [wide, width] = [source.columns / heads, x.columns / heads];
  for (const [there, here] of pairsOf(edit, source.rows, first, end))
    for (let head = edit.head ?? 0; head < (edit.head === null ? heads : edit.head + 1); head++) {
      const from = there * source.columns + head * wide + part * width;
      x.data.set(
        source.data.subarray(from, from + width),
        (here - first) * x.columns + head * width,
      );
    }
}

/** Columns of a head: values may be wider than queries, and queries may be empty. */
const columnsOf = ({ head }, heads, columns) =>
  head === null ? [0, columns] : [(head * columns) / heads, ((head + 1) * columns) / heads];

/**
 * Pairs of a position in the other text and one in this text, of which the pass computes `first` …
 * `end` (exclusive).
 */
function pairsOf({ position }, inSource, first, end) {
  if (position === null && inSource !== end) {
    throw new EditError(
      `source_trace has ${inSource} tokens and this text has ${end}: name a position, or patch between texts of the same length`,
    );
  }
  const wanted =
    position === null
      ? Array.from({ length: end - first }, (_, i) => first + i)
      : typeof position === "number"
        ? [position]
        : position;
  const pairs = wanted.map((place) => (typeof place === "number" ? [place, place] : place));
  for (const pair of pairs) {
    for (const [place, whose, limit] of [
      [pair[0], "source_trace", inSource],
      [pair[1], "this text", end],
    ]) {
      if (!(place >= 0 && place < limit))
        throw outsideOf("position", place, `the ${limit} tokens of ${whose}`, limit);
    }
  }
  return pairs.filter(([, here]) => here >= first);
}

// ---- what they do to the stream ---------------------------------------------------------------------

/** @type {Record<string, (edit: any, x: Matrix, start: number, kind: string, layer: number) => Matrix>} */
const STREAM = {
  skip({ expert }, x, _start, _kind, layer) {
    if (expert === null) return matrix(x.rows, x.columns);
    if (expert >= x.columns) throw outsideOf("expert", expert, `layer ${layer}`, x.columns);
    const y = copyOf(x);
    for (let row = 0; row < y.rows; row++) y.data[row * y.columns + expert] = 0;
    return y;
  },
  patch(edit, x, start, kind, layer) {
    const y = copyOf(x);
    putRows(edit, edit.source.streamAt(edit.stream, kind, layer), y, start, start + y.rows, 1);
    return y;
  },
  steer({ vector, by, position }, x, start) {
    const n = start + x.rows;
    const places = position === null ? Array.from({ length: n }, (_, i) => i) : [position].flat();
    const several = typeof vector[0] !== "number";
    const width = (several ? vector[0] : vector).length;
    if (width !== x.columns)
      throw new EditError(
        `vector must have d_model=${x.columns} numbers, the width of this model's stream, got ${width}`,
      );
    const strange = places.find((place) => !(place >= 0 && place < n));
    if (strange !== undefined)
      throw outsideOf("position", strange, `the ${n} tokens of this text`, n);
    if (several && vector.length !== places.length) {
      throw new EditError(
        `vector must be one vector [d_model] or one for each of the ${places.length} steered positions, got ${vector.length}`,
      );
    }
    const y = copyOf(x);
    places.forEach((place, i) => {
      if (place < start) return; // a token that was read before
      const added = several ? vector[i] : vector;
      for (let k = 0; k < x.columns; k++) y.data[(place - start) * x.columns + k] += by * added[k];
    });
    return y;
  },
};
