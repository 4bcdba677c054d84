/** The worker: it holds the bundle, and answers in the order in which it is asked. */
import {open, type Bundle} from "edgeadapt/web";
import type {Answer, Head, Opened, Provider, Reply, Request} from "./messages.js";
import {watch} from "./watching.js";

/** More threads than these don't make such a model faster. */
const MOST_THREADS = 4;

let opening: Promise<Bundle> | undefined;

async function answer(request: Request): Promise<Opened | Answer> {
  if (request.kind === "open") return opened(request.bundle, request.provider);
  if (!opening) throw new Error("Nothing is open.");
  const bundle = await opening;
  const start = performance.now();
  const [scores = []] = await bundle.classify([request.text], request.adapter);
  return {scores, ms: performance.now() - start};
}

async function opened(url: string, provider: Provider): Promise<Opened> {
  await watch(url, (progress) => say({kind: "progress", progress}));
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  // Each provider has a build of ONNX Runtime of its own; the GPU's is twice as large.
  const ort = await (provider === "wasm" ? import("onnxruntime-web/wasm") : import("onnxruntime-web/webgpu"));
  ort.env.wasm.wasmPaths = new URL("ort/", self.location.href).href;
  opening = open(url, {provider, threads, ort});
  const bundle = await opening;
  // Each adapter is read now, so that all of them are there when there is no network any more.
  const heads: Head[] = [];
  for (const name of [null, ...bundle.adapters]) {
    const labels = await bundle.labels(name);
    if (labels) heads.push({name, labels});
  }
  return {
    heads,
    modelType: bundle.manifest.model_type,
    bytes: Object.values(bundle.manifest.files).reduce((sum, file) => sum + file.bytes, 0),
    threads,
  };
}

function say(reply: Reply): void {
  self.postMessage(reply);
}

self.onmessage = async ({data}: MessageEvent<Request>) => {
  try {
    say({kind: "done", id: data.id, value: await answer(data)});
  } catch (error) {
    const {name, message} = error instanceof Error ? error : new Error(String(error));
    say({kind: "refused", id: data.id, refusal: {name, message}});
  }
};
