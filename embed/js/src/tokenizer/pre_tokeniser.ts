/** From a text in its normal form to words. */
import type {Json} from "../json.js";
import {Part} from "./reading.js";
import {LETTER, NUMBER, NUMERIC, PUNCTUATION, SPACE} from "./unicode.js";

/** Parts a piece of text; empty pieces are left out later. */
export type PreTokeniser = (text: string) => string[];

const BERT = new RegExp(`[${PUNCTUATION}]|[^${SPACE}${PUNCTUATION}]+`, "gu");
const DIGIT = new RegExp(`[${NUMERIC}]|[^${NUMERIC}]+`, "gu");
const DIGITS = new RegExp(`[${NUMERIC}]+|[^${NUMERIC}]+`, "gu");

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const llama3 = (numbers: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}` +
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The regular expressions of GPT-2, Llama 3 and Qwen2, which part a text without rest. */
const PATTERNS = new Map([GPT2, llama3("\\p{N}{1,3}"), llama3("\\p{N}")].map((source) => [source, compiled(source)]));

/** Bytes as GPT-2 writes them: those that print in Latin-1 as themselves, the others from U+0100 on. */
const BYTES = bytesAsText();

/** Reads `pre_tokenizer`, which may be null. */
export function readPreTokeniser(value: Json | undefined): PreTokeniser {
  const steps = (value ?? null) === null ? [] : readSteps(new Part("pre_tokenizer", value));
  return (text) => steps.reduce((pieces, step) => pieces.flatMap((piece) => (piece === "" ? [] : step(piece))), [text]);
}

function readSteps(part: Part): PreTokeniser[] {
  switch (part.type) {
    case "BertPreTokenizer":
      part.only("type");
      return [(text) => text.match(BERT) ?? []];
    case "Digits": {
      const pattern = part.only("type", "individual_digits").flag("individual_digits") ? DIGIT : DIGITS;
      return [(text) => text.match(pattern) ?? []];
    }
    case "ByteLevel":
      return [readByteLevel(part.only("type", "add_prefix_space", "trim_offsets", "use_regex"))];
    case "Split":
      return [readSplit(part.only("type", "pattern", "behavior", "invert"))];
    case "Sequence": {
      const members = part.only("type", "pretokenizers").list("pretokenizers");
      return members.flatMap((member) => readSteps(new Part("a pre-tokenizer of a Sequence", member)));
    }
    default:
      throw part.unsupported(`the type "${part.type}"`);
  }
}

function readByteLevel(part: Part): PreTokeniser {
  const prefix = part.flag("add_prefix_space");
  const pattern = part.flag("use_regex", true) ? PATTERNS.get(GPT2) : undefined;
  const encoder = new TextEncoder();
  return (text) => {
    const whole = prefix && !text.startsWith(" ") ? ` ${text}` : text;
    const words = pattern ? (whole.match(pattern) ?? []) : [whole];
    return words.map((word) => Array.from(encoder.encode(word), (byte) => BYTES[byte]).join(""));
  };
}

/** Reads Split. Keeping all pieces (Isolated) and removing what is between matches (Removed, inverted) are the same. */
function readSplit(part: Part): PreTokeniser {
  const source = part.part("pattern").only("Regex").text("Regex");
  const pattern = PATTERNS.get(source);
  const behavior = part.text("behavior");
  if (!pattern)
    throw part.unsupported(
      `another regular expression than those of GPT-2, Llama 3 and Qwen2, ${source.slice(0, 300)},`,
    );
  if (behavior !== (part.flag("invert") ? "Removed" : "Isolated")) {
    throw part.unsupported(`the behavior "${behavior}" with invert ${part.flag("invert")}`);
  }
  return (text) => text.match(pattern) ?? [];
}

/** Writes a pattern with the classes of the library, and a long s for an s in any case. */
function compiled(source: string): RegExp {
  const anyCase = source
    .replace(/\(\?i:(.*?)\)/, (_, inner: string) =>
      inner.replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`),
    )
    .replaceAll("[sS]", "[sS\\u017f]");
  const classes: Readonly<Record<string, string>> = {"\\s": SPACE, "\\p{L}": LETTER, "\\p{N}": NUMBER};
  // A class stands within brackets, or alone.
  const whole = anyCase
    .replaceAll("\\S", `[^${SPACE}]`)
    .replace(/\[\^[^\]]*\]|\\s|\\p\{[LN]\}/g, (found) =>
      found.startsWith("[")
        ? found.replace(/\\s|\\p\{[LN]\}/g, (name) => classes[name] as string)
        : `[${classes[found] as string}]`,
    );
  return new RegExp(whole, "gu");
}

function bytesAsText(): string[] {
  const prints = (byte: number): boolean => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  return Array.from({length: 256}, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
}
