// Text with everything invisible made visible, as transformer_lab/tokenizers.py shows it.

const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥", "\x7f": "␡" };
const UNSEEN = /[\p{C}\p{Z}]/u;

/** @param {string} text */
export const display = (text) => Array.from(text, displayCharacter).join("");

function displayCharacter(character) {
  if (Object.hasOwn(SIGNS, character)) return SIGNS[character];
  const code = /** @type {number} */ (character.codePointAt(0));
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return UNSEEN.test(character) ? `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩` : character;
}

/** The same for bytes of UTF-8; those that are only part of a character show as numbers. @param {Uint8Array} bytes */
export function displayBytes(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; ) {
    const size = characterAt(bytes, i);
    parts.push(size ? display(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(i, i + size))) : `⟨${bytes[i].toString(16).toUpperCase().padStart(2, "0")}⟩`);
    i += size || 1;
  }
  return parts.join("");
}

/** How many bytes the character has that begins at a place; 0 where none does. */
function characterAt(bytes, i) {
  const first = bytes[i];
  const size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (!size || i + size > bytes.length) return 0;
  for (let k = 1; k < size; k++) if (bytes[i + k] >> 6 !== 2) return 0;
  // Overlong forms, halves of surrogate pairs, and what lies beyond the last character.
  const second = bytes[i + 1];
  if ((first === 0xe0 && second < 0xa0) || (first === 0xed && second > 0x9f) || (first === 0xf0 && second < 0x90) || (first === 0xf4 && second > 0x8f)) return 0;
  return size;
}
