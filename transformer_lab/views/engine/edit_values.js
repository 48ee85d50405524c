// The plain values of an edit, checked against a model, with what was left out filled in.

/** An edit that fits nothing in this model, or cannot be made in it. */
export class EditError extends Error {}

const PARTS_OF = {
  ablate: ["layer", "head", "kind", "value"],
  knock_out: ["layer", "head", "kind", "query", "key"],
  scale: ["layer", "head", "kind", "by"],
  skip: ["layer", "part", "kind"],
  patch: ["source", "layer", "head", "kind", "position", "what"],
  steer: ["vector", "layer", "kind", "by", "position", "what"],
};
const SKIPPED = { attention: "attn_out", mlp: "mlp_out" };
const OF_HEADS = ["z", "q", "k", "v", "pattern"];
const OF_STREAM = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"];

/** @param {string} name @param {any} value @param {string} of @param {number} limit */
export const outsideOf = (name, value, of, limit) => new EditError(`${name}=${value} is outside ${of} (0 … ${limit - 1})`);

const told = (value) => (typeof value === "string" ? `'${value}'` : value === null || value === undefined ? "None" : JSON.stringify(value));
const strangeValue = (name, value, known) => new EditError(`${name} must be ${known}, got ${told(value)}`);

/**
 * @param {any} values
 * @param {import("./graph_model.js").GraphModel} model
 * @param {(source: any) => import("./pass.js").Pass} [read]
 * @returns {any}
 * @throws {EditError}
 */
export function checkedEdit(values, model, read) {
  if (values === null || typeof values !== "object" || Array.isArray(values)) throw new EditError(`an edit must be a dict with 'edit', got ${told(values)}`);
  const { edit: name, ...given } = values;
  if (!Object.hasOwn(PARTS_OF, name)) throw strangeValue("edit", name, `one of ${Object.keys(PARTS_OF).join(", ")}`);
  const strange = Object.keys(given).find((part) => !PARTS_OF[name].includes(part));
  if (strange) throw new EditError(`${name} has no argument ${told(strange)}; it has ${[...PARTS_OF[name]].sort().join(", ")}`);
  const edit = { name, told: JSON.stringify(values), layer: null, head: null, kind: null, ...given };
  for (const part of ["layer", "head", "query", "key"]) whole(part, edit[part]);
  if (edit.kind !== null && !["encoder", "decoder", "cross"].includes(edit.kind)) throw strangeValue("kind", edit.kind, "one of encoder, decoder, cross");
  if (edit.kind !== null && !model.kinds.includes(edit.kind)) {
    throw new EditError(`kind=${told(edit.kind)} is not in this model; it has ${model.kinds.join(", ")}`);
  }
  const own = edit.kind ?? model.defaultKind;
  const heads = ["k", "v"].includes(edit.what) ? model.config.n_kv_heads : model.config.n_heads;
  CHECKS[name](edit, own, model, read);
  for (const [part, limit] of /** @type {[string, number][]} */ ([["layer", model.layersOf(own)], ["head", heads]])) {
    if (edit[part] !== null && !(edit[part] >= 0 && edit[part] < limit)) {
      throw new EditError(`${part}=${edit[part]} is outside 0 … ${limit - 1} of this model's ${own}`);
    }
  }
  return { ...edit, kind: own };
}

function whole(part, value) {
  if (value != null && !Number.isInteger(value)) throw new EditError(`${part} must be a whole number, or None for all, got ${told(value)}`);
}

function finite(edit) {
  if (!Number.isFinite(edit.by)) throw new EditError(`by must be a finite number, got ${told(edit.by)}; try by=0.5`);
}

/** Which point of the stream an edit changes. */
function streamOf({ what, kind }) {
  if (kind === "cross" && what !== "attn_out") throw new EditError(`${what} belongs to kind='decoder', not to 'cross'`);
  return kind === "cross" ? "cross_out" : what;
}

/** What is special to each; they fill in what was left out. */
const CHECKS = {
  ablate(edit) {
    edit.value ??= "zero";
    if (!["zero", "mean"].includes(edit.value)) throw new EditError(`value must be 'zero', 'mean', a tl.mean_of(…) or a tensor, got ${told(edit.value)}`);
  },
  scale(edit) {
    if (edit.by === undefined) throw new EditError("scale needs by, a number; try by=0.5");
    finite(edit);
  },
  knock_out(edit, kind) {
    edit.query ??= null;
    edit.key ??= null;
    if (edit.query === null && edit.key === null) throw new EditError("knock_out needs query or key; to switch a whole head off, use ablate");
    if (kind === "decoder" && edit.query !== null && (edit.key ?? 0) > edit.query) {
      throw new EditError(`query=${edit.query} cannot attend to key=${edit.key}, which comes after it: a decoder has no such edge`);
    }
  },
  skip(edit, kind, model) {
    edit.part ??= "attention";
    if (!Object.hasOwn(SKIPPED, edit.part)) throw strangeValue("part", edit.part, "'attention' or 'mlp'");
    if (edit.part === "mlp" && edit.kind === "cross") throw new EditError("an mlp belongs to kind='decoder', not to 'cross'");
    edit.stream = edit.part === "attention" && kind === "cross" ? "cross_out" : SKIPPED[edit.part];
    noMlp(edit, model, kind);
  },
  patch(edit, kind, model, read) {
    edit.what ??= "z";
    edit.position ??= null;
    if (![...OF_HEADS, ...OF_STREAM].includes(edit.what)) throw strangeValue("what", edit.what, `one of ${[...OF_HEADS, ...OF_STREAM].join(", ")}`);
    if (OF_STREAM.includes(edit.what)) {
      if (edit.head !== null) throw new EditError(`${edit.what} belongs to a layer, not to a head; leave out head=${edit.head}`);
      edit.stream = streamOf(edit);
      noMlp(edit, model, kind);
    }
    for (const place of edit.position === null ? [] : [edit.position].flat(2)) whole("position", place);
    if (!read || !edit.source?.tokens) throw new EditError("source of patch must be the tokens of another text: {tokens: […]}");
    edit.source = read(edit.source);
  },
  steer(edit, kind, model) {
    edit.what ??= "resid_post";
    edit.by ??= 1;
    edit.position ??= null;
    if (!OF_STREAM.includes(edit.what)) throw new EditError(`what must be one of ${OF_STREAM.join(", ")} to add a vector, got ${told(edit.what)}, which belongs to heads`);
    edit.stream = streamOf(edit);
    noMlp(edit, model, kind);
    finite(edit);
    const numbers = Array.isArray(edit.vector) ? edit.vector.flat() : [];
    if (!numbers.length || !numbers.every(Number.isFinite)) throw new EditError("vector must hold finite numbers only, got NaN or infinity");
    for (const place of edit.position === null ? [] : [edit.position].flat()) whole("position", place);
  },
};

function noMlp({ stream }, model, kind) {
  const stack = kind === "cross" && stream !== "cross_out" ? "decoder" : kind;
  const why = model.config.lacking[`${stack}.${stream}`];
  if (why) throw new EditError(why);
}
