/** Asks the package what a cases.json says, and compares: CASES is the folder, see tests/conformance/README.md. */
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {test} from "node:test";

import {type Bundle, type Choice, type DType, EdgeAdaptError, open, type Outputs, type Tensor} from "../src/node.js";
import {bytesOf, viewOf} from "../src/tensor.js";
import {casesFolder} from "./cases.js";

interface ArrayFile {
  readonly file: string;
  readonly dtype: DType;
  readonly shape: number[];
}

interface Case {
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

const STEPS = ["open", "add", "run"];
const folder = casesFolder();
const {cases} = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as {cases: Case[]};

function read({file, dtype, shape}: ArrayFile): Tensor {
  return {dtype, shape, data: viewOf(new Uint8Array(readFileSync(join(folder, file))), dtype)};
}

function assertSame(name: string, got: Tensor | undefined, expected: Tensor): void {
  assert.ok(got, `${name} is missing`);
  assert.equal(got.dtype, expected.dtype, name);
  assert.deepEqual(got.shape, expected.shape, name);
  assert.ok(Buffer.compare(bytesOf(got.data), bytesOf(expected.data)) === 0, `${name} has other bits`);
}

function assertOutputs(got: Outputs, expected: NonNullable<Case["outputs"]>): void {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(expected).sort());
  for (const [name, wanted] of Object.entries(expected)) {
    const output = got[name];
    if ("rows" in wanted) {
      assert.ok(Array.isArray(output), `${name} is one array`);
      assert.equal(output.length, wanted.rows.length);
      wanted.rows.forEach((row, index) => assertSame(`${name}[${index}]`, output[index], read(row)));
    } else {
      assert.ok(!Array.isArray(output), `${name} is one array for each row`);
      assertSame(name, output, read(wanted));
    }
  }
}

function inputsOf(each: Case): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(each.inputs ?? {}).map(([name, array]) => [name, read(array)]));
}

async function change(bundle: Bundle, each: Case): Promise<void> {
  for (const {folder: extra, name} of each.add ?? []) await bundle.add(join(folder, extra), name);
  for (const name of each.remove ?? []) bundle.remove(name);
}

async function answers(each: Case): Promise<void> {
  const bundle = await open(join(folder, each.bundle), {threads: 1});
  try {
    await change(bundle, each);
    assertOutputs(await bundle.run(inputsOf(each), each.adapter), each.outputs ?? {});
    assert.deepEqual(bundle.adapters, each.adapters);
    if (!Array.isArray(each.adapter)) {
      assert.deepEqual(await bundle.labels(each.adapter as string | null), each.labels);
    }
  } finally {
    await bundle.close();
  }
}

async function refusals(each: Case): Promise<void> {
  let bundle: Bundle | null = null;
  let step = 0;
  let before: string[] = [];
  try {
    bundle = await open(join(folder, each.bundle), {threads: 1});
    step = 1;
    before = bundle.adapters;
    await change(bundle, each);
    step = 2;
    before = bundle.adapters;
    if (each.inputs) await bundle.run(inputsOf(each), each.adapter);
    assert.fail("was not refused");
  } catch (error) {
    assert.ok(error instanceof EdgeAdaptError, String(error));
    assert.equal(error.name, each.error, `${STEPS[step]}: ${error.message}`);
    assert.ok(step <= STEPS.indexOf(each.step as string), `refused at ${STEPS[step]}: ${error.message}`);
    assert.ok(error.message.length > 20);
    if (bundle && (each.add?.length ?? 0) < 2) assert.deepEqual(bundle.adapters, before);
  } finally {
    await bundle?.close();
  }
}

test("there are cases", () => assert.ok(cases.length > 500));

for (const each of cases) test(each.name, () => (each.error ? refusals(each) : answers(each)));
