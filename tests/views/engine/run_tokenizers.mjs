// Runs the page's tokenizers on texts that Python wrote, and returns the results.

import { tokenizerOf } from "../../../transformer_lab/views/engine/tokenizers/tokenizer.js";
import { display } from "../../../transformer_lab/views/engine/tokenizers/display.js";
import { given, write } from "./shared.mjs";

const { tokenizers, texts, lists, characters, which } = given;

/** Ids, or the message of an error. */
function idsOf(tokenizer, text) {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    return error.message;
  }
}

const found = tokenizers.map((values, i) => {
  const tokenizer = tokenizerOf(values);
  return {
    ids: which[i].map((text) => idsOf(tokenizer, texts[text])),
    decoded: lists[i].map((ids) => tokenizer.decode(ids)),
    tokens: tokenizer.tokens(Array.from({ length: tokenizer.size }, (_, id) => id)),
    rows: tokenizer.rows,
  };
});
write({ found, shown: characters.map(display) });
