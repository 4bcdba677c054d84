/** Texts to tokens, with the library of Hugging Face and the bundle's `tokenizer.json`, and tokens to a model's inputs. */
import {Tokenizer as Library} from "@huggingface/tokenizers";

import {BundleError, InputError, reason} from "./errors.js";
import type {Manifest} from "./manifest.js";
import type {Tensor} from "./tensor.js";
import {checkSupported} from "./tokenizer_kinds.js";

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

/** What a post-processor makes of the tokens of a text, or of a pair. */
interface Processed {
  readonly tokens: readonly string[];
  readonly token_type_ids?: readonly number[];
}
type PostProcessor = (first: string[], second: string[] | null, special: boolean) => Processed;

/**
 * Reads a tokenizer from the bytes of its file; `where` is its path, for messages.
 *
 * @throws BundleError where the file is none, UnsupportedError where its tokens would not be exact.
 */
export function readTokenizer(where: string, bytes: Uint8Array, record: TokenizerRecord): Tokenizer {
  let library: Library;
  try {
    const document: unknown = JSON.parse(new TextDecoder("utf-8", {fatal: true}).decode(bytes));
    checkSupported(where, document);
    library = new Library(document as object, {});
  } catch (error) {
    if (error instanceof Error && error.name === "UnsupportedError") throw error;
    throw new BundleError(`${where} can't be read as a tokenizer: ${reason(error)}\nExport the bundle again.`, {
      cause: error,
    });
  }
  return new BundleTokenizer(library, record);
}

class BundleTokenizer implements Tokenizer {
  private readonly library: Library;
  private readonly record: TokenizerRecord;

  constructor(library: Library, record: TokenizerRecord) {
    this.library = library;
    this.record = record;
  }

  encode(text: string, pair: string | null = null, maxLength = this.record.max_length): Tokens {
    const process = this.library.post_processor as unknown as PostProcessor | null;
    let first = this.library.tokenize(text);
    let second = pair === null ? null : this.library.tokenize(pair);
    const special = process ? process([], second && [], true).tokens.length : 0;
    if (maxLength) {
      if (maxLength < special) {
        throw new InputError(`A maxLength of ${maxLength} leaves no room for ${special} special tokens.`);
      }
      const [most, mostOfPair] = longestFirst(maxLength - special, first.length, second?.length ?? 0);
      first = first.slice(0, most);
      second = second && second.slice(0, mostOfPair);
    }
    const processed = process
      ? process(first, second, true)
      : {tokens: [...first, ...(second ?? [])], token_type_ids: [...first.map(() => 0), ...(second ?? []).map(() => 1)]};
    const ids = BigInt64Array.from(processed.tokens, (token) => BigInt(this.id(token)));
    const types = processed.token_type_ids;
    return {
      ids,
      typeIds: types ? BigInt64Array.from(types, BigInt) : new BigInt64Array(ids.length),
      mask: new BigInt64Array(ids.length).fill(1n),
    };
  }

  private id(token: string): number {
    const id = this.library.token_to_id(token);
    if (id === undefined) throw new InputError(`The vocabulary has no token '${token}'.`);
    return id;
  }
}

/** Returns how many tokens of each half are left of `most`, the longer one cut first, as the tokenizers library does. */
export function longestFirst(most: number, first: number, second: number): [number, number] {
  if (first + second <= most) return [first, second];
  const shorter = Math.min(first, second);
  // Where the shorter one alone leaves less than itself for the longer one, both get a half, the longer the odd token.
  const [less, more] =
    2 * shorter > most ? [Math.floor(most / 2), Math.ceil(most / 2)] : [shorter, most - shorter];
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
