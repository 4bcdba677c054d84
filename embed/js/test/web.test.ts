/** Asks the package for browsers the same, over HTTP and with WebAssembly, in Node. */
import assert from "node:assert/strict";
import {createReadStream, existsSync, readdirSync, realpathSync, statSync} from "node:fs";
import {createServer} from "node:http";
import type {AddressInfo} from "node:net";
import {join} from "node:path";
import {after, before, test} from "node:test";

import {BundleError, ConfigError, open, ProviderError} from "../src/web.js";
import {answers, cases, type Loader, refusals} from "./cases.js";
import {CASES} from "./places.js";

/** What HTTP can't tell. */
const UNSEEN = / link\b/;

const server = createServer((request, response) => {
  const path = join(CASES, decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname));
  const found = statSync(path, {throwIfNoEntry: false});
  if (!found?.isFile()) {
    response.writeHead(404).end();
    return;
  }
  createReadStream(path).pipe(response);
});
let base = "";

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
after(() => server.close());

/** Lists a bundle's adapters, as whoever serves it does. */
function adaptersOf(folder: string): string[] {
  const parent = join(realpathSync(join(CASES, folder)), "adapters");
  if (!existsSync(parent)) return [];
  return readdirSync(parent, {withFileTypes: true})
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map(({name}) => name);
}

const loader: Loader = {
  open: (folder) => open(base + folder, {threads: 1, adapters: adaptersOf(folder)}),
  at: (folder) => base + folder,
  // Another build of ONNX Runtime, for another kind of processor.
  tolerance: ({bundle}) => (bundle.includes("half") ? 5e-3 : 1e-5),
};

for (const each of cases) {
  if (!each.error) test(each.name, () => answers(loader, each));
  else if (!UNSEEN.test(each.name)) test(each.name, () => refusals(loader, each));
}

test("adapters are those of adapters/index.json, which is asked for by name where it isn't there", async () => {
  await assert.rejects(open(`${base}bundles/tiny`), (error: Error) => {
    assert.ok(error instanceof BundleError);
    assert.match(error.message, /adapters\/index\.json is missing.*option `adapters`/s);
    return true;
  });
});

test("a browser without a GPU is told so", async () => {
  await assert.rejects(open(`${base}bundles/tiny`, {provider: "webgpu", adapters: []}), ProviderError);
});

test("where ONNX Runtime can't begin, that is no fault of the bundle", async () => {
  const {default: wasm} = (await import("onnxruntime-web/wasm")) as unknown as {default: Record<string, unknown>};
  const create = (): Promise<never> => Promise.reject(new Error("no available backend found. ERR: [wasm] not fetched"));
  const ort = {env: wasm["env"], Tensor: wasm["Tensor"], InferenceSession: {create}};
  await assert.rejects(open(`${base}bundles/tiny`, {ort, adapters: []}), ProviderError);
});

test("other options are refused", async () => {
  await assert.rejects(open(`${base}bundles/tiny`, {provider: "cpu"}), ConfigError);
  await assert.rejects(open(`${base}bundles/tiny`, {adapters: "spam" as unknown as string[]}), ConfigError);
  await assert.rejects(open(`${base}bundles/tiny`, {adapters: ["../spam"]}), BundleError);
  await assert.rejects(open(`${base}bundles/tiny`, {ort: {}, adapters: []}), ProviderError);
});
