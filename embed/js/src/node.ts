/** Bundles in Node: files of a disk, and `onnxruntime-node`. */
import {join} from "node:path";

import {type Bundle, checkOptions, openBundle, type OpenOptions} from "./bundle.js";
import {ProviderError, reason} from "./errors.js";
import {checkRuntime, type Device, Model, valueOf} from "./model.js";
import {DiskFolder} from "./node_files.js";

export * from "./api.js";

/**
 * Opens the bundle in a folder, and checks all of it but its adapters, which are read when they are first used.
 *
 * @throws EdgeAdaptError with what was found, what was expected and what to do.
 */
export async function open(path: string, options: OpenOptions = {}): Promise<Bundle> {
  checkOptions(path, options, ["cpu"]);
  return openBundle(
    {
      folder: (location) => new DiskFolder(location),
      keeps: () => false,
      async openModel(folder, manifest) {
        const ort: unknown = options.ort ?? (await load());
        checkRuntime(ort, "node", manifest.model.onnxruntime);
        const device: Device = {
          provider: "cpu",
          place: (tensor) => valueOf(ort, tensor),
          check: () => undefined,
          turn: (work) => work(),
        };
        const threads = options.threads === undefined ? {} : {intraOpNumThreads: options.threads};
        const session = {executionProviders: ["cpu"], ...threads};
        return Model.open(ort, device, join(folder.where, manifest.model.file), session, manifest);
      },
    },
    path,
    options,
  );
}

async function load(): Promise<unknown> {
  // ONNX Runtime sends telemetry from 1.29 on unless this is set before it loads.
  process.env["ORT_DISABLE_TELEMETRY"] ??= "1";
  try {
    const {default: module} = (await import("onnxruntime-node")) as {default: unknown};
    return module;
  } catch (error) {
    throw new ProviderError(
      `onnxruntime-node can't be loaded: ${reason(error)}\nInstall it: npm install onnxruntime-node`,
      {
        cause: error,
      },
    );
  }
}
