/** What lies on a GPU and for how long, with WebAssembly in the place of WebGPU, which Node has not. */
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {createServer} from "node:http";
import type {AddressInfo} from "node:net";
import {join} from "node:path";
import {after, before, test} from "node:test";

import {type DType, open, type Tensor, UnsupportedError} from "../src/web.js";
import {viewOf} from "../src/tensor.js";
import {assertOutputs, cases, inputsOf} from "./cases.js";
import {CASES} from "./places.js";

/** A buffer of a GPU that there is not. */
class FakeBuffer {
  readonly bytes: ArrayBuffer;
  destroyed = false;

  constructor(size: number) {
    this.bytes = new ArrayBuffer(size);
  }

  getMappedRange(): ArrayBuffer {
    return this.bytes;
  }

  unmap(): void {}

  destroy(): void {
    assert.ok(!this.destroyed, "destroyed twice");
    this.destroyed = true;
  }
}

const buffers: FakeBuffer[] = [];
const device = {
  createBuffer({size, usage}: {size: number; usage: number}): FakeBuffer {
    assert.equal(size % 16, 0);
    assert.equal(usage, 0x80 | 0x04 | 0x08);
    const buffer = new FakeBuffer(size);
    buffers.push(buffer);
    return buffer;
  },
};

interface Wasm {
  readonly env: Record<string, unknown>;
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => object;
  readonly InferenceSession: {create(model: Uint8Array, options: object): Promise<unknown>};
}

/** ONNX Runtime whose tensors on the GPU are copies of fake buffers. */
function onGpu(wasm: Wasm): unknown {
  wasm.env["webgpu"] = {device};
  const fromGpuBuffer = (
    buffer: FakeBuffer,
    options: {dataType: DType; dims: readonly number[]; dispose: () => void},
  ): object => {
    const count = options.dims.reduce((product, length) => product * length, 1);
    const bytes = new Uint8Array(buffer.bytes).subarray(0, count * (options.dataType === "float32" ? 4 : 2));
    const tensor = new wasm.Tensor(options.dataType, viewOf(bytes, options.dataType), options.dims);
    return Object.assign(tensor, {dispose: options.dispose});
  };
  return {
    env: wasm.env,
    Tensor: Object.assign(wasm.Tensor, {fromGpuBuffer}),
    InferenceSession: {
      create: (model: Uint8Array, options: object) =>
        wasm.InferenceSession.create(model, {...options, executionProviders: ["wasm"]}),
    },
  };
}

const server = createServer((request, response) => {
  response.end(readFileSync(join(CASES, decodeURIComponent(request.url ?? "/"))));
});
let base = "";
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const gpu = {requestAdapter: () => Promise.resolve({})};
  Object.defineProperty(globalThis, "navigator", {value: {...globalThis.navigator, gpu}, configurable: true});
});
after(() => server.close());

const mixed = cases.find(
  ({bundle, adapter, outputs}) => bundle === "bundles/headed" && Array.isArray(adapter) && outputs,
);
assert.ok(mixed?.outputs);
const names = [...new Set(mixed.adapter as string[])].filter((name) => name && name !== "none");

function alive(): number {
  return buffers.filter(({destroyed}) => !destroyed).length;
}

test("arrays stay on the GPU from the first run on, until their adapter is removed", async () => {
  const ort = onGpu((await import("onnxruntime-web/wasm")) as unknown as Wasm);
  const bundle = await open(`${base}bundles/headed`, {provider: "webgpu", threads: 1, ort, adapters: names});
  assert.equal(bundle.provider, "webgpu");
  const [name = ""] = names;
  await bundle.run(inputsOf(mixed), name);
  const first = buffers.length;
  assert.ok(first > 0);
  await bundle.run(inputsOf(mixed), name);
  assert.equal(buffers.length, first);
  assertOutputs(await bundle.run(inputsOf(mixed), mixed.adapter), mixed.outputs ?? {}, 1e-5);
  const before = alive();
  const running = bundle.run(inputsOf(mixed), name);
  bundle.remove(name);
  assert.equal(alive(), before, "a run keeps what it began with");
  await running;
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(alive() < before);
  await bundle.close();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(alive(), 0);
});

test("an empty tensor is refused by name", async () => {
  const ort = onGpu((await import("onnxruntime-web/wasm")) as unknown as Wasm);
  const bundle = await open(`${base}bundles/headed`, {provider: "webgpu", threads: 1, ort, adapters: names});
  const empty = Object.fromEntries(
    Object.keys(inputsOf(mixed)).map((name): [string, Tensor] => [
      name,
      {dtype: "int64", shape: [1, 0], data: new BigInt64Array(0)},
    ]),
  );
  await assert.rejects(bundle.run(empty, names[0]), (error: Error) => {
    assert.ok(error instanceof UnsupportedError, String(error));
    assert.match(error.message, /input_ids|attention_mask/);
    return true;
  });
  await bundle.close();
});
