/** The table of a bundle's adapters: known by their names, read when a run first wants them, and kept. */
import {type Adapter, type Cell, readAdapter} from "./adapter.js";
import {AdapterError, listed} from "./errors.js";
import type {Folder} from "./files.js";
import type {Manifest} from "./manifest.js";
import {byBytes, nameProblem} from "./names.js";

/** An adapter that is known; it is let go when it is removed and no run has it any more. */
class Entry {
  readonly name: string;
  readonly folder: Folder;
  private reading: Promise<Adapter> | null = null;
  private users = 1;

  constructor(name: string, folder: Folder) {
    this.name = name;
    this.folder = folder;
  }

  /** Reads it once; where that fails, the next call tries again. */
  read(manifest: Manifest, base: Adapter): Promise<Adapter> {
    this.reading ??= readAdapter(this.folder, this.name, manifest, base).catch((error: unknown) => {
      this.reading = null;
      throw error;
    });
    return this.reading;
  }

  hold(): void {
    this.users++;
  }

  /** Lets it go; the last one frees what lies on a device. */
  leave(base: Adapter): void {
    if (--this.users > 0) return;
    void this.reading?.then(
      ({filling}) => filling.forEach((cell, order) => cell !== base.filling[order] && free(cell)),
      () => undefined,
    );
  }
}

function free(cell: Cell | null): void {
  if (!cell) return;
  cell.value?.dispose();
  delete cell.value;
}

/** What a run takes of the table: its adapters, which it keeps whatever is added or removed meanwhile. */
export interface Lease {
  /** Reads the adapters, one for each name that was asked for. */
  adapters(): Promise<Adapter[]>;
  leave(): void;
}

export class Store {
  private readonly manifest: Manifest;
  private readonly base: Adapter;
  private readonly entries = new Map<string, Entry>();

  constructor(manifest: Manifest, base: Adapter) {
    this.manifest = manifest;
    this.base = base;
  }

  /** The names of all adapters, without `none`, sorted by their bytes. */
  get names(): string[] {
    return [...this.entries.keys()].sort(byBytes);
  }

  /** Makes an adapter known that is read later; its name was checked. */
  know(name: string, folder: Folder): void {
    this.entries.set(name, new Entry(name, folder));
  }

  /**
   * Takes an adapter for each name; null and `none` are the base.
   *
   * @throws AdapterError where one is unknown, or the base has no value of its own for a slot.
   */
  lease(names: readonly (string | null)[]): Lease {
    const entries = names.map((name) => this.entry(name));
    for (const entry of entries) entry?.hold();
    return {
      adapters: () =>
        Promise.all(entries.map((entry) => entry?.read(this.manifest, this.base) ?? Promise.resolve(this.base))),
      leave: () => entries.forEach((entry) => entry?.leave(this.base)),
    };
  }

  /**
   * Reads an adapter and makes it known under a name.
   *
   * @throws BundleError or AdapterError, and then nothing has changed.
   */
  async add(name: string, folder: Folder): Promise<void> {
    const problem = name === "none" ? "means the base itself" : nameProblem(String(name));
    if (problem) {
      throw new AdapterError(
        `Not a name for an adapter: '${String(name).slice(0, 80)}' ${problem}.\n` +
          "Choose another, such as 'spam' or 'customer-12'.",
      );
    }
    this.checkFree(name);
    const entry = new Entry(name, folder);
    await entry.read(this.manifest, this.base);
    // Another call may have taken the name while this one read.
    this.checkFree(name);
    this.entries.set(name, entry);
  }

  /**
   * Forgets an adapter; runs that have begun keep it.
   *
   * @throws AdapterError where it is unknown.
   */
  remove(name: string): void {
    if (name === "none" || name === null) throw new AdapterError("'none' is the base itself and can't be removed.");
    const entry = this.entries.get(name) ?? this.unknown(name);
    this.entries.delete(name);
    entry.leave(this.base);
  }

  /** Forgets all adapters, and frees what lies on a device. */
  close(): void {
    for (const name of this.names) this.remove(name);
    this.base.filling.forEach(free);
  }

  private entry(name: string | null): Entry | null {
    if (name !== null && name !== "none") return this.entries.get(name) ?? this.unknown(name);
    const without = this.manifest.slots.find((slot) => slot.neutral === null);
    if (without) {
      throw new AdapterError(`The base has no ${without.site} of its own; choose an adapter: ${listed(this.names)}.`);
    }
    return null;
  }

  private checkFree(name: string): void {
    if (!this.entries.has(name)) return;
    throw new AdapterError(`There is an adapter '${name}' already.\nRemove it first, or give this one another name.`);
  }

  private unknown(name: string): never {
    throw new AdapterError(`There is no adapter '${String(name).slice(0, 80)}'.\nThere are: ${listed(this.names)}.`);
  }
}
