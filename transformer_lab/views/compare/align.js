// Tokens of two texts side by side. The counterpart of `align` in data.py, and of difflib's matching blocks
// (Ratcliff and Metzener 1988: the longest run that both have, then the same to its left and to its right).

/**
 * @typedef {object} Aligned for each place the index in either text, or -1 for a gap
 * @property {string[]} names
 * @property {number[]} first
 * @property {number[]} second
 */

/** Equal tokens, in order, stand together; so do as many in the place of as many others. @param {string[]} a @param {string[]} b @returns {Aligned} */
export function align(a, b) {
  /** @type {Aligned} */
  const aligned = { names: [], first: [], second: [] };
  const put = (name, i, j) => {
    aligned.names.push(name);
    aligned.first.push(i);
    aligned.second.push(j);
  };
  let [i, j] = [0, 0];
  for (const [nextI, nextJ, size] of [...matchingBlocks(a, b), [a.length, b.length, 0]]) {
    if (nextI - i === nextJ - j) for (; i < nextI; i++, j++) put(`${a[i]}/${b[j]}`, i, j);
    for (; i < nextI; i++) put(a[i], i, -1);
    for (; j < nextJ; j++) put(b[j], -1, j);
    for (const end = nextI + size; i < end; i++, j++) put(a[i], i, j);
  }
  return aligned;
}

/** [place in a, place in b, length] of what both have, in order. */
function matchingBlocks(a, b) {
  /** @type {Map<string, number[]>} */
  const places = new Map();
  b.forEach((token, j) => (places.get(token) ?? places.set(token, []).get(token)).push(j));
  const found = [];
  const within = (aFrom, aTo, bFrom, bTo) => {
    const [i, j, size] = longestMatch(a, places, aFrom, aTo, bFrom, bTo);
    if (!size) return;
    within(aFrom, i, bFrom, j);
    found.push([i, j, size]);
    within(i + size, aTo, j + size, bTo);
  };
  within(0, a.length, 0, b.length);
  return found;
}

function longestMatch(a, places, aFrom, aTo, bFrom, bTo) {
  let best = [aFrom, bFrom, 0];
  let before = new Map(); // how long a run is that ends at the token before in a, by its end in b
  for (let i = aFrom; i < aTo; i++) {
    const now = new Map();
    for (const j of places.get(a[i]) ?? []) {
      if (j < bFrom || j >= bTo) continue;
      const size = (before.get(j - 1) ?? 0) + 1;
      now.set(j, size);
      if (size > best[2]) best = [i - size + 1, j - size + 1, size];
    }
    before = now;
  }
  return best;
}
