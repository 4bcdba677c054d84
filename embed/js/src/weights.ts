/**
 * `weights.onnx_adapter`: ONNX Runtime's container of named arrays, a FlatBuffer with the schema
 *
 *     table Parameter { name: string; dims: [int64]; data_type: int32; raw_data: [uint8] (force_align: 8); }
 *     table Adapter   { format_version: int32; adapter_version: int32; model_version: int32; parameters: [Parameter]; }
 *
 * https://flatbuffers.dev/internals says how it is laid out. Every offset and length is held against the file's size.
 */
import {BundleError} from "./errors.js";
import {countOf, dtypeOf, sizeOf, type Tensor, viewOf} from "./tensor.js";

const FORMAT_VERSION = 0;
const PARAMETERS = 3;
const NAME = 0;
const DIMS = 1;
const DATA_TYPE = 2;
const RAW_DATA = 3;
const MOST_RANK = 64;

/** Arrays by their names. */
export type Weights = ReadonlyMap<string, Tensor>;

/** What makes a file none of these. */
class Damage extends Error {}

/** Members of a vector: where the first begins, and how many there are. */
interface Vector {
  readonly start: number;
  readonly count: number;
}

/**
 * Reads the arrays of a file; where they are aligned they stay in its memory. `where` is its path, for messages.
 *
 * @throws BundleError where it is no such file, or has a name twice.
 */
export function parseWeights(where: string, bytes: Uint8Array<ArrayBuffer>): Weights {
  try {
    return arraysOf(new Buffered(bytes));
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    throw new BundleError(`${where} is no file of adapter arrays: ${error.message}.\nConvert the adapter again.`);
  }
}

function arraysOf(file: Buffered): Weights {
  if (!file.has(0, 8) || file.text(4, 4) !== "TORT") throw new Damage("it has no file identifier TORT");
  const root = file.table(file.follow(0));
  const parameters = root.vector(PARAMETERS, 4);
  if (!parameters) throw new Damage("it has no list of arrays");
  if (root.int32(FORMAT_VERSION) !== 1) throw new Damage("its format_version is not 1");
  const arrays = new Map<string, Tensor>();
  let left = file.bytes.length;
  for (let index = 0; index < parameters.count; index++) {
    const [name, tensor] = parameterOf(file, file.table(file.follow(parameters.start + 4 * index)));
    // So that a small file can't take much memory.
    left -= tensor.data.byteLength;
    if (left < 0) throw new Damage("arrays share their bytes");
    if (arrays.has(name)) throw new Damage(`it has two arrays named ${name.slice(0, 200)}`);
    arrays.set(name, tensor);
  }
  return arrays;
}

function parameterOf(file: Buffered, table: Table): [string, Tensor] {
  const name = table.vector(NAME, 1);
  const dims = table.vector(DIMS, 8);
  const raw = table.vector(RAW_DATA, 1);
  const dtype = dtypeOf(table.int32(DATA_TYPE));
  // The NUL behind a string is in the file, but not in its length.
  if (!name?.count || !file.has(name.start, name.count + 1) || file.bytes[name.start + name.count] !== 0) {
    throw new Damage("an array has no name that ends with a NUL");
  }
  const text = file.text(name.start, name.count);
  if (text.includes("\0")) throw new Damage("an array has no name that ends with a NUL");
  if (dims && dims.count > MOST_RANK) throw new Damage("an array has more than 64 dimensions");
  if (!dtype) throw new Damage("an array has a data_type that no slot has");
  const shape = Array.from({length: dims?.count ?? 0}, (_, axis) => file.length((dims as Vector).start + 8 * axis));
  const length = raw?.count ?? 0;
  if (countOf(shape) * sizeOf(dtype) !== length) {
    throw new Damage("an array has other bytes than its dims and data_type say");
  }
  const data = viewOf(file.bytes.subarray(raw?.start ?? 0, (raw?.start ?? 0) + length), dtype);
  return [text, {dtype, shape, data}];
}

/** The bytes of a file, with numbers and offsets in them. */
class Buffered {
  readonly bytes: Uint8Array<ArrayBuffer>;
  private readonly view: DataView;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  has(start: number, length: number): boolean {
    return start >= 0 && length <= this.bytes.length - start;
  }

  private within(start: number, length: number): number {
    if (!this.has(start, length)) throw new Damage("a field lies outside the file");
    return start;
  }

  uint16(at: number): number {
    return this.view.getUint16(this.within(at, 2), true);
  }

  uint32(at: number): number {
    return this.view.getUint32(this.within(at, 4), true);
  }

  int32(at: number): number {
    return this.view.getInt32(this.within(at, 4), true);
  }

  /** Reads a length of 64 bits. */
  length(at: number): number {
    const length = this.view.getBigInt64(this.within(at, 8), true);
    if (length < 0n || length > Number.MAX_SAFE_INTEGER) throw new Damage("an array has a length that none can have");
    return Number(length);
  }

  text(start: number, length: number): string {
    const bytes = this.bytes.subarray(this.within(start, length), start + length);
    try {
      return new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(bytes);
    } catch {
      throw new Damage("a name is not UTF-8");
    }
  }

  /** Follows the offset that stands at `at`, which counts from there. */
  follow(at: number): number {
    const offset = this.uint32(at);
    if (offset === 0) throw new Damage("an offset leads nowhere");
    return this.within(at + offset, 1);
  }

  table(start: number): Table {
    const offsets = start - this.int32(start);
    const length = this.uint16(offsets);
    const size = this.uint16(offsets + 2);
    if (length < 4 || length % 2 !== 0 || size < 4) throw new Damage("a table has no sound list of its fields");
    this.within(offsets, length);
    this.within(start, size);
    return new Table(this, start, size, offsets + 4, (length - 4) / 2);
  }
}

/** A table in a file: where it begins, and where the offsets of its fields are. */
class Table {
  private readonly file: Buffered;
  private readonly start: number;
  private readonly size: number;
  private readonly offsets: number;
  private readonly fields: number;

  constructor(file: Buffered, start: number, size: number, offsets: number, fields: number) {
    this.file = file;
    this.start = start;
    this.size = size;
    this.offsets = offsets;
    this.fields = fields;
  }

  /** Finds a field of four bytes; null where it has its default. */
  private field(field: number): number | null {
    const offset = field < this.fields ? this.file.uint16(this.offsets + 2 * field) : 0;
    if (offset === 0) return null;
    if (offset < 4 || offset + 4 > this.size) throw new Damage("a field lies outside its table");
    return this.start + offset;
  }

  int32(field: number): number {
    const at = this.field(field);
    return at === null ? 0 : this.file.int32(at);
  }

  /** Finds a vector with members of `size` bytes; null where it is absent. */
  vector(field: number, size: number): Vector | null {
    const at = this.field(field);
    if (at === null) return null;
    const start = this.file.follow(at) + 4;
    const count = this.file.uint32(start - 4);
    if (!this.file.has(start, count * size)) throw new Damage("a list lies outside the file");
    return {start, count};
  }
}
