/** From a text to its normal form. */
import type {Json} from "../json.js";
import {Part} from "./reading.js";
import {canonical, CONTROL, MARK, NONSPACING, SPACE} from "./unicode.js";

/** Returns the normal form of a text that isn't empty. */
export type Normaliser = (text: string) => string;

const CONTROLS = new RegExp(`[${CONTROL}]`, "gu");
const SPACES = new RegExp(`[${SPACE}]`, "gu");
/** BERT's idea of a Chinese character, which its blocks are; U+2B820 to U+2B91F are in none. */
const CHINESE = new RegExp(
  "[\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b81f}" +
    "\\u{2b920}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}]",
  "gu",
);
const NONSPACINGS = new RegExp(`[${NONSPACING}]`, "gu");
const MARKS = new RegExp(`[${MARK}]`, "gu");

/** Reads `normalizer`, which may be null. */
export function readNormaliser(value: Json | undefined): Normaliser {
  const steps = (value ?? null) === null ? [] : readSteps(new Part("normalizer", value));
  return (text) => steps.reduce((done, step) => (done === "" ? done : step(done)), text);
}

function readSteps(part: Part): Normaliser[] {
  switch (part.type) {
    case "BertNormalizer":
      return readBert(part.only("type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"));
    case "Lowercase":
      part.only("type");
      return [lower];
    case "NFC":
    case "NFD": {
      const form = part.only("type").type === "NFC" ? "NFC" : "NFD";
      return [(text) => canonical(text, form)];
    }
    case "StripAccents":
      part.only("type");
      return [(text) => text.replace(MARKS, "")];
    case "Prepend": {
      const prefix = part.only("type", "prepend").text("prepend");
      return [(text) => prefix + text];
    }
    case "Replace": {
      const pattern = part.only("type", "pattern", "content").part("pattern").only("String").text("String");
      const content = part.text("content");
      if (pattern === "") throw part.unsupported("an empty pattern");
      return [(text) => text.split(pattern).join(content)];
    }
    case "Sequence": {
      const members = part.only("type", "normalizers").list("normalizers");
      return members.flatMap((member) => readSteps(new Part("a normalizer of a Sequence", member)));
    }
    default:
      throw part.unsupported(`the type "${part.type}"`);
  }
}

function readBert(part: Part): Normaliser[] {
  const lowercase = part.flag("lowercase");
  const strips = part.has("strip_accents") ? part.flag("strip_accents") : lowercase;
  const steps: Normaliser[] = [];
  if (part.flag("clean_text")) steps.push((text) => text.replace(CONTROLS, "").replace(SPACES, " "));
  if (part.flag("handle_chinese_chars")) steps.push((text) => text.replace(CHINESE, " $& "));
  if (strips) steps.push((text) => canonical(text, "NFD").replace(NONSPACINGS, ""));
  return lowercase ? [...steps, lower] : steps;
}

/** Lowers each character alone: a sigma at the end of a word is one like any other. */
function lower(text: string): string {
  return Array.from(text, (character) => character.toLowerCase()).join("");
}
