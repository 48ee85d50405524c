// A link to a saved page opens it as its sender saw it: the choices and, on a page with its model,
// the text and the edits are after #state= in the address. They are never sent anywhere.

const LINK_MARK = "#state=";
const MOST_LETTERS = 30_000; // characters of an address that mail and messengers accept

/** Whether the page has an address of its own; a frame has none. @param {any} model */
export const hasAddress = (model) => Boolean(model.get("_saved")) && window.parent === window;

/** Identify a page, so that a link opens only its own. @param {any} model */
function pageName(model) {
  const sizes = Object.entries(model.get("_kinds") ?? {}).map(([kind, { layers, heads }]) => [
    kind,
    layers,
    heads,
  ]);
  return checkOf(JSON.stringify([model.get("_how")?.view ?? "", model.get("_title"), sizes]));
}

/** 32-bit FNV-1a. @param {string} text */
function checkOf(text) {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return (sum >>> 0).toString(16);
}

/** The choices on view, by trait. @param {any} model */
export function chosenOf(model) {
  const names = [...(model.get("_chosen") ?? []), "_options"];
  return Object.fromEntries(
    names.map((name) => [name, model.get(name)]).filter(([, value]) => value !== undefined),
  );
}

/**
 * The address of what is on view.
 * @param {any} model
 * @param {Record<string, any>} more what the view itself can restore
 * @throws {Error} if it is too long
 */
export function linkTo(model, more) {
  const json = JSON.stringify([pageName(model), chosenOf(model), more]);
  const bytes = new TextEncoder().encode(`${checkOf(json)}${json}`);
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");
  if (text.length > MOST_LETTERS)
    throw new Error("what is on view is too much for a link; save the page instead");
  return `${location.href.split("#")[0]}${LINK_MARK}${text}`;
}

/**
 * Read the state in an address; null if it holds none.
 * @param {any} model
 * @param {string} hash
 * @returns {{chosen: Record<string, any>, more: Record<string, any>} | null}
 * @throws {Error} for a link that is damaged, or of another page
 */
export function readLink(model, hash) {
  if (!hash.startsWith(LINK_MARK)) return null;
  let name, chosen, more;
  try {
    const binary = atob(hash.slice(LINK_MARK.length).replace(/-/g, "+").replace(/_/g, "/"));
    const text = new TextDecoder("utf-8", { fatal: true }).decode(
      Uint8Array.from(binary, (letter) => letter.charCodeAt(0)),
    );
    const json = text.slice(text.indexOf("["));
    if (checkOf(json) !== text.slice(0, -json.length)) throw new Error();
    [name, chosen, more] = JSON.parse(json);
  } catch {
    throw new Error("this link is damaged");
  }
  if (name !== pageName(model)) throw new Error("this link belongs to another page");
  const known = (trait, value) =>
    trait === "_options"
      ? isTable(value)
      : model.get("_chosen").includes(trait) && fitsPage(model, trait, value);
  const fits =
    isTable(chosen) &&
    isTable(more) &&
    Object.entries(chosen).every(([trait, value]) => known(trait, value));
  if (!fits) throw new Error("this link names what is not in this page");
  return { chosen, more };
}

/** The choices of a link that exist once its text has been read: a link written by hand may name tokens beyond the text. @param {any} model @param {Record<string, any>} chosen */
export function chosenHere(model, chosen) {
  const kinds = Object.values(model.get("_kinds") ?? {});
  if (!kinds.length) return chosen;
  const tokens = Math.max(...kinds.flatMap(({ queries, keys }) => [queries, keys]));
  const beyond = (trait) =>
    Array.isArray(chosen[trait]) && chosen[trait].some((token) => token >= tokens);
  const gone = ["selected", "a", "b"].filter(beyond).map((trait) => [trait, null]);
  return { ...chosen, ...Object.fromEntries(gone) };
}

const isTable = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isPlace = (value) => Number.isInteger(value) && value >= 0;
/** Whether a value is a list of this many indices. */
const isPlaces = (value, count) =>
  Array.isArray(value) && value.length === count && value.every(isPlace);
/** Whether a value is a list of numbers, or of such lists. */
const isNumbers = (value) =>
  Array.isArray(value) && value.every((one) => Number.isFinite(one) || isNumbers(one));

/** Whether a value is valid for a trait of this page. */
function fitsPage(model, trait, value) {
  const kinds = model.get("_kinds") ?? {};
  const among = model.get("_choices")?.[trait];
  if (among) return among.includes(value);
  const most = (what) => Math.max(0, ...Object.values(kinds).map((kind) => kind[what] ?? 0));
  if (trait === "layer" || trait === "head") return isPlace(value) && value < most(`${trait}s`);
  if (trait === "kind") return Object.hasOwn(kinds, value);
  if (trait === "selected")
    return (
      value === null ||
      (Array.isArray(value) &&
        value.some((one) => one !== null) &&
        isPlaces(
          value.map((one) => one ?? 0),
          2,
        ))
    );
  if (trait === "a" || trait === "b")
    return value === null || (isPlaces(value, 2) && value[0] <= value[1]);
  if (trait === "text")
    return isPlace(value)
      ? value < (model.get("_texts")?.names?.length ?? 1)
      : value === "mean" || value === "spread";
  if (trait === "pins") return Array.isArray(value) && value.every((one) => isPlaces(one, 2));
  if (trait === "cuts") return Array.isArray(value) && value.every((one) => isPlaces(one, 4));
  const was = model.get(trait);
  if (Array.isArray(was)) return isNumbers(value);
  if (was === null) return value === null || Number.isFinite(value) || isNumbers(value);
  return typeof value === typeof was || value === null;
}
