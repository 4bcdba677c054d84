/**
 * Every error that this package throws on purpose.
 *
 *     EdgeAdaptError
 *     ├── ConfigError        an option or an argument is wrong
 *     ├── UnsupportedError   understood, and not something this loader can do exactly
 *     ├── BundleError        a bundle's files are missing, changed, unsafe or from a newer format
 *     ├── AdapterError       an adapter is unknown, unsafe in name, or doesn't fit this bundle
 *     ├── InputError         inputs of a run have wrong names, dtypes or shapes
 *     └── ProviderError      ONNX Runtime, or the provider that was asked for, is not there or fails
 *
 * A message says what was found, what was got and expected, then what to do. Everything that is wrong is collected and
 * thrown once.
 */

const MOST_PROBLEMS = 20;
const MOST_LETTERS = 400;

/** The root of the tree: catch this to catch everything that is thrown on purpose. */
export class EdgeAdaptError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.name = new.target.name;
  }
}

/** An option or an argument is wrong. */
export class ConfigError extends EdgeAdaptError {}

/** Understood, and not something this loader can do exactly. */
export class UnsupportedError extends EdgeAdaptError {}

/** A bundle's files are missing, changed, unsafe or from a newer format. */
export class BundleError extends EdgeAdaptError {}

/** An adapter is unknown, unsafe in name, or doesn't fit this bundle. */
export class AdapterError extends EdgeAdaptError {}

/** The inputs of a run have wrong names, dtypes or shapes. */
export class InputError extends EdgeAdaptError {}

/** ONNX Runtime, or the provider that was asked for, is not there or fails. */
export class ProviderError extends EdgeAdaptError {}

/** Throws one error for all problems, one a line, with the remedy last; returns where there are none. */
export function refuse(
  kind: new (message: string) => EdgeAdaptError,
  headline: string,
  problems: readonly string[],
  remedy: string,
): void {
  if (problems.length === 0) return;
  const shown = problems
    .slice(0, MOST_PROBLEMS)
    .map((problem) => `  ${cut(problem.replace(/[\r\n]/g, "?"), MOST_LETTERS)}`);
  if (problems.length > MOST_PROBLEMS) shown.push(`  and ${problems.length - MOST_PROBLEMS} more`);
  throw new kind([headline, ...shown, ...(remedy ? [remedy] : [])].join("\n"));
}

/** Returns what an error of any kind says. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the names on one line, cut after 12 with a count of the rest. */
export function listed(names: readonly string[]): string {
  if (names.length <= 12) return names.length ? names.join(", ") : "none";
  return `${names.slice(0, 12).join(", ")} and ${names.length - 12} more`;
}

/** Returns a text, or its beginning where it is longer than `most` characters. */
export function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}...`;
}

/** Keeps control characters of files out of a message, but for the ends of its lines. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f]/g, "?");
}
