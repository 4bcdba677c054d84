/** What both entries of the package give beside `open`. */
export type {Bundle, Choice, OpenOptions} from "./bundle.js";
export type {Label} from "./classify.js";
export * from "./errors.js";
export type {AdapterRecord, Manifest, ProblemType, Slot, TensorRecord} from "./manifest.js";
export type {Outputs} from "./results.js";
export type {DType, Tensor, TypedArray} from "./tensor.js";
export type {Tokenizer, Tokens} from "./tokenizer.js";
