/** Text classification, as `edgeadapt.pipeline` does it: from texts to labels with scores. */
import type {Adapter} from "./adapter.js";
import {BundleError, InputError, refuse, UnsupportedError} from "./errors.js";
import type {Manifest, ProblemType} from "./manifest.js";
import type {Outputs} from "./results.js";
import type {Tensor} from "./tensor.js";
import {batchOf, type Tokenizer} from "./tokenizer.js";

/** A label and its score. */
export interface Label {
  readonly label: string;
  readonly score: number;
}

/** Texts computed at a time: enough to keep two cores busy, small enough for a phone's memory. */
const BATCH = 8;

/** Runs a batch with an adapter for each row. */
type Run = (inputs: Record<string, Tensor>, rows: readonly Adapter[]) => Promise<Outputs>;

/**
 * Returns all labels of each text with their scores, best first; `rows` has an adapter for each text.
 *
 * @throws UnsupportedError where the bundle does something else, InputError where adapters are not one for each text.
 */
export async function classifyTexts(
  manifest: Manifest,
  tokenizer: Tokenizer,
  texts: readonly string[],
  rows: readonly Adapter[],
  run: Run,
): Promise<Label[][]> {
  if (manifest.task !== "text-classification" || !manifest.outputs.some(({name}) => name === "logits")) {
    throw new UnsupportedError(`A bundle for ${manifest.task} classifies no texts.\nCall run(...) with tensors.`);
  }
  const wrong = texts.flatMap((text, index) =>
    typeof text === "string" ? [] : [`input ${index}: got ${typeof text}`],
  );
  refuse(InputError, "Every input has to be a text:", wrong, "");
  if (rows.length !== texts.length) {
    throw new InputError(`A list of adapters has one for each text: got ${rows.length} for ${texts.length} texts.`);
  }
  const tokens = texts.map((text) => tokenizer.encode(text));
  const results: Label[][] = [];
  for (let start = 0; start < texts.length; start += BATCH) {
    const some = rows.slice(start, start + BATCH);
    const inputs = batchOf(manifest, tokens.slice(start, start + BATCH));
    const {logits} = await run(inputs, some);
    for (const [row, adapter] of some.entries())
      results.push(labelled(rowOf(logits as Tensor | Tensor[], row), adapter));
  }
  return results;
}

/** Returns the logits of one row. */
function rowOf(logits: Tensor | Tensor[], row: number): number[] {
  if (Array.isArray(logits)) return Array.from((logits[row] as Tensor).data, Number);
  const columns = logits.shape[1] as number;
  return Array.from(logits.data.subarray(row * columns, (row + 1) * columns), Number);
}

function labelled(logits: readonly number[], {labels, problemType}: Adapter): Label[] {
  if (labels?.length !== logits.length) {
    const got = `The head gives ${logits.length} scores and has ${labels?.length ?? 0} labels.`;
    throw new BundleError(`${got}\nExport the adapter again with its labels.`);
  }
  const scores = scoresOf(logits, problemType);
  const records = labels.map((label, column) => ({label, score: scores[column] as number}));
  // Equal scores keep the head's order.
  return records.sort((one, other) => other.score - one.score);
}

/**
 * Returns the scores of a row's logits.
 *
 * Cases:
 * 1. A regression: its logits are its answer.
 * 2. Several labels at a time, or a single one: the sigmoid.
 * 3. One of several labels, or nobody said: the softmax.
 */
export function scoresOf(logits: readonly number[], problemType: ProblemType | null): number[] {
  if (problemType === "regression") return [...logits];
  if (problemType === "multi_label_classification" || logits.length === 1) {
    return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  }
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
