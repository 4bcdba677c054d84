/** The cases of conformance, and what has to come of each: see tests/conformance/README.md. */
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {join} from "node:path";

import {type Bundle, type Choice, type DType, EdgeAdaptError, type Outputs, type Tensor} from "../src/node.js";
import {bytesOf, viewOf} from "../src/tensor.js";
import {CASES} from "./places.js";

interface ArrayFile {
  readonly file: string;
  readonly dtype: DType;
  readonly shape: number[];
}

export interface Case {
  readonly name: string;
  readonly bundle: string;
  readonly add?: {folder: string; name: string}[];
  readonly remove?: string[];
  readonly adapter: Choice;
  readonly inputs?: Record<string, ArrayFile>;
  readonly outputs?: Record<string, ArrayFile | {rows: ArrayFile[]}>;
  readonly labels?: string[] | null;
  readonly adapters?: string[];
  readonly step?: "open" | "add" | "run";
  readonly error?: string;
}

/** A text, or a pair, and its tokens. */
export interface TextCase {
  readonly text: string;
  readonly pair: string | null;
  readonly max_length: number;
  readonly ids: number[];
  readonly type_ids: number[];
}

/** How a loader is asked. */
export interface Loader {
  open(folder: string): Promise<Bundle>;
  /** Where an adapter's folder is. */
  at(folder: string): string;
  /** How far floats may differ from the answers of the same case. */
  tolerance(each: Case): number;
}

const STEPS = ["open", "add", "run"];

export const {cases, texts} = JSON.parse(readFileSync(join(CASES, "cases.json"), "utf8")) as {
  cases: Case[];
  texts: (TextCase & {tokenizer: string})[];
};

function read({file, dtype, shape}: ArrayFile): Tensor {
  return {dtype, shape, data: viewOf(new Uint8Array(readFileSync(join(CASES, file))), dtype)};
}

/** Returns the inputs of a case. */
export function inputsOf(each: Case): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(each.inputs ?? {}).map(([name, array]) => [name, read(array)]));
}

function assertSame(name: string, got: Tensor | undefined, expected: Tensor, tolerance: number): void {
  assert.ok(got, `${name} is missing`);
  assert.equal(got.dtype, expected.dtype, name);
  assert.deepEqual(got.shape, expected.shape, name);
  assert.equal(got.data.constructor, expected.data.constructor, name);
  if (tolerance === 0 || !got.dtype.startsWith("float")) {
    assert.ok(Buffer.compare(bytesOf(got.data), bytesOf(expected.data)) === 0, `${name} has other bits`);
    return;
  }
  const [ours, theirs] = [valuesOf(got), valuesOf(expected)];
  const worst = ours.reduce((most, value, index) => Math.max(most, Math.abs(value - (theirs[index] as number))), 0);
  assert.ok(worst <= tolerance, `${name} differs by ${worst}`);
}

function valuesOf({dtype, data}: Tensor): number[] {
  return dtype === "float16" ? Array.from(data as Uint16Array, half) : Array.from(data as Float32Array, Number);
}

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** Compares outputs with those of a case. */
export function assertOutputs(got: Outputs, expected: NonNullable<Case["outputs"]>, tolerance: number): void {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(expected).sort());
  for (const [name, wanted] of Object.entries(expected)) {
    const output = got[name];
    if ("rows" in wanted) {
      assert.ok(Array.isArray(output), `${name} is one array`);
      assert.equal(output.length, wanted.rows.length);
      wanted.rows.forEach((row, index) => assertSame(`${name}[${index}]`, output[index], read(row), tolerance));
    } else {
      assert.ok(!Array.isArray(output), `${name} is one array for each row`);
      assertSame(name, output, read(wanted), tolerance);
    }
  }
}

async function change(loader: Loader, bundle: Bundle, each: Case): Promise<void> {
  for (const {folder, name} of each.add ?? []) await bundle.add(loader.at(folder), name);
  for (const name of each.remove ?? []) bundle.remove(name);
}

/** Asks a case that has an answer. */
export async function answers(loader: Loader, each: Case): Promise<void> {
  const bundle = await loader.open(each.bundle);
  try {
    await change(loader, bundle, each);
    assertOutputs(await bundle.run(inputsOf(each), each.adapter), each.outputs ?? {}, loader.tolerance(each));
    assert.deepEqual(bundle.adapters, each.adapters);
    if (!Array.isArray(each.adapter)) {
      assert.deepEqual(await bundle.labels(each.adapter as string | null), each.labels);
    }
  } finally {
    await bundle.close();
  }
}

/** Asks a case that has to be refused: with its class, and at its step or before. */
export async function refusals(loader: Loader, each: Case): Promise<void> {
  let bundle: Bundle | null = null;
  let step = 0;
  let before: string[] = [];
  let refused: unknown = null;
  try {
    bundle = await loader.open(each.bundle);
    step = 1;
    before = bundle.adapters;
    await change(loader, bundle, each);
    step = 2;
    before = bundle.adapters;
    if (each.inputs) await bundle.run(inputsOf(each), each.adapter);
  } catch (error) {
    refused = error;
  }
  try {
    assert.ok(refused, "was not refused");
    assert.ok(refused instanceof EdgeAdaptError, String(refused));
    assert.equal(refused.name, each.error, `${STEPS[step]}: ${refused.message}`);
    assert.ok(step <= STEPS.indexOf(each.step as string), `refused at ${STEPS[step]}: ${refused.message}`);
    assert.ok(refused.message.length > 20);
    if (bundle && (each.add?.length ?? 0) < 2) assert.deepEqual(bundle.adapters, before);
  } finally {
    await bundle?.close();
  }
}
