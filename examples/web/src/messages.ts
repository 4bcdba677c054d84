/** What the page and its worker say to each other. */

/** Where a model runs: on the CPU through WebAssembly, or on the GPU. */
export type Provider = "wasm" | "webgpu";

export interface Scored {
  readonly label: string;
  readonly score: number;
}

/** A head: an adapter's own, or the base's where `name` is null. */
export interface Head {
  readonly name: string | null;
  /** Whether it answers with numbers of any size, and not with shares of 1. */
  readonly regression: boolean;
}

export interface Opened {
  /** The base first, where it has a head; then the adapters that have one. */
  readonly heads: readonly Head[];
  readonly modelType: string;
  /** Of all files that the manifest lists. */
  readonly bytes: number;
  readonly threads: number;
}

export interface Answer {
  /** Best first. */
  readonly scores: readonly Scored[];
  /** From the text to its scores, in ms. */
  readonly ms: number;
}

export interface Progress {
  /** Bytes. */
  readonly loaded: number;
  readonly total: number;
}

/** Why something is refused: the error's class and what it says. */
export interface Refusal {
  readonly name: string;
  readonly message: string;
}

export type Request =
  | {readonly id: number; readonly kind: "open"; readonly bundle: string; readonly provider: Provider}
  | {readonly id: number; readonly kind: "classify"; readonly text: string; readonly adapter: string | null};

export type Reply =
  | {readonly kind: "progress"; readonly progress: Progress}
  | {readonly kind: "done"; readonly id: number; readonly value: Opened | Answer}
  | {readonly kind: "refused"; readonly id: number; readonly refusal: Refusal};
