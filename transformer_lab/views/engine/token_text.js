// What a page shows of a text that was read, and the words for tokens. As in views/explorer/runs.py and
// views/explorer/exact.py.

/**
 * Of each side its tokens, which of them are special, how many are not known; the tokens of the side
 * that is predicted on, masks apart; and what an encoder-decoder writes, in words.
 * @param {import("./text_model.js").TextModel} model
 * @param {import("./pass.js").Inputs} inputs
 * @param {number[]} plain tokens of the text before some of them were masked
 */
export function textShown(model, { tokens, target = null }, plain) {
  const side = (tokenizer, ids) => ({
    tokens: tokenizer.tokens(ids),
    special: Array.from(ids.keys()).filter((i) => Object.values(tokenizer.ids).includes(ids[i])),
    unknown: ids.filter((id) => id === tokenizer.ids.unk).length,
    sign: (tokenizer.ids.unk ?? null) === null ? "" : tokenizer.tokens([tokenizer.ids.unk])[0],
  });
  return {
    text: side(model.tokenizer, tokens),
    plain: target ?? plain,
    target: target ? side(model.targetTokenizer, target) : null,
    written: target ? model.targetTokenizer.decode(target.slice(1)) : null,
  };
}

/** Tokens of the side that is predicted on, as they are shown. @param {import("./desk.js").Reading} reading @param {{ids: number[]}} given */
export function* names(reading, { ids }) {
  return reading.names(ids);
}

/** The words of tokens of the side that is predicted on. @param {import("./desk.js").Reading} reading @param {{ids: number[]}} given */
export function* decode(reading, { ids }) {
  return reading.text.targetTokenizer.decode(ids);
}

/**
 * The words for tokens of the side that is predicted on, and whether they would be read as exactly these.
 * @param {import("./desk.js").Reading} reading
 * @param {{ids: number[], old: string, oldIds: number[]}} given words and tokens that they may have grown from
 */
export function* words(reading, { ids, old, oldIds }) {
  const { text: model } = reading;
  if (!ids.length) throw new Error("ids is empty; give at least one token");
  if (ids.length > model.longest) {
    throw new Error(
      `that would be ${ids.length} tokens but ${model.name} reads at most ${model.longest}; begin with a shorter text`,
    );
  }
  const wordings = [...new Set(wordingsOf(model, ids, old, oldIds))].filter(Boolean);
  for (const one of wordings) {
    if (same(idsOf(model, one), ids)) return { words: one, exact: true };
  }
  return { words: wordings[0] ?? old, exact: false };
}

const same = (a, b) => a !== null && a.length === b.length && a.every((id, i) => id === b[i]);

/** What words are read as; null where they cannot be. */
function idsOf(model, words) {
  try {
    return model.model.both ? model.targetIds([], words).next().value : model.encode(words);
  } catch {
    return null;
  }
}

/** @returns {Generator<string>} */
function* wordingsOf(model, ids, old, oldIds) {
  const tokenizer = model.targetTokenizer;
  if (model.kind === "encoder") {
    yield* filled(model, ids, old, oldIds);
    yield* withMasks(model, ids);
    return;
  }
  const start = model.model.both ? 1 : 0; // its start token
  const [before, now] = [tokenizer.decode(oldIds.slice(start)), tokenizer.decode(ids.slice(start))];
  if (now.startsWith(before)) {
    yield old + now.slice(before.length); // as it was typed, and what is new
    yield `${old} ${now.slice(before.length).trim()}`;
  }
  yield now;
  yield old;
}

/** The text with a word in the place of one of its masks. @returns {Generator<string>} */
function* filled({ tokenizer }, ids, old, oldIds) {
  const { mask } = tokenizer.ids;
  if (ids.length !== oldIds.length || (mask ?? null) === null) return;
  const [name] = tokenizer.tokens([mask]);
  const places = Array.from(oldIds.keys()).filter((i) => oldIds[i] === mask);
  const pieces = old.split(name);
  for (const [nth, place] of places.entries()) {
    if (ids[place] === mask || pieces.length <= nth + 1) continue;
    const word = tokenizer.decode([ids[place]]);
    const [first, last] = [pieces.slice(0, nth + 1).join(name), pieces.slice(nth + 1).join(name)];
    yield first + word.trim() + last;
    yield first + word + last;
  }
}

/** The tokens as a text, with the name of the mask where one stands. @returns {Generator<string>} */
function* withMasks({ tokenizer }, ids) {
  const { mask } = tokenizer.ids;
  const pieces = [[]];
  for (const id of ids) {
    if (id === mask) pieces.push([]);
    else pieces[pieces.length - 1].push(id);
  }
  const name = (mask ?? null) === null ? "" : tokenizer.tokens([mask])[0];
  const parts = pieces.map((piece) => tokenizer.decode(piece));
  yield parts.join(` ${name} `).trim();
  yield parts.join(name);
}
