/** Arrays: their dtypes, how many bytes they have, and how they are filled. */

interface Kind {
  readonly size: number;
  /** ONNX's number of it. */
  readonly code: number;
  readonly array: TypedArrayOf;
}

/** The arrays that hold values; float16 is held as its 16 bits, and bool as 0 or 1. */
export type TypedArray =
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>;

interface TypedArrayOf {
  new (buffer: ArrayBuffer, offset: number, length: number): TypedArray;
  readonly name: string;
}

const KINDS = {
  float32: {size: 4, code: 1, array: Float32Array},
  uint8: {size: 1, code: 2, array: Uint8Array},
  int8: {size: 1, code: 3, array: Int8Array},
  uint16: {size: 2, code: 4, array: Uint16Array},
  int16: {size: 2, code: 5, array: Int16Array},
  int32: {size: 4, code: 6, array: Int32Array},
  int64: {size: 8, code: 7, array: BigInt64Array},
  bool: {size: 1, code: 9, array: Uint8Array},
  float16: {size: 2, code: 10, array: Uint16Array},
  float64: {size: 8, code: 11, array: Float64Array},
  uint32: {size: 4, code: 12, array: Uint32Array},
  uint64: {size: 8, code: 13, array: BigUint64Array},
} as const satisfies Record<string, Kind>;

/** The dtypes of a bundle's arrays. */
export type DType = keyof typeof KINDS;

/** An array: values in row-major order. A float16 is its bits, in a Uint16Array; an int64 is a BigInt. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

export const DTYPES = Object.keys(KINDS) as readonly DType[];

export function isDType(text: unknown): text is DType {
  return typeof text === "string" && Object.hasOwn(KINDS, text);
}

/** Returns the dtype that ONNX has this number for, or undefined. */
export function dtypeOf(code: number): DType | undefined {
  return DTYPES.find((dtype) => KINDS[dtype].code === code);
}

/** Bytes of one value. */
export function sizeOf(dtype: DType): number {
  return KINDS[dtype].size;
}

/** The array's class that holds values of a dtype, for messages. */
export function arrayName(dtype: DType): string {
  return KINDS[dtype].array.name;
}

/** How many values a shape has; Infinity where no memory could hold them. */
export function countOf(shape: readonly number[]): number {
  if (shape.includes(0)) return 0;
  const count = shape.reduce((product, length) => product * length, 1);
  return count <= Number.MAX_SAFE_INTEGER ? count : Infinity;
}

/** Returns bytes as an array of a dtype; a copy where they don't lie at a multiple of its size. */
export function viewOf(bytes: Uint8Array<ArrayBuffer>, dtype: DType): TypedArray {
  const {size, array} = KINDS[dtype];
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer, aligned.byteOffset, bytes.byteLength / size);
}

/** Returns the bytes of an array, in the same memory. */
export function bytesOf(data: TypedArray): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Returns a tensor full of zeros. */
export function zeros(dtype: DType, shape: readonly number[]): Tensor {
  return {dtype, shape, data: viewOf(new Uint8Array(countOf(shape) * sizeOf(dtype)), dtype)};
}

/** Returns a tensor of one value, or null where its dtype has no such value. */
export function filled(dtype: DType, shape: readonly number[], value: number): Tensor | null {
  const tensor = zeros(dtype, shape);
  const bits = valueBits(dtype, value);
  if (bits === null) return null;
  (tensor.data as {fill(value: number | bigint): void}).fill(bits);
  return tensor;
}

/** Tells whether an array has neither NaN nor infinity: all bits of the exponent are set in these. */
export function allFinite({dtype, data}: Tensor): boolean {
  if (dtype === "float16") return (data as Uint16Array).every((bits) => (bits & 0x7c00) !== 0x7c00);
  if (dtype === "float32" || dtype === "float64") return (data as Float64Array).every(Number.isFinite);
  return true;
}

/** Returns a shape as messages show it, `(1, 8, 384)`. */
export function shown(shape: readonly (number | string)[]): string {
  const text = shape.length === 1 ? `${shape[0]},` : shape.slice(0, 8).join(", ");
  return shape.length > 8 ? `(${text}, ...)` : `(${text})`;
}

/** Returns a number as its dtype's array takes it, or null where the dtype has no such value. */
function valueBits(dtype: DType, value: number): number | bigint | null {
  switch (dtype) {
    case "float64":
      return value;
    case "float32":
      return Number.isFinite(Math.fround(value)) ? value : null;
    case "float16": {
      const bits = halfBits(value);
      return (bits & 0x7c00) === 0x7c00 ? null : bits;
    }
    case "bool":
      return value === 0 ? 0 : 1;
    default: {
      const bits = 8 * sizeOf(dtype);
      const signed = dtype.startsWith("int");
      const end = 2 ** (signed ? bits - 1 : bits);
      if (!Number.isInteger(value) || value >= end || value < (signed ? -end : 0)) return null;
      return bits === 64 ? BigInt(value) : value;
    }
  }
}

/** Returns the bits of the float16 nearest to a number, ties to even; those of infinity where it is too large. */
function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  // Below 2^-14 numbers have the spacing 2^-24, from 2^e on 2^(e - 10).
  let exponent = -14;
  while (exponent < 16 && size >= 2 ** (exponent + 1)) exponent++;
  if (exponent > 15) return sign | 0x7c00;
  const scaled = size * 2 ** (10 - exponent);
  let units = Math.floor(scaled);
  const rest = scaled - units;
  if (rest > 0.5 || (rest === 0.5 && units % 2 === 1)) units++;
  // 2048 units carry into the exponent, as they should.
  return sign | Math.min(((exponent + 14) << 10) + units, 0x7c00);
}
