// Serves folders over HTTP on this machine alone: node serve.mjs FOLDER [PORT]
// Any static server will do. This one sends the two headers that browsers ask for before they give a page threads.
import {createReadStream} from "node:fs";
import {stat} from "node:fs/promises";
import {createServer} from "node:http";
import {extname, join, normalize, resolve} from "node:path";
import {pathToFileURL} from "node:url";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

export const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/**
 * Serves folders under paths: `{"/": "app", "/cases/": "build/cases"}`, the longest path that fits.
 *
 * @param {Record<string, string>} folders by path, which ends with a slash
 * @param {{port?: number, headers?: Record<string, string>}} [options] port 0 is any free one
 * @returns {Promise<{address: string, close: () => Promise<void>}>} `address` ends without a slash
 */
export async function serve(folders, {port = 0, headers = ISOLATION} = {}) {
  const server = createServer(async (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    // A browser asks again each time: what is built anew is seen at once.
    response.setHeader("Cache-Control", "no-cache");
    const path = found(folders, request.url ?? "/");
    const file = path && (await stat(path).catch(() => undefined));
    if (!file?.isFile()) return void response.writeHead(404).end();
    response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    response.setHeader("Content-Length", file.size);
    if (request.method === "HEAD") return void response.end();
    createReadStream(path)
      .on("error", () => response.destroy())
      .pipe(response);
  });
  await new Promise((done, fail) => server.once("error", fail).listen(port, "127.0.0.1", done));
  const close = () =>
    new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    });
  return {address: `http://127.0.0.1:${server.address().port}`, close};
}

/** Returns the file that a request is for, or undefined where it would leave its folder. */
function found(folders, url) {
  let path;
  try {
    path = decodeURIComponent(new URL(url, "http://localhost").pathname);
  } catch {
    return undefined;
  }
  const prefix = Object.keys(folders)
    .filter((each) => path.startsWith(each))
    .sort((a, b) => b.length - a.length)[0];
  if (prefix === undefined || path.includes("\0")) return undefined;
  const inside = normalize(`/${path.slice(prefix.length)}`);
  return join(resolve(folders[prefix]), inside.endsWith("/") ? `${inside}index.html` : inside);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, port = "8080"] = process.argv.slice(2);
  if (!folder) {
    console.error("usage: node serve.mjs FOLDER [PORT]");
    process.exit(2);
  }
  const {address} = await serve({"/": folder}, {port: Number(port)});
  console.log(`${address}/ serves ${folder}; Ctrl+C ends it`);
}
