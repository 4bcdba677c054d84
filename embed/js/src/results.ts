/** What the passes of a run give, put together: one array for each output, or one for each of its rows. */
import {BundleError, UnsupportedError} from "./errors.js";
import type {Manifest, TensorRecord} from "./manifest.js";
import {copyRow, type Pass} from "./rows.js";
import {type Tensor, zeros} from "./tensor.js";

/** What one run of the model gives, by the names of its outputs. */
export type Part = ReadonlyMap<string, Tensor>;

/** Outputs by name; an array for each row, without the batch axis, where rows have different numbers of labels. */
export type Outputs = Record<string, Tensor | Tensor[]>;

/** Tells whether rows are cut to different numbers of labels. */
function isCut(labels: readonly number[]): boolean {
  return labels.some((count) => count !== labels[0]);
}

/** Tells whether an output is put together of rows, rather than left as the model gives it. */
function isJoined({shape}: TensorRecord, passes: number, labels: readonly number[]): boolean {
  return passes > 1 || (isCut(labels) && shape.at(-1) === "labels");
}

/**
 * Refuses rows that can't be joined, before anything is run.
 *
 * @throws UnsupportedError where an output has no batch axis to join them on.
 */
export function checkJoins({outputs}: Manifest, passes: number, labels: readonly number[]): void {
  for (const output of outputs) {
    if (!isJoined(output, passes, labels) || output.shape.includes("batch")) continue;
    throw new UnsupportedError(
      `These rows need a run for each adapter, and output ${output.name} has no batch axis to join them on.\n` +
        "Run the adapters one by one.",
    );
  }
}

/**
 * Refuses what the model gives, where it isn't what the manifest says.
 *
 * @throws BundleError where a dtype or a number of dimensions differs.
 */
export function checkPart({outputs}: Manifest, part: Part): void {
  for (const {name, dtype, shape} of outputs) {
    const given = part.get(name);
    if (given && given.dtype === dtype && given.shape.length === shape.length) continue;
    const got = given ? `${given.shape.length} dimensions as ${given.dtype}` : "nothing";
    throw new BundleError(
      `The model gave ${got} for ${name}, and the manifest has ${shape.length} as ${dtype}.\nExport the bundle again.`,
    );
  }
}

/** Puts passes together; `labels` is how many each row has, 0 where no slot has labels. */
export function joinParts(
  {outputs}: Manifest,
  parts: readonly Part[],
  passes: readonly Pass[],
  labels: readonly number[],
): Outputs {
  return Object.fromEntries(
    outputs.map((output) => [
      output.name,
      isJoined(output, passes.length, labels)
        ? joinRows(output, parts, passes, labels)
        : ((parts[0] as Part).get(output.name) as Tensor),
    ]),
  );
}

function joinRows(
  {name, shape}: TensorRecord,
  parts: readonly Part[],
  passes: readonly Pass[],
  labels: readonly number[],
): Tensor | Tensor[] {
  const axis = shape.indexOf("batch");
  const labelled = shape.at(-1) === "labels";
  const places = passes.flatMap((pass, part) => pass.map((row, position) => ({row, position, part})));
  const rows = places
    .sort((one, other) => one.row - other.row)
    .map(({row, position, part}) => {
      const whole = (parts[part] as Part).get(name) as Tensor;
      const expected = (passes[part] as Pass).length;
      if (whole.shape[axis] !== expected) {
        const got = `The model gave ${whole.shape[axis]} rows in ${name} for a batch of ${expected}.`;
        throw new BundleError(`${got}\nExport the bundle again.`);
      }
      const inner = whole.shape.toSpliced(axis, 1);
      const last = inner.at(-1);
      const most = labels[row] as number;
      if (labelled && most && last !== undefined) inner[inner.length - 1] = Math.min(last, most);
      return {whole, position, inner};
    });
  const first = rows[0] as (typeof rows)[number];
  const alike = rows.every(({inner}) => String(inner) === String(first.inner));
  if (alike) {
    const target = zeros(first.whole.dtype, first.inner.toSpliced(axis, 0, rows.length));
    for (const [row, {whole, position}] of rows.entries()) copyRow(whole, position, target, row, axis);
    return target;
  }
  return rows.map(({whole, position, inner}) => {
    const target = zeros(whole.dtype, inner.toSpliced(axis, 0, 1));
    copyRow(whole, position, target, 0, axis);
    return {...target, shape: inner};
  });
}
