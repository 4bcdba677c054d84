/** Tokens beside those of the tokenizers library, and scores beside those of edgeadapt.pipeline. */
import assert from "node:assert/strict";
import {readdirSync, readFileSync} from "node:fs";
import {join} from "node:path";
import {test} from "node:test";

import {BundleError, type Choice, InputError, type Label, open, UnsupportedError} from "../src/node.js";
import {readTokenizer, type Tokenizer} from "../src/tokenizer.js";
import {type TextCase, texts} from "./cases.js";
import {CASES, REFERENCES} from "./places.js";

function tokenizerOf(file: string): Tokenizer {
  return readTokenizer(file, readFileSync(file), 512);
}

/** Compares all texts, and shows those that differ. */
function compare(tokenizer: Tokenizer, cases: readonly TextCase[]): void {
  assert.ok(cases.length > 0);
  for (const {text, pair, max_length, ids, type_ids} of cases) {
    const tokens = tokenizer.encode(text, pair, max_length);
    const what = JSON.stringify([text, pair, max_length]);
    assert.equal(String(tokens.ids), String(ids), what);
    assert.equal(String(tokens.typeIds), String(type_ids), what);
    assert.equal(tokens.mask.length, ids.length);
  }
}

for (const file of new Set(texts.map(({tokenizer}) => tokenizer))) {
  test(`the texts of conformance: ${file}`, () => {
    compare(
      tokenizerOf(join(CASES, file)),
      texts.filter(({tokenizer}) => tokenizer === file),
    );
  });
}

for (const kind of readdirSync(join(REFERENCES, "tokenizers"))) {
  test(`a tokenizer of the library: ${kind}`, () => {
    const folder = join(REFERENCES, "tokenizers", kind);
    const cases = JSON.parse(readFileSync(join(folder, "texts.json"), "utf8")) as TextCase[];
    compare(tokenizerOf(join(folder, "tokenizer.json")), cases);
  });
}

type Document = Record<string, unknown> & {model: Record<string, unknown>};
type Change = (document: Document) => void;

function changed(kind: string, change: Change): () => Tokenizer {
  const file = join(REFERENCES, "tokenizers", kind, "tokenizer.json");
  const document = JSON.parse(readFileSync(file, "utf8")) as Document;
  change(document);
  return () => readTokenizer("tokenizer.json", new TextEncoder().encode(JSON.stringify(document)), 512);
}

const TOKEN = {id: 1, content: "x", single_word: false, lstrip: false, rstrip: false, normalized: true, special: false};

const REFUSED: [string, string, Change, typeof UnsupportedError | typeof BundleError, RegExp][] = [
  ["another version", "gpt2", (d) => (d["version"] = "2.0"), UnsupportedError, /2\.0/],
  ["an unknown key", "gpt2", (d) => (d["more"] = 1), UnsupportedError, /more/],
  ["Unigram", "gpt2", (d) => (d.model = {type: "Unigram", vocab: {}}), UnsupportedError, /Unigram/],
  ["a key of the model", "gpt2", (d) => (d.model["alpha"] = 1), UnsupportedError, /alpha/],
  ["dropout", "gpt2", (d) => (d.model["dropout"] = 0.1), UnsupportedError, /dropout/],
  ["byte_fallback", "gpt2", (d) => (d.model["byte_fallback"] = true), UnsupportedError, /byte_fallback/],
  ["an affix", "gpt2", (d) => (d.model["end_of_word_suffix"] = "</w>"), UnsupportedError, /end_of_word_suffix/],
  ["a merge of what is not there", "gpt2", (d) => (d.model["merges"] = [["a", "☃"]]), BundleError, /vocabulary/],
  ["a merge of three", "gpt2", (d) => (d.model["merges"] = ["a b c"]), BundleError, /two tokens/],
  ["an id that is none", "gpt2", (d) => (d.model["vocab"] = {a: -1}), BundleError, /whole number/],
  ["NFKC", "bert-cased", (d) => (d["normalizer"] = {type: "NFKC"}), UnsupportedError, /NFKC/],
  ["Metaspace", "bert-cased", (d) => (d["pre_tokenizer"] = {type: "Metaspace"}), UnsupportedError, /Metaspace/],
  [
    "another regular expression",
    "gpt2",
    (d) => (d["pre_tokenizer"] = {type: "Split", pattern: {Regex: "x+"}, behavior: "Isolated", invert: false}),
    UnsupportedError,
    /x\+/,
  ],
  ["another processor", "gpt2", (d) => (d["post_processor"] = {type: "Other"}), UnsupportedError, /Other/],
  ["an added token twice", "gpt2", (d) => (d["added_tokens"] = [TOKEN, TOKEN]), UnsupportedError, /x/],
  [
    "an added token without flags",
    "gpt2",
    (d) => (d["added_tokens"] = [{id: 1, content: "x"}]),
    BundleError,
    /special/,
  ],
];

for (const [name, kind, change, error, message] of REFUSED) {
  test(`refused by name: ${name}`, () => {
    assert.throws(changed(kind, change), (thrown: Error) => {
      assert.ok(thrown instanceof error, String(thrown));
      assert.match(thrown.message, message);
      assert.match(thrown.message, /^tokenizer\.json/);
      return true;
    });
  });
}

for (const content of [
  "",
  "{",
  "[]",
  "null",
  '{"model": 1}',
  '{"model": {}}',
  "[".repeat(1e5),
  '{"model": 1, "model": 2}',
]) {
  test(`no tokenizer: ${content.slice(0, 20)}`, () => {
    const read = (): Tokenizer => readTokenizer("tokenizer.json", new TextEncoder().encode(content), 512);
    assert.throws(read, (thrown) => thrown instanceof BundleError || thrown instanceof UnsupportedError);
  });
}

test("what can't be encoded is refused", () => {
  const tokenizer = tokenizerOf(join(REFERENCES, "tokenizers", "bert-cased", "tokenizer.json"));
  assert.throws(() => tokenizer.encode("a", null, 1), /no room for 2 special tokens/);
  assert.throws(() => tokenizer.encode("\ud800"), InputError);
  assert.throws(() => tokenizer.encode("a", null, -1), InputError);
  assert.throws(() => tokenizer.encode(1 as unknown as string), InputError);
  assert.equal(tokenizer.encode("a ".repeat(2000)).ids.length, 512);
});

interface Scores {
  readonly bundle: string;
  readonly texts: string[];
  readonly adapter: Choice;
  readonly scores: Label[][];
}

test("scores are those of edgeadapt.pipeline", async () => {
  const rows = JSON.parse(readFileSync(join(REFERENCES, "scores.json"), "utf8")) as Scores[];
  assert.ok(rows.length > 5);
  for (const name of new Set(rows.map(({bundle}) => bundle))) {
    const bundle = await open(join(CASES, "bundles", name), {threads: 1});
    for (const {texts: given, adapter, scores} of rows.filter((row) => row.bundle === name)) {
      const found = await bundle.classify(given, adapter);
      assert.deepEqual(
        found.map((labels) => labels.map(({label}) => label)),
        scores.map((labels) => labels.map(({label}) => label)),
      );
      found.forEach((labels, index) =>
        labels.forEach(({score}, place) => {
          const expected = scores[index]?.[place]?.score ?? NaN;
          assert.ok(Math.abs(score - expected) <= 1e-6, `${score}, expected ${expected}`);
        }),
      );
    }
    await assert.rejects(bundle.classify(["a"], [...bundle.adapters, ...bundle.adapters]), InputError);
    await assert.rejects(bundle.classify([1 as unknown as string], bundle.adapters[0]), InputError);
    await bundle.close();
  }
});

test("a bundle for something else classifies no texts", async () => {
  const bundle = await open(join(CASES, "bundles", "features"), {threads: 1});
  await assert.rejects(bundle.classify(["a"], bundle.adapters[0]), UnsupportedError);
  await bundle.close();
});
