// One selection for the views of a page: a head or token chosen in one view is chosen in all views
// with the same link. In a rendered notebook each view has its own frame; there the page around the
// frames passes selections on.

import { hearChanges, listen } from "./dom.js";

const EVENT = "transformer-lab-selection";
const LINKED = ["kind", "layer", "head", "selected"];

/** @typedef {{query: number | null, key: number | null}} Place */

/** Whether another view's selection fits this view's sizes. @param {any} kinds kind -> {layers, heads, queries, keys} @param {any} selection */
export function fits(kinds, selection) {
  const size = kinds?.[selection?.kind];
  const within = (value, count) => Number.isInteger(value) && value >= 0 && value < count;
  if (!size || !within(selection.layer, size.layers) || !within(selection.head, size.heads))
    return false;
  const pair = selection.selected;
  if (pair === null) return true;
  if (!Array.isArray(pair) || pair.length !== 2) return false;
  return [
    [pair[0], size.queries],
    [pair[1], size.keys],
  ].every(([at, count]) => at === null || within(at, count));
}

/**
 * Link a view to the others of its group.
 * @param {any} model
 * @param {AbortSignal} signal
 * @param {(spot: Place | null) => void} [onHover] another view points at this, or (null) no longer
 * @returns {{hover: (spot: Place | null) => void}} tells the others what this view points at
 */
export function linked(model, signal, onHover) {
  const me = {};
  let listening = false;
  const frame = window.parent !== window && document.getElementById("tl-state");
  const own = () => Object.fromEntries(LINKED.map((name) => [name, model.get(name) ?? null]));

  const tell = (what) => {
    const group = model.get("link");
    if (!group) return;
    const message = { group, ...own(), ...what };
    document.dispatchEvent(new CustomEvent(EVENT, { detail: { from: me, message } }));
    if (frame) window.parent.postMessage({ transformerLabSelection: message }, "*");
  };

  const hear = (message) => {
    const group = model.get("link");
    if (!group || message?.group !== group || !fits(model.get("_kinds"), message)) return;
    const now = own();
    const changed = LINKED.filter(
      (name) => JSON.stringify(now[name]) !== JSON.stringify(message[name]),
    );
    if (changed.length) {
      listening = true;
      try {
        for (const name of changed) model.set(name, message[name]);
      } finally {
        listening = false;
      }
      model.save_changes();
    }
    if ("hover" in message) onHover?.(message.hover);
  };

  const changed = () => {
    if (!listening) tell({});
  };
  hearChanges(model, LINKED, signal, changed);
  listen(document, EVENT, signal, (event) => {
    const { from, message } = /** @type {CustomEvent} */ (event).detail;
    if (from !== me) hear(message);
  });
  if (frame) {
    listen(window, "message", signal, (event) => {
      if (event.source === window.parent) hear(event.data?.transformerLabSelection);
    });
  }
  return {
    hover: (spot) => tell({ hover: spot && { query: spot.query ?? null, key: spot.key ?? null } }),
  };
}

/** @typedef {import("./map_frame.js").Spot} Spot */

/** @param {Spot | null} a @param {Spot | null} b */
export const sameSpot = (a, b) =>
  a?.query === b?.query &&
  a?.key === b?.key &&
  Boolean(a?.nothing) === Boolean(b?.nothing) &&
  a?.level === b?.level;

/** The spot pointed at, in this view or in a linked one. */
export class Pointed {
  /** @param {any} model @param {AbortSignal} signal @param {() => void} changed */
  constructor(model, signal, changed) {
    this.changed = changed;
    /** @type {Spot | null} */
    this.spot = null;
    this.link = linked(model, signal, (spot) => {
      this.spot = spot;
      changed();
    });
  }

  /** The reader points at a spot in this view. @param {Spot | null} spot @param {boolean} [tell] whether linked views can show it too */
  at(spot, tell = true) {
    if (sameSpot(spot, this.spot)) return;
    this.spot = spot;
    this.changed();
    this.link.hover(tell ? spot : null);
  }
}
