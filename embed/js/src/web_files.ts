/** Folders behind an address, whose files are fetched. */
import {BundleError, ConfigError, reason, refuse} from "./errors.js";
import {type Folder, FileProblem, type Found, MOST_DOCUMENT} from "./files.js";
import {parseNames} from "./manifest.js";
import {folderProblems} from "./names.js";

/** The file that tells which adapters a bundle has, since a folder can't be listed over HTTP. */
const INDEX = "adapters/index.json";
const MISSING = "is missing";

/** A folder by its address; what follows its `?` is asked for with every file. */
export class WebFolder implements Folder {
  readonly where: string;
  private readonly names: readonly string[] | undefined;

  /** `names` are those of the bundle's adapters, where they are not to be read from `adapters/index.json`. */
  constructor(location: string, names?: readonly string[]) {
    let address: URL;
    try {
      address = new URL(location, globalThis.document?.baseURI ?? globalThis.location?.href);
    } catch {
      throw new ConfigError(`location: got ${location.slice(0, 200)}, expected the address of a folder.`);
    }
    this.where = address.href;
    this.names = names;
  }

  within(path: string): WebFolder {
    const address = new URL(this.where);
    const parts = path.split("/").map(encodeURIComponent);
    address.pathname = `${address.pathname.replace(/\/$/, "")}/${parts.join("/")}`;
    return new WebFolder(address.href);
  }

  async document(name: string): Promise<Uint8Array> {
    const {where} = this.within(name);
    let content: Uint8Array | null;
    try {
      content = await fetched(where, MOST_DOCUMENT);
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      if (error.message === MISSING) {
        const what = name === "adapter.json" ? "an adapter's folder" : "a bundle";
        throw new BundleError(`${this.where} is not ${what}: it holds no ${name}.`);
      }
      throw new BundleError(`${where} ${error.message}.`);
    }
    if (content) return content;
    throw new BundleError(
      `${where} has more than ${MOST_DOCUMENT} bytes, which are refused unread.\nIt is no ${name}.`,
    );
  }

  async look(path: string, size: number, wants: {sha256: boolean}): Promise<Found> {
    const content = await fetched(this.within(path).where, size);
    if (!content) throw new FileProblem(`has more than ${size} bytes, expected ${size}`);
    if (content.length !== size) return {size: content.length};
    return {size, content, ...(wants.sha256 ? {sha256: await hashOf(content)} : {})};
  }

  async adapterNames(): Promise<readonly string[]> {
    const names = this.names ?? (await this.index());
    const problems = folderProblems(names.filter((name) => name !== "none"));
    const remedy = "Name every adapter once, as its folder is named.";
    refuse(BundleError, `These are no names of adapters of ${this.where}:`, problems, remedy);
    return names;
  }

  private async index(): Promise<readonly string[]> {
    const {where} = this.within(INDEX);
    try {
      const content = await fetched(where, MOST_DOCUMENT);
      if (content) return parseNames(where, content);
      throw new FileProblem(`has more than ${MOST_DOCUMENT} bytes`);
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      throw new BundleError(
        `${where} ${error.message}: it lists the names of the bundle's adapters, which HTTP can't.\n` +
          'Write it (["news", "spam"]), or open the bundle with the option `adapters`.',
      );
    }
  }
}

/** Fetches no more than `most` bytes; null where there are more. */
async function fetched(address: string, most: number): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    const response = await fetch(address);
    if (response.status === 404 || response.status === 410) throw new FileProblem(MISSING);
    if (!response.ok) throw new FileProblem(`can't be fetched: HTTP ${response.status}`);
    return await upTo(response, most);
  } catch (error) {
    if (error instanceof FileProblem) throw error;
    throw new FileProblem(`can't be fetched: ${reason(error)}`);
  }
}

async function upTo(response: Response, most: number): Promise<Uint8Array<ArrayBuffer> | null> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
    size += piece.value.length;
    if (size > most) {
      await reader?.cancel();
      return null;
    }
    pieces.push(piece.value);
  }
  const content = new Uint8Array(size);
  for (let at = 0, piece = pieces.shift(); piece; at += piece.length, piece = pieces.shift()) content.set(piece, at);
  return content;
}

async function hashOf(content: Uint8Array<ArrayBuffer>): Promise<string> {
  // Pages that came over plain HTTP from elsewhere have no WebCrypto.
  if (!globalThis.crypto?.subtle) {
    throw new ConfigError(
      "A sha256 needs WebCrypto, which this page has not.\nServe it over https, or from localhost.",
    );
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
