/** Whether the inputs of a run are those that the model takes. */
import {InputError, refuse} from "./errors.js";
import type {Manifest, TensorRecord} from "./manifest.js";
import {arrayName, countOf, isDType, shown, sizeOf, type Tensor} from "./tensor.js";

/**
 * Refuses inputs that don't fit the model; returns the batch, or null where no input has that axis.
 *
 * @throws InputError with all that is wrong.
 */
export function checkInputs({inputs}: Manifest, given: Readonly<Record<string, Tensor>>): number | null {
  const problems: string[] = [];
  const lengths = new Map<string, {name: string; length: number}>();
  if (typeof given !== "object" || given === null) {
    throw new InputError(`The inputs are ${String(given)}, expected an object of tensors.`);
  }
  for (const input of inputs) {
    const tensor = Object.hasOwn(given, input.name) ? given[input.name] : undefined;
    const wrong = tensor ? tensorProblems(input, tensor) : [missing(input)];
    problems.push(...wrong);
    if (!tensor || wrong.length) continue;
    for (const [axis, symbol] of input.shape.entries()) {
      if (typeof symbol !== "string") continue;
      const length = tensor.shape[axis] as number;
      const known = lengths.get(symbol);
      if (!known) lengths.set(symbol, {name: input.name, length});
      else if (known.length !== length) {
        problems.push(`${symbol}: ${known.length} in ${known.name}, ${length} in ${input.name}`);
      }
    }
  }
  const names = new Set(inputs.map(({name}) => name));
  for (const name of Object.keys(given)) if (!names.has(name)) problems.push(`${name}: no input of this model`);
  refuse(InputError, "The inputs don't fit the model:", problems, "");
  return lengths.get("batch")?.length ?? null;
}

function missing({name, dtype, shape}: TensorRecord): string {
  return `${name}: missing, expected ${dtype} ${shown(shape)}`;
}

function tensorProblems({name, dtype, shape}: TensorRecord, tensor: Tensor): string[] {
  if (!isDType(tensor.dtype) || !Array.isArray(tensor.shape) || !ArrayBuffer.isView(tensor.data)) {
    return [`${name}: expected a tensor, {dtype, shape, data}`];
  }
  const problems: string[] = [];
  const fits =
    tensor.shape.length === shape.length &&
    tensor.shape.every((length) => Number.isSafeInteger(length) && length >= 0) &&
    shape.every((length, axis) => typeof length === "string" || length === tensor.shape[axis]);
  if (tensor.dtype !== dtype) problems.push(`${name}: got ${tensor.dtype}, expected ${dtype}`);
  if (!fits) problems.push(`${name}: got ${shown(tensor.shape)}, expected ${shown(shape)}`);
  if (problems.length) return problems;
  // The class by its name, since arrays may come from another realm; a Float16Array has the bits of a float16.
  const kind = tensor.data[Symbol.toStringTag] as string;
  if (kind !== arrayName(dtype) && !(dtype === "float16" && kind === "Float16Array")) {
    return [`${name}: got a ${kind}, expected a ${arrayName(dtype)} for ${dtype}`];
  }
  const bytes = countOf(tensor.shape) * sizeOf(dtype);
  if (tensor.data.byteLength === bytes) return [];
  const what = `${bytes} for ${shown(tensor.shape)} of ${dtype}`;
  return [`${name}: got ${tensor.data.byteLength} bytes, expected ${what}`];
}
