/** The service worker: what was loaded once is answered from this device, also where there is no network. */

/** Written by the build: the sha256 of all files, and those that every visit needs. */
declare const APP: {readonly version: string; readonly shell: readonly string[]};

const worker = self as unknown as ServiceWorkerGlobalScope;
const KEPT = `edgeadapt-${APP.version}`;

/** Browsers give threads only to pages with these headers, which many servers of plain files don't send. */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

worker.addEventListener("install", (event) => {
  void worker.skipWaiting();
  event.waitUntil(
    caches.open(KEPT).then(async (cache) => {
      // Past the browser's own cache, which may hold files of an earlier build.
      const load = async (path: string) => {
        const found = await fetch(path, {cache: "no-cache"});
        if (!found.ok) throw new TypeError(`${path}: HTTP ${found.status}`);
        await cache.put(path, isolated(found));
      };
      await Promise.all(APP.shell.map(load));
    }),
  );
});

worker.addEventListener("activate", (event) => {
  const others = async () => (await caches.keys()).filter((name) => name.startsWith("edgeadapt-") && name !== KEPT);
  event.waitUntil(
    others()
      .then((names) => Promise.all(names.map((name) => caches.delete(name))))
      .then(() => worker.clients.claim()),
  );
});

worker.addEventListener("fetch", (event) => {
  const {request} = event;
  if (request.method === "GET" && new URL(request.url).origin === location.origin) event.respondWith(answer(event));
});

/** Answers with what is kept, else with what the server has, and keeps that. */
async function answer(event: FetchEvent): Promise<Response> {
  const {request} = event;
  const cache = await caches.open(KEPT);
  // One page, whatever bundle it is asked for.
  const kept = await cache.match(request, {ignoreSearch: request.mode === "navigate"});
  if (kept) return kept;
  const found = isolated(await fetch(request, {cache: "no-cache"}));
  if (found.ok) event.waitUntil(cache.put(request, found.clone()));
  return found;
}

/** Returns a response with the headers that threads need. */
function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const {status, statusText} = response;
  return new Response(response.body, {status, statusText, headers});
}

export {};
