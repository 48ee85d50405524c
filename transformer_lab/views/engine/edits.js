// What can be changed in a pass: the plain values of edits, as Python's edit_from_dict reads them, and
// what each does where it sits. At one place they act in the order given.

import { copyOf, matrix } from "./tensors.js";

/** An edit that fits nothing in this model, or cannot be made in it. */
export class EditError extends Error {}

const PARTS = {
  ablate: ["layer", "head", "kind", "value"],
  knock_out: ["layer", "head", "kind", "query", "key"],
  scale: ["layer", "head", "kind", "by"],
  skip: ["layer", "part", "kind"],
  patch: ["source", "layer", "head", "kind", "position", "what"],
};
const SKIPPED = { attention: "attn_out", mlp: "mlp_out" };
const STREAMS = ["resid_pre", "resid_post"];

/**
 * @typedef {import("./tensors.js").Matrix} Matrix
 * @typedef {{head: number | null, query: number | null, key: number | null}} Cut null: all
 */

/** Edits that were checked against a model. */
export class Edits {
  /**
   * @param {any[]} values
   * @param {import("./model.js").Transformer} model
   * @param {(source: any) => import("./pass.js").Pass} [read] another text without edits, for patches
   * @throws {EditError} for what is no edit, or fits nothing in the model
   */
  constructor(values, model, read) {
    this.model = model;
    this.list = values.map((value) => checked(value, model, read));
  }

  /** Of one place, in order. */
  at(kind, layer) {
    return this.list.filter((edit) => edit.kind === kind && (edit.layer ?? layer) === layer);
  }

  /** The first block that differs under other edits. @param {Edits} other */
  firstChange(other) {
    let same = 0;
    while (same < this.list.length && same < other.list.length && this.list[same].told === other.list[same].told) same++;
    const changed = [...this.list.slice(same), ...other.list.slice(same)];
    return Math.min(Infinity, ...changed.map(({ kind, layer }) => this.model.turnOf(kind, layer ?? 0)));
  }

  /** Whether one position can be computed without the others in a block. */
  narrow(kind, layer) {
    const kinds = kind === "decoder" ? ["decoder", "cross"] : [kind];
    return kinds.every((one) => this.at(one, layer).every((edit) => edit.name !== "patch" && edit.value !== "mean"));
  }

  /**
   * @param {import("./attention.js").Call} call
   * @returns {Cut[]}
   * @throws {EditError} for a token that is not in the text
   */
  cuts(call) {
    const found = this.at(call.kind, call.layer).filter((edit) => edit.name === "knock_out");
    const end = call.start + call.query.rows;
    for (const edit of found) {
      for (const [name, limit] of [["query", end], ["key", call.key.rows]]) {
        if (edit[name] !== null && !(edit[name] >= 0 && edit[name] < limit)) throw outside(name, edit[name], `the ${limit} tokens`, limit);
      }
    }
    return found;
  }

  /** z, each head's output before W_O: the same matrix where nothing is to be done. @param {import("./attention.js").Call} call @param {Matrix} z */
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

  /** The residual stream, and what is added to it. @param {string} name @param {string} kind of the stack @param {number} layer @param {Matrix} x */
  stream(name, kind, layer, x) {
    for (const edit of [...this.at(kind, layer), ...(kind === "decoder" ? this.at("cross", layer) : [])]) {
      if (edit.name === "skip" && edit.stream === name) x = matrix(x.rows, x.columns);
      if (edit.name === "patch" && edit.what === name) x = patchedStream(edit, edit.source.streamAt(name, kind, layer), x);
    }
    return x;
  }
}

// ---- what they do to heads --------------------------------------------------------------------------

/** @type {Record<string, (edit: any, call: import("./attention.js").Call, z: Matrix) => void>} */
const HEADS = { ablate: ablated, scale: scaled, patch: patchedHeads };

function ablated(edit, call, z) {
  const mean = new Float64Array(z.columns);
  if (edit.value === "mean") {
    if (call.start || z.rows === 1) {
      throw new EditError(
        "value='mean' is the mean over a text's positions, and only one is here: take the mean over other texts, " +
          "value=tl.mean_of(model, texts), or generate with cached=False",
      );
    }
    for (let i = 0; i < z.data.length; i++) mean[i % z.columns] += z.data[i] / z.rows;
  }
  const [first, last] = columnsOf(edit, call);
  for (let at = 0; at < z.data.length; at += z.columns) z.data.set(mean.subarray(first, last), at + first);
}

function scaled(edit, call, z) {
  const [first, last] = columnsOf(edit, call);
  for (let at = 0; at < z.data.length; at += z.columns) for (let c = first; c < last; c++) z.data[at + c] *= edit.by;
}

function patchedHeads(edit, call, z) {
  const source = edit.source.heads(call.kind, call.layer);
  const [first, last] = columnsOf(edit, call);
  for (const place of placesOf(edit, source.rows, z.rows, call.start)) {
    const row = (place - call.start) * z.columns;
    z.data.set(source.data.subarray(place * z.columns + first, place * z.columns + last), row + first);
  }
}

function patchedStream(edit, source, x) {
  const y = copyOf(x);
  for (const place of placesOf(edit, source.rows, x.rows, 0)) {
    y.data.set(source.data.subarray(place * x.columns, (place + 1) * x.columns), place * x.columns);
  }
  return y;
}

const columnsOf = ({ head }, { heads, dHead }) => (head === null ? [0, heads * dHead] : [head * dHead, (head + 1) * dHead]);

/** Places in both texts. */
function placesOf({ position }, inSource, n, start) {
  if (position === null) {
    if (inSource !== start + n) {
      throw new EditError(`source_trace has ${inSource} tokens and this text ${start + n}: name a position, or patch between texts of one length`);
    }
    return Array.from({ length: n }, (_, i) => start + i);
  }
  const wanted = typeof position === "number" ? [position] : position;
  for (const place of wanted) {
    for (const [whose, limit] of [["source_trace", inSource], ["this text", start + n]]) {
      if (!(place >= 0 && place < limit)) throw outside("position", place, `the ${limit} tokens of ${whose}`, limit);
    }
  }
  return wanted.filter((place) => place >= start);
}

// ---- reading them -----------------------------------------------------------------------------------

const outside = (name, value, of, limit) => new EditError(`${name}=${value} is outside ${of} (0 … ${limit - 1})`);
const shown = (value) => (typeof value === "string" ? `'${value}'` : value === null || value === undefined ? "None" : JSON.stringify(value));
const unknown = (name, value, known) => new EditError(`${name}=${shown(value)} is not known; choose ${known}`);

function checked(values, model, read) {
  if (values === null || typeof values !== "object" || Array.isArray(values)) throw new EditError(`an edit is a dict with 'edit', not ${shown(values)}`);
  const { edit: name, ...given } = values;
  if (!Object.hasOwn(PARTS, name)) throw unknown("edit", name, `one of ${Object.keys(PARTS).join(", ")}`);
  const strange = Object.keys(given).find((part) => !PARTS[name].includes(part));
  if (strange) throw new EditError(`${shown(strange)} is no part of ${name}; it has ${[...PARTS[name]].sort().join(", ")}`);
  const edit = { name, told: JSON.stringify(values), layer: null, head: null, kind: null, ...given };
  for (const part of ["layer", "head", "query", "key"]) {
    if (edit[part] != null && !Number.isInteger(edit[part])) throw new EditError(`${part}=${shown(edit[part])} must be a whole number, or None for all`);
  }
  if (edit.kind !== null && !["encoder", "decoder", "cross"].includes(edit.kind)) throw unknown("kind", edit.kind, "one of encoder, decoder, cross");
  if (edit.kind !== null && !model.kinds.includes(edit.kind)) {
    throw new EditError(`kind=${shown(edit.kind)} is not in this model; it has ${model.kinds.join(", ")}`);
  }
  const own = edit.kind ?? model.defaultKind;
  CHECKS[name](edit, own, model, read);
  for (const [part, limit] of [["layer", model.layersOf(own)], ["head", model.config.n_heads]]) {
    if (edit[part] !== null && !(edit[part] >= 0 && edit[part] < limit)) {
      throw new EditError(`${part}=${edit[part]} is outside 0 … ${limit - 1} of this model's ${own}`);
    }
  }
  return { ...edit, kind: own };
}

/** What is special to each; they fill in what was left out. */
const CHECKS = {
  ablate(edit) {
    edit.value ??= "zero";
    if (!["zero", "mean"].includes(edit.value)) throw new EditError(`value=${shown(edit.value)} is not known; choose 'zero', 'mean', a tl.mean_of(…) or a tensor`);
  },
  scale(edit) {
    if (edit.by === undefined) throw new EditError("scale needs by, a number; try by=0.5");
    if (!Number.isFinite(edit.by)) throw new EditError(`by=${shown(edit.by)} must be a finite number; try by=0.5`);
  },
  knock_out(edit, kind) {
    edit.query ??= null;
    edit.key ??= null;
    if (edit.query === null && edit.key === null) throw new EditError("knock_out needs query or key; to switch a whole head off, use ablate");
    if (kind === "decoder" && edit.query !== null && (edit.key ?? 0) > edit.query) {
      throw new EditError(`query=${edit.query} never looks at key=${edit.key}, which comes after it: there is no such edge in a decoder`);
    }
  },
  skip(edit, kind, model) {
    edit.part ??= "attention";
    if (!Object.hasOwn(SKIPPED, edit.part)) throw unknown("part", edit.part, "'attention' or 'mlp'");
    if (edit.part === "mlp" && edit.kind === "cross") throw new EditError("an mlp belongs to kind='decoder', not to 'cross'");
    if (edit.part === "mlp" && model.config.attention_only) throw new EditError("this model is attention only, it has no mlp");
    edit.stream = edit.part === "attention" && kind === "cross" ? "cross_out" : SKIPPED[edit.part];
  },
  patch(edit, _kind, _model, read) {
    edit.what ??= "z";
    edit.position ??= null;
    if (!["z", ...STREAMS].includes(edit.what)) throw unknown("what", edit.what, `'z', ${STREAMS.join(", ")}`);
    if (edit.what !== "z" && edit.head !== null) throw new EditError(`head=${edit.head} has no ${edit.what} of its own; leave head out`);
    if (edit.what !== "z" && edit.kind === "cross") throw new EditError(`${edit.what} belongs to kind='decoder', not to 'cross'`);
    for (const place of edit.position === null ? [] : [edit.position].flat()) {
      if (!Number.isInteger(place)) throw new EditError(`position=${shown(place)} must be a whole number, or None for all`);
    }
    if (!read || !edit.source?.tokens) throw new EditError("source of patch must be the tokens of another text: {tokens: […]}");
    edit.source = read(edit.source);
  },
};
