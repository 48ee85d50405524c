// Decides who gets a key. A notebook listens for keys at the document, before any element of the
// page: with the focus on plain text of a view, X cut the cell. In a view, a plain key goes to the
// view or to no one.

import { listen } from "./dom.js";

const SUPPRESS = "data-lm-suppress-shortcuts"; // JupyterLab (Lumino) ignores keys of elements with this attribute

/** @param {Element} target */
const isTextBox = (target) =>
  target.matches("textarea, select, input:not([type=range]):not([type=checkbox])");

/** Whether a key belongs to the view: all but chords with Ctrl, Alt or Cmd; in a text box those too, except for saving. @param {KeyboardEvent} event */
export function isOurs(event) {
  if (isTextBox(/** @type {Element} */ (event.target)))
    return !((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s");
  return !(event.ctrlKey || event.metaKey || event.altKey);
}

/** @param {Element | null} part */
const canHaveFocus = (part) =>
  Boolean(part?.isConnected && !(/** @type {any} */ (part).disabled) && !part.closest("[hidden]"));

/** Whether a style or a closed box hides it. The check costs the page a layout. @param {Element} part */
const isUnseen = (part) => part.checkVisibility?.({ visibilityProperty: true }) === false;

/** Keep the focus, and with it the keys, inside a view in use. @param {HTMLElement} root @param {AbortSignal} signal */
export function keepKeys(root, signal) {
  root.tabIndex = -1; // so that a click on plain text puts the focus here, not on the notebook
  window.addEventListener(
    "keydown",
    (event) => {
      const target = /** @type {Element} */ (event.target);
      if (!(target instanceof Element) || !root.contains(target)) return;
      for (const part of [root, target]) part.toggleAttribute(SUPPRESS, isOurs(event));
    },
    { signal, capture: true },
  );
  listen(root, "keydown", signal, (event) => {
    if (isOurs(event) && event.key !== "Escape") event.stopPropagation();
  });
  // JupyterLab extends its selection of cells at a click with Shift; X would then cut them all.
  listen(root, "mousedown", signal, (event) => event.shiftKey && event.stopPropagation());
  keepFocus(root, signal);
  hearNoResting(root, signal);
}

/**
 * Ignore a resting pointer after a key. A browser also reports a pointer at rest when the page
 * moves under it: a key moved the cell, the sentence under the map grew by a line, and the cell
 * jumped back to the pointer. After a key, the view gets pointer events only once the pointer has
 * moved.
 * @param {HTMLElement} root
 * @param {AbortSignal} signal
 */
function hearNoResting(root, signal) {
  let last = "",
    keys = false;
  root.addEventListener("keydown", () => (keys = true), { signal, capture: true });
  const hear = (/** @type {PointerEvent} */ event) => {
    const here = `${event.screenX},${event.screenY}`;
    if (here !== last) keys = false;
    else if (keys && event.composedPath().includes(root)) event.stopImmediatePropagation();
    last = here;
  };
  for (const name of /** @type {const} */ (["pointermove", "pointerover", "pointerenter"]))
    window.addEventListener(name, hear, { signal, capture: true });
}

/**
 * On Escape, give the focus back to what is around the view, unless a handler of the view uses the
 * key. Call it after the view's own handlers are registered, so that they come first.
 * @param {HTMLElement} root
 * @param {AbortSignal} signal
 */
export function leaveByEscape(root, signal) {
  listen(root, "keydown", signal, (event) => {
    if (event.key !== "Escape" || !isOurs(event)) return;
    const taken = event.cancelBubble;
    event.stopPropagation();
    if (taken) return;
    const around = /** @type {HTMLElement | null} */ (root.parentElement?.closest("[tabindex]"));
    around?.focus({ preventScroll: true });
  });
}

/** Give the focus to the view when the element that had it is disabled or removed, as buttons often are after use; otherwise it would fall to the page. @param {HTMLElement} root @param {AbortSignal} signal */
function keepFocus(root, signal) {
  /** @type {Element | null} */
  let last = null; // what has the focus, as far as we know
  const check = () => {
    if (!last || canHaveFocus(last)) return;
    giveBack();
  };
  const giveBack = () => {
    const { activeElement } = document;
    const lost = !activeElement || activeElement === document.body || activeElement === last;
    last = null;
    if (lost) root.focus({ preventScroll: true });
  };
  listen(root, "focusin", signal, (event) => (last = /** @type {Element} */ (event.target)));
  listen(root, "focusout", signal, (event) => {
    const left = event.target;
    if (event.relatedTarget) last = null;
    else
      setTimeout(() => {
        check();
        if (last === left && isUnseen(last)) giveBack();
        if (last === left && document.hasFocus()) last = null; // the reader went elsewhere
      });
  });
  const observer = new MutationObserver(check);
  observer.observe(root, {
    subtree: true,
    childList: true,
    attributes: true,
    attributeFilter: ["disabled", "hidden"],
  });
  signal.addEventListener("abort", () => observer.disconnect());
}
