/** The service worker, which keeps what the page has loaded, so that it works without a network from then on. */

/**
 * Registers the service worker, and waits until it sees what this page loads.
 *
 * Where there can be none, such as on plain HTTP, the page works all the same and needs its server each time.
 */
export async function keep(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const workers = navigator.serviceWorker;
  // Another build has come: this page and what it would load next no longer belong together.
  if (workers.controller) workers.addEventListener("controllerchange", () => location.reload(), {once: true});
  try {
    const {installing, waiting, active} = await workers.register("sw.js");
    const coming = installing ?? waiting ?? active;
    if (!workers.controller && coming) await ready(workers, coming);
  } catch (error) {
    console.warn("Nothing is kept for use without a network:", error);
  }
}

/** Waits until a worker sees what this page loads, or never will: a reload that goes past all caches goes past it, too. */
function ready(workers: ServiceWorkerContainer, coming: ServiceWorker): Promise<void> {
  return new Promise((done) => {
    const look = (): void => {
      if (coming.state === "activated" || coming.state === "redundant") done();
    };
    workers.addEventListener("controllerchange", () => done(), {once: true});
    coming.addEventListener("statechange", look);
    look();
  });
}

/** Throws away what was kept, so that all of it is loaded anew. */
export async function forget(): Promise<void> {
  for (const name of await caches.keys()) await caches.delete(name);
}
