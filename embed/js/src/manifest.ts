/** `edgeadapt.json` and an adapter's `adapter.json`, as docs/bundle-format.md has them in words. */
import {manifestProblems, recordProblems} from "./consistency.js";
import {BundleError, refuse} from "./errors.js";
import {type Json, JsonError, parseJson} from "./json.js";
import * as schema from "./schema.js";

const {anyText, count, list, map, nullable, number, path, positive, record, size, text} = schema;

const files = map(path, record({bytes: size, sha256: schema.sha256}));
const tensor = record({name: text, dtype: schema.dtype, shape: list(schema.dimension)});
const problemType = schema.oneOf("regression", "single_label_classification", "multi_label_classification");

const slot = record({
  name: text,
  method: text,
  site: anyText,
  param: text,
  dtype: schema.dtype,
  shape: list(schema.slotDimension),
  neutral: nullable(schema.storedOr(record({shape: list(count), fill: number}))),
});

const decoder = record({
  eos_ids: list(size),
  positions: nullable(count),
  chat: nullable(record({file: path, tokens: map(text, anyText)})),
});

const encoderDecoder = record({
  eos_ids: list(size),
  positions: nullable(count),
  start_ids: list(size, 1),
  rules: record({
    repetition_penalty: positive,
    no_repeat_ngram_size: size,
    min_length: size,
    min_new_tokens: size,
    forced_bos_token_id: nullable(size),
    forced_eos_token_ids: list(size),
    suppress_tokens: list(size),
    begin_suppress_tokens: list(size),
  }),
  encoder: record({file: path, inputs: list(tensor), outputs: list(tensor), positions: nullable(count)}),
  speech: nullable(
    record({
      sampling_rate: count,
      samples: count,
      fft: count,
      hop: count,
      mels: count,
      languages: map(text, size),
      tasks: map(text, size),
      no_timestamps: size,
    }),
  ),
});

const manifest = record({
  format: text,
  producer: text,
  task: text,
  model_type: text,
  fingerprint: schema.fingerprint,
  model: record({
    file: path,
    neutrals: nullable(path),
    precision: text,
    opset: count,
    onnxruntime: schema.atLeast,
  }),
  inputs: list(tensor),
  outputs: list(tensor),
  slots: list(slot),
  labels: nullable(list(anyText, 1)),
  problem_type: nullable(problemType),
  tokenizer: nullable(
    record({
      file: path,
      max_length: count,
      padding_side: schema.oneOf("right", "left"),
      pad_id: size,
      pad_token: anyText,
      pad_type_id: size,
      mask_token: nullable(anyText),
    }),
  ),
  image: nullable(
    record({
      height: count,
      width: count,
      resize: schema.imageSize,
      resample: schema.filter,
      crop: nullable(list(count, 2, 2)),
      rescale: number,
      mean: list(number),
      std: list(positive),
    }),
  ),
  generation: nullable(schema.either("encoder", encoderDecoder, decoder)),
  files,
});

const adapterRecord = record({
  format: text,
  name: schema.adapterName,
  method: text,
  fingerprint: schema.fingerprint,
  sites: map(anyText, map(text, schema.facts)),
  labels: nullable(list(anyText, 1)),
  problem_type: nullable(problemType),
  source: schema.anyObject,
  parity: nullable(
    record({
      reference: text,
      max_abs_error: number,
      effect: number,
      cosine: number,
      top1_agreement: nullable(number),
      tolerance: number,
    }),
  ),
  files,
});

/** What a bundle is, how its model is called, and which files are its own: `edgeadapt.json`. */
export type Manifest = schema.Read<typeof manifest>;

/** One adapter, the base that it needs, and which files are its own: `adapter.json`, without its `source`. */
export type AdapterRecord = schema.Read<typeof adapterRecord>;

/** What the model takes or gives. */
export type TensorRecord = schema.Read<typeof tensor>;

/** An input of the model that takes one array of an adapter. */
export type Slot = schema.Read<typeof slot>;

/** Sizes and sha256 of files, by their paths. */
export type Files = schema.Read<typeof files>;

export type ProblemType = schema.Read<typeof problemType>;

/** The file of an adapter's arrays. */
export const WEIGHTS = "weights.onnx_adapter";
const REMEDY = "Copy it again from where it was made, or export it again.";

/**
 * Reads a manifest from the bytes of its file; `where` is its path, for messages.
 *
 * @throws BundleError with all that breaks the format.
 */
export function parseManifest(where: string, bytes: Uint8Array): Manifest {
  return parse(where, bytes, manifest, ["1.0", "1.1"], manifestProblems);
}

/**
 * Reads an adapter's record from the bytes of its file; `where` is its path, for messages.
 *
 * @throws BundleError with all that breaks the format.
 */
export function parseRecord(where: string, bytes: Uint8Array): AdapterRecord {
  return parse(where, bytes, adapterRecord, ["1.0"], recordProblems);
}

/** Reads a list of adapters' names. */
export function parseNames(where: string, bytes: Uint8Array): readonly string[] {
  const problems: string[] = [];
  const names = list(schema.adapterName)(jsonOf(where, bytes), new schema.Place("$", problems));
  refuse(BundleError, `${where} is no list of adapters' names:`, problems, REMEDY);
  return names;
}

function parse<T>(
  where: string,
  bytes: Uint8Array,
  reader: schema.Reader<T>,
  formats: readonly string[],
  consistency: (read: T) => string[],
): T {
  const document = jsonOf(where, bytes);
  checkFormat(where, document, formats);
  const problems: string[] = [];
  const read = reader(document, new schema.Place("$", problems));
  const headline = `${where} breaks the bundle format:`;
  refuse(BundleError, headline, problems, REMEDY);
  refuse(BundleError, headline, consistency(read), REMEDY);
  return read;
}

/** Parses strict JSON. */
function jsonOf(where: string, bytes: Uint8Array): Json {
  try {
    return parseJson(bytes);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new BundleError(`${where} is not JSON as the format has it: ${error.message}.\n${REMEDY}`);
  }
}

/** Refuses by name what another version wrote, before its keys are looked at. */
function checkFormat(where: string, document: Json, formats: readonly string[]): void {
  const format = document instanceof Map ? document.get("format") : undefined;
  const version = typeof format === "string" ? versionOf(format) : null;
  if (!version || typeof format !== "string") {
    throw new BundleError(`${where} has no bundle format, expected '${formats[0]}'.\nIs it another tool's file?`);
  }
  if (formats.includes(format)) return;
  const highest = formats.at(-1) as string;
  const [major, minor] = versionOf(highest) as [number, number];
  if (version[0] > major || (version[0] === major && version[1] > minor)) {
    throw new BundleError(
      `${where} was written by a newer edgeadapt: its format is ${format}, this one reads ${highest}.\n` +
        "Update edgeadapt, or export again with this version.",
    );
  }
  throw new BundleError(
    `${where} has the format ${format}, which was never released; this edgeadapt reads ${highest}.`,
  );
}

function versionOf(format: string): [number, number] | null {
  const parts = /^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$/.exec(format);
  return parts ? [Number(parts[1]), Number(parts[2])] : null;
}
