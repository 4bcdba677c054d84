/** An adapter in memory: one array for every slot, its own or a neutral. */
import {CACHE} from "./consistency.js";
import {AdapterError, BundleError} from "./errors.js";
import {type Folder, verifyFiles} from "./files.js";
import {checkFit} from "./fit.js";
import {type AdapterRecord, type Manifest, parseRecord, type ProblemType, type Slot, WEIGHTS} from "./manifest.js";
import type {Value} from "./model.js";
import {filled, type Tensor} from "./tensor.js";
import {parseWeights, type Weights} from "./weights.js";

/** What fills a slot. Two rows have the same array where they have the same cell. */
export interface Cell {
  readonly tensor: Tensor;
  /** The array as ONNX Runtime takes it, made when a run first feeds it. */
  value?: Value;
}

/** By the order of the slots; null for those of the base that has no value of its own. */
export type Filling = readonly (Cell | null)[];

export interface Adapter {
  readonly filling: Filling;
  /** Columns of the head that answers; 0 where no slot has labels. */
  readonly labelCount: number;
  /** The names and the type of what it answers. */
  readonly labels: readonly string[] | null;
  readonly problemType: ProblemType | null;
  /** It brings what a text's cache begins with. */
  readonly hasCache: boolean;
}

/**
 * Reads the base, `adapters/none`: a neutral in every slot that has one. `neutrals` is the content of the file of
 * stored ones.
 *
 * @throws BundleError where its files are wrong, AdapterError where they don't fit the model.
 */
export async function readBase(
  bundle: Folder,
  manifest: Manifest,
  neutrals: Uint8Array<ArrayBuffer> | null,
): Promise<Adapter> {
  const folder = bundle.within("adapters/none");
  const {record} = await readFolder(folder);
  if (record.method !== "none") {
    const got = `its method is '${record.method}', expected 'none'`;
    throw new BundleError(`${folder.where} is not the base: ${got}.\nCopy the bundle again.`);
  }
  const weights: Weights = neutrals
    ? parseWeights(bundle.within(manifest.model.neutrals ?? "").where, neutrals)
    : new Map();
  checkFit("none", record, weights, null, manifest);
  const filling = manifest.slots.map((slot) => own(slot, weights) ?? neutral(slot, 0, bundle.where));
  return {
    filling,
    labelCount: labelCount(manifest, filling),
    labels: manifest.labels,
    problemType: manifest.problem_type,
    hasCache: false,
  };
}

/**
 * Reads the adapter in a folder as `name`, checks its files and whether it fits.
 *
 * @throws BundleError where its files are wrong, AdapterError where it doesn't fit the model.
 */
export async function readAdapter(folder: Folder, name: string, manifest: Manifest, base: Adapter): Promise<Adapter> {
  const {record, weights} = await readFolder(folder);
  if (record.method === "none") {
    throw new AdapterError(`${folder.where} is the base of a bundle, no adapter, and can't be called '${name}'.`);
  }
  const brought = manifest.slots.map((slot) => own(slot, weights));
  const labels = labelCount(manifest, brought);
  const filling = brought.map((cell, order) => {
    const slot = manifest.slots[order] as Slot;
    // Where an adapter brings a head of another number of labels, the neutrals that it leaves are as long.
    const stretched = labels > 0 && slot.shape.includes("labels") && isFilled(slot);
    return cell ?? (stretched ? neutral(slot, labels, folder.where) : (base.filling[order] ?? null));
  });
  checkFit(name, record, weights, filling, manifest);
  const hasHead = manifest.slots.some(
    (slot) => slot.shape.includes("labels") && !isFilled(slot) && weights.has(slot.name),
  );
  return {
    filling,
    labelCount: labelCount(manifest, filling),
    // Without a head, labels of an adapter are its names for the base's.
    labels: record.labels ?? (hasHead ? null : manifest.labels),
    problemType: record.problem_type ?? (hasHead ? null : manifest.problem_type),
    hasCache: record.sites[CACHE] !== undefined,
  };
}

/** Reads the name that an adapter's folder was converted under. */
export async function readName(folder: Folder): Promise<string> {
  return (await readRecord(folder)).name;
}

async function readRecord(folder: Folder): Promise<AdapterRecord> {
  return parseRecord(folder.within("adapter.json").where, await folder.document("adapter.json"));
}

async function readFolder(folder: Folder): Promise<{record: AdapterRecord; weights: Weights}> {
  const record = await readRecord(folder);
  const wanted = {hashMost: Infinity, content: (path: string) => path === WEIGHTS};
  const content = (await verifyFiles(folder, record.files, wanted)).get(WEIGHTS);
  return {record, weights: content ? parseWeights(folder.within(WEIGHTS).where, content) : new Map()};
}

function own(slot: Slot, weights: Weights): Cell | null {
  const tensor = weights.get(slot.name);
  return tensor ? {tensor} : null;
}

/** Tells whether a slot's neutral is made of one number. */
export function isFilled(slot: Slot): boolean {
  return slot.neutral !== null && slot.neutral !== "stored";
}

/** Makes a slot's neutral, with so many labels where that isn't 0; null where it has none that is made. */
function neutral(slot: Slot, labels: number, where: string): Cell | null {
  if (slot.neutral === null || slot.neutral === "stored") return null;
  const {shape, fill} = slot.neutral;
  const stretched = shape.map((length, axis) => (labels && slot.shape[axis] === "labels" ? labels : length));
  const tensor = filled(slot.dtype, stretched, fill);
  if (!tensor)
    throw new BundleError(`${where}: the neutral of slot ${slot.name} is ${fill}, which no ${slot.dtype} is.`);
  return {tensor};
}

/** Returns how many columns the head in these arrays has, or 0 where no slot that is filled has labels. */
function labelCount({slots}: Manifest, filling: Filling): number {
  for (const [order, slot] of slots.entries()) {
    const axis = slot.shape.indexOf("labels");
    const tensor = filling[order]?.tensor;
    // What is empty or of another rank is refused later.
    const columns = axis >= 0 && tensor?.data.length ? tensor.shape[axis] : undefined;
    if (columns) return columns;
  }
  return 0;
}
