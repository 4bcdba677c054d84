/** Filled arrays, names of adapters and files, lengths of pairs. */
import assert from "node:assert/strict";
import {test} from "node:test";

import {folderProblems, nameProblem, pathProblem} from "../src/names.js";
import {allFinite, type DType, filled, sizeOf} from "../src/tensor.js";
import {longestFirst} from "../src/tokenizer.js";

function one(dtype: DType, value: number): number | bigint | undefined {
  return filled(dtype, [1], value)?.data[0];
}

test("fills arrays with the nearest value", () => {
  // Of numpy's float16.
  const halves: [number, number][] = [
    [0, 0],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [0.1, 0x2e66],
    [65504, 0x7bff],
    [2 ** -24, 1],
    [2 ** -25, 0],
    [2 ** -25 * 1.5, 1],
    [2 ** -14, 0x0400],
    [2 ** -14 - 2 ** -26, 0x0400],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2047.5, 0x67ff + 1],
  ];
  for (const [value, bits] of halves) assert.equal(one("float16", value), bits, String(value));
  assert.equal(one("float32", 0.1), Math.fround(0.1));
  assert.equal(one("float64", 0.1), 0.1);
  assert.equal(one("bool", 2), 1);
  assert.equal(one("int8", -128), -128);
  assert.equal(one("int64", -(2 ** 63)), -(2n ** 63n));
  assert.equal(one("uint64", 2 ** 63), 2n ** 63n);
});

test("knows what no array holds", () => {
  const impossible: [DType, number][] = [
    ["float16", 65520],
    ["float32", 3.5e38],
    ["int8", 128],
    ["int8", -129],
    ["uint8", -1],
    ["uint8", 256],
    ["int32", 0.5],
    ["int64", 2 ** 63],
    ["uint64", 2 ** 64],
  ];
  for (const [dtype, value] of impossible) assert.equal(filled(dtype, [1], value), null, `${dtype} ${value}`);
});

test("finds NaN and infinity", () => {
  for (const dtype of ["float16", "float32", "float64"] as const) {
    const array = filled(dtype, [3], 1);
    assert.ok(array && allFinite(array));
    array.data[1] = dtype === "float16" ? 0xfc00 : -Infinity;
    assert.ok(!allFinite(array));
    array.data[1] = dtype === "float16" ? 0x7e00 : NaN;
    assert.ok(!allFinite(array));
  }
});

test("a filled array has its bytes", () => {
  assert.equal(filled("float16", [2, 3], 0)?.data.byteLength, 6 * sizeOf("float16"));
});

test("knows safe names", () => {
  for (const name of ["spam", "0", "a".repeat(64), "a.b-c_d", "none", "com", "com10", "console"]) {
    assert.equal(nameProblem(name), null, name);
  }
  for (const name of [
    "",
    "a".repeat(65),
    ".a",
    "-a",
    "a.",
    "a/b",
    "é",
    "None",
    "con",
    "COM1",
    "lpt9.txt",
    "a b",
    "a\n",
  ]) {
    assert.notEqual(nameProblem(name), null, name);
  }
});

test("knows safe paths", () => {
  for (const path of ["a", "a/b.c", "ü/中", "...a", " a"]) assert.equal(pathProblem(path), null, path);
  for (const path of [
    "",
    "/a",
    "a//b",
    "a/",
    "./a",
    "a/../b",
    "a.",
    "a /b",
    "a\\b",
    "c:a",
    "a/nul",
    "aux.txt",
    "a\u007f",
  ]) {
    assert.notEqual(pathProblem(path), null, path);
  }
});

test("finds names that differ only in case", () => {
  assert.deepEqual(folderProblems(["spam", "news"]), []);
  assert.equal(folderProblems(["spam", "Spam"]).length, 1);
  assert.equal(folderProblems(["spam", "spam"]).length, 1);
});

test("cuts the longer half of a pair first", () => {
  const cases: [number, number, number, [number, number]][] = [
    [10, 4, 6, [4, 6]],
    [10, 4, 20, [4, 6]],
    [10, 20, 4, [6, 4]],
    [10, 20, 20, [5, 5]],
    [11, 20, 20, [5, 6]],
    [11, 21, 20, [6, 5]],
    [0, 3, 3, [0, 0]],
    [5, 9, 0, [5, 0]],
    [Infinity, 9, 9, [9, 9]],
  ];
  for (const [most, first, second, expected] of cases) {
    assert.deepEqual(longestFirst(most, first, second), expected, `${most} ${first} ${second}`);
  }
});
