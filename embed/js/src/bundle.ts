/** A bundle that is open: one model, its adapters, and runs of it. */
import {type Adapter, type Cell, readBase, readName} from "./adapter.js";
import {classifyTexts, type Label} from "./classify.js";
import {ConfigError, InputError, UnsupportedError} from "./errors.js";
import {type Folder, readFile, verifyFiles} from "./files.js";
import {checkInputs} from "./inputs.js";
import {type Manifest, parseManifest} from "./manifest.js";
import type {Model, Value} from "./model.js";
import {checkJoins, checkPart, joinParts, type Outputs, type Part} from "./results.js";
import {type Pass, passesOf, stackRows, takeRows} from "./rows.js";
import {Store} from "./store.js";
import type {Tensor} from "./tensor.js";
import {readTokenizer, type Tokenizer} from "./tokenizer.js";

/** One adapter for all rows of a batch, or one for each; null is the base. */
export type Choice = string | null | readonly (string | null)[];

/** How a bundle is opened. */
export interface OpenOptions {
  /** Threads of one operator on the CPU; as many as ONNX Runtime finds right where it isn't given. */
  readonly threads?: number;
  /** False leaves out the sha256 of the bundle's own files over 16 MiB; all else is checked in any case. */
  readonly verify?: boolean;
  /** Where it runs: `cpu` in Node; `wasm` or `webgpu` in a browser. */
  readonly provider?: "cpu" | "wasm" | "webgpu";
  /** The module `onnxruntime-node` or `onnxruntime-web`, where it is not to be imported. */
  readonly ort?: unknown;
  /** In a browser, the names of the bundle's adapters, where `adapters/index.json` doesn't list them. */
  readonly adapters?: readonly string[];
}

/** A bundle that is open. What fails throws an `EdgeAdaptError`, and leaves the bundle as it was. */
export interface Bundle {
  /** `edgeadapt.json`, checked. */
  readonly manifest: Manifest;
  /** Where it runs: `cpu`, `wasm` or `webgpu`. */
  readonly provider: string;
  /** The names of all adapters, without `none`, sorted by their bytes. */
  readonly adapters: string[];
  /** Returns the names of the labels that an adapter, or the base, answers with; null where there are none. */
  labels(adapter?: string | null): Promise<string[] | null>;
  /**
   * Runs the model. An output is one tensor, or one for each row where rows have different numbers of labels. The run
   * keeps the adapters that it began with, whatever is added or removed meanwhile.
   */
  run(inputs: Readonly<Record<string, Tensor>>, adapter?: Choice): Promise<Outputs>;
  /** Returns the bundle's tokenizer, which is read when it is first asked for. */
  tokenizer(): Promise<Tokenizer>;
  /** Returns all labels of each text with their scores, best first. */
  classify(texts: readonly string[], adapter?: Choice): Promise<Label[][]>;
  /** Adds the adapter in a folder; its name is the one that it was converted under, where none is given. */
  add(location: string, name?: string): Promise<void>;
  /** Forgets an adapter. */
  remove(name: string): void;
  /** Frees the model when the runs that have begun are over; no other begins. */
  close(): Promise<void>;
}

/** What a platform brings: where files come from, and an ONNX Runtime. */
export interface Platform {
  /** Returns a folder by its path or address. */
  folder(location: string): Folder;
  /** Which of the bundle's files it wants in memory to open the model. */
  keeps(path: string): boolean;
  openModel(folder: Folder, manifest: Manifest, files: ReadonlyMap<string, Uint8Array>): Promise<Model>;
}

const LARGE = 16 * 2 ** 20;

/** Checks options that are the same everywhere. */
export function checkOptions(location: string, options: OpenOptions, providers: readonly string[]): void {
  const {threads, provider, verify} = options;
  if (typeof location !== "string" || !location) {
    throw new ConfigError(`location: got ${String(location)}, expected the path or the address of a bundle.`);
  }
  if (threads !== undefined && (!Number.isSafeInteger(threads) || threads < 1)) {
    throw new ConfigError(`threads: got ${String(threads)}, expected a whole number of 1 or more.`);
  }
  if (verify !== undefined && typeof verify !== "boolean") {
    throw new ConfigError(`verify: got ${String(verify)}, expected true or false.`);
  }
  if (provider !== undefined && !providers.includes(provider)) {
    throw new ConfigError(`provider: got ${String(provider)}, expected ${providers.join(" or ")}.`);
  }
}

/** Does what docs/bundle-format.md says in section 8, in its order. */
export async function openBundle(platform: Platform, location: string, options: OpenOptions): Promise<Bundle> {
  const folder = platform.folder(location);
  const where = folder.within("edgeadapt.json").where;
  const manifest = parseManifest(where, await folder.document("edgeadapt.json"));
  const {neutrals} = manifest.model;
  const files = await verifyFiles(folder, manifest.files, {
    hashMost: options.verify === false ? LARGE : Infinity,
    content: (path) => path === neutrals || platform.keeps(path),
  });
  if (manifest.generation && "encoder" in manifest.generation) {
    throw new UnsupportedError(
      `${folder.where} has an encoder, which runs once, and a decoder, which runs for every token; this package runs ` +
        "a model in one step.\nUse edgeadapt's Python runtime.",
    );
  }
  const model = await platform.openModel(folder, manifest, files);
  try {
    const names = await folder.adapterNames();
    const base = await readBase(folder, manifest, neutrals === null ? null : (files.get(neutrals) ?? null));
    const store = new Store(manifest, base);
    for (const name of names) if (name !== "none") store.know(name, folder.within(`adapters/${name}`));
    return new OpenBundle(platform, folder, manifest, model, store);
  } catch (error) {
    await model.close();
    throw error;
  }
}

class OpenBundle implements Bundle {
  readonly manifest: Manifest;
  private readonly platform: Platform;
  private readonly folder: Folder;
  private readonly model: Model;
  private readonly store: Store;
  private readonly running = new Set<Promise<unknown>>();
  private reading: Promise<Tokenizer> | null = null;
  private closing: Promise<void> | null = null;

  constructor(platform: Platform, folder: Folder, manifest: Manifest, model: Model, store: Store) {
    this.platform = platform;
    this.folder = folder;
    this.manifest = manifest;
    this.model = model;
    this.store = store;
  }

  get provider(): string {
    return this.model.provider;
  }

  get adapters(): string[] {
    return this.store.names;
  }

  async labels(adapter: string | null = null): Promise<string[] | null> {
    return this.leased([adapter], async ([chosen]) => {
      const labels = (chosen as Adapter).labels;
      return labels && [...labels];
    });
  }

  async run(inputs: Readonly<Record<string, Tensor>>, adapter: Choice = null): Promise<Outputs> {
    const batch = checkInputs(this.manifest, inputs);
    if (Array.isArray(adapter)) checkRows(batch, adapter.length);
    return this.leased(namesOf(adapter), (rows) => this.runRows(inputs, rows));
  }

  async tokenizer(): Promise<Tokenizer> {
    this.checkOpen();
    return this.keptTokenizer();
  }

  async classify(texts: readonly string[], adapter: Choice = null): Promise<Label[][]> {
    const names = Array.isArray(adapter)
      ? [...(adapter as (string | null)[])]
      : texts.map(() => adapter as string | null);
    return this.leased(names, async (rows) =>
      classifyTexts(this.manifest, await this.keptTokenizer(), texts, rows, (inputs, some) => {
        checkInputs(this.manifest, inputs);
        return this.runRows(inputs, some);
      }),
    );
  }

  async add(location: string, name?: string): Promise<void> {
    this.checkOpen();
    if (typeof location !== "string" || !location) {
      throw new ConfigError(
        `location: got ${String(location)}, expected the path or the address of an adapter's folder.`,
      );
    }
    const folder = this.platform.folder(location);
    await this.store.add(name ?? (await readName(folder)), folder);
  }

  remove(name: string): void {
    this.checkOpen();
    this.store.remove(name);
  }

  close(): Promise<void> {
    this.closing ??= Promise.allSettled(this.running).then(() => {
      this.store.close();
      return this.model.close();
    });
    return this.closing;
  }

  private checkOpen(): void {
    if (this.closing) throw new ConfigError(`${this.folder.where} is closed.\nOpen it again.`);
  }

  /** Reads the tokenizer once; where that fails, the next call tries again. */
  private keptTokenizer(): Promise<Tokenizer> {
    this.reading ??= this.readTokenizer().catch((error: unknown) => {
      this.reading = null;
      throw error;
    });
    return this.reading;
  }

  private async readTokenizer(): Promise<Tokenizer> {
    const record = this.manifest.tokenizer;
    if (!record) {
      throw new UnsupportedError(`${this.folder.where} has no tokenizer.\nRun it with tensors of your own.`);
    }
    const bytes = await readFile(this.folder, this.manifest.files, record.file);
    return readTokenizer(this.folder.within(record.file).where, bytes, record.max_length);
  }

  /** Works with adapters that are chosen here and now, and kept until the work is done. */
  private async leased<T>(names: readonly (string | null)[], work: (rows: Adapter[]) => Promise<T>): Promise<T> {
    this.checkOpen();
    const lease = this.store.lease(names);
    const working = lease
      .adapters()
      .then(work)
      .finally(() => lease.leave());
    this.running.add(working);
    try {
      return await working;
    } finally {
      this.running.delete(working);
    }
  }

  /** Runs one adapter for all rows, or one for each. */
  private async runRows(inputs: Readonly<Record<string, Tensor>>, rows: readonly Adapter[]): Promise<Outputs> {
    const {manifest} = this;
    if (rows.some(({hasCache}) => hasCache)) {
      throw new UnsupportedError(
        "An adapter brings what a text's cache begins with, and a run takes the cache that it is given.\n" +
          "Use edgeadapt's Python runtime to generate text with it.",
      );
    }
    const some = rows.every((row) => row === rows[0]) ? rows.slice(0, 1) : rows;
    const passes = passesOf(manifest, some);
    const labels = some.map(({labelCount}) => labelCount);
    checkJoins(manifest, passes.length, labels);
    const parts: Part[] = [];
    for (const pass of passes) parts.push(await this.runPass(inputs, some, pass, passes.length > 1));
    return joinParts(manifest, parts, passes, labels);
  }

  /** Runs the rows of one pass; `apart` where other passes have other rows. */
  private async runPass(
    inputs: Readonly<Record<string, Tensor>>,
    rows: readonly Adapter[],
    pass: Pass,
    apart: boolean,
  ): Promise<Part> {
    const {manifest, model} = this;
    const passing = manifest.inputs.map(({name, shape}): [string, Value] => {
      const axis = shape.indexOf("batch");
      const tensor = inputs[name] as Tensor;
      return [name, model.value(name, apart && axis >= 0 ? takeRows(tensor, axis, pass) : tensor)];
    });
    const staying: [string, Value][] = [];
    const chosen = pass.map((row) => rows[row] as Adapter);
    const filling = stackRows(manifest, chosen);
    for (const [order, {name}] of manifest.slots.entries()) {
      const cell = filling[order] as Cell;
      const stays = chosen.some((adapter) => adapter.filling[order] === cell);
      if (stays) staying.push([name, (cell.value ??= model.place(cell.tensor))]);
      else passing.push([name, model.value(name, cell.tensor)]);
    }
    try {
      const outputs = manifest.outputs.map(({name}) => name);
      const part = await model.run(Object.fromEntries([...passing, ...staying]), outputs);
      checkPart(manifest, part);
      return part;
    } finally {
      passing.forEach(([, value]) => value.dispose());
    }
  }
}

function namesOf(adapter: Choice): (string | null)[] {
  return Array.isArray(adapter) ? [...(adapter as (string | null)[])] : [adapter as string | null];
}

/** Refuses a list of adapters that has not one for each row. */
function checkRows(batch: number | null, rows: number): void {
  if (batch === null) {
    throw new InputError("A list of adapters needs a batch, and no input of this model has an axis 'batch'.");
  }
  if (batch !== rows) {
    throw new InputError(`A list of adapters has one for each row: got ${rows} for a batch of ${batch}.`);
  }
  if (rows === 0) throw new InputError("The batch is empty, so there is no row to run an adapter for.");
}
