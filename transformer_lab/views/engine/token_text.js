// What a page shows of a text that was read, and the words for tokens, as in views/explorer/runs.py
// and views/explorer/exact.py.

/**
 * For each side its tokens, which of them are special and how many are unknown; the tokens of the
 * side with the predictions, before masking; and an encoder-decoder's output in words.
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

/** Tokens of the side with the predictions, as they are shown. @param {import("./desk.js").Reading} reading @param {{ids: number[]}} given */
export function* names(reading, { ids }) {
  return reading.names(ids);
}

/** Decode tokens of the side with the predictions. @param {import("./desk.js").Reading} reading @param {{ids: number[]}} given */
export function* decode(reading, { ids }) {
  return reading.text.targetTokenizer.decode(ids);
}

/**
 * Words for tokens of the side with the predictions, and whether they are tokenized to exactly
 * these.
 * @param {import("./desk.js").Reading} reading
 * @param {{ids: number[], old: string, oldIds: number[]}} given old, oldIds: words and tokens that
 *   they may have grown from
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

/** Token ids of words; null if they cannot be read. */
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
    yield old + now.slice(before.length); // as typed, plus what is new
    yield `${old} ${now.slice(before.length).trim()}`;
  }
  yield now;
  yield old;
}

/** The text with a word in place of one of its masks. @returns {Generator<string>} */
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

/** The tokens as text, with the name of the mask at every mask. @returns {Generator<string>} */
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
