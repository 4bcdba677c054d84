/** What a JSON document must look like: readers that collect all that breaks a rule, and give plain values. */
import {type Json, JsonNumber} from "./json.js";
import {nameProblem, pathProblem} from "./names.js";
import {type DType, DTYPES} from "./tensor.js";

/** Where a value stands in its document, and what is wrong so far. */
export class Place {
  readonly path: string;
  readonly problems: string[];

  constructor(path: string, problems: string[]) {
    this.path = path;
    this.problems = problems;
  }

  member(key: string): Place {
    const shown = /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `.${key}` : `["${key.slice(0, 80)}"]`;
    return new Place(this.path + shown, this.problems);
  }

  index(index: number): Place {
    return new Place(`${this.path}[${index}]`, this.problems);
  }

  problem(text: string): void {
    this.problems.push(`${this.path}: ${text}`);
  }

  expected(what: string, value: Json): void {
    this.problem(`expected ${what}, got ${spelled(value)}`);
  }
}

/**
 * Reads one value. Where it breaks the rule, that is told at its place, and what is returned has no meaning: a document
 * with problems is refused before anything looks at it.
 */
export type Reader<T> = (value: Json, place: Place) => T;

/** What a reader gives. */
export type Read<R> = R extends Reader<infer T> ? T : never;

/** An object with any keys, without a prototype. */
export type Dictionary<T> = Readonly<Record<string, T>>;

/** Reads any text that `problem` finds nothing wrong with; `what` is what it has to be. */
function textWhere(what: string, sound: (text: string) => boolean): Reader<string> {
  return (value, place) => {
    if (typeof value !== "string") place.expected("text", value);
    else if (value.includes("\0")) place.expected("text without U+0000", value);
    else if (!sound(value)) place.expected(what, value);
    else return value;
    return "";
  };
}

export const anyText = textWhere("text", () => true);
export const text = textWhere("text that is not empty", (value) => value !== "");
export const path = textWhere("a relative path with / and no '..'", (value) => pathProblem(value) === null);
export const adapterName = textWhere("a safe name for an adapter", (value) => nameProblem(value) === null);
export const sha256 = textWhere("a sha256 of 64 lowercase hex digits", (value) => /^[0-9a-f]{64}$/.test(value));
export const fingerprint = textWhere("'sha256:' and 64 lowercase hex digits", (value) =>
  /^sha256:[0-9a-f]{64}$/.test(value),
);
export const atLeast = textWhere("'>=' and a version, such as '>=1.23'", (value) => /^>=\d+\.\d+(\.\d+)?$/.test(value));

/** Reads one of a few texts. */
export function oneOf<const T extends string>(...texts: readonly T[]): Reader<T> {
  const reader = textWhere(texts.join(", "), (value) => (texts as readonly string[]).includes(value));
  return reader as Reader<T>;
}

export const dtype: Reader<DType> = oneOf(...DTYPES);

function numberWhere(what: string, sound: (number: JsonNumber) => boolean): Reader<number> {
  return (value, place) => {
    if (!(value instanceof JsonNumber)) place.expected("a number", value);
    else if (!sound(value)) place.expected(what, value);
    else return value.value;
    return 0;
  };
}

/** Tells whether a number is whole, as large, and no larger than an int64. */
function isWhole(number: JsonNumber, least: number): boolean {
  return number.whole && number.value >= least && number.value < 2 ** 63;
}

export const number = numberWhere("a number", () => true);
export const positive = numberWhere("a number over 0", ({value}) => value > 0);
export const size = numberWhere("a whole number of 0 or more", (value) => isWhole(value, 0));
export const count = numberWhere("a whole number of 1 or more", (value) => isWhole(value, 1));
export const filter = numberWhere("PIL's code of a filter, 0 to 5", (value) => isWhole(value, 0) && value.value <= 5);

/** Reads a length, or the name of a free dimension. */
function numberOr<T extends string>(numbers: Reader<number>, texts: Reader<T>): Reader<number | T> {
  return (value, place) => {
    if (value instanceof JsonNumber) return numbers(value, place);
    if (typeof value === "string") return texts(value, place);
    place.expected("a number or text", value);
    return 0;
  };
}

export const dimension = numberOr(size, text);
export const slotDimension = numberOr(count, oneOf("rows", "rank", "labels"));

export function nullable<T>(reader: Reader<T>): Reader<T | null> {
  return (value, place) => (value === null ? null : reader(value, place));
}

export function storedOr<T>(reader: Reader<T>): Reader<T | "stored"> {
  return (value, place) => (value === "stored" ? "stored" : reader(value, place));
}

/** Reads a list of `least` members or more, and of `most` at most. */
export function list<T>(reader: Reader<T>, least = 0, most = Infinity): Reader<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) {
      place.expected("a list", value);
      return [];
    }
    if (value.length < least || value.length > most) {
      place.expected(most < Infinity ? "two members" : "one member or more", value);
    }
    return value.map((member, index) => reader(member, place.index(index)));
  };
}

/** Reads an object with any keys that `keys` reads. */
export function map<T>(keys: Reader<string>, reader: Reader<T>): Reader<Dictionary<T>> {
  return (value, place) => {
    const members: Record<string, T> = Object.create(null);
    for (const [key, member] of objectAt(value, place)) {
      const at = place.member(key);
      keys(key, new Place(`${at.path} (the key)`, place.problems));
      members[key] = reader(member, at);
    }
    return members;
  };
}

/** Reads an object with these keys and no others. */
export function record<R extends Record<string, Reader<unknown>>>(
  readers: R,
): Reader<{readonly [K in keyof R]: Read<R[K]>}> {
  return (value, place) => {
    const members: Record<string, unknown> = {};
    const object = objectAt(value, place);
    if (value instanceof Map) {
      for (const key of object.keys()) if (!Object.hasOwn(readers, key)) place.member(key).problem("unknown key");
      for (const [key, reader] of Object.entries(readers)) {
        const member = object.get(key);
        if (member === undefined) place.member(key).problem("missing");
        else members[key] = reader(member, place.member(key));
      }
    }
    return members as {readonly [K in keyof R]: Read<R[K]>};
  };
}

/** Reads an object as the first reader where it has the key, else as the second. */
export function either<A, B>(key: string, having: Reader<A>, lacking: Reader<B>): Reader<A | B> {
  return (value, place) => (value instanceof Map && value.has(key) ? having(value, place) : lacking(value, place));
}

/** Reads an object of lengths whose keys are one of a few sets; `what` names them. */
function lengths<T>(what: string, ...sets: readonly (readonly string[])[]): Reader<T> {
  const reader = map(anyText, count);
  return (value, place) => {
    const read = reader(value, place);
    const keys = Object.keys(read);
    const sound = sets.some((set) => set.length === keys.length && set.every((key) => keys.includes(key)));
    if (value instanceof Map && !sound) place.expected(what, value);
    return read as T;
  };
}

/** Reads to what an image is resized. */
export const imageSize = lengths<{readonly height: number; readonly width: number} | {readonly shortest_edge: number}>(
  "the keys height and width, or shortest_edge",
  ["height", "width"],
  ["shortest_edge"],
);

/** Reads the facts of a site. */
export const facts = lengths<{readonly rank?: number}>("only 'rank'", [], ["rank"]);

/** Reads any object, which nothing looks into. */
export const anyObject: Reader<null> = (value, place) => {
  objectAt(value, place);
  return null;
};

function objectAt(value: Json, place: Place): Map<string, Json> {
  if (value instanceof Map) return value;
  place.expected("an object", value);
  return new Map();
}

function spelled(value: Json): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return `'${value.slice(0, 60)}'`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `an object with ${value.size} keys`;
  return value.whole || !Number.isInteger(value.value) ? String(value.value) : value.value.toFixed(1);
}
