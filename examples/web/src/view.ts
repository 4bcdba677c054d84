/** What is seen: every change of the document is here. */
import type {Answer, Opened, Progress, Provider, Scored} from "./messages.js";

/** How many scores are shown before one asks for all. */
const SHOWN = 5;
const PLACES = ["loading", "trouble", "form"] as const;

let all = false;

/** Returns the element of an id, which the document has. */
export function element<E extends HTMLElement>(id: string, kind: new () => E): E {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new TypeError(`The page has no ${kind.name} called ${id}.`);
}

export function showLoading(): void {
  element("progress", HTMLProgressElement).removeAttribute("value");
  element("loaded", HTMLElement).textContent = "Looking for the bundle …";
  place("loading");
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
    name === "BundleError" ? "The bundle can’t be used" : name === "ProviderError" ? "It can’t run there" : "That didn’t work";
  element("why", HTMLElement).textContent = message;
  place("trouble");
}

export function showForm(): void {
  place("form");
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
  const lines = texts.flatMap((text) => {
    const button = make("button", {type: "button", textContent: text});
    button.addEventListener("click", () => chosen(text));
    return [button, make("br", {})];
  });
  element("try", HTMLElement).replaceChildren(...(lines.length ? ["Try: ", ...lines] : []));
}

export function showFacts({modelType, bytes, threads}: Omit<Opened, "heads">): void {
  const run = threads === 1 ? "1 thread" : `${threads} threads`;
  element("facts", HTMLElement).textContent = `${modelType}, ${(bytes / 1e6).toFixed(0)} MB, ${run}`;
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

export function showAnswer({scores, ms}: Answer, provider: Provider): void {
  const [first] = scores;
  if (!first) return showNothing();
  element("answer", HTMLElement).ariaBusy = "false";
  const best = element("best", HTMLElement);
  best.className = "best";
  best.replaceChildren(first.label, " ", make("small", {textContent: shown(first.score)}));
  showScores(scores);
  element("time", HTMLElement).textContent = `${ms.toFixed(0)} ms with ${provider === "wasm" ? "WASM" : "WebGPU"}`;
}

function showScores(scores: readonly Scored[]): void {
  const list = element("scores", HTMLElement);
  const some = all ? scores : scores.slice(0, SHOWN);
  // Rows stay where they are, so that their bars move from one answer to the next.
  while (list.children.length > some.length) list.lastElementChild?.remove();
  some.forEach((scored, index) => fill((list.children[index] as HTMLElement | undefined) ?? list.appendChild(row()), scored));
  const more = element("more", HTMLButtonElement);
  more.hidden = scores.length <= SHOWN;
  more.textContent = all ? `Show the best ${SHOWN}` : `Show all ${scores.length} labels`;
  more.ariaExpanded = String(all);
  more.onclick = () => {
    all = !all;
    showScores(scores);
  };
}

function row(): HTMLElement {
  const track = make("div", {className: "track"});
  track.append(make("div", {className: "bar"}));
  const item = make("li", {});
  item.append(make("span", {className: "label"}), make("data", {className: "score"}), track);
  return item;
}

function fill(item: HTMLElement, {label, score}: Scored): void {
  const [name, value, track] = item.children as unknown as [HTMLElement, HTMLDataElement, HTMLElement];
  name.textContent = label;
  value.textContent = shown(score);
  value.value = String(score);
  (track.firstElementChild as HTMLElement).style.transform = `scaleX(${Math.min(Math.max(score, 0), 1)})`;
}

/** Returns a score as people read it; the logits of a regression are no shares. */
function shown(score: number): string {
  return score >= 0 && score <= 1 ? `${(100 * score).toFixed(1)} %` : score.toFixed(3);
}

/** Shows one of the places and hides the others. */
function place(id: (typeof PLACES)[number]): void {
  for (const each of PLACES) element(each, HTMLElement).hidden = each !== id;
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
): HTMLElementTagNameMap[K] {
  return Object.assign(document.createElement(tag), properties);
}
