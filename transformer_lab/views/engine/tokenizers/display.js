// Makes invisible characters visible, like transformer_lab/tokenizers.py.

const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥", "\x7f": "␡" };
const UNSEEN = /[\p{C}\p{Z}]/u;

const BLANK = /[\u115f\u1160\u2800\u3164\uffa0]/u; // letters and signs that draw nothing
// Marks that draw nothing themselves, such as the selector of a coloured emoji.
const JOINING = /[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u;

/** @param {string} text */
export const display = (text) =>
  Array.from(text, (character, i) => displayCharacter(character, !i)).join("");

/** @param {string} character @param {boolean} first a combining mark has no base there */
function displayCharacter(character, first) {
  if (Object.hasOwn(SIGNS, character)) return SIGNS[character];
  const code = /** @type {number} */ (character.codePointAt(0));
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  const lone = first && /\p{M}/u.test(character);
  if (UNSEEN.test(character) || (lone ? JOINING : BLANK).test(character))
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  return lone ? `◌${character}` : character;
}

/** Display UTF-8 bytes; those that are only part of a character show as numbers. @param {Uint8Array} bytes */
export function displayBytes(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length;) {
    const size = characterAt(bytes, i);
    parts.push(
      size
        ? displayCharacter(
            new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(i, i + size)),
            !i,
          )
        : `⟨${bytes[i].toString(16).toUpperCase().padStart(2, "0")}⟩`,
    );
    i += size || 1;
  }
  return parts.join("");
}

/** Number of bytes of the character that starts at index i; 0 if none does. */
function characterAt(bytes, i) {
  const first = bytes[i];
  const size =
    first < 0x80
      ? 1
      : first < 0xc2
        ? 0
        : first < 0xe0
          ? 2
          : first < 0xf0
            ? 3
            : first < 0xf5
              ? 4
              : 0;
  if (!size || i + size > bytes.length) return 0;
  for (let k = 1; k < size; k++) if (bytes[i + k] >> 6 !== 2) return 0;
  // Overlong forms, halves of surrogate pairs, and code points beyond the last.
  const second = bytes[i + 1];
  if (
    (first === 0xe0 && second < 0xa0) ||
    (first === 0xed && second > 0x9f) ||
    (first === 0xf0 && second < 0x90) ||
    (first === 0xf4 && second > 0x8f)
  )
    return 0;
  return size;
}
