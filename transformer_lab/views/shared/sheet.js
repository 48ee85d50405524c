// Several canvases of a view as one PNG, with its title and its sentence.

const SHEET_PAD = 16;

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
  const height = y + line + 12 + 20 * lines.length + SHEET_PAD;
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
  lines.forEach((text, i) => write(text, `14px ${sans}`, inks.ink, SHEET_PAD, y + line + 16 + 20 * i));
  return new Promise((resolve) => made.toBlob(resolve, "image/png"));
}

/** @param {CanvasRenderingContext2D} context @param {string} text @param {number} room */
function wrapped(context, text, room) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines[lines.length - 1] ? `${lines[lines.length - 1]} ${word}` : word;
    if (context.measureText(longer).width > room && lines[lines.length - 1]) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}
