/** Classes of characters as the tokenizers library has them, for regular expressions with the flag `u`. */

/** White_Space; `\s` of JavaScript has U+FEFF, too, and lacks U+0085. */
export const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** What `\w` is beside an added token. */
export const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

/** What BERT isolates: punctuation of Unicode, and all of ASCII that is neither letter, digit nor space. */
export const PUNCTUATION = "\\p{P}!-\\/:-@\\[-`{-~";
