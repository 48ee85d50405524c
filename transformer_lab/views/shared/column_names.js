// Names above the columns of a map that are too narrow to write them across.

const TEXT = 12; // px
const LEAST_TEXT = 9;
const LEAN = Math.PI / 3;
export const LONGEST_NAME = 96; // px

/**
 * How names stand at columns of this width: leaning while no two touch, else upright, and smaller
 * where even that is too wide.
 * @param {number} pitch from one column to the next, in pixels
 */
export function leaning(pitch) {
  if (pitch * Math.sin(LEAN) >= TEXT - 0.5) return { angle: LEAN, size: TEXT };
  return { angle: Math.PI / 2, size: textOf(pitch) };
}

/** The largest text, in pixels, of which no two lines touch. @param {number} pitch */
export const textOf = (pitch) => Math.max(LEAST_TEXT, Math.min(TEXT, Math.floor(pitch)));

/** How high names of this length reach, in pixels. @param {number} length @param {number} pitch */
export const leaningHeight = (length, pitch) => Math.min(length, LONGEST_NAME) * Math.sin(leaning(pitch).angle) + TEXT;

/**
 * @param {CanvasRenderingContext2D} context whose font and colour are set
 * @param {string} text
 * @param {number} x the middle of the column
 * @param {number} y its top
 * @param {number | null} pitch of leaning names; null where they have room across
 */
export function writeAbove(context, text, x, y, pitch) {
  context.save();
  context.translate(x, y - 5);
  context.textAlign = pitch === null ? "center" : "left";
  if (pitch !== null) context.rotate(-leaning(pitch).angle);
  context.fillText(text, pitch === null ? 0 : 2, pitch === null ? -4 : 1);
  context.restore();
}
