// All cases of tests/conformance in a page of Chromium, by `edgeadapt/web` with WASM and with WebGPU.
import assert from "node:assert/strict";
import {readdirSync, readFileSync, statSync} from "node:fs";
import {writeFile} from "node:fs/promises";
import {join} from "node:path";
import {after, before, describe, test} from "node:test";
import {build as bundled} from "esbuild";
import {BROWSER} from "../build.mjs";
import {serve} from "../serve.mjs";
import {app, build, cases, HERE, launch} from "./browser.mjs";
import {UNSEEN} from "./unseen.mjs";

/** How far an answer may be from Python's: absolute for outputs up to 1, beyond that relative to the largest value. */
const TOLERANCES = {wasm: 1e-5, webgpu: 1e-4};
/** Of a model in fp16, as tests/conformance/README.md has it. */
const HALF = 5e-3;

const {cases: asked, texts} = JSON.parse(readFileSync(join(cases, "cases.json"), "utf8"));
let browser, hasHalf, page, server;

before(async () => {
  const out = join(build, "conformance");
  await bundled({...BROWSER, entryPoints: [join(HERE, "page/conformance.ts")], outdir: out});
  await writeFile(
    join(out, "index.html"),
    '<!doctype html><title>cases</title><script type="module" src="conformance.js"></script>',
  );
  server = await serve({"/": out, "/app/": app, "/cases/": cases});
  browser = await launch();
  page = await browser.newPage();
  await page.goto(`${server.address}/`);
  await page.waitForFunction("globalThis.ask");
  hasHalf = await page.evaluate(async () => (await navigator.gpu.requestAdapter()).features.has("shader-f16"));
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** Returns the names that a bundle's folder has for its adapters, as a reader sees them. */
function folders(bundle) {
  const home = join(cases, bundle, "adapters");
  const isFolder = (name) => !name.startsWith(".") && statSync(join(home, name)).isDirectory();
  try {
    return readdirSync(home).filter((name) => isFolder(name) && name !== "none");
  } catch {
    return [];
  }
}

for (const [provider, tolerance] of Object.entries(TOLERANCES)) {
  describe(provider, () => {
    // The broken ones are a bundle each.
    const group = ({bundle}) => (bundle.startsWith("bundles/") ? bundle.slice(8) : "broken");
    for (const name of new Set(asked.map(group))) {
      test(name, async (t) => {
        const own = asked.filter((each) => group(each) === name);
        const most = name === "half" ? HALF : tolerance;
        const verdicts = await page.evaluate(
          async (own, provider, most) => {
            const verdicts = [];
            for (const [one, folders] of own) verdicts.push(await globalThis.ask(one, provider, folders, most));
            return verdicts;
          },
          own.map((each) => [expected(each, provider), folders(each.bundle)]),
          provider,
          most,
        );
        const wrong = verdicts.flatMap(({name, problems}) => {
          if (!UNSEEN.has(name)) return problems.map((problem) => `${name}: ${problem}`);
          // Should a browser come to see it, it has to refuse it, and the list is wrong.
          return problems.some((problem) => problem.startsWith("answered")) ? [] : [`${name}: is seen`];
        });
        assert.deepEqual(wrong, []);
        const worst = Math.max(...verdicts.map(({difference}) => difference));
        const unseen = own.filter((each) => UNSEEN.has(each.name)).length;
        t.diagnostic(`${own.length - unseen} cases, ${unseen} of links, largest difference ${worst.toExponential(1)}`);
      });
    }
  });
}

describe("tokens", () => {
  // Those of real models lie in no bundle, and are asked in Node; the page's own tests have a real one.
  const bundles = new Set(
    texts.filter(({tokenizer}) => tokenizer.startsWith("bundles/")).map(({tokenizer}) => tokenizer),
  );
  for (const tokenizer of bundles) {
    test(tokenizer, async (t) => {
      const own = texts.filter((each) => each.tokenizer === tokenizer);
      const bundle = tokenizer.slice(0, tokenizer.lastIndexOf("/"));
      assert.deepEqual(await page.evaluate((...asked) => globalThis.tokenize(...asked), bundle, own), []);
      t.diagnostic(`${own.length} texts`);
    });
  }
});

test("every fault that is listed as unseen is a case", () => {
  const names = new Set(asked.map(({name}) => name));
  assert.deepEqual(
    [...UNSEEN].filter((name) => !names.has(name)),
    [],
  );
});

/**
 * Returns a case as it has to come out on a provider. WebGPU takes no model in ORT format, which is refused when it is
 * opened, and no empty array, such as a cache at its beginning; and a GPU may have no fp16, such as the one in software.
 * These are refused when they are run.
 */
function expected(one, provider) {
  if (provider !== "webgpu") return one;
  if (one.bundle === "bundles/ort-format") return {...one, step: "open", error: "UnsupportedError"};
  if (!one.outputs) return one;
  const isEmpty = Object.values(one.inputs).some(({shape}) => shape.includes(0));
  if (isEmpty) return {...one, step: "run", error: "UnsupportedError"};
  return one.bundle === "bundles/half" && !hasHalf ? {...one, step: "run", error: "ProviderError"} : one;
}
