// Runs the page's tokenizers on texts that Python wrote, and gives back what they make of them.

import fs from "node:fs";

import { Tokenizer } from "../../../transformer_lab/views/engine/tokenizers/tokenizer.js";
import { display } from "../../../transformer_lab/views/engine/tokenizers/display.js";

const [source, target] = process.argv.slice(2);
const { tokenizers, texts, lists, characters } = JSON.parse(fs.readFileSync(source, "utf-8"));

const found = tokenizers.map((values, which) => {
  const tokenizer = new Tokenizer(values);
  return {
    ids: texts.map((text) => tokenizer.encode(text)),
    decoded: lists[which].map((ids) => tokenizer.decode(ids)),
    tokens: tokenizer.tokens(tokenizer.vocabulary.map((_, id) => id)),
  };
});
fs.writeFileSync(target, JSON.stringify({ found, shown: characters.map(display) }));
