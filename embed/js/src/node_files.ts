/** Folders on a disk, whose files are opened only where they are no links. */
import {createHash} from "node:crypto";
import {constants, type Stats} from "node:fs";
import {type FileHandle, lstat, open, readdir, stat} from "node:fs/promises";
import {join} from "node:path";

import {BundleError, refuse} from "./errors.js";
import {type Folder, FileProblem, type Found, MOST_DOCUMENT} from "./files.js";
import {folderProblems} from "./names.js";

const PIECE = 1 << 20;
// A pipe in the place of a file would block; Windows has neither flag.
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** A folder by its path. */
export class DiskFolder implements Folder {
  readonly where: string;

  constructor(path: string) {
    this.where = path;
  }

  within(path: string): DiskFolder {
    return new DiskFolder(join(this.where, path));
  }

  async document(name: string): Promise<Uint8Array> {
    const path = join(this.where, name);
    try {
      await trusted(this.where, name);
      return await reading(path, async (file, {size}) => {
        if (size > MOST_DOCUMENT) {
          const most = `more than ${MOST_DOCUMENT} are refused unread`;
          throw new BundleError(`${path} has ${size} bytes, and ${most}.\nIt is no ${name}.`);
        }
        return readAll(file, size);
      });
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      if (error.message === MISSING) {
        const what = name === "adapter.json" ? "an adapter's folder" : "a bundle";
        throw new BundleError(`${this.where} is not ${what}: it holds no ${name}.`);
      }
      throw new BundleError(`${path} ${error.message}.\nCopy the file itself there; a bundle holds no links.`);
    }
  }

  async look(path: string, size: number, wants: {sha256: boolean; content: boolean}): Promise<Found> {
    const found = await trusted(this.where, path);
    if (found.size !== size || !(wants.sha256 || wants.content)) return {size: found.size};
    return reading(join(this.where, path), async (file, again) => {
      if (again.size !== size) return {size: again.size};
      const content = wants.content ? await readAll(file, size) : undefined;
      const sha256 = wants.sha256 ? await hashOf(file, size, content) : undefined;
      return {size, ...(sha256 === undefined ? {} : {sha256}), ...(content === undefined ? {} : {content})};
    });
  }

  async adapterNames(): Promise<readonly string[]> {
    const parent = join(this.where, "adapters");
    const kind = await found(parent, lstat);
    if (kind?.isSymbolicLink()) {
      throw new BundleError(`${parent} is a link.\nPut the folder itself there; a bundle holds no links.`);
    }
    const names: string[] = [];
    const links: string[] = [];
    for (const name of kind?.isDirectory() ? await entries(parent) : []) {
      const path = Buffer.concat([Buffer.from(`${parent}/`), name]);
      const text = name.toString("utf8");
      if (text.startsWith(".") || !(await found(path, stat))?.isDirectory()) continue;
      if ((await found(path, lstat))?.isSymbolicLink()) links.push(`${text}: is a link`);
      names.push(text);
    }
    const problems = [...links, ...folderProblems(names)];
    refuse(BundleError, `${parent} holds what is no adapter:`, problems, "Rename or remove these folders.");
    if (!names.includes("none")) {
      throw new BundleError(`${this.where} lacks adapters/none, the base as an adapter.\nCopy the bundle again.`);
    }
    return names;
  }
}

const MISSING = "is missing";

function code(error: unknown): string {
  return String((error as {code?: unknown} | null)?.code);
}

function isMissing(error: unknown): boolean {
  return code(error) === "ENOENT" || code(error) === "ENOTDIR";
}

async function entries(path: string): Promise<Buffer[]> {
  try {
    return await readdir(path, {encoding: "buffer"});
  } catch (error) {
    throw new BundleError(`${path} can't be read: ${code(error)}.`);
  }
}

/** Returns what is there, or null where nothing is. */
async function found(path: string | Buffer, ask: (path: string | Buffer) => Promise<Stats>): Promise<Stats | null> {
  try {
    return await ask(path);
  } catch {
    return null;
  }
}

/** Refuses what is no regular file of its own. */
function checkRegular(status: Stats): void {
  if (status.isSymbolicLink()) throw new FileProblem("is a symbolic link");
  if (!status.isFile()) throw new FileProblem("is not a regular file");
  if (status.nlink > 1) throw new FileProblem("is a hard link: several names share its content");
}

/** Looks at a file of a folder, and at the folders between, and opens nothing; refuses links. */
async function trusted(folder: string, path: string): Promise<Stats> {
  const parts = path.split("/");
  for (let depth = 1; depth < parts.length; depth++) {
    const between = await look(join(folder, ...parts.slice(0, depth)));
    if (between?.isSymbolicLink()) throw new FileProblem("lies behind a symbolic link");
  }
  const status = await look(join(folder, path));
  if (!status) throw new FileProblem(MISSING);
  checkRegular(status);
  return status;
}

async function look(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isMissing(error)) return null;
    throw new FileProblem(`can't be read: ${code(error)}`);
  }
}

/** Opens a file that was looked at, and looks again: it can't have become a link or a pipe meanwhile. */
async function reading<T>(path: string, work: (file: FileHandle, status: Stats) => Promise<T>): Promise<T> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, FLAGS);
    const status = await file.stat();
    checkRegular(status);
    return await work(file, status);
  } catch (error) {
    if (error instanceof FileProblem || error instanceof BundleError) throw error;
    throw new FileProblem(`can't be read: ${code(error)}`);
  } finally {
    await file?.close();
  }
}

async function readAll(file: FileHandle, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const content = new Uint8Array(size);
  await readInto(file, content, 0);
  return content;
}

/** Fills `target` from a place in a file. */
async function readInto(file: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < target.length;) {
    const {bytesRead} = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) throw new FileProblem("became shorter while it was read");
    done += bytesRead;
  }
}

async function hashOf(file: FileHandle, size: number, content: Uint8Array | undefined): Promise<string> {
  const hash = createHash("sha256");
  if (content) return hash.update(content).digest("hex");
  const piece = new Uint8Array(Math.min(size, PIECE));
  for (let done = 0; done < size; done += piece.length) {
    const some = piece.subarray(0, Math.min(piece.length, size - done));
    await readInto(file, some, done);
    hash.update(some);
  }
  return hash.digest("hex");
}
