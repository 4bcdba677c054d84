/** Bundles in a browser: files behind an address, and `onnxruntime-web`. */
import {type Bundle, checkOptions, openBundle, type OpenOptions} from "./bundle.js";
import {BundleError, ConfigError, ProviderError, reason, refuse, UnsupportedError} from "./errors.js";
import {externalLocations, isOrtFormat} from "./external.js";
import {checkGpu, uploaded} from "./gpu.js";
import type {Manifest} from "./manifest.js";
import {checkRuntime, type Device, Model, type OnnxRuntime, type Value, valueOf} from "./model.js";
import type {Tensor} from "./tensor.js";
import {WebFolder} from "./web_files.js";

export * from "./api.js";

/**
 * Opens the bundle behind an address, relative to the page's, and checks all of it but its adapters, which are fetched
 * when they are first used. Files are fetched whole; once the model is open, only adapters stay in memory.
 *
 * @throws EdgeAdaptError with what was found, what was expected and what to do.
 */
export async function open(url: string, options: OpenOptions = {}): Promise<Bundle> {
  checkOptions(url, options, ["wasm", "webgpu"]);
  const {adapters, threads, provider = "wasm"} = options;
  if (adapters !== undefined && !(Array.isArray(adapters) && adapters.every((name) => typeof name === "string"))) {
    throw new ConfigError("adapters: expected a list of names.");
  }
  return openBundle(
    {
      folder: (location) => new WebFolder(location, adapters),
      // Which files hold the weights is known when the model has been read.
      keeps: () => true,
      async openModel(folder, manifest, files) {
        if (provider === "webgpu") await checkGpu();
        const ort: unknown = options.ort ?? (await load(provider));
        checkRuntime(ort, "web", manifest.model.onnxruntime);
        // It has an effect until the first bundle is opened, and without isolation from other origins there is one.
        if (threads !== undefined) ort.env.wasm.numThreads = threads;
        const device = provider === "webgpu" ? new GpuDevice(ort) : new WasmDevice(ort);
        const model = files.get(manifest.model.file) as Uint8Array;
        const {where} = folder.within(manifest.model.file);
        if (provider === "webgpu" && isOrtFormat(model)) {
          // onnxruntime-web 1.30 never comes back from opening it.
          throw new UnsupportedError(
            `${where} is in ONNX Runtime's own format, which was made for the CPU.\n` +
              "Open the bundle with the provider wasm, or package it without --ort-format.",
          );
        }
        const externalData = weightsOf(manifest, where, model, files);
        const session = {executionProviders: [provider], externalData};
        const opened = await Model.open(ort, device, model, session, manifest);
        await device.begin();
        return opened;
      },
    },
    url,
    options,
  );
}

/** Returns the files that a model keeps its weights in, by the names that it has for them. */
function weightsOf(
  {model}: Manifest,
  where: string,
  bytes: Uint8Array,
  files: ReadonlyMap<string, Uint8Array>,
): {path: string; data: Uint8Array}[] {
  const folder = model.file.includes("/") ? model.file.slice(0, model.file.lastIndexOf("/") + 1) : "";
  const found = externalLocations(where, bytes).map((path) => ({
    path,
    data: files.get(folder + path.replace(/^\.\//, "")),
  }));
  const missing = found.filter(({data}) => !data).map(({path}) => `${path}: is not in $.files`);
  refuse(
    BundleError,
    `${where} keeps weights in files that the bundle doesn't list:`,
    missing,
    "Export the bundle again.",
  );
  return found as {path: string; data: Uint8Array}[];
}

async function load(provider: "wasm" | "webgpu" | "cpu"): Promise<unknown> {
  try {
    // Two builds of it: the one without a GPU is half as large.
    return provider === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  } catch (error) {
    throw new ProviderError(
      `onnxruntime-web can't be loaded: ${reason(error)}\nInstall it: npm install onnxruntime-web`,
      {
        cause: error,
      },
    );
  }
}

/** By a module's `env`, what ends when all runs that were asked for have: a module runs one model at a time. */
const turns = new WeakMap<OnnxRuntime["env"], Promise<unknown>>();

class WasmDevice implements Device {
  readonly provider: string = "wasm";
  protected readonly ort: OnnxRuntime;

  constructor(ort: OnnxRuntime) {
    this.ort = ort;
  }

  /** Takes what is there only when a model is open. */
  async begin(): Promise<void> {}

  place(tensor: Tensor): Value {
    return valueOf(this.ort, tensor);
  }

  check(_name: string, _tensor: Tensor): void {}

  turn<T>(work: () => Promise<T>): Promise<T> {
    const before = turns.get(this.ort.env) ?? Promise.resolve();
    const next = before.then(work, work);
    turns.set(this.ort.env, next);
    return next;
  }
}

class GpuDevice extends WasmDevice {
  override readonly provider = "webgpu";
  private gpu: GPUDevice | null = null;

  override async begin(): Promise<void> {
    this.gpu = (await this.ort.env.webgpu.device) as GPUDevice;
  }

  /** Floats stay on the GPU from the first run on; whole numbers are read by the CPU. */
  override place(tensor: Tensor): Value {
    const floats = tensor.dtype === "float32" || tensor.dtype === "float16";
    return this.gpu && floats ? uploaded(this.ort, this.gpu, tensor) : valueOf(this.ort, tensor);
  }

  override check(name: string, {shape}: Tensor): void {
    if (!shape.includes(0)) return;
    throw new UnsupportedError(
      `${name}: it is empty, and WebGPU takes no empty tensor.\nOpen the bundle with the provider wasm.`,
    );
  }
}
