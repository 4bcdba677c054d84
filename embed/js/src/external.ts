/**
 * Which files an ONNX model keeps its weights in. A browser has no folder that ONNX Runtime could look into, so they
 * are handed over with the model. Of the protocol buffer only that is read which leads to a tensor:
 *
 *     ModelProto      graph = 7, functions = 25
 *     GraphProto      node = 1, initializer = 5, sparse_initializer = 15
 *     FunctionProto   node = 7
 *     NodeProto       attribute = 5
 *     AttributeProto  t = 5, g = 6, tensors = 10, graphs = 11, sparse_tensor = 22, sparse_tensors = 23
 *     SparseTensor    values = 1, indices = 2
 *     TensorProto     external_data = 13, of key = 1 and value = 2
 */
import {BundleError} from "./errors.js";

type Kind = "model" | "graph" | "function" | "node" | "attribute" | "sparse" | "tensor";

const FIELDS: Readonly<Record<Kind, Readonly<Record<number, Kind>>>> = {
  model: {7: "graph", 25: "function"},
  graph: {1: "node", 5: "tensor", 15: "sparse"},
  function: {7: "node"},
  node: {5: "attribute"},
  attribute: {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
  sparse: {1: "tensor", 2: "tensor"},
  tensor: {},
};
const EXTERNAL_DATA = 13;
const MOST_DEPTH = 100;

/**
 * Returns the locations of a model's external data, each once; `where` is its path, for messages.
 *
 * @throws BundleError where the model is cut or damaged.
 */
export function externalLocations(where: string, model: Uint8Array): string[] {
  if (isOrtFormat(model)) return [];
  const found = new Set<string>();
  if (!collect(model, "model", found, 0)) {
    throw new BundleError(`${where} is no ONNX model.\nCopy the bundle again, or export it again.`);
  }
  return [...found];
}

/** Tells whether a model is in ONNX Runtime's own format, which holds its weights. */
export function isOrtFormat(model: Uint8Array): boolean {
  return new TextDecoder("latin1").decode(model.subarray(4, 8)) === "ORTM";
}

/** Adds the locations in a message; false where it is damaged. */
function collect(message: Uint8Array, kind: Kind, found: Set<string>, depth: number): boolean {
  if (depth > MOST_DEPTH) return false;
  return fields(message, (field, bytes) => {
    if (kind === "tensor" && field === EXTERNAL_DATA) return addLocation(bytes, found);
    const inner = FIELDS[kind][field];
    return !inner || collect(bytes, inner, found, depth + 1);
  });
}

function addLocation(entry: Uint8Array, found: Set<string>): boolean {
  const texts = new Map<number, string>();
  const read = fields(entry, (field, bytes) => {
    texts.set(field, new TextDecoder().decode(bytes));
    return true;
  });
  const location = texts.get(2);
  if (texts.get(1) === "location" && location) found.add(location);
  return read;
}

/** Calls `each` with every field that has a length; false where that or the message is wrong. */
function fields(message: Uint8Array, each: (field: number, bytes: Uint8Array) => boolean): boolean {
  let at = 0;
  /** Reads a varint; NaN where it has no end. Those over 2^53 lose bits, and are no length that fits. */
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) return NaN;
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
    return NaN;
  };
  while (at < message.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === 0) {
      if (Number.isNaN(varint())) return false;
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4;
    } else if (wire === 2) {
      const length = varint();
      if (!(length <= message.length - at)) return false;
      if (!each(Math.floor(tag / 8), message.subarray(at, at + length))) return false;
      at += length;
    } else {
      return false;
    }
  }
  return at === message.length;
}
