/** From words to ids: WordPiece and BPE, by the library of Hugging Face. */
import {Tokenizer as Library} from "@huggingface/tokenizers";

import type {Json} from "../json.js";
import {Part, wholeOf} from "./reading.js";

/** What the library's models are asked: the tokens of some words. */
type Model = (words: readonly string[]) => string[];

/** A model of words, and its vocabulary. */
export interface Words {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Returns the ids of a word that isn't empty. */
  ids(word: string): number[];
}

/**
 * Reads `model`; `document` is the file as `JSON.parse` has it, for the library.
 *
 * @throws UnsupportedError where it is another kind, BundleError where its parts don't belong together.
 */
export function readWords(value: Json | undefined, document: {readonly model?: object}): Words {
  const part = new Part("model", value);
  const vocabulary = readVocabulary(part);
  // Older files don't say the type, and have one of these two as the library tells them apart.
  const type = part.has("type") ? part.type : part.has("merges") ? "BPE" : "WordPiece";
  if (type === "BPE") checkBpe(part, vocabulary);
  else if (type === "WordPiece") checkWordPiece(part);
  else throw part.unsupported(`the type "${type}"`);
  const unknown = part.has("unk_token") ? part.text("unk_token") : null;
  const model = libraryModel({...document.model, type, ...mergesOf(part, type)});
  const whole = type === "BPE" && part.flag("ignore_merges", false);
  // Where BPE has no token for them, unknown characters vanish before others are merged across them.
  const silent = type === "BPE" && unknown === null;
  return {
    vocabulary,
    ids(word) {
      const known =
        silent && !(whole && vocabulary.has(word)) ? [...word].filter((each) => vocabulary.has(each)).join("") : word;
      if (known === "") return [];
      return model([known]).map((token) => {
        const id = vocabulary.get(token) ?? (unknown === null ? undefined : vocabulary.get(unknown));
        if (id === undefined)
          throw part.broken("the vocabulary lacks a word of the text, and the token for such words, too");
        return id;
      });
    },
  };
}

function readVocabulary(part: Part): ReadonlyMap<string, number> {
  const vocab = part.part("vocab");
  const vocabulary = new Map<string, number>();
  for (const token of vocab.keys) {
    const id = wholeOf(vocab.value(token));
    if (id === null) throw vocab.broken(`"${token.slice(0, 100)}": expected a whole number`);
    vocabulary.set(token, id);
  }
  return vocabulary;
}

function checkWordPiece(part: Part): void {
  part.only("type", "vocab", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word");
  part.text("unk_token");
  part.text("continuing_subword_prefix");
  part.whole("max_input_chars_per_word");
}

function checkBpe(part: Part, vocabulary: ReadonlyMap<string, number>): void {
  part.only(
    ...["type", "vocab", "merges", "unk_token", "fuse_unk", "ignore_merges"],
    ...["dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"],
  );
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (part.has(key) && part.text(key) !== "") throw part.unsupported(key);
  }
  if (part.has("dropout")) throw part.unsupported("dropout");
  if (part.flag("byte_fallback", false)) throw part.unsupported("byte_fallback");
  part.flag("fuse_unk", false);
  for (const [index, [left, right]] of merges(part).entries()) {
    if (!vocabulary.has(left) || !vocabulary.has(right) || !vocabulary.has(left + right)) {
      throw part.broken(`merges[${index}]: a half or the whole is not in the vocabulary`);
    }
  }
}

/** Reads merges, `["left", "right"]` or `"left right"`; all of them are one or the other. */
function merges(part: Part): [string, string][] {
  const list = part.list("merges");
  const strings = typeof list[0] === "string";
  // What merges.txt begins with may stand in a list of strings.
  const told = strings ? list.filter((merge) => typeof merge !== "string" || !merge.startsWith("#version")) : list;
  return told.map((merge, index) => {
    const halves = strings && typeof merge === "string" ? merge.split(" ") : strings ? null : merge;
    const [left, right] = Array.isArray(halves) && halves.length === 2 ? halves : [];
    if (typeof left === "string" && typeof right === "string") return [left, right];
    throw part.broken(`merges[${index}]: expected two tokens`);
  });
}

function mergesOf(part: Part, type: string): {merges?: [string, string][]} {
  return type === "BPE" ? {merges: merges(part)} : {};
}

function libraryModel(model: object): Model {
  const rest = {added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null};
  return new Library({...rest, model}, {}).model as unknown as Model;
}
