/** Rules of the bundle format that tie one part of a document to another. */
import type {AdapterRecord, Files, Manifest, Slot, TensorRecord} from "./manifest.js";
import {shown} from "./tensor.js";

/** Prefixes of a decoder's inputs and outputs that are its cache, and of what its encoder gives it. */
export const PAST = "past_key_values.";
const PRESENT = "present.";
const ENCODED = "encoded.";
const CROSS = "encoder_key_values.";

/** The key of `sites` under which an adapter tells what a cache begins with. */
export const CACHE = "past_key_values";

/** Returns what in a manifest that fits the schema contradicts itself. */
export function manifestProblems(manifest: Manifest): string[] {
  const problems = [
    ...fileProblems(manifest),
    ...(manifest.outputs.length ? [] : ["$.outputs: is empty"]),
    ...twice("$.outputs", manifest.outputs),
    ...twice("$.inputs and $.slots", [...manifest.inputs, ...manifest.slots]),
    ...manifest.slots.flatMap(slotProblems),
  ];
  const {image, generation} = manifest;
  if (image && (image.mean.length !== image.std.length || ![1, 3, 4].includes(image.mean.length))) {
    const got = `${image.mean.length} and ${image.std.length}`;
    problems.push(`$.image: expected a mean and a std for each of 1, 3 or 4 channels, got ${got}`);
  }
  if (generation) problems.push(...cacheProblems(manifest));
  const encodes = generation !== null && "encoder" in generation;
  if (encodes !== (manifest.format === "1.1")) {
    problems.push("$.format: '1.1' is for a generation with an encoder, and for nothing else");
  }
  return [...problems, ...generationProblems(manifest)];
}

/** Returns what in an adapter's record that fits the schema contradicts itself. */
export function recordProblems(record: AdapterRecord): string[] {
  const problems: string[] = [];
  const none = record.name === "none";
  const sites = Object.keys(record.sites);
  if (isListed(record.files, "adapter.json")) {
    problems.push("$.files: lists adapter.json, which can't hold its own sha256");
  }
  if (none !== (record.method === "none")) {
    const got = `'${record.method}' for '${record.name}'`;
    problems.push(`$.method: expected 'none' for the adapter 'none' alone, got ${got}`);
  } else if (none && sites.length) {
    problems.push("$.sites: expected {} for the adapter 'none', which is the base itself");
  }
  if (sites.length && !isListed(record.files, "weights.onnx_adapter")) {
    problems.push("$.sites: weights.onnx_adapter is not in $.files");
  }
  const cache = record.sites[CACHE];
  const methods = cache && Object.values(cache);
  if (methods && (methods.length !== 1 || methods[0]?.rank === undefined)) {
    problems.push(`$.sites.${CACHE}: expected one method with a rank, how many tokens the cache begins with`);
  }
  return problems;
}

function isListed(files: Files, path: string): boolean {
  return files[path] !== undefined;
}

function fileProblems({model, slots, tokenizer, files}: Manifest): string[] {
  const problems = notListed(files, "$.model.file", model.file);
  if (model.neutrals !== null) problems.push(...notListed(files, "$.model.neutrals", model.neutrals));
  else if (slots.some((slot) => slot.neutral === "stored")) {
    problems.push("$.model.neutrals: is null, and slots have stored neutrals");
  }
  if (tokenizer) problems.push(...notListed(files, "$.tokenizer.file", tokenizer.file));
  for (const path of Object.keys(files)) {
    if (path === "edgeadapt.json") problems.push("$.files: lists edgeadapt.json, which can't hold its own sha256");
    if (path === "adapters" || path.startsWith("adapters/")) {
      problems.push(`$.files: lists ${path}, which belongs into that adapter's adapter.json`);
    }
  }
  return problems;
}

function notListed(files: Files, where: string, path: string): string[] {
  return isListed(files, path) ? [] : [`${where}: ${path} is not in $.files`];
}

/** Says which names stand twice. */
function twice(where: string, named: readonly {readonly name: string}[]): string[] {
  const names = named.map(({name}) => name);
  const seen = new Set<string>();
  const repeated = new Set(names.filter((name) => seen.has(name) || !seen.add(name)));
  return [...repeated].map((name) => `${where}: the name ${name} stands twice`);
}

function slotProblems(slot: Slot, order: number): string[] {
  const where = `$.slots[${order}] (${slot.name})`;
  const [first, ...others] = slot.shape;
  const problems: string[] = [];
  if (first !== "rows" && first !== 1) {
    problems.push(`${where}: expected 'rows' or 1 as the first dimension, got ${shown(slot.shape)}`);
  }
  if (others.includes("rows")) {
    problems.push(`${where}: expected 'rows' only as the first dimension, got ${shown(slot.shape)}`);
  }
  if (problems.length || slot.neutral === null || slot.neutral === "stored") return problems;
  const {shape} = slot.neutral;
  const fits =
    shape.length === slot.shape.length &&
    shape[0] === 1 &&
    others.every((length, axis) => typeof length === "string" || length === shape[axis + 1]);
  return fits ? [] : [`${where}: its neutral has another shape than ${shown(slot.shape)} with 1 for rows`];
}

/** Says which names of `all` that begin with a prefix have no partner with another prefix. */
function unpaired(
  all: readonly TensorRecord[],
  prefix: string,
  others: readonly TensorRecord[],
  partner: string,
  where: string,
): string[] {
  const names = new Set(others.map(({name}) => name));
  return all
    .filter(({name}) => name.startsWith(prefix) && !names.has(partner + name.slice(prefix.length)))
    .map(({name}) => `${where}: lacks ${partner}${name.slice(prefix.length)}`);
}

function has(tensors: readonly TensorRecord[], prefix: string): boolean {
  return tensors.some(({name}) => name.startsWith(prefix));
}

/** Says which part of a decoder's cache enters and doesn't leave, or the other way round. */
function cacheProblems({inputs, outputs}: Manifest): string[] {
  if (!has(inputs, PAST) && !has(outputs, PRESENT)) {
    return [`$.generation: is there, and no input begins with ${PAST}`];
  }
  return [
    ...unpaired(inputs, PAST, outputs, PRESENT, "$.outputs"),
    ...unpaired(outputs, PRESENT, inputs, PAST, "$.inputs"),
  ];
}

/** Says what is wrong with an encoder and its names, or with a template of conversations. */
function generationProblems({generation, inputs, slots, tokenizer, files}: Manifest): string[] {
  if (!generation) return [];
  if ("chat" in generation) {
    if (!generation.chat) return [];
    const problems = notListed(files, "$.generation.chat.file", generation.chat.file);
    return tokenizer ? problems : [...problems, "$.generation.chat: is there, and $.tokenizer is null"];
  }
  const {encoder} = generation;
  const problems = [
    ...notListed(files, "$.generation.encoder.file", encoder.file),
    ...twice("$.generation.encoder.inputs and $.slots", [...encoder.inputs, ...slots]),
    ...unpaired(encoder.outputs, ENCODED, inputs, CROSS, "$.inputs"),
    ...unpaired(inputs, CROSS, encoder.outputs, ENCODED, "$.generation.encoder.outputs"),
  ];
  if (!has(encoder.outputs, ENCODED) && !has(inputs, CROSS)) {
    problems.push(`$.generation.encoder.outputs: none begins with ${ENCODED}`);
  }
  return problems;
}
