/** Added tokens: those that are found in a text before it is parted into words. */
import type {Json} from "../json.js";
import type {Normaliser} from "./normaliser.js";
import {Part} from "./reading.js";
import {SPACE, WORD} from "./unicode.js";

interface AddedToken {
  readonly id: number;
  readonly text: string;
  readonly singleWord: boolean;
  readonly takesBefore: boolean;
  readonly takesBehind: boolean;
}

/** A piece of a text: one without added tokens, or the id of one. */
export type Piece = string | number;

const WORD_BEFORE = new RegExp(`[${WORD}]$`, "u");
const WORD_BEHIND = new RegExp(`^[${WORD}]`, "u");
const SPACES = new RegExp(`[${SPACE}]`, "u");

/** Added tokens that are looked for together. */
export class AddedTokens {
  /** By their first characters, the longest first. */
  private readonly byStart = new Map<string, AddedToken[]>();

  constructor(part: Part, tokens: readonly AddedToken[]) {
    const seen = new Set<string>();
    for (const token of [...tokens].sort((one, other) => other.text.length - one.text.length)) {
      if (seen.has(token.text)) throw part.unsupported(`"${token.text.slice(0, 100)}" twice, maybe once normalized,`);
      seen.add(token.text);
      const start = token.text[0] as string;
      const alike = this.byStart.get(start);
      if (alike) alike.push(token);
      else this.byStart.set(start, [token]);
    }
  }

  /** Parts a text at the tokens in it: the leftmost one first, of several there the longest. */
  split(text: string): Piece[] {
    const pieces: Piece[] = [];
    let from = 0;
    for (let at = 0; at < text.length && this.byStart.size;) {
      const token = this.byStart.get(text[at] as string)?.find((each) => text.startsWith(each.text, at));
      if (!token) {
        at++;
        continue;
      }
      let [start, stop] = [at, at + token.text.length];
      // The search goes on behind a token, even where it is none or took spaces with it.
      at = stop;
      if (token.singleWord && (endsInWord(text, start) || beginsWord(text, stop))) continue;
      if (token.takesBefore) {
        while (start > 0 && SPACES.test(text[start - 1] as string)) start--;
        start = Math.max(start, from);
      }
      if (token.takesBehind) while (stop < text.length && SPACES.test(text[stop] as string)) stop++;
      // Where it lies within the spaces that the one before took, the library has no answer either.
      if (start > stop) throw overlap();
      if (from < start) pieces.push(text.slice(from, start));
      if (start < stop) pieces.push(token.id);
      from = stop;
    }
    if (from < text.length) pieces.push(text.slice(from));
    return pieces;
  }
}

function endsInWord(text: string, stop: number): boolean {
  return WORD_BEFORE.test(text.slice(Math.max(0, stop - 2), stop));
}

function beginsWord(text: string, start: number): boolean {
  return WORD_BEHIND.test(text.slice(start, start + 2));
}

function overlap(): Error {
  return new Part("added_tokens", new Map()).unsupported("one that lies within the spaces that another takes");
}

/** Reads `added_tokens`: those found in the text as it is, and those found in its normal form. */
export function readAddedTokens(
  value: Json | undefined,
  vocabulary: ReadonlyMap<string, number>,
  normaliser: Normaliser,
): {plain: AddedTokens; normal: AddedTokens} {
  const part = new Part("added_tokens", new Map([["list", value ?? []]]));
  const found = {plain: [] as AddedToken[], normal: [] as AddedToken[]};
  const ids = new Set<number>();
  let next = vocabulary.size;
  for (const member of part.list("list")) {
    const token = new Part("a token of added_tokens", member);
    token.only("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special");
    token.whole("id");
    token.flag("special");
    const content = token.text("content");
    const normalized = token.flag("normalized");
    const text = normalized && content !== "" ? normaliser(content) : content;
    if (text === "") throw token.unsupported(`"${content.slice(0, 100)}", empty as it is or once it is normalized,`);
    // The library's own numbers, whatever the file says: the vocabulary's, or the next free one.
    const id = vocabulary.get(content) ?? next;
    next = Math.max(next, id + 1);
    if (ids.has(id)) throw token.unsupported(`the id ${id} of another one, for "${content.slice(0, 100)}",`);
    ids.add(id);
    found[normalized ? "normal" : "plain"].push({
      id,
      text,
      singleWord: token.flag("single_word"),
      takesBefore: token.flag("lstrip"),
      takesBehind: token.flag("rstrip"),
    });
  }
  return {plain: new AddedTokens(part, found.plain), normal: new AddedTokens(part, found.normal)};
}
