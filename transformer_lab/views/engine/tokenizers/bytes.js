// Byte-level byte-pair encoding: splits any text into pieces that were merged most often in
// training. Sources: Sennrich et al. 2016; bytes instead of characters, Radford et al. 2019.

/** Unicode's white space, inside a class. */
export const SPACE =
  "\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
/** Pieces that are never merged with each other: GPT-2's pattern. */
const PIECES = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`,
  "gu",
);

/** The printable character for each byte. */
export const BYTE_SIGNS = (() => {
  const plain = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let others = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(plain(byte) ? byte : others++),
  );
})();

export const BYTE_OF = new Map(BYTE_SIGNS.map((sign, byte) => [sign, byte]));

/** @param {string} text @returns {string[]} */
export const piecesOf = (text) => text.match(PIECES) ?? [];

export class Merges {
  /** @param {Map<string, number>} ids token -> id @param {[string, string][]} merges the earliest first */
  constructor(ids, merges) {
    /** @type {Map<number, Map<number, {rank: number, id: number}>>} left -> right -> merged */
    this.pairs = new Map();
    merges.forEach(([left, right], rank) => {
      const [a, b] = [left, right].map((token) => /** @type {number} */ (ids.get(token)));
      const id = /** @type {number} */ (ids.get(left + right));
      if (!this.pairs.has(a)) this.pairs.set(a, new Map());
      this.pairs.get(a)?.set(b, { rank, id });
    });
  }

  /**
   * Merge neighbours, the earliest learned pair first, and of equal pairs the first in the text.
   * Neighbours are linked and pairs wait in a heap, so that a word of 100,000 letters takes no
   * longer than as many letters in short words.
   * @param {number[]} ids of the bytes
   */
  merged(ids) {
    const next = ids.map((_, i) => (i + 1 < ids.length ? i + 1 : -1));
    const before = ids.map((_, i) => i - 1);
    const waiting = new Heap();
    const offer = (i) => {
      if (i < 0 || next[i] < 0) return;
      const pair = this.pairs.get(ids[i])?.get(ids[next[i]]);
      if (pair) waiting.push({ rank: pair.rank, place: i, id: pair.id });
    };
    for (let i = 0; i < ids.length; i++) offer(i);
    for (let top = waiting.pop(); top; top = waiting.pop()) {
      const { place, id } = top;
      const right = next[place];
      // Another merge may have taken one of the two since.
      if (ids[place] < 0 || right < 0 || this.pairs.get(ids[place])?.get(ids[right])?.id !== id)
        continue;
      ids[place] = id;
      ids[right] = -1;
      next[place] = next[right];
      if (next[right] >= 0) before[next[right]] = place;
      offer(before[place]);
      offer(place);
    }
    return ids.filter((id) => id >= 0);
  }
}

/** A min-heap, ordered by rank, then by place in the text. */
class Heap {
  constructor() {
    /** @type {{rank: number, place: number, id: number}[]} */
    this.items = [];
  }

  less(a, b) {
    return a.rank - b.rank || a.place - b.place;
  }

  push(item) {
    const { items } = this;
    let at = items.push(item) - 1;
    while (at) {
      const above = (at - 1) >> 1;
      if (this.less(items[above], item) <= 0) break;
      items[at] = items[above];
      at = above;
    }
    items[at] = item;
  }

  pop() {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (!items.length || last === undefined) return top;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= items.length) break;
      if (below + 1 < items.length && this.less(items[below + 1], items[below]) < 0) below++;
      if (this.less(last, items[below]) <= 0) break;
      items[at] = items[below];
      at = below;
    }
    items[at] = last;
    return top;
  }
}
