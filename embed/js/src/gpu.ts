/** Arrays in the memory of a GPU, where WebGPU runs a model. */
import {ProviderError} from "./errors.js";
import type {OnnxRuntime, Value} from "./model.js";
import {bytesOf, type Tensor} from "./tensor.js";

/** `STORAGE | COPY_SRC | COPY_DST`, as WebGPU numbers them. */
const USAGE = 0x80 | 0x04 | 0x08;

/**
 * Refuses a browser without a GPU, which ONNX Runtime would tell in the words of a damaged model.
 *
 * @throws ProviderError.
 */
export async function checkGpu(): Promise<void> {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter();
  if (!adapter)
    throw new ProviderError("webgpu: this browser has no GPU for it.\nOpen the bundle with the provider wasm.");
}

/** Copies an array into a buffer of the GPU, which goes when the value is disposed of. */
export function uploaded(ort: OnnxRuntime, device: GPUDevice, {dtype, shape, data}: Tensor): Value {
  // ONNX Runtime's own buffers are multiples of 16 bytes, and its kernels may read that far.
  const size = Math.ceil(data.byteLength / 16) * 16;
  const buffer = device.createBuffer({size, usage: USAGE, mappedAtCreation: true});
  new Uint8Array(buffer.getMappedRange()).set(bytesOf(data));
  buffer.unmap();
  return ort.Tensor.fromGpuBuffer(buffer, {dataType: dtype, dims: shape, dispose: () => buffer.destroy()});
}
