/** What is seen: every change of the document is here. */
import type {Answer, Opened, Progress, Provider, Scored} from "./messages.js";

/** How many scores are shown before one asks for all. */
const SHOWN = 5;

let all = false;

/** Returns the element of an id, which the document has. */
export function element<E extends HTMLElement>(id: string, kind: new () => E): E {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new TypeError(`The page has no ${kind.name} called ${id}.`);
}

/** Shows that a bundle is being opened; what is there for another provider stays. */
export function showLoading(): void {
  element("progress", HTMLProgressElement).removeAttribute("value");
  element("loaded", HTMLElement).textContent = "Looking for the bundle …";
  element("loading", HTMLElement).hidden = false;
  element("trouble", HTMLElement).hidden = true;
}

/** Shows how much has been read; after the last byte, the model is made ready. */
export function showProgress({loaded, total}: Progress): void {
  const bar = element("progress", HTMLProgressElement);
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  const ready = loaded >= total;
  if (ready) bar.removeAttribute("value");
  else bar.value = loaded / total;
  element("loaded", HTMLElement).textContent = ready
    ? "Checking and opening the model …"
    : `Loading ${megabytes(loaded)} of ${megabytes(total)} MB`;
}

export function showTrouble(error: unknown): void {
  const {name, message} = error instanceof Error ? error : new Error(String(error));
  element("what", HTMLElement).textContent =
    name === "BundleError"
      ? "The bundle can’t be used"
      : name === "ProviderError"
        ? "It can’t run there"
        : "That didn’t work";
  element("why", HTMLElement).textContent = message;
  settle("trouble");
}

export function showForm(): void {
  settle("form");
}

/** Shows radio buttons as switches; `chosen` is told of the value that is switched to. */
export function showSwitches(
  id: string,
  choices: readonly {readonly value: string; readonly label: string}[],
  checked: string,
  chosen: (value: string) => void,
): void {
  const switches = choices.map(({value, label}) => {
    const input = make("input", {type: "radio", name: id, value, checked: value === checked});
    input.addEventListener("change", () => chosen(value));
    const own = make("label", {className: "switch"});
    own.append(input, make("span", {textContent: label}));
    return own;
  });
  element(id, HTMLElement).replaceChildren(...switches);
}

export function showExamples(texts: readonly string[], chosen: (text: string) => void): void {
  const items = texts.map((text) => {
    const button = make("button", {type: "button", textContent: text});
    button.addEventListener("click", () => chosen(text));
    const item = make("li", {});
    item.append(button);
    return item;
  });
  element("try", HTMLElement).replaceChildren(...items);
  element("try", HTMLElement).hidden = items.length === 0;
}

export function showFacts({modelType, bytes, threads}: Omit<Opened, "heads">): void {
  const used = threads === 1 ? "1 thread" : `${threads} threads`;
  element("facts", HTMLElement).textContent = `${modelType}, ${(bytes / 1e6).toFixed(0)} MB, ${used}`;
}

/** Says that what is shown is no longer the answer, until the next is. */
export function showBusy(): void {
  element("answer", HTMLElement).ariaBusy = "true";
}

export function showNothing(): void {
  element("answer", HTMLElement).ariaBusy = "false";
  const best = element("best", HTMLElement);
  best.className = "best waiting";
  best.textContent = "The answer appears here as you type.";
  element("scores", HTMLElement).replaceChildren();
  element("more", HTMLElement).hidden = true;
  element("time", HTMLElement).textContent = "";
}

export function showAnswer({scores, ms}: Answer, provider: Provider, regression: boolean): void {
  const [first] = scores;
  if (!first) return showNothing();
  element("answer", HTMLElement).ariaBusy = "false";
  const best = element("best", HTMLElement);
  best.className = "best";
  best.replaceChildren(first.label, " ", make("small", {textContent: shown(first.score, regression)}));
  showScores(scores, regression);
  element("time", HTMLElement).textContent = `${ms.toFixed(0)} ms with ${provider === "wasm" ? "WASM" : "WebGPU"}`;
}

function showScores(scores: readonly Scored[], regression: boolean): void {
  const list = element("scores", HTMLElement);
  const some = all ? scores : scores.slice(0, SHOWN);
  // Rows stay where they are, so that their bars move from one answer to the next.
  while (list.children.length > some.length) list.lastElementChild?.remove();
  for (const [index, scored] of some.entries()) {
    fill((list.children[index] as HTMLElement | undefined) ?? list.appendChild(row()), scored, regression);
  }
  const more = element("more", HTMLButtonElement);
  more.hidden = scores.length <= SHOWN;
  more.textContent = all ? `Show the best ${SHOWN}` : `Show all ${scores.length} labels`;
  more.ariaExpanded = String(all);
  more.onclick = () => {
    all = !all;
    showScores(scores, regression);
  };
}

function row(): HTMLElement {
  const track = make("div", {className: "track"});
  track.append(make("div", {className: "bar"}));
  const item = make("li", {});
  item.append(make("span", {className: "label"}), make("data", {className: "score"}), track);
  return item;
}

function fill(item: HTMLElement, {label, score}: Scored, regression: boolean): void {
  const [name, value, track] = item.children as unknown as [HTMLElement, HTMLDataElement, HTMLElement];
  name.textContent = label;
  value.textContent = shown(score, regression);
  value.value = String(score);
  track.hidden = regression;
  if (!regression) (track.firstElementChild as HTMLElement).style.transform = `scaleX(${score})`;
}

/** Returns a score as people read it; the numbers of a regression are no shares. */
function shown(score: number, regression: boolean): string {
  return regression ? score.toFixed(3) : `${(100 * score).toFixed(1)} %`;
}

/** Ends the loading with what is there now. */
function settle(shown: "trouble" | "form"): void {
  element("loading", HTMLElement).hidden = true;
  for (const id of ["trouble", "form"]) element(id, HTMLElement).hidden = id !== shown;
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
): HTMLElementTagNameMap[K] {
  return Object.assign(document.createElement(tag), properties);
}
