/** Which texts are names of adapters, and which are paths within a folder. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i;
const UNSAFE = /[\\:*?"<>|\u0000-\u001f\u007f]/;

/** Returns what keeps a text from being the name of an adapter's folder, or null. */
export function nameProblem(name: string): string | null {
  if (!NAME.test(name)) return "is not 1 to 64 of the characters A-Z a-z 0-9 . _ - with a letter or digit first";
  if (name.endsWith(".")) return "ends with a dot, which Windows drops";
  if (DEVICE.test(name)) return "is a device on Windows";
  if (name !== "none" && name.toLowerCase() === "none") return "differs from 'none', the base itself, only in case";
  return null;
}

/** Returns what keeps a text from being the path of a file within a folder, or null. */
export function pathProblem(path: string): string | null {
  if (path === "") return "is empty";
  if (path.startsWith("/")) return "is absolute";
  if (UNSAFE.test(path)) return 'has a control character or one of \\ : * ? " < > |';
  for (const part of path.split("/")) {
    if (part === "") return "has an empty part";
    if (part === "." || part === "..") return "has a part '.' or '..'";
    if (/[. ]$/.test(part)) return "has a part that ends with a dot or a space, which Windows drops";
    if (DEVICE.test(part)) return "has a part that is a device on Windows";
  }
  return null;
}

/** Returns which of these names of folders are unsafe, and which differ only in case. */
export function folderProblems(names: readonly string[]): string[] {
  const problems: string[] = [];
  const spelled = new Map<string, string>();
  for (const name of [...names].sort(byBytes)) {
    const problem = nameProblem(name);
    if (problem) problems.push(`'${name.slice(0, 80)}' ${problem}`);
    const first = spelled.get(name.toLowerCase());
    if (first !== undefined) problems.push(`${name}: differs from ${first} only in case`);
    spelled.set(name.toLowerCase(), first ?? name);
  }
  return problems;
}

/** Orders texts of ASCII by their bytes. */
export function byBytes(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
