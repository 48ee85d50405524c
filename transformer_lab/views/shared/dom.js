// Small DOM helpers: elements, the parts of views, pointer and keys, drawing. Outside text reaches
// the page only through textContent.

/** @param {string} tag of SVG @param {Record<string, string>} attributes @returns {SVGElement} */
export function svgPart(tag, attributes) {
  const node = /** @type {SVGElement} */ (
    document.createElementNS("http://www.w3.org/2000/svg", tag)
  );
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/**
 * Make an element.
 * @param {string} what its tag, its classes and its name in the page: "p.tl-hint#note" is a p of class tl-hint, with
 *   data-part="note"
 * @param {...(string | false | null | undefined | Record<string, any>)} content attributes may come
 *   first: true sets an empty one; false, null and undefined leave it out; a function listens for
 *   the event of that name. Then children: strings become text, lists are flattened, and empty
 *   values are left out
 * @returns {any}
 */
export function element(what, ...content) {
  const [, tag, classes, part] = /** @type {string[]} */ (what.match(/^(\w+)([^#]*)#?(.*)$/));
  const made = document.createElement(tag);
  const { class: more, ...attributes } = /** @type {Record<string, any>} */ (
    content[0]?.constructor === Object ? content.shift() : {}
  );
  const look = [...classes.split("."), more].filter(Boolean).join(" ");
  if (look) made.className = look;
  if (part) made.dataset.part = part;
  if (tag === "button") made.setAttribute("type", "button");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined)
      made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(.../** @type {Node[]} */ (content.flat(Infinity).filter(Boolean)));
  return made;
}

/** Set an element's text if it differs: writing the same text would cost a layout too. @param {HTMLElement} place @param {string} text */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/**
 * A token, isolated from its neighbours' writing direction. The dot for a space before a word has an
 * element of its own, so that a sheet can show it as a gap.
 * @param {string} text
 */
export function tokenElement(text) {
  const made = document.createElement("bdi");
  if (!/^·[^·]/.test(text)) made.textContent = text;
  else made.append(element("span.tl-space", "·"), text.slice(1));
  return made;
}

/** A promise that resolves once everything drawn so far has been painted. */
export function afterPaint() {
  return new Promise((resolve) => {
    // A hidden page paints nothing; the timer resolves the promise then.
    const timer = setTimeout(resolve, 250);
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
      channel.port2.postMessage(0);
    });
  });
}

/** Run a callback once in the next frame, however often it is requested. @param {() => void} callback */
export function onceAFrame(callback) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      callback();
    });
  };
}

/**
 * Run a callback once in a microtask, however often it is requested: traits that change together
 * are reported one by one.
 * @param {() => void} callback
 */
export function onceForAll(callback) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    queueMicrotask(() => {
      asked = false;
      callback();
    });
  };
}

/** Run a callback at once and, if it is requested again before the next frame, once more in that frame. @param {() => void} callback */
export function atMostOnceAFrame(callback) {
  let resting = false;
  let again = false;
  const run = () => {
    callback();
    resting = true;
    requestAnimationFrame(() => {
      resting = false;
      if (!again) return;
      again = false;
      run();
    });
  };
  return () => {
    if (resting) again = true;
    else run();
  };
}

/** @type {number | null} */
let ratioOfFile = null;

/**
 * Device pixels per CSS pixel: of the screen (more in presentation size) or, while one is drawn, of
 * a file.
 */
export const pixelRatio = () =>
  ratioOfFile ??
  (globalThis.devicePixelRatio || 1) *
    (document.querySelector(".tl-view[data-size=large]") ? 1.4 : 1);

/** Draw canvases for a file with this pixel ratio from now on; null: for the screen again. @param {number | null} ratio */
export function setPixelRatio(ratio) {
  ratioOfFile = ratio;
}

/** Whether the reader points with a finger, which cannot hover. */
export const byTouch = () => Boolean(globalThis.matchMedia?.("(hover: none)").matches);

/** How to point at something, in words for a mouse or for a finger: "Hover over a cell; click to lock it." @param {string} text */
export const hint = (text) =>
  byTouch()
    ? text
        .replace(/( for its numbers)?(;| ·) click to lock/, " to lock")
        .replace(/[;,]? or (use )?(arrow keys|Page Up)[^.]*/g, "")
        .replace(/hover over/gi, (word) => (word[0] === "H" ? "Tap" : "tap"))
        .replace(/\bclick/gi, (word) => (word[0] === "C" ? "Tap" : "tap"))
    : text;

/** Position of a pointer within an element, in the element's own CSS pixels. @param {MouseEvent} event @param {HTMLElement} target @returns {[number, number]} */
export function pointWithin(event, target) {
  const { left, top } = target.getBoundingClientRect();
  const zoom = zoomOf(target);
  return [(event.clientX - left) / zoom, (event.clientY - top) / zoom];
}

/** How much larger an element is shown than its style says. @param {HTMLElement} target */
export const zoomOf = (target) => /** @type {any} */ (target).currentCSSZoom ?? 1;

/**
 * Give a canvas the size it is shown at, in device pixels, and return its context in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function sizedContext(canvas, width, height) {
  const ratio = pixelRatio();
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/**
 * Copy to a canvas in the page what was drawn on a detached one. On a detached canvas a font can be
 * set without first laying out the page to look up the canvas's styles.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLCanvasElement} apart sized by `sizedContext`
 */
export function showDrawn(canvas, apart) {
  const { width, height } = apart.style;
  if (canvas.width !== apart.width || canvas.height !== apart.height)
    Object.assign(canvas, { width: apart.width, height: apart.height });
  if (canvas.style.width !== width) canvas.style.width = width;
  if (canvas.style.height !== height) canvas.style.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(apart, 0, 0);
}

/** Text shortened until it fits. @param {CanvasRenderingContext2D} context @param {string} text @param {number} width */
export function fitText(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  const characters = Array.from(text);
  while (characters.length > 1) {
    characters.pop();
    const shorter = characters.join("") + "…";
    if (context.measureText(shorter).width <= width) return shorter;
  }
  return "…";
}

/** Download a file. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = element("a", { download: name, href: URL.createObjectURL(blob) });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Put text on the clipboard; by execCommand where the clipboard is not allowed (a sandboxed frame). @param {string} text @returns {Promise<boolean>} */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const area = element("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    // Next to the focused element: a popover closes when the focus leaves it.
    (before?.closest(".tl-popped, .tl-view") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus({ preventScroll: true }); // otherwise the host gets the next keys
    return done;
  }
}

/** The sentence about what is on view. */
export const sentencePart = (part = "sentence") =>
  element(`p.tl-sentence#${part}`, { role: "status", "aria-live": "polite" });

/** Reserve the height of the longest sentence so far at this width, so that nothing below it moves. @param {HTMLElement} part @param {AbortSignal} signal */
export function keepRoom(part, signal) {
  let width = 0;
  const observer = new ResizeObserver(() => {
    if (!part.matches(".tl-view > .tl-sentence")) return;
    if (part.offsetWidth !== width) part.style.minHeight = "";
    width = part.offsetWidth;
    part.style.minHeight = `${part.offsetHeight}px`;
  });
  observer.observe(part);
  signal.addEventListener("abort", () => observer.disconnect());
}

/** A canvas that takes keys. @param {string} part @param {string} [look] */
export const picturePart = (part, look) =>
  element(`canvas#${part}`, { role: "application", tabindex: 0, class: look });

/** @param {string} part */
export const legendPart = (part = "legend") => element(`div.tl-legend#${part}`);

/** A panel with its title and a hint above. @param {string} name @param {string} title @param {Node | string} hint @param {...(Node | string)} content */
export const panelPart = (name, title, hint, ...content) =>
  element(
    "section",
    { class: `tl-panel tl-panel-${name}`, "aria-label": title },
    element(
      "p.tl-heading",
      element("b", title),
      " ",
      typeof hint === "string" ? element("span.tl-quiet", hint) : hint,
    ),
    content,
  );

/** The head and the body of a table; a column without a name has an empty cell. @param {(string | Node)[]} names @param {Node[]} rows */
export const tableParts = (names, rows) => [
  element(
    "thead",
    element(
      "tr",
      names.map((name) => (name ? element("th", { scope: "col" }, name) : element("td"))),
    ),
  ),
  element("tbody", rows),
];

/**
 * A row of a table: attributes may come first, then its name and its cells. Content that is not a
 * cell is wrapped in one; a list of cells is flattened, and false and null are left out.
 * @param {...any} content
 */
export function rowPart(...content) {
  const attributes = content[0]?.constructor === Object ? content.shift() : {};
  const [name, ...cells] = content;
  const isCell = (part) => part.tagName === "TD";
  const cellsOf = (part) => ([part].flat().every(isCell) ? part : element("td", part));
  const shown = cells.filter((part) => part !== false && part !== null).map(cellsOf);
  return element("tr", attributes, element("th", { scope: "row" }, name), shown);
}

/** A fraction as a bar. @param {number} share 0 … 1 @param {string} look @param {string} [colour] */
export const barPart = (share, look, colour) =>
  element(
    "span.tl-stripe",
    { "aria-hidden": "true" },
    element("span", {
      class: `tl-fill ${look}`,
      style: `width:${Math.max(0, Math.min(100, 100 * share)).toFixed(1)}%${colour ? `;background:${colour}` : ""}`,
    }),
  );

/** Clamp an index to 0 … count − 1. @param {number} at @param {number} count */
export const within = (at, count) => Math.max(0, Math.min(count - 1, at));

const MOVES = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  PageUp: [-10, 0],
  PageDown: [10, 0],
  Home: [0, -1e6],
  End: [0, 1e6],
};

/** Consume an event: neither the page nor a notebook gets it. @param {Event} event */
export function taken(event) {
  event.preventDefault();
  event.stopPropagation();
}

/** How far a key moves a cursor, [down, right]; consumes the key. Null for other keys. @param {KeyboardEvent} event @returns {[number, number] | null} */
export function moveOf(event) {
  const move = MOVES[event.key];
  if (!move) return null;
  taken(event);
  return move;
}

/**
 * Listen for events until a view is gone.
 * @param {EventTarget} target
 * @param {string} names separated by spaces
 * @param {AbortSignal} signal
 * @param {(event: any) => any} heard
 * @param {{capture?: boolean, passive?: boolean}} [how]
 */
export function listen(target, names, signal, heard, how = {}) {
  for (const name of names.split(" ")) target.addEventListener(name, heard, { signal, ...how });
}

/**
 * Report what a pointer hovers over and picks.
 * @template T
 * @param {HTMLElement} target
 * @param {AbortSignal} signal
 * @param {(x: number, y: number) => T | null} at finds what is at a point, in CSS pixels
 * @param {{hover?: (spot: T | null) => void, pick?: (spot: T) => void}} on
 */
export function hearPointer(target, signal, at, on) {
  const under = (/** @type {MouseEvent} */ event) => at(...pointWithin(event, target));
  listen(target, "pointermove", signal, (event) => on.hover?.(under(event)));
  listen(target, "pointerleave", signal, () => on.hover?.(null));
  listen(target, "click", signal, (event) => {
    const spot = under(event);
    if (spot !== null && spot !== undefined) on.pick?.(spot);
  });
}

/** @param {any} model @param {string[]} names of its messages, such as "change:layer" @param {AbortSignal} signal @param {(...values: any[]) => void} heard */
export function hearOf(model, names, signal, heard) {
  for (const name of names) model.on(name, heard);
  signal.addEventListener("abort", () => names.forEach((name) => model.off(name, heard)));
}

/** Like `hearOf`, for traits that change. @param {any} model @param {string[]} traits @param {AbortSignal} signal @param {() => void} heard */
export const hearChanges = (model, traits, signal, heard) =>
  hearOf(
    model,
    traits.map((name) => `change:${name}`),
    signal,
    heard,
  );
