/** Open bundles: options, what changes while runs are under way, and what is left after errors. */
import assert from "node:assert/strict";
import {cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {test} from "node:test";

import * as edgeadapt from "../src/node.js";
import {type Bundle, open, type Outputs, type Tensor} from "../src/node.js";
import {answers, cases, inputsOf} from "./cases.js";
import {CASES} from "./places.js";

const {AdapterError, BundleError, ConfigError, InputError, ProviderError} = edgeadapt;
const FOLDER = join(CASES, "bundles", "classifiers");
/** An adapter that fits, to be added under another name. */
const EXTRA = join(FOLDER, "adapters", "intents");

const asked = cases.find(
  (each) => each.bundle === "bundles/classifiers" && typeof each.adapter === "string" && each.outputs,
);
assert.ok(asked?.inputs);
const inputs = inputsOf(asked);
const batch = inputs["input_ids"]?.shape[0] as number;

async function opened(work: (bundle: Bundle) => Promise<void>): Promise<void> {
  const bundle = await open(FOLDER, {threads: 1});
  try {
    await work(bundle);
  } finally {
    await bundle.close();
  }
}

function bits(outputs: Outputs): string {
  const arrays = Object.values(outputs).flat();
  return arrays.map(({data}) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex")).join();
}

test("a bundle tells what it is", () =>
  opened(async (bundle) => {
    assert.equal(bundle.provider, "cpu");
    assert.equal(bundle.manifest.task, "text-classification");
    assert.deepEqual(bundle.adapters, [...bundle.adapters].sort());
    assert.ok(!bundle.adapters.includes("none"));
  }));

test("telemetry is off before ONNX Runtime loads", () => assert.equal(process.env["ORT_DISABLE_TELEMETRY"], "1"));

test("options are checked", async () => {
  for (const options of [{threads: 0}, {threads: 1.5}, {verify: 1}, {provider: "cuda"}, {provider: "wasm"}]) {
    await assert.rejects(open(FOLDER, options as edgeadapt.OpenOptions), ConfigError, JSON.stringify(options));
  }
  await assert.rejects(open(""), ConfigError);
  await assert.rejects(open(FOLDER, {ort: {}}), ProviderError);
  await assert.rejects(open(join(CASES, "nowhere")), BundleError);
});

test("another ONNX Runtime can be given, and an older one is refused", async () => {
  const {default: ort} = (await import("onnxruntime-node")) as unknown as {default: Record<string, unknown>};
  await (await open(FOLDER, {ort})).close();
  const older = {...ort, env: {versions: {node: "1.10.0"}}};
  await assert.rejects(open(FOLDER, {ort: older}), /needs ONNX Runtime >=.* is 1\.10\.0/);
});

test("without verify a large file is not hashed, and its size is still checked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "edgeadapt-"));
  try {
    cpSync(join(CASES, "bundles", "tiny"), join(folder, "tiny"), {recursive: true});
    const manifest = join(folder, "tiny", "edgeadapt.json");
    const document = JSON.parse(readFileSync(manifest, "utf8")) as {
      files: Record<string, {bytes: number; sha256: string}>;
    };
    document.files["large.bin"] = {bytes: 17 * 2 ** 20, sha256: "0".repeat(64)};
    writeFileSync(manifest, JSON.stringify(document));
    writeFileSync(join(folder, "tiny", "large.bin"), new Uint8Array(17 * 2 ** 20));
    await assert.rejects(open(join(folder, "tiny")), /large\.bin: has the sha256/);
    await (await open(join(folder, "tiny"), {verify: false})).close();
    writeFileSync(join(folder, "tiny", "large.bin"), "short");
    await assert.rejects(open(join(folder, "tiny"), {verify: false}), /large\.bin: has 5 bytes/);
  } finally {
    rmSync(folder, {recursive: true});
  }
});

test("a run keeps the adapters that it began with", () =>
  opened(async (bundle) => {
    const name = bundle.adapters[0] as string;
    const expected = bits(await bundle.run(inputs, name));
    const fresh = await open(FOLDER, {threads: 1});
    // Its adapter is not even read yet when it is removed.
    const running = fresh.run(inputs, name);
    fresh.remove(name);
    assert.equal(bits(await running), expected);
    assert.ok(!fresh.adapters.includes(name));
    await assert.rejects(fresh.run(inputs, name), AdapterError);
    await fresh.close();
  }));

test("many runs, adds and removes at a time give what each gives alone", () =>
  opened(async (bundle) => {
    const names = bundle.adapters;
    const choices: edgeadapt.Choice[] = [
      ...names,
      Array.from({length: batch}, (_, row) => names[row % names.length] as string),
    ];
    const alone = await Promise.all(choices.map(async (choice) => bits(await bundle.run(inputs, choice))));
    await bundle.add(EXTRA, "firm");
    const firm = bits(await bundle.run(inputs, "firm"));
    bundle.remove("firm");
    const changing = (async () => {
      for (let turn = 0; turn < 10; turn++) {
        await bundle.add(EXTRA, "firm");
        const running = bundle.run(inputs, "firm");
        bundle.remove("firm");
        assert.equal(bits(await running), firm);
      }
    })();
    const runs = Array.from({length: 60}, async (_, turn) => {
      const choice = turn % choices.length;
      assert.equal(bits(await bundle.run(inputs, choices[choice] ?? null)), alone[choice]);
    });
    await Promise.all([changing, ...runs]);
    assert.deepEqual(bundle.adapters, names);
  }));

test("of two that add the same name one is refused", () =>
  opened(async (bundle) => {
    const both = await Promise.allSettled([bundle.add(EXTRA, "firm"), bundle.add(EXTRA, "firm")]);
    assert.deepEqual(both.map(({status}) => status).sort(), ["fulfilled", "rejected"]);
    assert.ok(bundle.adapters.includes("firm"));
  }));

test("an adapter is added under its own name where none is given", () =>
  opened(async (bundle) => {
    const names = bundle.adapters;
    await assert.rejects(bundle.add(EXTRA), AdapterError);
    bundle.remove("intents");
    await bundle.add(EXTRA);
    assert.deepEqual(bundle.adapters, names);
    await assert.rejects(bundle.add(join(CASES, "extra", "nowhere")), BundleError);
    await assert.rejects(bundle.add(""), ConfigError);
    assert.throws(() => bundle.remove("none"), AdapterError);
    assert.throws(() => bundle.remove("nobody"), AdapterError);
  }));

test("errors leave a bundle as it was", () =>
  opened(async (bundle) => {
    const name = bundle.adapters[0] as string;
    const [before, names] = [bits(await bundle.run(inputs, name)), bundle.adapters];
    await assert.rejects(bundle.add(EXTRA, "no name"), AdapterError);
    await assert.rejects(bundle.add(join(CASES, "bundles", "tiny", "adapters", "spam"), "other"), AdapterError);
    await assert.rejects(bundle.run({}, name), InputError);
    await assert.rejects(bundle.run(inputs, "nobody"), AdapterError);
    const tokens = inputs["input_ids"] as Tensor;
    const far = {...tokens, data: new BigInt64Array(tokens.data.length).fill(10n ** 9n)};
    await assert.rejects(bundle.run({...inputs, input_ids: far}, name), InputError);
    assert.equal(bits(await bundle.run(inputs, name)), before);
    assert.deepEqual(bundle.adapters, names);
  }));

test("inputs that are no tensors are refused by name", () =>
  opened(async (bundle) => {
    const tokens = inputs["input_ids"] as Tensor;
    const name = bundle.adapters[0] as string;
    const wrong: [unknown, RegExp][] = [
      [null, /input_ids: missing|expected a tensor/],
      [[1, 2, 3], /expected a tensor/],
      [{...tokens, data: [1n]}, /expected a tensor/],
      [{...tokens, data: new Int32Array(tokens.data.length * 2)}, /got a Int32Array, expected a BigInt64Array/],
      [{...tokens, data: new BigInt64Array(1)}, /got 8 bytes/],
      [{...tokens, shape: [batch, -1]}, /got \(/],
      [{...tokens, dtype: "int32"}, /got int32, expected int64/],
    ];
    for (const [value, message] of wrong) {
      await assert.rejects(bundle.run({...inputs, input_ids: value as Tensor}, name), (error: Error) => {
        assert.ok(error instanceof InputError, String(error));
        assert.match(error.message, message);
        return true;
      });
    }
  }));

test("closing waits for runs that have begun, and lets no other begin", async () => {
  const bundle = await open(FOLDER, {threads: 1});
  const name = bundle.adapters[0] as string;
  const running = Array.from({length: 5}, () => bundle.run(inputs, name));
  const classifying = bundle.classify(["a", "b"], name);
  const closing = bundle.close();
  await assert.rejects(bundle.run(inputs, name), ConfigError);
  await assert.rejects(bundle.tokenizer(), ConfigError);
  assert.throws(() => bundle.remove(name), ConfigError);
  assert.equal(new Set((await Promise.all(running)).map(bits)).size, 1);
  assert.equal((await classifying).length, 2);
  await closing;
  await bundle.close();
});

test("a bundle can be open twice", async () => {
  const [one, other] = [await open(FOLDER, {threads: 1}), await open(FOLDER, {threads: 1})];
  await one.close();
  await answers({open: () => Promise.resolve(other), at: (folder) => join(CASES, folder), tolerance: () => 0}, asked);
});

test("the package's entries are these", async () => {
  const [main, node, web] = await Promise.all(
    ["edgeadapt", "edgeadapt/node", "edgeadapt/web"].map((name) => import(name) as Promise<Record<string, unknown>>),
  );
  assert.equal(main?.["open"], open);
  assert.equal(node?.["open"], open);
  assert.equal(typeof web?.["open"], "function");
  assert.equal(web?.["BundleError"], BundleError);
});
