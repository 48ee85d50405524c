// Several canvases of a view as one PNG, with its title, its legends and its sentence.

const SHEET_PAD = 16;
export const LEGEND_HEIGHT = 52;
const LEGEND_WIDTH = 260;

/**
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.sentence
 * @param {{canvas: HTMLCanvasElement, title: string}[]} options.parts in reading order
 * @param {any} options.inks
 * @param {number} [options.width] at which the parts wrap
 * @returns {Promise<Blob | null>}
 */
export function sheet({ title, sentence, parts, inks, width = 1200 }) {
  const sans = "system-ui, sans-serif";
  const measure = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  const shown = parts.filter(({ canvas }) => parseFloat(canvas.style.width) > 0 && canvas.isConnected && canvas.offsetParent);
  const placed = [];
  let [x, y, line, widest] = [SHEET_PAD, 44, 0, 0];
  for (const { canvas, title: name } of shown) {
    const [w, h] = [parseFloat(canvas.style.width), parseFloat(canvas.style.height)];
    if (x > SHEET_PAD && x + w + SHEET_PAD > width) [x, y, line] = [SHEET_PAD, y + line + SHEET_PAD, 0];
    placed.push({ canvas, name, x, y, w, h });
    line = Math.max(line, h + 22);
    x += Math.max(w, 120) + SHEET_PAD;
    widest = Math.max(widest, x);
  }
  measure.font = `14px ${sans}`;
  const whole = Math.max(widest, 480);
  const lines = wrapped(measure, sentence, whole - 2 * SHEET_PAD);
  const scales = scalesOf(shown[0]?.canvas.closest(".tl-view"));
  const across = Math.max(1, Math.floor((whole - SHEET_PAD) / LEGEND_WIDTH));
  const legends = LEGEND_HEIGHT * Math.ceil(scales.length / across);
  const height = y + line + 12 + legends + 20 * lines.length + SHEET_PAD;
  const made = document.createElement("canvas");
  made.width = 2 * whole;
  made.height = 2 * height;
  const context = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
  context.scale(2, 2);
  context.fillStyle = inks.ground;
  context.fillRect(0, 0, whole, height);
  context.textBaseline = "middle";
  const write = (text, font, colour, atX, atY, room) => {
    context.font = font;
    context.fillStyle = colour;
    context.fillText(text, atX, atY, room);
  };
  write(title, `bold 15px ${sans}`, inks.ink, SHEET_PAD, 22, whole - 2 * SHEET_PAD);
  for (const { canvas, name, x: left, y: top, w, h } of placed) {
    write(name, `12px ${sans}`, inks.quiet, left, top + 8, Math.max(w, 120));
    context.drawImage(canvas, left, top + 20, w, h);
  }
  scales.forEach((scale, i) => {
    drawScale(context, scale, SHEET_PAD + LEGEND_WIDTH * (i % across), y + line + 8 + LEGEND_HEIGHT * Math.floor(i / across), inks);
  });
  lines.forEach((text, i) => write(text, `14px ${sans}`, inks.ink, SHEET_PAD, y + line + legends + 16 + 20 * i));
  return new Promise((resolve) => made.toBlob(resolve, "image/png"));
}

/** @param {CanvasRenderingContext2D} context @param {string} text @param {number} room */
export function wrapped(context, text, room) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines[lines.length - 1] ? `${lines[lines.length - 1]} ${word}` : word;
    if (context.measureText(longer).width > room && lines[lines.length - 1]) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

/** The legends of colours that are in sight. @param {Element | null | undefined} view @returns {HTMLElement[]} */
export const scalesOf = (view) => /** @type {HTMLElement[]} */ ([...(view?.querySelectorAll(".tl-scale") ?? [])]).filter((scale) => scale.offsetParent);

/**
 * A legend as it stands on the page: what it is of, its colours, its numbers.
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLElement} scale
 * @param {number} x
 * @param {number} y
 * @param {any} inks
 */
export function drawScale(context, scale, x, y, inks) {
  const width = LEGEND_WIDTH - 4 * SHEET_PAD;
  const colours = /** @type {HTMLElement} */ (scale.querySelector(".tl-ramp")).style.background.match(/rgba?\([^)]*\)|#[0-9a-f]{6}/gi) ?? [];
  const gradient = context.createLinearGradient(x, 0, x + width, 0);
  colours.forEach((colour, i) => gradient.addColorStop(i / Math.max(1, colours.length - 1), colour));
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = inks.quiet;
  context.fillText(scale.previousElementSibling?.textContent ?? "", x, y + 8, width + 2 * SHEET_PAD);
  context.fillStyle = gradient;
  context.fillRect(x, y + 18, width, 9);
  context.fillStyle = inks.ink;
  for (const tick of scale.querySelectorAll(".tl-ticks > span")) {
    const place = parseFloat(/** @type {HTMLElement} */ (tick).style.left) / 100;
    context.textAlign = place === 0 ? "left" : "center";
    context.fillText(tick.textContent ?? "", x + place * width, y + 36);
  }
  context.textAlign = "left";
}
