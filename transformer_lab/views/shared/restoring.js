// A line of Python that brings a view back to what is on view. Python makes the same line by the same
// function, so this module must not touch the page.

/** A JSON value in Python. @param {any} value @returns {string} */
function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value === null || typeof value === "boolean")
    return String(value ?? "none").replace(/^./, (letter) => letter.toUpperCase());
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, one]) => `${python(name)}: ${python(one)}`);
  return `{${entries.join(", ")}}`;
}

/** @param {Record<string, any>} edit as the view sends it: with its code, or as Python's `Edit.to_dict` returns it */
function callOf({ code, edit, ...values }) {
  const given = Object.entries(values).map(([name, value]) => `${name}=${python(value)}`);
  return code ?? `tl.${edit}(${given.join(", ")})`;
}

/**
 * @param {Record<string, any>} chosen what is chosen, by Python's names
 * @param {Record<string, any>} defaults what Python's `restore` takes for a choice that is not named
 * @param {any[]} [edits] those in force
 * @param {{text: string}[]} [sides] the texts that a page reads instead of its own
 * @returns {string} one line, in which the view is called view
 */
export function restoringLine(chosen, defaults, edits = [], sides = []) {
  const same = (name) => JSON.stringify(chosen[name]) === JSON.stringify(defaults[name]);
  const named = Object.keys(chosen).filter((name) => !same(name));
  const calls = edits.map(callOf);
  const [known, unknown] = [false, true].map((other) =>
    calls.filter((code) => code.startsWith("…") === other),
  );
  const given = [
    ...(known.length ? [`edits=[${known.join(", ")}]`] : []),
    ...named.map((name) => `${name}=${python(chosen[name])}`),
  ];
  const notes = [...unknown, ...sides.map(({ text }) => `text=${python(text)}`)];
  return [
    `view.restore(${given.join(", ")})`,
    ...notes.map((note) => `  # ${note.replace(/^…\s*#\s*/, "")}`),
  ].join("");
}
