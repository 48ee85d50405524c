// The view as one PNG: the grid of heads, lines and maps side by side, with title and sentence.

import { canvasSize, sheet } from "../shared/sheet.js";
import { TO_NOTHING } from "../shared/map_sentences.js";
import { headTag } from "../shared/messages.js";
import { sayHeads } from "./scale.js";

const TOKENS_ROOM = 110; // on both sides of the lines

/** The lines with their tokens. @param {import("./heads.js").Heads} heads @returns {import("../shared/sheet.js").Part | null} */
function linesPart({ linesPanel: { lines, heading }, state: { kind }, shell: { inks } }) {
  const size = canvasSize(lines.canvas);
  const draw = (context, x, y) => {
    context.drawImage(lines.canvas, x + TOKENS_ROOM, y, size.width, size.height);
    context.font = "12px monospace";
    context.fillStyle = inks.ink;
    /** @type {[Map<number | null, number>, string[], number, CanvasTextAlign][]} */
    const columns = [
      [lines.places.queries, kind.query_tokens, x + TOKENS_ROOM - 6, "right"],
      [lines.places.keys, kind.key_tokens, x + TOKENS_ROOM + size.width + 6, "left"],
    ];
    for (const [places, tokens, left, align] of columns) {
      context.textAlign = align;
      for (const [index, at] of places)
        context.fillText(
          index === null ? TO_NOTHING : tokens[index],
          left,
          y + at,
          TOKENS_ROOM - 8,
        );
    }
    context.textAlign = "left";
  };
  return (
    size && {
      title: [...heading.querySelectorAll("b, [data-part=lines-of]")]
        .map((part) => part.textContent)
        .join(" · "),
      width: size.width + 2 * TOKENS_ROOM,
      height: size.height,
      of: lines.canvas,
      draw,
    }
  );
}

/**
 * @param {import("./heads.js").Heads} heads
 * @param {string[]} [more] lines below the maps
 * @param {string} [state] of the head, added to the title
 * @returns {Promise<Blob | null>}
 */
export function picture(heads, more = [], state = "") {
  const { thumbnails, mapPanel, pins } = heads;
  const { layer, head } = heads.shown;
  const { inks } = heads.shell;
  const tag = headTag(layer, head);
  const title = sayHeads("layer_head", { title: heads.model.get("_title"), layer, head });
  const maps = [mapPanel.map, ...pins.now.map(({ tile }) => tile.map)].map(({ canvas }) => {
    const caption = canvas.parentElement?.querySelector("figcaption:not([hidden])");
    const words = [...(caption?.children ?? [])]
      .filter((part) => /** @type {HTMLElement} */ (part).dataset.part !== "unpin")
      .map((part) => part.textContent);
    return { canvas, title: words.join(" ") || tag };
  });
  return sheet({
    title: `${title}${state}`,
    more,
    sentence: `${heads.readout.text}${heads.flag.hidden ? "" : ` ${heads.flag.textContent}`}`,
    inks,
    width: Infinity,
    parts: [
      { title: sayHeads("heads"), thumbnails },
      { title: "", part: linesPart(heads) },
      ...maps,
    ],
  });
}
