/** Files of a bundle or an adapter: where they come from, and whether they are those that a list names. */
import {BundleError, refuse} from "./errors.js";
import type {Files} from "./manifest.js";

/** A larger JSON document is refused unread: 64 MiB hold a hundred thousand slots. */
export const MOST_DOCUMENT = 64 * 2 ** 20;

/** What was found in the place of a listed file. */
export interface Found {
  readonly size: number;
  /** Of its content, where that was wanted and its size is the listed one. */
  readonly sha256?: string;
  readonly content?: Uint8Array<ArrayBuffer>;
}

/** What is wrong with a file, as it follows its path in a message: `is missing`. */
export class FileProblem extends Error {}

/** A folder on a disk or behind an address. */
export interface Folder {
  /** Its path or address, for messages. */
  readonly where: string;

  /** Returns a folder in this one. */
  within(path: string): Folder;

  /**
   * Reads a JSON document.
   *
   * @throws BundleError where it is missing, a link or no file, can't be read, or is larger than `MOST_DOCUMENT`.
   */
  document(name: string): Promise<Uint8Array>;

  /**
   * Looks at a file: at no more than its size where that isn't `size`, or nothing else is wanted.
   *
   * @throws FileProblem where it is missing, a link, behind one, or no file, or can't be read.
   */
  look(path: string, size: number, wants: {readonly sha256: boolean; readonly content: boolean}): Promise<Found>;

  /**
   * Returns the names of the bundle's adapters, `none` among them where its folder is there.
   *
   * @throws BundleError where a name is unsafe or a folder is a link.
   */
  adapterNames(): Promise<readonly string[]>;
}

/** Which files are hashed, and of which the content is kept. */
export interface Wanted {
  /** Larger files are not hashed, unless their content is wanted. */
  readonly hashMost: number;
  readonly content: (path: string) => boolean;
}

/**
 * Checks that all listed files are there and are what the list says; returns the content of those that are wanted.
 *
 * @throws BundleError with all that differ.
 */
export async function verifyFiles(
  folder: Folder,
  files: Files,
  wanted: Wanted,
): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>>> {
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  const looks = Object.entries(files).map(async ([path, listed]): Promise<string[]> => {
    const content = wanted.content(path);
    const sha256 = listed.bytes <= wanted.hashMost;
    try {
      const found = await folder.look(path, listed.bytes, {sha256, content});
      if (found.size !== listed.bytes) return [`${path}: has ${found.size} bytes, expected ${listed.bytes}`];
      if (sha256 && found.sha256 !== listed.sha256) {
        return [`${path}: has the sha256 ${found.sha256}, expected ${listed.sha256}`];
      }
      if (found.content) contents.set(path, found.content);
      return [];
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      return [`${path}: ${error.message}`];
    }
  });
  refuse(
    BundleError,
    `The files of ${folder.where} are not those that belong to it:`,
    (await Promise.all(looks)).flat(),
    "Copy the folder again from where it was made, as files and not as links.",
  );
  return contents;
}

/**
 * Reads one listed file.
 *
 * @throws BundleError where it is not what the list says.
 */
export async function readFile(folder: Folder, files: Files, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const listed = files[path];
  const one = listed ? {[path]: listed} : {};
  const content = (await verifyFiles(folder, one, {hashMost: Infinity, content: () => true})).get(path);
  if (!content) throw new BundleError(`${folder.where} lists no ${path}.\nExport the bundle again.`);
  return content;
}
