// How far a colour scale reaches, and which part of a map a window shows.

/**
 * The end of the colour scale: 1, or less where no weight comes near it.
 * @param {number} most the largest weight
 * @param {boolean} isWeight whether values are weights, which cannot exceed 1
 */
export function scaleEnd(most, isWeight) {
  if (!(most > 0)) return 1;
  if (isWeight && most > 0.5) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((m) => m * power).find((end) => end >= most * 0.9999) ?? 10 * power;
}

/**
 * The part of a map that a window of `size` tokens shows, kept where it is while the centre is in.
 * @param {number} count
 * @param {number} size
 * @param {number} centre
 * @param {number | undefined} from where it began before
 */
export function windowFrom(count, size, centre, from) {
  if (size >= count) return 0;
  if (from !== undefined && centre >= from && centre < from + size) return Math.min(from, count - size);
  return Math.max(0, Math.min(count - size, centre - Math.floor(size / 2)));
}

/** @param {Float32Array} row */
export function highest(row) {
  let most = 0;
  for (let i = 0; i < row.length; i++) if (Math.abs(row[i]) > most) most = Math.abs(row[i]);
  return most;
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
