/** The worker: it holds the bundle, and answers in the order in which it is asked. */
import {open, type AdapterRecord, type Bundle} from "edgeadapt/web";
import type {Answer, Head, Opened, Provider, Reply, Request} from "./messages.js";
import {watch} from "./watching.js";

/** More threads than these don't make such a model faster. */
const MOST_THREADS = 4;

let bundle: Promise<Bundle> | undefined;

async function answer(request: Request): Promise<Opened | Answer> {
  if (request.kind === "open") {
    const {threads, opening} = begin(request.bundle, request.provider);
    bundle = opening;
    return {...(await facts(request.bundle, await opening)), threads};
  }
  if (!bundle) throw new Error("Nothing is open.");
  const own = await bundle;
  const start = performance.now();
  const [scores = []] = await own.classify([request.text], request.adapter);
  return {scores, ms: performance.now() - start};
}

/** Begins to open a bundle. */
function begin(url: string, provider: Provider): {threads: number; opening: Promise<Bundle>} {
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  const opening = (async () => {
    await watch(url, (progress) => say({kind: "progress", progress}));
    // Each provider has a build of ONNX Runtime of its own; the GPU's is twice as large.
    const ort = await (provider === "wasm" ? import("onnxruntime-web/wasm") : import("onnxruntime-web/webgpu"));
    ort.env.wasm.wasmPaths = new URL("ort/", self.location.href).href;
    return open(url, {provider, threads, ort});
  })();
  return {threads, opening};
}

/** Returns what the page shows of a bundle; each adapter is read for it, so that all are there without a network. */
async function facts(url: string, bundle: Bundle): Promise<Omit<Opened, "threads">> {
  const {labels, problem_type, model_type, files} = bundle.manifest;
  const heads: Head[] = [];
  if (labels) heads.push({name: null, regression: problem_type === "regression"});
  for (const name of bundle.adapters) {
    if (!(await bundle.labels(name))) continue;
    heads.push({name, regression: (await problemType(url, bundle, name)) === "regression"});
  }
  return {heads, modelType: model_type, bytes: Object.values(files).reduce((sum, {bytes}) => sum + bytes, 0)};
}

/** Returns what an adapter's head was trained to answer, or the base's where it has none of its own. */
async function problemType(url: string, {manifest}: Bundle, name: string): Promise<string | null> {
  const response = await fetch(`${url}adapters/${encodeURIComponent(name)}/adapter.json`);
  const record = (await response.json()) as AdapterRecord;
  return record.labels ? record.problem_type : manifest.problem_type;
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
