// Several canvases of a view as one PNG, with its title, its legends and its sentence.

const SHEET_PAD = 16;
const LEGEND_HEIGHT = 52;
const LEGEND_WIDTH = 260;
const SANS = "system-ui, sans-serif";

/**
 * @typedef {object} Part of a sheet
 * @property {string} title
 * @property {number} width
 * @property {number} height
 * @property {(context: CanvasRenderingContext2D, x: number, y: number) => void} draw
 * @property {Element} of its element in the page
 *
 * @typedef {{title: string, canvas?: HTMLCanvasElement | null, thumbnails?: import("./thumbnails.js").Thumbnails, part?: Part | null}} Given
 */

/** Size of a canvas on the page; null if it is hidden. @param {HTMLCanvasElement | null | undefined} canvas */
export function canvasSize(canvas) {
  const [width, height] = canvas
    ? [parseFloat(canvas.style.width), parseFloat(canvas.style.height)]
    : [0, 0];
  return canvas && canvas.isConnected && canvas.offsetParent && width > 0
    ? { width, height }
    : null;
}

/** @param {Given} given @returns {Part | null} */
function partIn({ title, canvas, thumbnails, part = null }) {
  if (thumbnails) return gridPart(title, thumbnails);
  const size = canvasSize(canvas);
  return size && canvas
    ? {
        title,
        ...size,
        of: canvas,
        draw: (context, x, y) => context.drawImage(canvas, x, y, size.width, size.height),
      }
    : part;
}

/** The grid of heads with the numbers of its layers and heads, its marks, and the chosen head. @returns {Part | null} */
function gridPart(title, thumbnails) {
  const size = canvasSize(thumbnails.canvas);
  const room = 20; // for the names beside and above it
  const draw = (context, left, top) => {
    const [x, y] = [left + room, top + room];
    for (const canvas of thumbnails.stack.querySelectorAll("canvas"))
      context.drawImage(
        canvas,
        x,
        y,
        parseFloat(canvas.style.width),
        parseFloat(canvas.style.height),
      );
    const { across, down } = thumbnails.size;
    const [ink, quiet] = [thumbnails.mark, thumbnails.rows].map(
      (part) => getComputedStyle(part).color,
    );
    const names = (place, at) =>
      [...place.children].forEach((name, i) => {
        const bold = name.classList.contains("tl-on");
        context.font = `${bold ? "bold " : ""}11px ${SANS}`;
        context.fillStyle = bold ? ink : quiet;
        if (name.textContent) at(name.textContent, i);
      });
    context.textAlign = "right";
    names(thumbnails.rows, (text, i) => context.fillText(text, x - 4, y + (i + 0.5) * down));
    context.textAlign = "center";
    names(thumbnails.columns, (text, i) => context.fillText(text, x + (i + 0.5) * across, y - 8));
    context.textAlign = "left";
    const box = thumbnails.boxOf(thumbnails.layer ?? 0, thumbnails.head ?? 0);
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.strokeRect(x + box.x - 1, y + box.y - 1, box.width + 2, box.height + 2);
  };
  return (
    size && {
      title,
      width: size.width + room,
      height: size.height + room,
      of: thumbnails.canvas,
      draw,
    }
  );
}

/**
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.sentence
 * @param {string[]} [options.more] paragraphs before the sentence
 * @param {Given[]} options.parts in reading order
 * @param {any} options.inks
 * @param {number} [options.width] at which the parts wrap
 * @returns {Promise<Blob | null>}
 */
export function sheet({ title, sentence, more = [], parts, inks, width = 1200 }) {
  const measure = /** @type {CanvasRenderingContext2D} */ (
    document.createElement("canvas").getContext("2d")
  );
  const shown = parts.map(partIn).filter((part) => part !== null);
  const placed = [];
  let [x, y, line, widest] = [SHEET_PAD, 44, 0, 0];
  for (const part of shown) {
    if (x > SHEET_PAD && x + part.width + SHEET_PAD > width)
      [x, y, line] = [SHEET_PAD, y + line + SHEET_PAD, 0];
    placed.push({ part, x, y });
    line = Math.max(line, part.height + 22);
    x += Math.max(part.width, 120) + SHEET_PAD;
    widest = Math.max(widest, x);
  }
  measure.font = `14px ${SANS}`;
  const whole = Math.max(widest, 480);
  const lines = [...more, sentence].flatMap((text) =>
    wrapped(measure, text, whole - 2 * SHEET_PAD),
  );
  const scales = scalesOf(shown[0]?.of.closest(".tl-view"));
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
  const write = (text, font, colour, atX, atY, room) => {
    context.textBaseline = "middle";
    context.font = font;
    context.fillStyle = colour;
    context.fillText(text, atX, atY, room);
  };
  write(title, `bold 15px ${SANS}`, inks.ink, SHEET_PAD, 22, whole - 2 * SHEET_PAD);
  for (const { part, x: left, y: top } of placed) {
    write(part.title, `12px ${SANS}`, inks.quiet, left, top + 8, Math.max(part.width, 120));
    part.draw(context, left, top + 20);
  }
  scales.forEach((scale, i) => {
    drawScale(
      context,
      scale,
      SHEET_PAD + LEGEND_WIDTH * (i % across),
      y + line + 8 + LEGEND_HEIGHT * Math.floor(i / across),
      inks,
    );
  });
  lines.forEach((text, i) =>
    write(text, `14px ${SANS}`, inks.ink, SHEET_PAD, y + line + legends + 16 + 20 * i),
  );
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

/** The colour legends that are visible. @param {Element | null | undefined} view @returns {HTMLElement[]} */
const scalesOf = (view) =>
  /** @type {HTMLElement[]} */ ([...(view?.querySelectorAll(".tl-scale") ?? [])]).filter(
    (scale) => scale.offsetParent,
  );

/**
 * Draw a legend as on the page: its name, colours and numbers.
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLElement} scale
 * @param {number} x
 * @param {number} y
 * @param {any} inks
 */
function drawScale(context, scale, x, y, inks) {
  const width = LEGEND_WIDTH - 4 * SHEET_PAD;
  const colours =
    /** @type {HTMLElement} */ (scale.querySelector(".tl-ramp")).style.background.match(
      /rgba?\([^)]*\)|#[0-9a-f]{6}/gi,
    ) ?? [];
  const gradient = context.createLinearGradient(x, 0, x + width, 0);
  colours.forEach((colour, i) =>
    gradient.addColorStop(i / Math.max(1, colours.length - 1), colour),
  );
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.font = `12px ${SANS}`;
  context.fillStyle = inks.quiet;
  context.fillText(
    scale.previousElementSibling?.textContent ?? "",
    x,
    y + 8,
    width + 2 * SHEET_PAD,
  );
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
