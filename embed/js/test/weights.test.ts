/** The reader of adapters' arrays, and of models' external data: what is whole, and what is damaged. */
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {test} from "node:test";

import {BundleError} from "../src/errors.js";
import {externalLocations} from "../src/external.js";
import {parseWeights} from "../src/weights.js";
import {CASES} from "./places.js";

const FILE = join(CASES, "bundles", "classifiers", "adapters", "intents", "weights.onnx_adapter");

function bytesAt(path: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(path));
}

test("reads arrays with names, dtypes and shapes", () => {
  const weights = parseWeights("weights", bytesAt(FILE));
  assert.ok(weights.size > 0);
  for (const [name, {dtype, shape, data}] of weights) {
    assert.match(name, /\./);
    assert.equal(dtype, "float32");
    assert.equal(shape[0], 1);
    assert.equal(
      shape.reduce((product, length) => product * length, 1),
      data.length,
    );
    assert.ok(
      data.some((value) => value !== 0),
      name,
    );
  }
});

test("reads the same wherever the bytes lie", () => {
  const bytes = bytesAt(FILE);
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  const [here, there] = [parseWeights("here", bytes), parseWeights("there", shifted.subarray(3))];
  assert.deepEqual([...there.keys()], [...here.keys()]);
  for (const [name, {data}] of here) assert.deepEqual(there.get(name)?.data, data);
});

test("every cut file is refused", () => {
  const bytes = bytesAt(FILE);
  // The last bytes may be padding.
  for (let length = 0; length < bytes.length - 8; length += length < 600 ? 1 : 97) {
    assert.throws(() => parseWeights("cut", bytes.slice(0, length)), BundleError, `${length} bytes`);
  }
});

test("a name twice is refused by name", () => {
  const bytes = bytesAt(FILE);
  const [name] = parseWeights("weights", bytes).keys();
  const text = Buffer.from(bytes);
  const twin = [...parseWeights("weights", bytes).keys()].find(
    (other) => other !== name && other.length === name?.length,
  );
  assert.ok(name && twin, "two names of the same length");
  text.write(name, text.indexOf(`${twin}\0`), "utf8");
  assert.throws(
    () => parseWeights("twice", Uint8Array.from(text)),
    (error: Error) => error.message.includes(name),
  );
});

test("finds the external data of a model", () => {
  assert.deepEqual(externalLocations("model", bytesAt(join(CASES, "bundles", "headed", "model.onnx"))), [
    "model.onnx.data",
  ]);
});

test("a model in ONNX Runtime's own format has no external data", () => {
  assert.deepEqual(externalLocations("model.ort", new TextEncoder().encode("\x18\0\0\0ORTM and more")), []);
});

test("a model that is cut is refused", () => {
  const bytes = bytesAt(join(CASES, "bundles", "headed", "model.onnx"));
  let refused = 0;
  for (let length = 1; length < bytes.length; length += 101) {
    try {
      externalLocations("model", bytes.subarray(0, length));
    } catch (error) {
      assert.ok(error instanceof BundleError);
      refused++;
    }
  }
  assert.ok(refused > 10);
});
