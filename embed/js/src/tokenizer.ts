/** Texts to tokens, by the bundle's `tokenizer.json`, and tokens to a model's inputs. */
import {BundleError, InputError, UnsupportedError} from "./errors.js";
import {JsonError, parseJson} from "./json.js";
import type {Manifest} from "./manifest.js";
import type {Tensor} from "./tensor.js";
import {type AddedTokens, readAddedTokens} from "./tokenizer/added_tokens.js";
import {type Normaliser, readNormaliser} from "./tokenizer/normaliser.js";
import {type PostProcessor, processed, readPostProcessor, specialCount} from "./tokenizer/post_processor.js";
import {type PreTokeniser, readPreTokeniser} from "./tokenizer/pre_tokeniser.js";
import {Part} from "./tokenizer/reading.js";
import {readWords, type Words} from "./tokenizer/words.js";

/** What a manifest says of its tokenizer. */
type TokenizerRecord = NonNullable<Manifest["tokenizer"]>;

/** A tokenized text, special tokens included, without padding: an int64 of each token. */
export interface Tokens {
  readonly ids: BigInt64Array<ArrayBuffer>;
  /** 0 for the first text of a pair, 1 for the second, as the tokenizer has it. */
  readonly typeIds: BigInt64Array<ArrayBuffer>;
  readonly mask: BigInt64Array<ArrayBuffer>;
}

export interface Tokenizer {
  /**
   * Returns the tokens of a text, or of a pair. They are cut to `maxLength`, the longer half of a pair first: what the
   * model takes where it isn't given, not at all where it is 0.
   */
  encode(text: string, pair?: string | null, maxLength?: number): Tokens;
}

/**
 * Reads a tokenizer from the bytes of its file; `where` is its path, for messages. `maxLength` is what texts are cut to
 * where nothing else is asked.
 *
 * These kinds have the ids of the tokenizers library, and all else is refused by name:
 *
 *     normalizer      BertNormalizer, Lowercase, NFC, NFD, Prepend, Replace of a String, Sequence, StripAccents
 *     added_tokens    special or not, with single_word, lstrip, rstrip and normalized
 *     pre_tokenizer   BertPreTokenizer, ByteLevel, Digits, Sequence, Split by the patterns of GPT-2, Llama 3 and Qwen2
 *     model           BPE without dropout, affixes and byte_fallback; WordPiece
 *     post_processor  BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing
 *
 * @throws BundleError where the file is none, UnsupportedError where it is of another kind.
 */
export function readTokenizer(where: string, bytes: Uint8Array, maxLength: number): Tokenizer {
  try {
    const root = new Part("tokenizer", parseJson(bytes));
    root.only(
      ...["version", "truncation", "padding", "added_tokens", "normalizer"],
      ...["pre_tokenizer", "post_processor", "decoder", "model"],
    );
    if (root.has("version") && root.text("version") !== "1.0")
      throw root.unsupported(`the version "${root.text("version")}"`);
    const words = readWords(root.value("model"), JSON.parse(new TextDecoder().decode(bytes)) as {model?: object});
    const normaliser = readNormaliser(root.value("normalizer"));
    const preTokeniser = readPreTokeniser(root.value("pre_tokenizer"));
    const postProcessor = readPostProcessor(root.value("post_processor"));
    const added = readAddedTokens(root.value("added_tokens"), words.vocabulary, normaliser);
    return new BundleTokenizer({words, normaliser, preTokeniser, postProcessor, ...added}, maxLength);
  } catch (error) {
    if (error instanceof UnsupportedError) throw new UnsupportedError(`${where}: ${error.message}`);
    if (error instanceof BundleError) throw new BundleError(`${where}: ${error.message}`);
    if (error instanceof JsonError)
      throw new BundleError(`${where} is not JSON: ${error.message}.\nExport the bundle again.`);
    throw error;
  }
}

/** What a text goes through, in this order but for the words. */
interface Steps {
  readonly plain: AddedTokens;
  readonly normaliser: Normaliser;
  readonly normal: AddedTokens;
  readonly preTokeniser: PreTokeniser;
  readonly words: Words;
  readonly postProcessor: PostProcessor;
}

class BundleTokenizer implements Tokenizer {
  private readonly steps: Steps;
  private readonly maxLength: number;

  constructor(steps: Steps, maxLength: number) {
    this.steps = steps;
    this.maxLength = maxLength;
  }

  encode(text: string, pair: string | null = null, maxLength = this.maxLength): Tokens {
    if (!Number.isSafeInteger(maxLength) || maxLength < 0) {
      throw new InputError(`maxLength: got ${String(maxLength)}, expected a whole number of 0 or more.`);
    }
    const template = this.steps.postProcessor[pair === null ? "single" : "pair"];
    const texts = [this.idsOf(text), ...(pair === null ? [] : [this.idsOf(pair)])];
    const special = specialCount(template);
    if (maxLength && maxLength < special) {
      throw new InputError(`A maxLength of ${maxLength} leaves no room for ${special} special tokens.`);
    }
    const room = maxLength ? maxLength - special : Infinity;
    const most = longestFirst(room, texts[0]?.length ?? 0, texts[1]?.length ?? 0);
    const {ids, typeIds} = processed(
      template,
      texts.map((each, index) => each.slice(0, most[index])),
    );
    return {
      ids: BigInt64Array.from(ids, BigInt),
      typeIds: BigInt64Array.from(typeIds, BigInt),
      mask: new BigInt64Array(ids.length).fill(1n),
    };
  }

  /** Returns the ids of a text, without special tokens. */
  private idsOf(text: string): number[] {
    const {plain, normaliser, normal, preTokeniser, words} = this.steps;
    if (typeof text !== "string") throw new InputError(`text: got ${typeof text}, expected a string.`);
    if (/\p{Cs}/u.test(text)) throw new InputError("The text holds half of a surrogate pair, which is no character.");
    return plain.split(text).flatMap((piece) => {
      if (typeof piece === "number") return [piece];
      const whole = normaliser(piece);
      return normal
        .split(whole)
        .flatMap((part) =>
          typeof part === "number"
            ? [part]
            : preTokeniser(part).flatMap((word) => (word === "" ? [] : words.ids(word))),
        );
    });
  }
}

/** Returns how many tokens of each half are left of `most`: the longer is cut first, as the tokenizers library does. */
export function longestFirst(most: number, first: number, second: number): [number, number] {
  if (first + second <= most) return [first, second];
  const shorter = Math.min(first, second);
  // Where the shorter one alone leaves less than itself for the longer one, both get a half, the longer the odd token.
  const [less, more] = 2 * shorter > most ? [Math.floor(most / 2), Math.ceil(most / 2)] : [shorter, most - shorter];
  return first > second ? [more, less] : [less, more];
}

/**
 * Returns a model's inputs for several rows, int64 `(rows, longest)`, padded as the manifest says.
 *
 * @throws BundleError where the model takes an input that no tokenizer gives.
 */
export function batchOf({inputs, tokenizer}: Manifest, rows: readonly Tokens[]): Record<string, Tensor> {
  const record = tokenizer as TokenizerRecord;
  const longest = Math.max(...rows.map(({ids}) => ids.length));
  const padded = (data: (row: Tokens) => BigInt64Array, fill: number): Tensor => {
    const values = new BigInt64Array(rows.length * longest).fill(BigInt(fill));
    for (const [index, row] of rows.entries()) {
      const shift = record.padding_side === "left" ? longest - row.ids.length : 0;
      values.set(data(row), index * longest + shift);
    }
    return {dtype: "int64", shape: [rows.length, longest], data: values};
  };
  const batch: Record<string, Tensor> = {};
  for (const {name} of inputs) {
    if (name === "input_ids") batch[name] = padded(({ids}) => ids, record.pad_id);
    else if (name === "attention_mask") batch[name] = padded(({mask}) => mask, 0);
    else if (name === "token_type_ids") batch[name] = padded(({typeIds}) => typeIds, record.pad_type_id);
    else {
      throw new BundleError(
        `The model takes the input '${name}', which no tokenizer gives.\nRun it with tensors of your own.`,
      );
    }
  }
  return batch;
}
