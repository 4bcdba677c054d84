/** Whether an adapter's arrays are those that a model's slots take, and what its record says of them. */
import {type Filling, isFilled} from "./adapter.js";
import {CACHE, PAST} from "./consistency.js";
import {AdapterError, refuse} from "./errors.js";
import type {AdapterRecord, Manifest, Slot, TensorRecord} from "./manifest.js";
import {freeDimension} from "./rows.js";
import {allFinite, shown, type Tensor} from "./tensor.js";
import type {Weights} from "./weights.js";

/** What is held together: of the base, `filling` is null and only slots with stored neutrals take part. */
interface Check {
  readonly record: AdapterRecord;
  readonly weights: Weights;
  readonly filling: Filling | null;
  readonly manifest: Manifest;
}

/**
 * Refuses an adapter that doesn't fit; `filling` has its arrays and the neutrals of the slots that it leaves, and is
 * null for the base.
 *
 * @throws AdapterError with all reasons.
 */
export function checkFit(
  name: string,
  record: AdapterRecord,
  weights: Weights,
  filling: Filling | null,
  manifest: Manifest,
): void {
  const check = {record, weights, filling, manifest};
  const other = record.fingerprint !== manifest.fingerprint;
  const spare = spareArrays(check);
  const wrong = arrayProblems(check);
  const problems = [
    ...(other ? [`fingerprint of the base: got ${record.fingerprint}, expected ${manifest.fingerprint}`] : []),
    ...spare,
    ...wrong,
    ...(wrong.length ? [] : disagreements(check)),
    ...labelProblems(check),
    ...rankProblems(check),
    ...cacheProblems(check),
  ];
  const remedy = other
    ? "Export it from the base it was trained on."
    : spare.length
      ? "`edgeadapt add` the checkpoint to this bundle: it gives the model the slots that are missing."
      : "Convert it again for this bundle with `edgeadapt add`.";
  refuse(AdapterError, `Adapter '${name}' does not fit the model:`, problems, remedy);
}

/** Returns the slots that take part, with what is in them: an own array, a neutral, or nothing. */
function filledSlots({weights, filling, manifest}: Check): {slot: Slot; own: Tensor | null; tensor: Tensor | null}[] {
  return manifest.slots.flatMap((slot, order) => {
    if (!filling && (slot.neutral === null || isFilled(slot))) return [];
    const own = weights.get(slot.name) ?? null;
    return [{slot, own, tensor: own ?? filling?.[order]?.tensor ?? null}];
  });
}

/** The inputs by which a decoder's cache enters. */
function layers({generation, inputs}: Manifest): TensorRecord[] {
  return generation ? inputs.filter(({name}) => name.startsWith(PAST)) : [];
}

function spareArrays(check: Check): string[] {
  const taken = new Set([
    ...filledSlots(check).map(({slot}) => slot.name),
    ...layers(check.manifest).map(({name}) => name),
  ]);
  return [...check.weights.keys()]
    .filter((name) => !taken.has(name))
    .map((name) => `${name}: the model has no such slot`);
}

function arrayProblems(check: Check): string[] {
  return filledSlots(check).flatMap(({slot, own, tensor}) => {
    if (own) return slotProblems(slot, own);
    return tensor ? [] : [`${slot.name}: missing, and the base has no value for it`];
  });
}

function slotProblems(slot: Slot, array: Tensor): string[] {
  const problems: string[] = [];
  const got = `${slot.name}: got ${shown(array.shape)}`;
  const expected = shown(slot.shape);
  const fits =
    array.shape.length === slot.shape.length &&
    slot.shape.every((length, axis) => typeof length === "string" || length === array.shape[axis]);
  if (array.dtype !== slot.dtype) problems.push(`${slot.name}: got ${array.dtype}, expected ${slot.dtype}`);
  if (!fits) problems.push(`${got}, expected ${expected}`);
  else if (array.shape[0] !== 1) problems.push(`${got}, expected ${expected} with 1 for rows: an adapter is one row`);
  else if (!array.data.length) problems.push(`${got}, which is empty`);
  if (!allFinite(array)) problems.push(`${slot.name}: holds NaN or infinity`);
  return problems;
}

/** Says where free dimensions of what it brings, and of the neutrals beside it, have several lengths. */
function disagreements(check: Check): string[] {
  const dimensions = new Map<
    string,
    {symbol: string; brought: boolean; seen: {name: string; length: number; own: boolean}[]}
  >();
  for (const {slot, own, tensor} of filledSlots(check)) {
    for (const [axis, symbol] of slot.shape.entries()) {
      if (!tensor || axis === 0 || typeof symbol !== "string") continue;
      const key = freeDimension(slot, symbol);
      const dimension = dimensions.get(key) ?? {symbol, brought: false, seen: []};
      dimension.brought ||= own !== null;
      dimension.seen.push({name: slot.name, length: tensor.shape[axis] ?? 0, own: own !== null});
      dimensions.set(key, dimension);
    }
  }
  return [...dimensions.values()].flatMap(({symbol, brought, seen}) => {
    const [first] = seen;
    const other = seen.find(({length}) => length !== first?.length);
    if (!brought || !first || !other) return [];
    const neutral = first.own && other.own ? "" : " (one is a neutral)";
    return [`${symbol}: ${first.length} in ${first.name}, ${other.length} in ${other.name}${neutral}`];
  });
}

/** Says where the record names another number of labels than the head has. */
function labelProblems(check: Check): string[] {
  const {record, manifest} = check;
  const columns =
    filledSlots(check)
      .map(({slot, tensor}) => tensor?.shape[slot.shape.indexOf("labels")])
      .find((length) => length) ??
    manifest.labels?.length ??
    0;
  if (!record.labels || !columns || record.labels.length === columns) return [];
  return [`labels: ${record.labels.length} names in adapter.json, ${columns} columns in the head`];
}

/** Says where the record has another rank than an array. */
function rankProblems(check: Check): string[] {
  return filledSlots(check).flatMap(({slot, own}) => {
    const rank = own?.shape[slot.shape.indexOf("rank")];
    const said = check.record.sites[slot.site]?.[slot.method]?.rank;
    if (rank === undefined || said === undefined || rank === said) return [];
    return [`${slot.name}: rank ${said} in adapter.json, ${rank} in its array`];
  });
}

/** Says what is wrong with what a cache begins with, or with what the record says of that. */
function cacheProblems({record, weights, manifest}: Check): string[] {
  const inputs = layers(manifest);
  const site = record.sites[CACHE];
  if (!site) {
    const brings = inputs.some(({name}) => weights.has(name));
    const what = "it brings keys and values of the cache";
    return brings ? [`${what}, of which sites.${CACHE} in adapter.json says nothing`] : [];
  }
  if (!inputs.length)
    return [`${CACHE}: this model generates no text, so it has no cache that could begin with anything`];
  const dtype = (inputs[0] as TensorRecord).dtype;
  const problems = inputs.flatMap((layer) => layerProblems(layer, weights.get(layer.name), dtype));
  if (problems.length) return problems;
  const tokens = inputs.map(({name}) => weights.get(name)?.shape[2] ?? 0);
  const [least, most] = [Math.min(...tokens), Math.max(...tokens)];
  const said = Object.values(site)[0]?.rank;
  const positions = manifest.generation?.positions ?? Infinity;
  if (least !== most) return [`${CACHE}: ${least} tokens in one layer, ${most} in another`];
  if (most >= positions)
    return [`${CACHE}: ${most} tokens leave no room for a text in the model's ${positions} positions`];
  return most === said ? [] : [`${CACHE}: rank ${said} in adapter.json, ${most} tokens in its arrays`];
}

/** Says what keeps an array from being what one layer of a cache begins with. */
function layerProblems(layer: TensorRecord, array: Tensor | undefined, dtype: string): string[] {
  if (!array) return [`${layer.name}: missing`];
  const {shape} = array;
  const fits =
    shape.length === 4 &&
    layer.shape.length === 4 &&
    shape[0] === 1 &&
    shape[2] !== 0 &&
    shape[1] === layer.shape[1] &&
    shape[3] === layer.shape[3];
  if (!fits) {
    const expected = `${shown(layer.shape)} with 1 for batch and one token or more`;
    return [`${layer.name}: got ${shown(shape)}, expected ${expected}`];
  }
  if (array.dtype !== dtype) return [`${layer.name}: got ${array.dtype}, expected ${dtype}`];
  return allFinite(array) ? [] : [`${layer.name}: holds NaN or infinity`];
}
