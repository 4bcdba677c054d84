/** The service worker, which keeps what the page has loaded, so that it works without a network from then on. */

/**
 * Registers the service worker, and waits until it sees what this page loads.
 *
 * Where there can be none, such as on plain HTTP, the page works all the same and needs its server each time.
 */
export async function keep(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const workers = navigator.serviceWorker;
  const first = !workers.controller;
  try {
    await workers.register("sw.js");
  } catch (error) {
    console.warn("Nothing is kept for use without a network:", error);
    return;
  }
  if (first) {
    await new Promise((done) => workers.addEventListener("controllerchange", done, {once: true}));
  } else {
    // Another build has come: this page and what it would load next no longer belong together.
    workers.addEventListener("controllerchange", () => location.reload(), {once: true});
  }
}

/** Throws away what was kept, so that all of it is loaded anew. */
export async function forget(): Promise<void> {
  for (const name of await caches.keys()) await caches.delete(name);
}
