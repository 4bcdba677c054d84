/** JSON, strictly by RFC 8259: no NaN, no key twice, no half of a surrogate pair, nothing behind its end, UTF-8. */

/** A number, and whether it is written without a fraction and an exponent. */
export class JsonNumber {
  readonly value: number;
  readonly whole: boolean;

  constructor(value: number, whole: boolean) {
    this.value = value;
    this.whole = whole;
  }
}

/** A value as it stands in a document; objects are maps, since any text may be a key. */
export type Json = null | boolean | string | JsonNumber | Json[] | Map<string, Json>;

/** Deeper documents and those of more values are refused: 64 MiB could take gigabytes of memory otherwise. */
const MOST_DEPTH = 512;
const MOST_VALUES = 1 << 22;

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const HEX = /[0-9a-fA-F]{4}/y;

/** What is wrong with a document, and where. */
export class JsonError extends Error {}

/**
 * Parses a document.
 *
 * @throws JsonError with the line and column where it is no JSON.
 */
export function parseJson(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(bytes);
  } catch {
    throw new JsonError("it is not UTF-8");
  }
  return new Parser(text).document();
}

class Parser {
  private readonly text: string;
  private at = 0;
  private depth = 0;
  private values = 0;

  constructor(text: string) {
    this.text = text;
  }

  document(): Json {
    const value = this.value();
    this.space();
    if (this.at < this.text.length) this.fail("there is more behind the end of the document");
    return value;
  }

  private fail(problem: string, at = this.at): never {
    const before = this.text.slice(0, at);
    const line = before.split("\n").length;
    throw new JsonError(`line ${line}, column ${at - before.lastIndexOf("\n")}: ${problem}`);
  }

  /** Steps over what a sticky pattern matches here; null where it doesn't. */
  private take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at += found[0].length;
    return found;
  }

  private space(): void {
    this.take(SPACE);
  }

  /** Steps over one character, where it is the next after white space. */
  private next(character: string): boolean {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private value(): Json {
    if (++this.values > MOST_VALUES) this.fail(`it holds more than ${MOST_VALUES} values`);
    this.space();
    const first = this.text[this.at];
    if (first === "{" || first === "[") {
      if (++this.depth > MOST_DEPTH) this.fail("it is nested too deeply");
      const value = first === "{" ? this.object() : this.array();
      this.depth--;
      return value;
    }
    if (first === '"') return this.string();
    for (const [word, value] of [
      ["null", null],
      ["true", true],
      ["false", false],
    ] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private array(): Json[] {
    const members: Json[] = [];
    this.at++;
    if (this.next("]")) return members;
    do members.push(this.value());
    while (this.next(","));
    if (!this.next("]")) this.fail("expected ',' or ']'");
    return members;
  }

  private object(): Map<string, Json> {
    const members = new Map<string, Json>();
    this.at++;
    if (this.next("}")) return members;
    do {
      this.space();
      const start = this.at;
      if (this.text[start] !== '"') this.fail("expected a key");
      const key = this.string();
      if (members.has(key)) this.fail(`the key '${key.slice(0, 40)}' stands twice in its object`, start);
      if (!this.next(":")) this.fail("expected ':'");
      members.set(key, this.value());
    } while (this.next(","));
    if (!this.next("}")) this.fail("expected ',' or '}'");
    return members;
  }

  private number(): JsonNumber {
    const start = this.at;
    const found = this.take(NUMBER);
    if (!found) this.fail("expected a value");
    const value = Number(found[0]);
    if (!Number.isFinite(value)) this.fail("the number is too large for a double", start);
    return new JsonNumber(value, found[1] === undefined && found[2] === undefined);
  }

  private string(): string {
    const start = this.at++;
    const parts: string[] = [];
    for (;;) {
      parts.push(this.take(PLAIN)?.[0] ?? "");
      const stop = this.text[this.at];
      if (stop === undefined) this.fail("the string that begins here has no end", start);
      this.at++;
      if (stop === '"') return parts.length === 1 ? (parts[0] as string) : parts.join("");
      if (stop !== "\\") this.fail("a control character in a string, which has to be escaped", this.at - 1);
      parts.push(this.escape());
    }
  }

  private escape(): string {
    const start = this.at - 1;
    const letter = this.text[this.at++] ?? "";
    if (letter !== "u") {
      const meaning = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
      return meaning ?? this.fail("there is no such escape in JSON", start);
    }
    const unit = this.unit(start);
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    if (unit > 0xdbff || !this.text.startsWith("\\u", this.at)) this.fail("it holds half of a surrogate pair", start);
    this.at += 2;
    const low = this.unit(start);
    if (low < 0xdc00 || low > 0xdfff) this.fail("it holds half of a surrogate pair", start);
    return String.fromCharCode(unit, low);
  }

  private unit(start: number): number {
    const digits = this.take(HEX);
    return digits ? parseInt(digits[0], 16) : this.fail("expected four hex digits after \\u", start);
  }
}
