/** Strict JSON: what is read, and what is refused. */
import assert from "node:assert/strict";
import {test} from "node:test";

import {type Json, JsonError, JsonNumber, parseJson} from "../src/json.js";

function parse(text: string | number[]): Json {
  return parseJson(typeof text === "string" ? new TextEncoder().encode(text) : Uint8Array.from(text));
}

/** Returns a document as JSON.parse has it. */
function plain(value: Json): unknown {
  if (value instanceof JsonNumber) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, member] of value) object[key] = plain(member);
  return object;
}

const READ = [
  " {} ",
  "[]",
  '[1, -0, 1.5e3, 1E-2, 0.25, 123456789012345678901, null, true, false, "", {"a": [{}]}]',
  '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00é😀"',
  '{"__proto__": 1, "constructor": 2, "toString": 3, "": 4}',
  "\t\n\r 1 \t\n\r",
];

for (const text of READ) {
  test(`reads ${text.trim()}`, () => {
    assert.equal(JSON.stringify(plain(parse(text))), JSON.stringify(plainOf(text)));
  });
}

function plainOf(text: string): unknown {
  return JSON.parse(text, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.assign(Object.create(null) as object, Object.fromEntries(Object.entries(value)))
      : value,
  );
}

test("tells whole numbers from others", () => {
  const spelled = ["8", "-8", "8.0", "8e0", "1E2"].map((text) => (parse(text) as JsonNumber).whole);
  assert.deepEqual(spelled, [true, true, false, false, false]);
});

const REFUSED: [string | number[], RegExp][] = [
  ["", /line 1, column 1: expected a value/],
  ['{"a": 1,\n "a": 2}', /line 2, column 2: the key 'a' stands twice/],
  ['{"a": 1, "\\u0061": 2}', /stands twice/],
  ["NaN", /expected a value/],
  ["[Infinity]", /expected a value/],
  ["-", /expected a value/],
  ["01", /more behind the end/],
  ["1.", /more behind the end/],
  [".5", /expected a value/],
  ["+1", /expected a value/],
  ["1e999", /too large for a double/],
  ["[1,]", /expected a value/],
  ["{,}", /expected a key/],
  ["{1: 2}", /expected a key/],
  ['{"a" 1}', /expected ':'/],
  ["[1 2]", /expected ',' or '\]'/],
  ["[1", /expected ',' or '\]'/],
  ['"abc', /has no end/],
  ['"\\', /escape|has no end/],
  ['"\\x41"', /no such escape/],
  ['"\\u12g4"', /four hex digits/],
  ['"\\ud800"', /half of a surrogate pair/],
  ['"\\udc00"', /half of a surrogate pair/],
  ['"\\ud800\\u0041"', /half of a surrogate pair/],
  ['"a\nb"', /control character/],
  ["1 2", /more behind the end/],
  ["// no\n1", /expected a value/],
  ["nul", /expected a value/],
  ["\ufeff1", /expected a value/],
  [[0x22, 0xff, 0x22], /not UTF-8/],
  [[0x22, 0xed, 0xa0, 0x80, 0x22], /not UTF-8/],
  [[0x22, 0xc0, 0x80, 0x22], /not UTF-8/],
  ["[".repeat(513) + "]".repeat(513), /nested too deeply/],
  ["[".repeat(1e6), /nested too deeply/],
];

for (const [text, message] of REFUSED) {
  test(`refuses ${String(text).slice(0, 40)}`, () => {
    assert.throws(
      () => parse(text),
      (error: Error) => error instanceof JsonError && message.test(error.message),
    );
  });
}

test("reads what is nested 512 deep", () => assert.ok(parse("[".repeat(512) + "]".repeat(512))));
