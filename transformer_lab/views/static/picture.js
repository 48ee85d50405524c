// The view as one PNG: every head, lines and map side by side, with title and sentence.

const PAD = 16;

/**
 * @param {any} view a HeadViewer
 * @returns {Promise<Blob | null>}
 */
export function picture(view) {
  const { canvas: thumbs } = view.thumbnails;
  const map = view.canvas;
  const strands = view.lines.canvas;
  const css = (canvas) => [parseFloat(canvas.style.width), parseFloat(canvas.style.height)];
  const [thumbWidth, thumbHeight] = css(thumbs);
  const [mapWidth, mapHeight] = css(map);
  const [lineWidth, lineHeight] = css(strands);
  const words = 110;
  const width = PAD * 5 + thumbWidth + 2 * words + lineWidth + mapWidth;
  const body = Math.max(thumbHeight, mapHeight, lineHeight);
  const more = view.pictureWords?.() ?? [];
  const height = body + 96 + 22 * more.length;
  const sheet = document.createElement("canvas");
  sheet.width = 2 * width;
  sheet.height = 2 * height;
  const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  context.scale(2, 2);
  context.fillStyle = view.inks.ground;
  context.fillRect(0, 0, width, height);
  const write = (text, x, y, font, colour, align = "left") => {
    context.font = font;
    context.fillStyle = colour;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillText(text, x, y, align === "left" && x === PAD ? width - 2 * PAD : undefined);
  };
  const sans = "system-ui, sans-serif";
  write(`${view.model.get("_title")} · layer ${view.shown.layer}, head ${view.shown.head}`, PAD, 22, `bold 15px ${sans}`, view.inks.ink);
  const top = 44;
  context.drawImage(thumbs, PAD, top, thumbWidth, thumbHeight);
  const left = 2 * PAD + thumbWidth;
  context.drawImage(strands, left + words, top, lineWidth, lineHeight);
  const columns = [
    [view.lines.places.queries, view.kind.query_tokens, left + words - 6, "right"],
    [view.lines.places.keys, view.kind.key_tokens, left + words + lineWidth + 6, "left"],
  ];
  for (const [places, tokens, x, align] of columns) {
    for (const [index, y] of places) write(tokens[index], x, top + y, "12px monospace", view.inks.ink, align);
  }
  context.drawImage(map, width - PAD - mapWidth, top, mapWidth, mapHeight);
  const flag = view.flag.hidden ? "" : ` ${view.flag.textContent}`;
  more.forEach((line, i) => write(line, PAD, top + body + 24 + 22 * i, `13px ${sans}`, view.inks.ink));
  write(view.readout.text + flag, PAD, height - 24, `14px ${sans}`, view.inks.ink);
  return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
}
