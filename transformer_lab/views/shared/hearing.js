// Listening to a model for as long as a view stands.

/**
 * @param {any} model
 * @param {string[]} names of its messages, such as "change:layer"
 * @param {(...values: any[]) => void} heard
 * @param {AbortSignal} signal
 */
export function hearOf(model, names, heard, signal) {
  for (const name of names) model.on(name, heard);
  signal.addEventListener("abort", () => names.forEach((name) => model.off(name, heard)));
}

/** The same, of traits that change. @param {any} model @param {string[]} traits @param {() => void} heard @param {AbortSignal} signal */
export const hearChanges = (model, traits, heard, signal) => hearOf(model, traits.map((name) => `change:${name}`), heard, signal);
