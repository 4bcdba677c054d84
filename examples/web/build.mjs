// Builds the page: node build.mjs BUNDLE OUT puts a folder at OUT that any server of plain files can serve.
import {createHash} from "node:crypto";
import {cp, mkdir, readdir, readFile, rm, writeFile} from "node:fs/promises";
import {createRequire} from "node:module";
import {dirname, join, relative, sep} from "node:path";
import {fileURLToPath} from "node:url";
import {build} from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = ["index.html", "style.css", "form.css", "icon.svg", "app.webmanifest"];
/** ONNX Runtime's own: the CPU's, and the GPU's, which is twice as large and loaded only where it is switched to. */
const RUNTIMES = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"];
/** What every visit needs; a bundle and the GPU's part are kept when they have been asked for. */
const SHELL = [...STATIC, "app.js", "classifier.js", ...["mjs", "wasm"].map((end) => `ort/${RUNTIMES[0]}.${end}`)];

/** How everything for a browser is bundled. Names are kept, since the names of errors are shown. */
export const BROWSER = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  keepNames: true,
  alias: {"edgeadapt/web": join(HERE, "../../embed/js/build/src/web.js")},
  // ONNX Runtime loads its WebAssembly from `ort/` and not out of the script.
  conditions: ["onnxruntime-web-use-extern-wasm"],
  logLevel: "warning",
};

/** Puts ONNX Runtime's WebAssembly into `out/ort`. */
async function copyRuntimes(out) {
  const dist = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
  const files = RUNTIMES.flatMap((name) => [`${name}.mjs`, `${name}.wasm`]);
  await Promise.all(files.map((file) => cp(join(dist, file), join(out, "ort", file))));
}

async function main(bundle, out) {
  await rm(out, {recursive: true, force: true});
  await mkdir(out, {recursive: true});
  await Promise.all(STATIC.map((file) => cp(join(HERE, "src", file), join(out, file))));
  await copyRuntimes(out);
  await copyBundle(bundle, join(out, "bundle"));
  const entryPoints = {app: join(HERE, "src/main.ts"), classifier: join(HERE, "src/worker.ts")};
  await build({...BROWSER, entryPoints, outdir: out});
  // Last, since it has the sha256 of all others.
  const app = {version: await version(out), shell: ["./", ...SHELL]};
  const define = {APP: JSON.stringify(app)};
  await build({...BROWSER, entryPoints: {sw: join(HERE, "src/sw.ts")}, outdir: out, define});
}

/** Copies a bundle, and lists its adapters, since a browser can't list a folder. */
export async function copyBundle(bundle, to) {
  await cp(bundle, to, {recursive: true, dereference: true});
  const entries = await readdir(join(to, "adapters"), {withFileTypes: true});
  const names = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && entry.name !== "none");
  await writeFile(join(to, "adapters", "index.json"), `${JSON.stringify(names.map(({name}) => name).sort())}\n`);
}

/** Returns the sha256 of all files, by their paths. */
async function version(folder) {
  const entries = await readdir(folder, {withFileTypes: true, recursive: true});
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const hash = createHash("sha256");
  for (const path of paths.sort()) {
    const content = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    hash.update(`${relative(folder, path).split(sep).join("/")}\0${content}\0`);
  }
  return hash.digest("hex").slice(0, 16);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [bundle, out] = process.argv.slice(2);
  if (!bundle || !out) {
    console.error("usage: node build.mjs BUNDLE OUT");
    process.exit(2);
  }
  await main(bundle, out);
}
