/** A bundle's model in ONNX Runtime: what it takes and gives, and its runs. */
import {BundleError, EdgeAdaptError, InputError, ProviderError, reason, refuse} from "./errors.js";
import type {Manifest, TensorRecord} from "./manifest.js";
import type {Part} from "./results.js";
import {bytesOf, countOf, isDType, type Tensor, type TypedArray, viewOf} from "./tensor.js";

/** A tensor of ONNX Runtime. */
export interface Value {
  readonly type: string;
  readonly dims: readonly number[];
  getData(): Promise<unknown>;
  dispose(): void;
}

/** What ONNX Runtime tells of an input or output; one that is no tensor has no type and shape. */
interface Declared {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type?: string;
  readonly shape?: readonly (number | string)[];
}

interface InferenceSession {
  readonly inputMetadata: readonly Declared[];
  readonly outputMetadata: readonly Declared[];
  run(feeds: Readonly<Record<string, Value>>, outputs: readonly string[]): Promise<Readonly<Record<string, Value>>>;
  release(): Promise<void>;
}

/** What this package takes of `onnxruntime-node` and `onnxruntime-web`. */
export interface OnnxRuntime {
  readonly env: {
    readonly versions: Readonly<Record<string, string | undefined>>;
    readonly wasm: {numThreads?: number};
    readonly webgpu: {readonly device: unknown};
  };
  readonly Tensor: {
    new (type: string, data: TypedArray, dims: readonly number[]): Value;
    fromGpuBuffer(buffer: unknown, options: {dataType: string; dims: readonly number[]; dispose: () => void}): Value;
  };
  readonly InferenceSession: {
    create(model: string | Uint8Array, options: Readonly<Record<string, unknown>>): Promise<InferenceSession>;
  };
}

/** How tensors get to ONNX Runtime, and runs to their turn, where a platform has a way of its own. */
export interface Device {
  readonly provider: string;
  /** Makes a value of an adapter's array, to be fed to many runs. */
  place(tensor: Tensor): Value;
  /** Refuses an input that this provider can't take. */
  check(name: string, tensor: Tensor): void;
  /** Calls `work` when no other run is in its way. */
  turn<T>(work: () => Promise<T>): Promise<T>;
}

/** Options of a session that don't depend on the platform. */
export function sessionOptions(manifest: Manifest): Record<string, unknown> {
  // A cache is longer in every run: a plan of memory for each length would be made in vain.
  return {logSeverityLevel: 3, enableMemPattern: manifest.generation === null};
}

/** Makes a value that lies in the memory of JavaScript. */
export function valueOf(ort: OnnxRuntime, {dtype, shape, data}: Tensor): Value {
  return new ort.Tensor(dtype, data, shape);
}

/**
 * Refuses a module that is no ONNX Runtime, or one that is older than a bundle needs; `version` is its own.
 *
 * @throws ProviderError or BundleError.
 */
export function checkRuntime(ort: unknown, key: "node" | "web", required: string): asserts ort is OnnxRuntime {
  const found = ort as Partial<OnnxRuntime> | null;
  const version = found?.env?.versions?.[key] ?? found?.env?.versions?.["common"];
  if (!found?.InferenceSession || !found.Tensor || !version) {
    throw new ProviderError(`ort: expected the module onnxruntime-${key}, got something else.`);
  }
  const [got, wanted] = [release(version), release(required)];
  const part = got.findIndex((number, index) => number !== wanted[index]);
  if (part >= 0 && (got[part] as number) < (wanted[part] as number)) {
    throw new BundleError(
      `The bundle needs ONNX Runtime ${required}, and onnxruntime-${key} is ${version}.\nUpdate it.`,
    );
  }
}

/** Returns the first three numbers of a version: those of 1.23.0 for `>=1.23`, and for 1.23.0-rc1. */
function release(version: string): number[] {
  const numbers = version.match(/\d+/g)?.slice(0, 3).map(Number) ?? [];
  return [0, 1, 2].map((part) => numbers[part] ?? 0);
}

/** A model that is open. */
export class Model {
  private readonly ort: OnnxRuntime;
  private readonly session: InferenceSession;
  private readonly device: Device;

  private constructor(ort: OnnxRuntime, session: InferenceSession, device: Device) {
    this.ort = ort;
    this.session = session;
    this.device = device;
  }

  get provider(): string {
    return this.device.provider;
  }

  /**
   * Opens a model, which is a path or its bytes, and compares it with the manifest.
   *
   * @throws BundleError where it can't be opened or is another one, ProviderError where ONNX Runtime can't begin.
   */
  static async open(
    ort: OnnxRuntime,
    device: Device,
    model: string | Uint8Array,
    options: Readonly<Record<string, unknown>>,
    manifest: Manifest,
  ): Promise<Model> {
    let session: InferenceSession;
    try {
      session = await device.turn(() => ort.InferenceSession.create(model, {...sessionOptions(manifest), ...options}));
    } catch (error) {
      // Nothing of the model was looked at: its WebAssembly can't be fetched, say.
      if (reason(error).startsWith("no available backend")) {
        throw new ProviderError(`ONNX Runtime can't begin: ${reason(error)}`, {cause: error});
      }
      throw new BundleError(`ONNX Runtime can't open ${manifest.model.file}: ${reason(error)}`, {cause: error});
    }
    const opened = new Model(ort, session, device);
    try {
      checkSignature(session, manifest);
    } catch (error) {
      await opened.close();
      throw error;
    }
    return opened;
  }

  /** Makes a value of an adapter's array, to be fed to many runs. */
  place(tensor: Tensor): Value {
    return this.device.place(tensor);
  }

  /** Makes a value of an input of one run. */
  value(name: string, tensor: Tensor): Value {
    this.device.check(name, tensor);
    return valueOf(this.ort, tensor);
  }

  /**
   * Runs the model once; names, dtypes and shapes have been checked.
   *
   * @throws InputError where ONNX Runtime finds fault with values, ProviderError where it fails.
   */
  async run(feeds: Readonly<Record<string, Value>>, outputs: readonly string[]): Promise<Part> {
    return this.device.turn(async () => {
      const part = new Map<string, Tensor>();
      let values: Readonly<Record<string, Value>>;
      try {
        values = await this.session.run(feeds, outputs);
      } catch (error) {
        throw runError(error);
      }
      for (const name of outputs) part.set(name, await tensorOf(name, values[name]));
      return part;
    });
  }

  async close(): Promise<void> {
    await this.device.turn(() => this.session.release());
  }
}

async function tensorOf(name: string, value: Value | undefined): Promise<Tensor> {
  const {type, dims} = value ?? {};
  if (!value || !dims || !isDType(type)) {
    throw new BundleError(`The model gave ${type ?? "nothing"} for ${name}.\nExport the bundle again.`);
  }
  const data = (await value.getData()) as TypedArray;
  const shape = [...dims];
  // Some versions give a view of more memory than the values have, others a Float16Array.
  const bytes = bytesOf(data).subarray(0, countOf(shape) * data.BYTES_PER_ELEMENT);
  return {dtype: type, shape, data: viewOf(bytes, type)};
}

/** Tells an error of ONNX Runtime that is about values, such as a token that the model doesn't know, from others. */
function runError(error: unknown): EdgeAdaptError {
  const message = `ONNX Runtime can't run the model on these inputs: ${reason(error)}`;
  const fault = /INVALID_ARGUMENT|ERROR_CODE: 2\b|out of (data )?bounds|must be within/i.test(message);
  return new (fault ? InputError : ProviderError)(message, {cause: error});
}

/**
 * Refuses a model whose inputs are not the manifest's inputs and slots, or whose outputs are not its outputs.
 *
 * @throws BundleError with all that differ.
 */
function checkSignature(session: InferenceSession, manifest: Manifest): void {
  refuse(
    BundleError,
    `${manifest.model.file} is not the model that edgeadapt.json describes:`,
    [
      ...differences("input", session.inputMetadata, [...manifest.inputs, ...manifest.slots]),
      ...differences("output", session.outputMetadata, manifest.outputs),
    ],
    "Copy the bundle again, or export it again.",
  );
}

function differences(
  kind: string,
  got: readonly Declared[],
  expected: readonly Pick<TensorRecord, "name" | "dtype" | "shape">[],
): string[] {
  const actual = new Map(got.map((declared) => [declared.name, declared]));
  const problems: string[] = [];
  for (const {name, dtype, shape} of expected) {
    const declared = actual.get(name);
    actual.delete(name);
    if (!declared) {
      problems.push(`${name}: the model has no such ${kind}`);
      continue;
    }
    const type = declared.type ?? "another type";
    const rank = declared.shape?.length ?? 0;
    if (type !== dtype) problems.push(`${name}: the model has ${type}, the manifest ${dtype}`);
    if (rank !== shape.length) {
      problems.push(`${name}: the model has ${rank} dimensions, the manifest ${shape.length}`);
    }
  }
  return [...problems, ...[...actual.keys()].map((name) => `${name}: an ${kind} that the manifest has not`)];
}
