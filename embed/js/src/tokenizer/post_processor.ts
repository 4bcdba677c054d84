/** Special tokens around texts and pairs. */
import type {Json} from "../json.js";
import {Part, wholeOf} from "./reading.js";

/** A piece of a template: a text, 0 or 1, or ids of special tokens. */
interface Piece {
  readonly text?: 0 | 1;
  readonly ids: readonly number[];
  readonly typeId: number;
}

type Template = readonly Piece[];

/** What is around a text, and around a pair. */
export interface PostProcessor {
  readonly single: Template;
  readonly pair: Template;
}

const FIRST: Piece = {text: 0, ids: [], typeId: 0};
/** Without a processor, texts follow each other and have the type ids 0 and 1. */
const PLAIN: PostProcessor = {single: [FIRST], pair: [FIRST, {text: 1, ids: [], typeId: 1}]};

/** Counts the special tokens of a template. */
export function specialCount(template: Template): number {
  return template.reduce((count, {ids}) => count + ids.length, 0);
}

/** Puts texts into a template; each token with its type id. */
export function processed(
  template: Template,
  texts: readonly (readonly number[])[],
): {ids: number[]; typeIds: number[]} {
  const pieces = template.map(({text, ids, typeId}) => ({ids: text === undefined ? ids : (texts[text] ?? []), typeId}));
  return {
    ids: pieces.flatMap(({ids}) => ids),
    typeIds: pieces.flatMap(({ids, typeId}) => ids.map(() => typeId)),
  };
}

/** Reads `post_processor`, which may be null. */
export function readPostProcessor(value: Json | undefined): PostProcessor {
  if ((value ?? null) === null) return PLAIN;
  const [found, another] = readProcessors(new Part("post_processor", value));
  if (another) throw new Part("post_processor", value).unsupported("a second one that adds tokens");
  return found ?? PLAIN;
}

function readProcessors(part: Part): PostProcessor[] {
  switch (part.type) {
    case "ByteLevel":
      // It trims offsets, and leaves tokens as they are.
      part.only("type", "add_prefix_space", "trim_offsets", "use_regex");
      return [];
    case "Sequence": {
      const members = part.only("type", "processors").list("processors");
      return members.flatMap((member) => readProcessors(new Part("a post-processor of a Sequence", member)));
    }
    case "BertProcessing":
      return [readBert(part.only("type", "sep", "cls"))];
    case "RobertaProcessing":
      return [readRoberta(part.only("type", "sep", "cls", "trim_offsets", "add_prefix_space"))];
    case "TemplateProcessing":
      part.only("type", "single", "pair", "special_tokens");
      return [{single: readTemplate(part, "single"), pair: readTemplate(part, "pair")}];
    default:
      throw part.unsupported(`the type "${part.type}"`);
  }
}

function special(part: Part, key: string, typeId = 0): Piece {
  const [token, id] = part.list(key);
  const number = wholeOf(id);
  if (typeof token !== "string" || number === null) throw part.broken(`${key}: expected [token, id]`);
  return {ids: [number], typeId};
}

function readBert(part: Part): PostProcessor {
  const single = [special(part, "cls"), FIRST, special(part, "sep")];
  return {single, pair: [...single, {text: 1, ids: [], typeId: 1}, special(part, "sep", 1)]};
}

function readRoberta(part: Part): PostProcessor {
  const sep = special(part, "sep");
  const single = [special(part, "cls"), FIRST, sep];
  return {single, pair: [...single, sep, {text: 1, ids: [], typeId: 0}, sep]};
}

function readTemplate(part: Part, key: "single" | "pair"): Template {
  const specials = part.part("special_tokens");
  return part.list(key).map((value) => {
    const piece = new Part(`${part.where}.${key}`, value).only("SpecialToken", "Sequence");
    const [kind] = piece.keys;
    if (piece.keys.length !== 1 || kind === undefined)
      throw piece.broken("expected a SpecialToken or a Sequence in each piece");
    const inner = piece.part(kind).only("id", "type_id");
    const typeId = inner.whole("type_id");
    const id = inner.text("id");
    if (kind === "SpecialToken") return {ids: specialIds(specials, id), typeId};
    if (id !== "A" && !(id === "B" && key === "pair"))
      throw piece.broken(`the sequence "${id.slice(0, 100)}" is not there`);
    return {text: id === "A" ? 0 : 1, ids: [], typeId};
  });
}

/** Finds `{"[CLS]": {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}}`. */
function specialIds(specials: Part, name: string): number[] {
  if (!specials.has(name)) throw specials.broken(`"${name.slice(0, 100)}" is not there`);
  const token = specials.part(name).only("id", "ids", "tokens");
  const ids = token.list("ids").map(wholeOf);
  if (ids.includes(null) || ids.length !== token.list("tokens").length)
    throw token.broken("ids: expected one for each token");
  return ids as number[];
}
