// The plain values of an edit, with defaults filled in. Python has checked the edits a page was
// saved with, and explains what is wrong with others; here an edit that does not fit the model is
// refused.

/** An edit that fits nothing in this model, or that it does not allow. */
export class EditError extends Error {}

/** Defaults; undefined: required. @type {Record<string, Record<string, any>>} */
const DEFAULTS = {
  ablate: { head: null, value: "zero" },
  knock_out: { head: null, query: null, key: null },
  scale: { head: null, by: undefined },
  skip: { part: "attention", expert: null },
  patch: { head: null, what: "z", position: null, source: undefined },
  steer: { what: "resid_post", by: 1, position: null, vector: undefined },
};
const OF_STREAM = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"];
const CHOICES = {
  value: ["zero", "mean"],
  part: ["attention", "mlp"],
  what: ["z", "q", "k", "v", "pattern", ...OF_STREAM],
};

/** @param {string} name @param {any} value @param {string} of @param {number} limit */
export const outsideOf = (name, value, of, limit) =>
  new EditError(`${name}=${value} is outside ${of} (0 … ${limit - 1})`);

/**
 * @param {any} values
 * @param {import("./graph_model.js").GraphModel} model
 * @param {(source: any) => import("./pass.js").Pass} [read]
 * @returns {any}
 * @throws {EditError}
 */
export function checkedEdit(values, model, read) {
  const { edit: name, ...given } = values ?? {};
  const defaults = Object.hasOwn(DEFAULTS, name)
    ? { layer: null, kind: null, ...DEFAULTS[name] }
    : {};
  const edit = {
    ...defaults,
    ...given,
    head: given.head ?? null,
    kind: given.kind ?? model.defaultKind,
    name,
    text: JSON.stringify(values),
  };
  const wrong = Object.hasOwn(DEFAULTS, name) ? wrongPart(edit, defaults, given, model) : "edit";
  if (wrong)
    throw new EditError(
      `${wrong} does not fit in this model's edit ${edit.text}; make the edit in Python, which says what it may be`,
    );
  const { kind, part, what } = edit;
  if (name === "skip")
    edit.stream = edit.expert !== null ? "gates" : part === "mlp" ? "mlp_out" : "attn_out";
  else if (OF_STREAM.includes(what)) edit.stream = what;
  if (kind === "cross" && edit.stream === "attn_out") edit.stream = "cross_out";
  const why =
    edit.stream &&
    model.config.lacking[
      `${kind === "cross" && edit.stream !== "cross_out" ? "decoder" : kind}.${edit.stream}`
    ];
  if (why) throw new EditError(why);
  return name === "patch" ? { ...edit, source: read?.(edit.source) } : edit;
}

/** The part of an edit that does not fit the model, or "". */
function wrongPart(edit, defaults, given, model) {
  const { kind, what, by, source, vector } = edit;
  const heads = ["k", "v"].includes(what) ? model.config.n_kv_heads : model.config.n_heads;
  const within = (value, limit) =>
    value === null || (Number.isInteger(value) && value >= 0 && value < limit);
  const places = [edit.position ?? []].flat(2);
  /** @type {[string, boolean][]} */
  const checks = [
    ...Object.keys(given).map(
      (part) => /** @type {[string, boolean]} */ ([part, part in defaults]),
    ),
    ["kind", model.kinds.includes(kind)],
    ...Object.entries(CHOICES).map(
      ([part, choices]) =>
        /** @type {[string, boolean]} */ ([part, !(part in edit) || choices.includes(edit[part])]),
    ),
    ["layer", model.kinds.includes(kind) && within(edit.layer, model.layersOf(kind))],
    ["head", within(edit.head, heads) && (edit.head === null || !OF_STREAM.includes(what))],
    ["expert", (edit.expert ?? null) === null || (edit.part === "mlp" && edit.expert >= 0)],
    ["query", edit.name !== "knock_out" || (edit.query ?? edit.key) !== null],
    ["by", !("by" in edit) || Number.isFinite(by)],
    ["position", places.every(Number.isInteger)],
    ["source", edit.name !== "patch" || Boolean(source?.tokens)],
    [
      "vector",
      edit.name !== "steer" || (Array.isArray(vector) && vector.flat().every(Number.isFinite)),
    ],
  ];
  return checks.find(([, fits]) => !fits)?.[0] ?? "";
}
