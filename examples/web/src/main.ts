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
let adapter: string | null = null;
let pause: ReturnType<typeof setTimeout> | undefined;
let running = false;
let stale = false;

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

function show({heads, ...facts}: Opened): void {
  if (heads.length === 0) {
    return view.showTrouble(new RefusedError({name: "UnsupportedError", message: "None of its adapters has labels."}));
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
    void answer();
  });
  void answer();
}

/** Answers what is typed now. While a run goes on, the last of what comes meanwhile is answered after it. */
async function answer(): Promise<void> {
  clearTimeout(pause);
  const asked = classifier;
  stale = running;
  if (running || !asked) return;
  if (!text.value.trim()) return view.showNothing();
  running = true;
  view.showBusy();
  try {
    const answered = await asked.classify(text.value, adapter);
    if (!stale) view.showAnswer(answered, asked.provider);
  } catch (error) {
    if (classifier === asked) view.showTrouble(error);
  } finally {
    running = false;
    if (stale) void answer();
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
  text.addEventListener("input", () => {
    clearTimeout(pause);
    view.showBusy();
    pause = setTimeout(() => void answer(), PAUSE);
  });
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
