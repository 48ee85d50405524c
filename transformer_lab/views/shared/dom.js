// Small helpers for the page. Text from outside reaches it by textContent only.

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes] true sets an
 *   empty attribute; false, null and undefined leave it out
 * @param {...(Node | string)} children strings become text
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** Write a text where another one stands: one that is there already costs the page a layout too. @param {HTMLElement} place @param {string} text */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/**
 * A token, kept apart from its neighbours' writing direction.
 * @param {string} text
 */
export function tokenElement(text) {
  const made = document.createElement("bdi");
  made.textContent = text;
  return made;
}

/** Resolves when what was drawn so far has been painted. */
export function afterPaint() {
  return new Promise((resolve) => {
    // A hidden page paints nothing; a timer makes sure that nobody waits for it for ever.
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

/**
 * Run a callback once in the next frame, however often it is asked for.
 * @param {() => void} callback
 */
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
 * Run a callback once when all that happens now has happened, however often it is asked for: traits
 * that change together are heard of one by one.
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

/**
 * Run a callback at once, and when it is asked for again before the next frame, once more in it.
 * @param {() => void} callback
 */
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

/**
 * Give a canvas the size it is shown at, in device pixels, and return its context in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function sizedContext(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/**
 * Show on a canvas of a page what was drawn on one that stands in none. There a font can be set without that
 * the page is laid out first, to look up the styles of the canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLCanvasElement} apart by `sizedContext`, as large
 */
export function showDrawn(canvas, apart) {
  const { width, height } = apart.style;
  if (canvas.width !== apart.width || canvas.height !== apart.height) Object.assign(canvas, { width: apart.width, height: apart.height });
  if (canvas.style.width !== width) canvas.style.width = width;
  if (canvas.style.height !== height) canvas.style.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(apart, 0, 0);
}

/**
 * Text shortened until it fits.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
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

/**
 * Let the reader keep a file.
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const link = element("a", { download: name, href: URL.createObjectURL(blob) });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Put text on the clipboard; where that is not allowed (a sandboxed frame), by the old way.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const area = element("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    // Beside what has the focus: a box that is open over a view closes when the focus leaves it.
    (before?.closest(".tl-popped, .tl-view") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus({ preventScroll: true }); // else the keys that follow are the host's
    return done;
  }
}
