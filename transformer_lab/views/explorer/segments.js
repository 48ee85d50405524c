// Named parts of a text, such as the turns of a conversation.

/** @typedef {[name: string, start: number, end: number]} Segment in tokens, as in slices */

/**
 * Move segments after some tokens have changed: the part that holds every change grows or shrinks,
 * and those after it move; empty if no part holds them all. Like `follow_segments` of
 * heads/spans.py.
 * @param {Segment[]} segments
 * @param {ArrayLike<number>} before
 * @param {ArrayLike<number>} after
 * @returns {Segment[]}
 */
export function followSegments(segments, before, after) {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let tail = 0;
  while (
    tail < shorter - start &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail++;
  const end = before.length - tail;
  const holds = segments.findLastIndex(([, a, b]) => a <= start && end <= b);
  if (holds < 0) return [];
  const grows = after.length - before.length;
  return segments.map(([name, a, b], i) => [
    name,
    a + (i > holds ? grows : 0),
    b + (i >= holds ? grows : 0),
  ]);
}

/** Segments for a kind of attention with so many tokens, as in `HeadData.kinds`. @param {Segment[]} segments @param {number} count */
export function segmentsOfKind(segments, count) {
  const held = segments.filter(([, a, b]) => b > a);
  const seen = held.length > 1 ? held.filter(([, a]) => a < count) : [];
  if (!seen.length) return {};
  return {
    segments: seen.map(([, a, b]) => [a, Math.min(b, count)]),
    segment_names: seen.map(([name]) => name),
  };
}
