/** Damaged files, some seconds of them: each is read or refused, in time and with an error of ours. */
import assert from "node:assert/strict";
import {readdirSync, readFileSync} from "node:fs";
import {join} from "node:path";
import {test} from "node:test";

import {EdgeAdaptError} from "../src/errors.js";
import {externalLocations} from "../src/external.js";
import {JsonError, parseJson} from "../src/json.js";
import {parseManifest, parseNames, parseRecord} from "../src/manifest.js";
import {readTokenizer} from "../src/tokenizer.js";
import {parseWeights} from "../src/weights.js";
import {CASES, REFERENCES, SECONDS} from "./places.js";

/** Returns numbers of 0 to 1 that are the same every time (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ODD = [0, 1, 4, 0x7f, 0x80, 0xff];
const TEXTS = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "\\u",
  "\\",
  "null",
  "-1",
  "1e999",
  "8.0",
  "9".repeat(30),
  "\0",
  "é",
  "..",
  "none",
];

/** Damages a file in a few places. */
function damaged(bytes: Uint8Array, chance: () => number): Uint8Array<ArrayBuffer> {
  let copy = Uint8Array.from(bytes);
  const pick = (most: number): number => Math.floor(chance() * most);
  for (let count = 1 + pick(4); count > 0; count--) {
    const at = pick(copy.length);
    const kind = pick(5);
    if (kind === 0) copy[at] = ODD[pick(ODD.length)] as number;
    else if (kind === 1) copy[at] = pick(256);
    else if (kind === 2) copy = copy.slice(0, at);
    else if (kind === 3) copy = Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at + 1 + pick(12))]);
    else {
      const text = new TextEncoder().encode(TEXTS[pick(TEXTS.length)]);
      copy = Uint8Array.from([...copy.subarray(0, at), ...text, ...copy.subarray(at)]);
    }
  }
  return copy;
}

/** A small tokenizer: damage to a large vocabulary is damage to nothing else. */
function smallTokenizer(): Uint8Array {
  const file = join(REFERENCES, "tokenizers", "added", "tokenizer.json");
  const document = JSON.parse(readFileSync(file, "utf8")) as {model: {vocab: Record<string, number>}};
  document.model.vocab = Object.fromEntries(Object.entries(document.model.vocab).slice(0, 40));
  return new TextEncoder().encode(JSON.stringify(document));
}

const bundle = join(CASES, "bundles", "headed");
const [adapter] = readdirSync(join(bundle, "adapters")).filter((name) => name !== "none");
const file = (...parts: string[]): Uint8Array => readFileSync(join(bundle, ...parts));

const READERS: [string, Uint8Array, (bytes: Uint8Array<ArrayBuffer>) => unknown][] = [
  ["json", file("edgeadapt.json"), parseJson],
  ["manifest", file("edgeadapt.json"), (bytes) => parseManifest("edgeadapt.json", bytes)],
  ["record", file("adapters", adapter as string, "adapter.json"), (bytes) => parseRecord("adapter.json", bytes)],
  ["names", new TextEncoder().encode('["news", "spam", "a.b-c"]'), (bytes) => parseNames("index.json", bytes)],
  [
    "weights",
    file("adapters", adapter as string, "weights.onnx_adapter"),
    (bytes) => parseWeights("weights.onnx_adapter", bytes),
  ],
  ["model", file("model.onnx").subarray(0, 20000), (bytes) => externalLocations("model.onnx", bytes)],
  [
    "tokenizer",
    smallTokenizer(),
    (bytes) => readTokenizer("tokenizer.json", bytes, 16).encode("Hello [MASK] <x> wörld 1", "b"),
  ],
];

for (const [name, whole, read] of READERS) {
  test(`damaged: ${name}`, () => {
    const chance = random(7);
    const end = Date.now() + (SECONDS * 1000) / READERS.length;
    let refused = 0;
    for (let count = 0; count < 100 || Date.now() < end; count++) {
      const bytes = damaged(whole, chance);
      const begun = Date.now();
      try {
        read(bytes);
      } catch (error) {
        const ours = error instanceof EdgeAdaptError || error instanceof JsonError;
        assert.ok(ours, `${Buffer.from(bytes).toString("base64").slice(0, 2000)}\n${(error as Error).stack}`);
        refused++;
      }
      assert.ok(Date.now() - begun < 5000, "took more than five seconds");
    }
    assert.ok(refused > 10, `${refused} were refused`);
  });
}
