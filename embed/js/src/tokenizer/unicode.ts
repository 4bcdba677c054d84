/** Classes of characters as the tokenizers library has them, for regular expressions with the flag `u`. */
import * as tables from "./unicode_tables.js";

/** White_Space; `\s` of JavaScript has U+FEFF, too, and lacks U+0085. */
export const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** Letters and numbers of the regular expressions that split texts. */
export const LETTER = unpacked(tables.LETTER);
export const NUMBER = unpacked(tables.NUMBER);
/** What `\w` is beside an added token. */
export const WORD = unpacked(tables.WORD);
/** What BERT isolates, what it cleans away, and which marks it strips. */
export const PUNCTUATION = unpacked(tables.PUNCTUATION);
export const CONTROL = unpacked(tables.CONTROL);
export const NONSPACING = unpacked(tables.NONSPACING);
/** The marks that StripAccents strips. */
export const MARK = unpacked(tables.MARK);
/** What Digits parts. */
export const NUMERIC = unpacked(tables.NUMERIC);

/** Returns a class, for `new RegExp`. */
function unpacked(table: string): string {
  const numbers = table.split(" ").map((number) => parseInt(number, 36));
  let text = "";
  for (let index = 0, at = 0; index < numbers.length; index += 2) {
    const first = at + (numbers[index] as number);
    at = first + (numbers[index + 1] as number);
    text += `\\u{${first.toString(16)}}-\\u{${(at - 1).toString(16)}}`;
  }
  return text;
}

const NEVER_CHANGES = /^[\u0000-\u00bf]*$/;
const CANONICAL = new RegExp(`[${unpacked(tables.CANONICAL)}]`, "u");
const ANY_MARK = /\p{M}/u;

/**
 * Returns the canonical form of a text, as the library makes it: a character that is newer than its tables is one that
 * nothing is done to, whatever this engine knows of it.
 */
export function canonical(text: string, form: "NFC" | "NFD"): string {
  if (NEVER_CHANGES.test(text)) return text;
  const parts = [""];
  for (const character of text) {
    const newer = !CANONICAL.test(character) && (ANY_MARK.test(character) || character.normalize("NFD") !== character);
    if (newer) parts.push(character, "");
    else parts[parts.length - 1] += character;
  }
  // Every other part is a character that is left alone.
  return parts.map((part, index) => (index % 2 ? part : part.normalize(form))).join("");
}
