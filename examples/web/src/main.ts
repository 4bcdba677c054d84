/** The page: what is typed and chosen goes to the classifier, and what it answers is shown. */
import {Classifier, RefusedError} from "./classifier.js";
import {examples} from "./examples.js";
import type {Head, Opened, Provider} from "./messages.js";
import {forget, keep} from "./offline.js";
import * as view from "./view.js";

/** Typing that stops for so long is answered, in ms. */
const PAUSE = 120;

const text = view.element("text", HTMLTextAreaElement);

let bundle: string;
let classifier: Classifier | undefined;
let heads: readonly Head[] = [];
let adapter: string | null = null;
let pausing: ReturnType<typeof setTimeout> | undefined;
/** Counts what is typed and chosen: an answer to an earlier question is not shown. */
let question = 0;
let running = false;

/** Opens the bundle on a provider, in place of what is open. */
async function open(provider: Provider): Promise<void> {
  classifier?.close();
  const opening = (classifier = new Classifier(bundle, provider, view.showProgress));
  view.showLoading();
  try {
    const opened = await opening.opened;
    if (classifier === opening) show(opened);
  } catch (error) {
    // One that was closed for another provider has no more to say.
    if (classifier === opening) view.showTrouble(error);
  }
}

function show({heads: found, ...facts}: Opened): void {
  heads = found;
  if (heads.length === 0) {
    const message =
      "None of its adapters has labels, which is what this page shows.\nGive it one for text-classification.";
    return view.showTrouble(new RefusedError({name: "UnsupportedError", message}));
  }
  if (!heads.some(({name}) => name === adapter)) adapter = first(heads);
  const names = heads.map(({name}) => ({value: name ?? "", label: name ?? "base"}));
  view.showSwitches("adapters", names, adapter ?? "", (value) => choose(value || null));
  view.showFacts(facts);
  view.showForm();
  choose(adapter);
}

/** Returns the adapter to begin with: the first, or the base where there is none. */
function first(heads: readonly Head[]): string | null {
  return (heads.find(({name}) => name !== null) ?? heads[0])?.name ?? null;
}

function choose(name: string | null): void {
  adapter = name;
  view.showExamples(examples(name), (example) => {
    text.value = example;
    text.focus();
    ask();
  });
  ask();
}

/** Asks anew, after a pause of so many ms. */
function ask(pause = 0): void {
  question++;
  view.showBusy();
  clearTimeout(pausing);
  pausing = setTimeout(() => void answer(), pause);
}

/** Answers what is asked now. While a run goes on, the last of what is asked meanwhile is answered after it. */
async function answer(): Promise<void> {
  const [asked, own, chosen] = [question, classifier, adapter];
  if (running || !own) return;
  if (!text.value.trim()) return view.showNothing();
  running = true;
  try {
    const answered = await own.classify(text.value, chosen);
    const regression = heads.some(({name, regression}) => name === chosen && regression);
    if (asked === question) view.showAnswer(answered, own.provider, regression);
  } catch (error) {
    // One that was closed for another provider has no more to say.
    if (classifier === own) view.showTrouble(error);
  } finally {
    running = false;
    if (asked !== question) void answer();
  }
}

/** Returns the address of the bundle, the page's own or that of `?bundle=`, with a slash at its end. */
function address(): string {
  const wanted = new URL(new URLSearchParams(location.search).get("bundle") ?? "bundle/", location.href);
  if (wanted.origin !== location.origin) {
    throw new RefusedError({name: "ConfigError", message: `${wanted.origin} is not where this page is from.`});
  }
  return wanted.href.replace(/\/*$/, "/");
}

async function main(): Promise<void> {
  text.addEventListener("input", () => ask(PAUSE));
  view.element("again", HTMLButtonElement).addEventListener("click", () => void forget().then(() => location.reload()));
  try {
    bundle = address();
    await keep();
    const providers: Provider[] = (await navigator.gpu?.requestAdapter()) ? ["wasm", "webgpu"] : ["wasm"];
    const names = providers.map((value) => ({value, label: value === "wasm" ? "WASM" : "WebGPU"}));
    view.showSwitches("providers", names, "wasm", (value) => void open(value as Provider));
    await open("wasm");
  } catch (error) {
    view.showTrouble(error);
  }
}

void main();
