/** Rows of a batch with different adapters: which share a pass, and how their arrays are stacked. */
import type {Adapter, Cell, Filling} from "./adapter.js";
import type {Manifest, Slot} from "./manifest.js";
import {bytesOf, countOf, sizeOf, type Tensor, zeros} from "./tensor.js";

/** Rows that share a run of the model, by their places in the batch. */
export type Pass = readonly number[];

/** Names a free dimension: labels are one for the whole model, and each site and method has a rank of its own. */
export function freeDimension(slot: Slot, symbol: string): string {
  return symbol === "labels" ? symbol : `${symbol}\0${slot.site}\0${slot.method}`;
}

/** Parts rows into passes: those of one have the same arrays in all slots that can't differ between rows. */
export function passesOf({slots}: Manifest, rows: readonly Adapter[]): Pass[] {
  const passes: number[][] = [];
  const shared = slots.flatMap((slot, order) => (slot.shape[0] === "rows" ? [] : [order]));
  for (const [row, adapter] of rows.entries()) {
    const pass = passes.find(([first]) => {
      const other = rows[first as number] as Adapter;
      return shared.every((order) => other.filling[order] === adapter.filling[order]);
    });
    if (pass) pass.push(row);
    else passes.push([row]);
  }
  return passes;
}

/**
 * Returns what fills the slots for the rows of a pass, whose slots are all filled. Where all have the same array it is
 * fed once, `(1, ...)`; else an array for each row, `(rows, ...)`. Both are padded with zeros to the longest of each
 * free dimension.
 */
export function stackRows({slots}: Manifest, rows: readonly Adapter[]): Filling {
  const [first] = rows as [Adapter];
  if (rows.every((row) => row === first)) return first.filling;
  const lengths = longest(slots, new Set(rows));
  return slots.map((slot, order) => {
    const cells = rows.map(({filling}) => filling[order] as Cell);
    const [one] = cells as [Cell];
    const same = cells.every((cell) => cell === one);
    const inner = slot.shape
      .slice(1)
      .map((length) => (typeof length === "number" ? length : (lengths.get(freeDimension(slot, length)) as number)));
    if (same && inner.every((length, axis) => length === one.tensor.shape[axis + 1])) return one;
    return {tensor: stacked(slot, inner, same ? [one] : cells)};
  });
}

/** Computes how long each free dimension is in these adapters. */
function longest(slots: readonly Slot[], adapters: ReadonlySet<Adapter>): Map<string, number> {
  const lengths = new Map<string, number>();
  for (const {filling} of adapters) {
    for (const [order, slot] of slots.entries()) {
      for (const [axis, symbol] of slot.shape.entries()) {
        if (axis === 0 || typeof symbol !== "string") continue;
        const key = freeDimension(slot, symbol);
        lengths.set(key, Math.max(lengths.get(key) ?? 1, (filling[order] as Cell).tensor.shape[axis] as number));
      }
    }
  }
  return lengths;
}

function stacked(slot: Slot, inner: readonly number[], cells: readonly Cell[]): Tensor {
  const tensor = zeros(slot.dtype, [cells.length, ...inner]);
  const bytes = bytesOf(tensor.data);
  const step = bytes.length / cells.length;
  for (const [row, {tensor: own}] of cells.entries()) {
    const target = bytes.subarray(row * step, (row + 1) * step);
    copyPadded(target, inner, bytesOf(own.data), own.shape.slice(1), sizeOf(slot.dtype));
  }
  return tensor;
}

/** Copies an array into the start of one that is as long or longer in every axis. */
function copyPadded(
  to: Uint8Array,
  toShape: readonly number[],
  from: Uint8Array,
  fromShape: readonly number[],
  size: number,
): void {
  const toStep = countOf(toShape.slice(1)) * size;
  const fromStep = countOf(fromShape.slice(1)) * size;
  // Equal lengths in all inner axes, as no axis is shorter: they lie in one piece.
  if (toStep === fromStep) {
    to.set(from);
    return;
  }
  for (let index = 0; index < (fromShape[0] as number); index++) {
    copyPadded(
      to.subarray(index * toStep, (index + 1) * toStep),
      toShape.slice(1),
      from.subarray(index * fromStep, (index + 1) * fromStep),
      fromShape.slice(1),
      size,
    );
  }
}

/** Returns some rows of a tensor, which are its `axis`, in this order. */
export function takeRows(tensor: Tensor, axis: number, rows: readonly number[]): Tensor {
  const shape = tensor.shape.with(axis, rows.length);
  const taken = zeros(tensor.dtype, shape);
  for (const [to, row] of rows.entries()) copyRow(tensor, row, taken, to, axis);
  return taken;
}

/** Copies a row of one tensor into a row of another; their last axes may be cut, and the other axes are alike. */
export function copyRow(from: Tensor, row: number, to: Tensor, toRow: number, axis: number): void {
  // Both lie as (outer, rows, middle, last).
  const ends = axis === from.shape.length - 1;
  const outer = countOf(from.shape.slice(0, axis));
  const middle = ends ? 1 : countOf(from.shape.slice(axis + 1, -1));
  const size = sizeOf(from.dtype);
  const fromLast = (ends ? 1 : (from.shape.at(-1) as number)) * size;
  const toLast = (ends ? 1 : (to.shape.at(-1) as number)) * size;
  const [source, target] = [bytesOf(from.data), bytesOf(to.data)];
  for (let block = 0; block < outer; block++) {
    for (let line = 0; line < middle; line++) {
      const start = ((block * (from.shape[axis] as number) + row) * middle + line) * fromLast;
      const end = ((block * (to.shape[axis] as number) + toRow) * middle + line) * toLast;
      target.set(source.subarray(start, start + Math.min(fromLast, toLast)), end);
    }
  }
}
