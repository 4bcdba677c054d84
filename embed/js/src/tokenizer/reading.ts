/** Reads parts of a `tokenizer.json`: what would not be as the tokenizers library has it is refused by name. */
import {BundleError, cut, UnsupportedError} from "../errors.js";
import {type Json, JsonNumber} from "../json.js";

/** An object of the file, and where it stands, for messages. */
export class Part {
  readonly where: string;
  private readonly members: ReadonlyMap<string, Json>;

  constructor(where: string, value: Json | undefined) {
    if (!(value instanceof Map)) throw new BundleError(`${where}: expected an object.`);
    this.where = where;
    this.members = value;
  }

  /** Refuses keys that this package doesn't know. */
  only(...keys: readonly string[]): this {
    for (const key of this.members.keys()) {
      if (!keys.includes(key)) throw this.unsupported(`the key "${cut(key, 100)}"`);
    }
    return this;
  }

  get type(): string {
    return this.text("type");
  }

  get keys(): string[] {
    return [...this.members.keys()];
  }

  has(key: string): boolean {
    return (this.members.get(key) ?? null) !== null;
  }

  value(key: string): Json | undefined {
    return this.members.get(key);
  }

  part(key: string): Part {
    return new Part(`${this.where}.${key}`, this.members.get(key));
  }

  text(key: string): string {
    const value = this.members.get(key);
    return typeof value === "string" ? value : this.expected(key, "a string");
  }

  /** Returns a flag; `absent` where it isn't there, if that may be. */
  flag(key: string, absent?: boolean): boolean {
    const value = this.members.get(key) ?? absent;
    return typeof value === "boolean" ? value : this.expected(key, "true or false");
  }

  whole(key: string): number {
    return wholeOf(this.members.get(key)) ?? this.expected(key, "a whole number");
  }

  list(key: string): Json[] {
    const value = this.members.get(key);
    return Array.isArray(value) ? value : this.expected(key, "a list");
  }

  unsupported(what: string): UnsupportedError {
    return new UnsupportedError(
      `${this.where}: ${what} is not supported.\nMake tokens with edgeadapt's Python runtime.`,
    );
  }

  broken(what: string): BundleError {
    return new BundleError(`${this.where}: ${what}.\nExport the bundle again.`);
  }

  private expected(key: string, what: string): never {
    throw this.broken(`${key}: expected ${what}`);
  }
}

/** Returns a whole number of 0 or more, or null. */
export function wholeOf(value: Json | undefined): number | null {
  return value instanceof JsonNumber && value.whole && value.value >= 0 ? value.value : null;
}
