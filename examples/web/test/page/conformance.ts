/** The page in which the cases of conformance are asked: `edgeadapt/web` answers, and what it answers is compared. */
import {EdgeAdaptError, open, type Bundle, type Tensor} from "edgeadapt/web";
import * as ort from "onnxruntime-web/webgpu";
import type {Provider} from "../../src/messages.js";

type Choice = string | null | (string | null)[];
type Step = "open" | "add" | "run";
type ArrayRecord = {readonly file: string; readonly dtype: Tensor["dtype"]; readonly shape: number[]};
type OutputRecord = ArrayRecord | {readonly rows: ArrayRecord[]};

/** A case of `cases.json`; tests/conformance/README.md says what its keys mean. */
interface Case {
  readonly name: string;
  readonly bundle: string;
  readonly add?: readonly {readonly folder: string; readonly name: string}[];
  readonly remove?: readonly string[];
  readonly adapter?: Choice;
  readonly inputs?: Readonly<Record<string, ArrayRecord>>;
  readonly step?: Step;
  readonly error?: string;
  readonly outputs?: Readonly<Record<string, OutputRecord>>;
  readonly labels?: readonly string[] | null;
  readonly adapters?: readonly string[];
}

/** What came of a case: what is wrong, and the largest difference of an output, relative to its scale. */
export interface Verdict {
  readonly name: string;
  readonly problems: readonly string[];
  readonly difference: number;
}

interface Refused {
  readonly step: Step;
  readonly error: unknown;
}

const ROOT = new URL("/cases/", location.href);
const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  bool: Uint8Array,
} as const;

ort.env.wasm.wasmPaths = new URL("/app/ort/", location.href).href;

/** The bundle of the last case, since the next one is often of the same. */
let kept: {readonly key: string; readonly bundle: Bundle} | undefined;

/**
 * Asks a case.
 *
 * @param folders names of the bundle's adapters, as its folder has them
 * @param tolerance how far a value may be from what Python answers, for outputs up to 1; beyond, times the largest
 */
async function ask(asked: Case, provider: Provider, folders: string[], tolerance: number): Promise<Verdict> {
  const verdict = (problems: string[], difference = 0) => ({name: asked.name, problems, difference});
  const outcome = await outcomeOf(asked, provider, folders);
  if (asked.step !== undefined) return verdict(refusalProblems(asked, outcome));
  if ("error" in outcome) return verdict([`refused at ${outcome.step}: ${outcome.error}`]);
  const problems = outcome.provider === provider ? [] : [`runs on ${outcome.provider}`];
  for (const key of ["labels", "adapters"] as const) {
    const [got, expected] = [outcome[key], asked[key]].map((value) => JSON.stringify(value));
    if (got !== expected) problems.push(`${key}: got ${got}, expected ${expected}`);
  }
  const names = [Object.keys(outcome.outputs), Object.keys(asked.outputs ?? {})].map((each) => each.sort().join(", "));
  if (names[0] !== names[1]) return verdict([...problems, `outputs: got ${names[0]}, expected ${names[1]}`]);
  let worst = 0;
  for (const [name, record] of Object.entries(asked.outputs ?? {})) {
    const difference = await differenceOf(outcome.outputs[name] as Tensor | Tensor[], record);
    if (typeof difference === "string") problems.push(`${name}: ${difference}`);
    // Written so that NaN is wrong.
    else if (!(difference <= tolerance)) problems.push(`${name}: differs by ${difference}`);
    else worst = Math.max(worst, difference);
  }
  return verdict(problems, worst);
}

interface Answered {
  readonly provider: string;
  readonly outputs: Record<string, Tensor | Tensor[]>;
  readonly labels: readonly string[] | null;
  readonly adapters: readonly string[];
}

async function outcomeOf(asked: Case, provider: Provider, folders: string[]): Promise<Answered | Refused> {
  let step: Step = "open";
  let bundle: Bundle | undefined;
  try {
    const key = JSON.stringify([asked.bundle, asked.add, asked.remove, provider]);
    if (kept?.key !== key) {
      bundle = await open(new URL(asked.bundle, ROOT).href, {provider, threads: 1, adapters: folders, ort});
      step = "add";
      for (const {folder, name} of asked.add ?? []) await bundle.add(new URL(folder, ROOT).href, name);
      for (const name of asked.remove ?? []) bundle.remove(name);
      // Closed only now: what ONNX Runtime has compiled for a GPU goes with the last model that is open.
      await kept?.bundle.close();
      kept = {key, bundle};
    }
    step = "run";
    ({bundle} = kept);
    const facts = {provider: bundle.provider, adapters: bundle.adapters};
    if (!asked.inputs) return {...facts, outputs: {}, labels: null};
    const inputs = Object.entries(asked.inputs).map(async ([name, record]) => [name, await tensorOf(record)] as const);
    const outputs = await bundle.run(Object.fromEntries(await Promise.all(inputs)), asked.adapter);
    const labels = Array.isArray(asked.adapter) ? null : await bundle.labels(asked.adapter);
    return {...facts, outputs, labels};
  } catch (error) {
    // What refused to add is not kept; what refused a run is as it was.
    if (step === "add") await bundle?.close();
    return {step, error};
  }
}

/** Tells how a refusal is other than wanted; what is wrong with an adapter may be found when the bundle is opened. */
function refusalProblems(asked: Case, outcome: Answered | Refused): string[] {
  if (!("error" in outcome)) return [`answered, expected ${asked.error} at ${asked.step}`];
  const {step, error} = outcome;
  const name = error instanceof EdgeAdaptError ? error.name : String(error);
  const early = asked.step === "run" && step === "open" && asked.bundle.startsWith("broken/");
  if (name === asked.error && (step === asked.step || early)) return [];
  return [`got ${name} at ${step}, expected ${asked.error} at ${asked.step}: ${String(error)}`];
}

/** Returns the largest difference, relative to the largest value where that is over 1; or what is not alike at all. */
async function differenceOf(got: Tensor | Tensor[], expected: OutputRecord): Promise<number | string> {
  if ("rows" in expected !== Array.isArray(got)) return "an array for each row is not one array for all";
  if (Array.isArray(got)) {
    const {rows} = expected as {rows: ArrayRecord[]};
    if (got.length !== rows.length) return `got ${got.length} rows, expected ${rows.length}`;
    const each = await Promise.all(got.map((row, index) => differenceOf(row, rows[index] as ArrayRecord)));
    return each.find((row) => typeof row === "string") ?? Math.max(0, ...(each as number[]));
  }
  const wanted = await tensorOf(expected as ArrayRecord);
  const [one, other] = [got, wanted].map(({dtype, shape}) => `${dtype} (${shape})`);
  if (one !== other) return `got ${one}, expected ${other}`;
  const [values, reference] = [numbersOf(got), numbersOf(wanted)];
  const scale = reference.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const differences = values.map((value, index) => Math.abs(value - (reference[index] as number)) / scale);
  // Math.max keeps NaN.
  return differences.reduce((most, value) => Math.max(most, value), 0);
}

async function tensorOf({file, dtype, shape}: ArrayRecord): Promise<Tensor> {
  const kind = ARRAYS[dtype as keyof typeof ARRAYS];
  const response = await fetch(new URL(file, ROOT));
  if (!response.ok || !kind) throw new TypeError(`${file}, ${dtype}: ${response.status}`);
  return {dtype, shape, data: new kind(await response.arrayBuffer())};
}

function numbersOf({dtype, data}: Tensor): number[] {
  const numberOf = dtype === "float16" ? half : Number;
  return Array.from(data as ArrayLike<number>, numberOf);
}

/** Returns the number that the bits of a float16 are. */
function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const finite = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  const size = exponent < 31 ? finite : fraction ? NaN : Infinity;
  return bits & 0x8000 ? -size : size;
}

/** A text of `cases.json`, and its tokens. */
interface Text {
  readonly text: string;
  readonly pair: string | null;
  readonly max_length: number;
  readonly ids: readonly number[];
  readonly type_ids: readonly number[];
}

/** Returns those of the texts to which a bundle's tokenizer gives other tokens. */
async function tokenize(bundle: string, texts: readonly Text[]): Promise<readonly Text[]> {
  const opened = await open(new URL(bundle, ROOT).href, {provider: "wasm", threads: 1, adapters: [], ort});
  const tokenizer = await opened.tokenizer();
  const wrong = texts.filter(({text, pair, max_length, ids, type_ids}) => {
    const tokens = tokenizer.encode(text, pair, max_length);
    return String(tokens.ids) !== String(ids) || String(tokens.typeIds) !== String(type_ids);
  });
  await opened.close();
  return wrong;
}

Object.assign(globalThis, {ask, tokenize});
