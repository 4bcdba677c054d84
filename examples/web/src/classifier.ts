/** The page's side of the worker that holds the model, so that typing never waits for a run. */
import type {Answer, Opened, Progress, Provider, Refusal, Reply, Request} from "./messages.js";

/** What the worker refused; `name` is the class of the error there. */
export class RefusedError extends Error {
  constructor(refusal: Refusal) {
    super(refusal.message);
    this.name = refusal.name;
  }
}

interface Waiting {
  readonly done: (value: Opened | Answer) => void;
  readonly failed: (error: Error) => void;
}

/** A bundle that is open in a worker of its own. */
export class Classifier {
  readonly provider: Provider;
  readonly opened: Promise<Opened>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;

  /**
   * Begins to open a bundle; `opened` tells when it is.
   *
   * @param bundle its address, which ends with a slash
   * @param progress is told what has been read
   */
  constructor(bundle: string, provider: Provider, progress: (progress: Progress) => void) {
    this.provider = provider;
    this.#worker = new Worker("classifier.js", {type: "module", name: "classifier"});
    this.#worker.onmessage = ({data}: MessageEvent<Reply>) => {
      if (data.kind === "progress") return progress(data.progress);
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.kind === "done") waiting?.done(data.value);
      else waiting?.failed(new RefusedError(data.refusal));
    };
    // A worker that doesn't even start, such as where its file is gone, or that dies, answers nothing any more.
    this.#worker.onerror = (event) => this.#fail(event.message || "The page's own files can't be loaded.");
    this.opened = this.#ask({id: ++this.#asked, kind: "open", bundle, provider}) as Promise<Opened>;
  }

  /** Returns the scores of all labels, best first. */
  classify(text: string, adapter: string | null): Promise<Answer> {
    return this.#ask({id: ++this.#asked, kind: "classify", text, adapter}) as Promise<Answer>;
  }

  /** Ends the worker, and frees what the model takes. What is still awaited is refused. */
  close(): void {
    this.#worker.terminate();
    this.#fail("It was closed.");
  }

  #ask(request: Request): Promise<Opened | Answer> {
    return new Promise((done, failed) => {
      this.#waiting.set(request.id, {done, failed});
      this.#worker.postMessage(request);
    });
  }

  #fail(message: string): void {
    for (const {failed} of this.#waiting.values()) failed(new RefusedError({name: "Error", message}));
    this.#waiting.clear();
  }
}
