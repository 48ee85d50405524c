// The view as one PNG: what is on view of every head, lines and map side by side, with title and sentence.

import { drawScale, LEGEND_HEIGHT, scalesOf, wrapped } from "../shared/sheet.js";
import { TO_NOTHING } from "../shared/map_sentences.js";

const PAD = 16;
const PICTURE_TOP = 44;
const NAMES_ROOM = 20; // beside and above the grid
const TOKENS_ROOM = 110; // on both sides of the lines
const SANS = "system-ui, sans-serif";

/** What a canvas takes on the page; null where it is out of sight. @param {HTMLCanvasElement} canvas */
function sizeOf(canvas) {
  const [width, height] = [parseFloat(canvas.style.width), parseFloat(canvas.style.height)];
  return canvas.isConnected && canvas.offsetParent && width > 0 ? { canvas, width, height } : null;
}

/** The chosen map and those beside it, where they stand, with what stands above each. @param {HTMLElement} box */
function mapsOf(box) {
  const around = box.getBoundingClientRect();
  const maps = [...box.querySelectorAll("canvas")].map((canvas) => {
    const size = sizeOf(canvas);
    const { left, top } = canvas.getBoundingClientRect();
    const caption = canvas.parentElement.querySelector("figcaption:not([hidden])");
    const told = caption ? [.../** @type {HTMLCollectionOf<HTMLElement>} */ (caption.children)].filter((part) => part.dataset.part !== "unpin").map((part) => part.textContent).join(" ") : "";
    return size && { ...size, told, x: left - around.left, y: top - around.top };
  }).filter(Boolean);
  if (!maps.length) return null;
  const end = (at, size) => Math.max(...maps.map((one) => one[at] + one[size]));
  return { maps, width: end("x", "width"), height: end("y", "height") };
}

/**
 * @param {import("./heads.js").Heads} heads
 * @param {string[]} [more] lines below the maps
 * @returns {Promise<Blob | null>}
 */
export function picture(heads, more = []) {
  const { thumbnails, linesPanel: { lines }, mapPanel, shell: { inks } } = heads;
  const grid = sizeOf(thumbnails.canvas);
  const strands = sizeOf(lines.canvas);
  const map = mapsOf(mapPanel.box);
  const widths = [grid && grid.width + NAMES_ROOM, strands && strands.width + 2 * TOKENS_ROOM, map?.width].filter(Boolean);
  const width = Math.max(520, widths.reduce((sum, each) => sum + each + PAD, PAD));
  const body = Math.max(0, grid ? grid.height + NAMES_ROOM : 0, strands?.height ?? 0, map?.height ?? 0);
  const measure = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  const paragraph = (text, size) => {
    measure.font = `${size}px ${SANS}`;
    return wrapped(measure, text, width - 2 * PAD).map((line) => [line, size]);
  };
  const flag = heads.flag.hidden ? "" : ` ${heads.flag.textContent}`;
  const words = [...more.flatMap((line) => paragraph(line, 13)), ...paragraph(heads.readout.text + flag, 14)];
  const [scale] = map ? scalesOf(mapPanel.legend) : [];
  const below = scale ? LEGEND_HEIGHT : 0;
  const sheet = document.createElement("canvas");
  sheet.width = 2 * width;
  sheet.height = 2 * (PICTURE_TOP + body + PAD + below + 21 * words.length + PAD);
  const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  context.scale(2, 2);
  context.fillStyle = inks.ground;
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.textBaseline = "middle";
  const write = (text, x, y, font, colour, /** @type {CanvasTextAlign} */ align = "left", room = undefined) => {
    context.font = font;
    context.fillStyle = colour;
    context.textAlign = align;
    context.fillText(text, x, y, room);
  };
  const { layer, head } = heads.shown;
  write(`${heads.model.get("_title")} · layer ${layer}, head ${head}`, PAD, 22, `bold 15px ${SANS}`, inks.ink, "left", width - 2 * PAD);
  let left = PAD;
  if (grid) {
    drawGrid(context, thumbnails, left, write, inks, heads.shown);
    left += NAMES_ROOM + grid.width + PAD;
  }
  if (strands) {
    context.drawImage(strands.canvas, left + TOKENS_ROOM, PICTURE_TOP, strands.width, strands.height);
    /** @type {[Map<number | null, number>, string[], number, CanvasTextAlign][]} */
    const columns = [
      [lines.places.queries, heads.state.kind.query_tokens, left + TOKENS_ROOM - 6, "right"],
      [lines.places.keys, heads.state.kind.key_tokens, left + TOKENS_ROOM + strands.width + 6, "left"],
    ];
    for (const [places, tokens, x, align] of columns) {
      for (const [index, y] of places) {
        write(index === null ? TO_NOTHING : tokens[index], x, PICTURE_TOP + y, "12px monospace", inks.ink, align, TOKENS_ROOM - 8);
      }
    }
    left += strands.width + 2 * TOKENS_ROOM + PAD;
  }
  for (const { canvas, x, y, width: wide, height, told } of map?.maps ?? []) {
    context.drawImage(canvas, left + x, PICTURE_TOP + y, wide, height);
    if (told) write(told, left + x, PICTURE_TOP + y - 12, `12px ${SANS}`, inks.ink, "left", wide - 8);
  }
  if (scale) drawScale(context, scale, Math.min(left, width - 260), PICTURE_TOP + body + 8, inks);
  words.forEach(([line, size], i) => write(line, PAD, PICTURE_TOP + body + PAD + below + 21 * i + 10, `${size}px ${SANS}`, inks.ink));
  return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
}

/** The grid with the numbers of its layers and heads, its marks, and the chosen head. */
function drawGrid(context, thumbnails, left, write, inks, { layer, head }) {
  const [x, y] = [left + NAMES_ROOM, PICTURE_TOP + NAMES_ROOM];
  for (const canvas of thumbnails.stack.querySelectorAll("canvas")) {
    context.drawImage(canvas, x, y, parseFloat(canvas.style.width), parseFloat(canvas.style.height));
  }
  const { across, down } = thumbnails.size;
  const names = (place, at) => [...place.children].forEach((name, i) => {
    const bold = name.classList.contains("tl-on");
    if (name.textContent) at(name.textContent, i, `${bold ? "bold " : ""}11px ${SANS}`, bold ? inks.ink : inks.quiet);
  });
  names(thumbnails.rows, (text, i, font, ink) => write(text, x - 4, y + (i + 0.5) * down, font, ink, "right"));
  names(thumbnails.columns, (text, i, font, ink) => write(text, x + (i + 0.5) * across, y - 8, font, ink, "center"));
  const box = thumbnails.boxOf(layer, head);
  context.strokeStyle = inks.ink;
  context.lineWidth = 2;
  context.strokeRect(x + box.x - 1, y + box.y - 1, box.width + 2, box.height + 2);
}
