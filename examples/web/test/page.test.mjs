// The page in Chromium: what it answers beside Python, and what it is like to use.
import assert from "node:assert/strict";
import {execFile} from "node:child_process";
import {cp, mkdir, readFile, rm, writeFile} from "node:fs/promises";
import {createRequire} from "node:module";
import {join} from "node:path";
import {after, before, describe, test} from "node:test";
import {promisify} from "node:util";
import {copyBundle} from "../build.mjs";
import {serve} from "../serve.mjs";
import {app, build, cases, HERE, launch} from "./browser.mjs";
import {hold} from "./held.mjs";

const TOLERANCES = {wasm: 1e-5, webgpu: 1e-4};
const TEXTS = [
  ["spam", "URGENT! You have won a 900 pound prize. Call 09061701461 now to claim it."],
  ["spam", "Running ten minutes late, order me a coffee?"],
  ["intents", "Will it snow in Trondheim tomorrow night?"],
  ["reviews", "I loved it, though the second half drags a little."],
  ["tones", "see you at six, naïve café — 東京 🙂"],
  ["banking", "I have been waiting for my new card for two weeks now."],
];
/** Adapters of a method each: a LoRA, a DoRA, a bottleneck. */
const METHODS = ["intents", "tones", "banking"];
/** A bundle that opens at once: a tiny base with a head, and an adapter that is a regression. */
const SMALL = "/?bundle=pages/headed";
const shots = join(build, "screenshots");
const pages = join(build, "pages");
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const log = join(build, "network.json");

let browser, server;

before(async () => {
  await rm(pages, {recursive: true, force: true});
  await mkdir(shots, {recursive: true});
  browser = await launch({log});
  server = await serve({"/": app, "/pages/": pages});
  await copyBundle(join(cases, "bundles/headed"), join(pages, "headed"));
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/**
 * Opens the page as a visitor who has never been there, and waits until it answers; with `trouble`, until it says why it
 * can't; with `loading`, for nothing.
 */
async function visit(t, {path = "/", from = server, by = browser, trouble, loading, prepare = async () => {}} = {}) {
  const visitor = await by.createBrowserContext();
  t.after(() => visitor.close());
  const page = await visitor.newPage();
  await prepare(page);
  await page.goto(from.address + path);
  if (!loading) await settled(page, trouble);
  return page;
}

async function settled(page, trouble = false) {
  await page.waitForSelector("#loading[hidden]", {timeout: 120_000});
  const place = await page.waitForSelector("#form:not([hidden]), #trouble:not([hidden])");
  const [id, text] = await place.evaluate(({id, innerText}) => [id, innerText]);
  assert.equal(id, trouble ? "trouble" : "form", text);
}

/** Puts a text in place of what is there, as from a clipboard. */
async function put(page, text) {
  await page.focus("#text");
  await page.$eval("#text", (field) => field.select());
  await page.keyboard.sendCharacter(text);
}

async function choose(page, group, value) {
  await page.click(`input[name="${group}"][value="${value}"]`);
}

/** Returns the scores that are shown, by label, once they are those of the text and adapter that are asked. */
async function scores(page) {
  await page.waitForSelector("#answer:not([aria-busy=true]) #best:not(.waiting)", {timeout: 120_000});
  const more = await page.$("#more:not([hidden])[aria-expanded=false]");
  await more?.click();
  return page.$$eval("#scores li", (rows) =>
    Object.fromEntries(
      rows.map((row) => [row.querySelector(".label").textContent, Number(row.querySelector("data").value)]),
    ),
  );
}

const best = (page) => page.$eval("#best", (shown) => shown.firstChild.textContent);
const alert = (page) => page.$eval("#trouble:not([hidden])", (shown) => shown.innerText);

/** Returns what `edgeadapt.pipeline` answers. */
async function python(bundle, asked) {
  const running = promisify(execFile)(process.env.PYTHON, ["-W", "ignore", join(HERE, "scores.py"), bundle]);
  running.child.stdin.end(JSON.stringify(asked));
  return JSON.parse((await running).stdout);
}

function differences(got, expected) {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(expected).sort());
  return Object.entries(expected).map(([label, score]) => Math.abs(got[label] - score));
}

describe("answers", async () => {
  const expected = await python(join(app, "bundle"), TEXTS);
  for (const [provider, tolerance] of Object.entries(TOLERANCES)) {
    // A GPU in software takes seconds for a run: a text for each method is enough there.
    const asked = [...TEXTS.entries()].filter(([, [adapter]]) => provider === "wasm" || METHODS.includes(adapter));
    test(`those of Python with ${provider}`, async (t) => {
      const page = await visit(t);
      await choose(page, "providers", provider);
      await settled(page);
      let worst = 0;
      for (const [index, [adapter, text]] of asked) {
        await choose(page, "adapters", adapter);
        await put(page, text);
        worst = Math.max(worst, ...differences(await scores(page), expected[index]));
      }
      assert.ok(worst <= tolerance, `a score differs by ${worst}`);
      assert.match(await page.$eval("#time", (shown) => shown.textContent), provider === "wasm" ? /WASM/ : /WebGPU/);
      t.diagnostic(`${asked.length} texts, largest difference of a score ${worst.toExponential(1)}`);
    });
  }
});

test("a text is answered while it is typed, and its label changes with the adapter", async (t) => {
  const page = await visit(t);
  await choose(page, "adapters", "reviews");
  await page.type("#text", "URGENT! You have won a phone, and I love it. Call 09061701461 now to claim it.", {
    delay: 5,
  });
  await scores(page);
  assert.equal(await best(page), "positive");
  await choose(page, "adapters", "spam");
  await scores(page);
  assert.equal(await best(page), "spam");
});

test("how much has come is shown while it loads", async (t) => {
  const slow = await hold(server.address, "/bundle/model.onnx.data");
  t.after(() => slow.close());
  const page = await visit(t, {from: slow, loading: true});
  await page.waitForFunction(() => document.getElementById("progress").value > 0.4);
  assert.match(await page.$eval("#loaded", (shown) => shown.textContent), /^Loading \d+ of \d+ MB$/);
  await page.screenshot({path: join(shots, "loading.png"), fullPage: true});
  slow.goOn();
  await settled(page);
});

test("the base is offered where it has a head, and a regression's answer is no share", async (t) => {
  const page = await visit(t, {path: SMALL});
  const names = await page.$$eval('input[name="adapters"]', (inputs) => inputs.map(({value}) => value));
  assert.deepEqual(names, ["", "keeps", "mood", "norms", "price", "tuned"]);
  const asked = ["", "keeps", "price"].map((name) => [name || null, "four red apples"]);
  const expected = await python(join(pages, "headed"), asked);
  for (const [index, [name, text]] of asked.entries()) {
    await choose(page, "adapters", name ?? "");
    await put(page, text);
    const worst = Math.max(...differences(await scores(page), expected[index]));
    assert.ok(worst <= TOLERANCES.wasm, `${name}: a score differs by ${worst}`);
  }
  assert.doesNotMatch(await page.$eval("#scores", (shown) => shown.textContent), /%/);
});

test("a broken bundle is told of, and loads when it is mended", async (t) => {
  const folder = join(pages, "broken");
  await copyBundle(join(cases, "bundles/headed"), folder);
  const weights = await readFile(join(folder, "model.onnx.data"));
  await writeFile(
    join(folder, "model.onnx.data"),
    weights.map((byte, index) => (index === 1000 ? byte ^ 1 : byte)),
  );
  const page = await visit(t, {path: "/?bundle=pages/broken", trouble: true});
  assert.match(await alert(page), /can’t be used[^]*model\.onnx\.data: has the sha256/);
  await page.screenshot({path: join(shots, "broken.png"), fullPage: true});
  await writeFile(join(folder, "model.onnx.data"), weights);
  await Promise.all([page.waitForNavigation(), page.click("#again")]);
  await settled(page);
});

test("a bundle that is not there is told of, and one from elsewhere is not asked for", async (t) => {
  const page = await visit(t, {path: "/?bundle=nowhere", trouble: true});
  assert.match(await alert(page), /edgeadapt\.json/);
  await page.goto(`${server.address}/?bundle=${encodeURIComponent("http://elsewhere.test/bundle")}`);
  await settled(page, true);
  assert.match(await alert(page), /elsewhere\.test is not where this page is from/);
});

test("it works without its server after the first visit", async (t) => {
  const own = await serve({"/": app});
  const page = await visit(t, {from: own});
  await own.close();
  await page.reload();
  await settled(page);
  await choose(page, "adapters", "banking");
  await put(page, "My card has not arrived");
  await scores(page);
  assert.equal(await best(page), "card_arrival");
});

test("a reload past all caches works, too", async (t) => {
  const page = await visit(t, {path: SMALL});
  await Promise.all([
    page.waitForNavigation(),
    page.createCDPSession().then((cdp) => cdp.send("Page.reload", {ignoreCache: true})),
  ]);
  await settled(page);
  assert.equal(await page.evaluate(() => navigator.serviceWorker.controller), null);
});

test("a page whose service worker fails works, too", async (t) => {
  const broken = join(build, "without");
  await rm(broken, {recursive: true, force: true});
  await cp(app, broken, {
    recursive: true,
    filter: (path) => !path.endsWith("icon.svg") && !path.startsWith(join(app, "bundle")),
  });
  const plain = await serve({"/": broken, "/pages/": pages});
  t.after(() => plain.close());
  // Its worker can't be installed, since a file is not there that it wants to keep.
  const page = await visit(t, {path: SMALL, from: plain});
  assert.equal(await page.evaluate(() => navigator.serviceWorker.controller), null);
});

test("a server that sends no headers gives threads from the second visit on", async (t) => {
  const plain = await serve({"/": app, "/pages/": pages}, {headers: {}});
  t.after(() => plain.close());
  const page = await visit(t, {path: SMALL, from: plain});
  const facts = () => page.$eval("#facts", (shown) => shown.textContent);
  assert.match(await facts(), /\b1 thread\b/);
  await page.reload();
  await settled(page);
  assert.match(await facts(), /\b[2-9] threads\b/);
});

test("the GPU is offered only where there is one", async (t) => {
  const cpu = await launch({webgpu: false});
  const offered = (page) => page.$$eval('input[name="providers"]', (inputs) => inputs.map(({value}) => value));
  const page = await visit(t, {path: SMALL, by: cpu});
  t.after(() => cpu.close());
  assert.deepEqual(await offered(page), ["wasm"]);
  assert.deepEqual(await offered(await visit(t, {path: SMALL})), ["wasm", "webgpu"]);
});

test("all of it is done with the keyboard", async (t) => {
  const page = await visit(t);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.value);
  await page.keyboard.press("Tab");
  const before = await focused();
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await focused(), before);
  assert.equal(await page.$eval('input[name="adapters"]:checked', ({value}) => value), await focused());
  const outline = await page.$eval("input:focus-visible + span", (shown) => getComputedStyle(shown).outlineStyle);
  assert.equal(outline, "solid");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "text");
  await page.keyboard.type("hello");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("text").value.length > 5);
  assert.equal(await focused(), "text");
});

describe("what it looks like", () => {
  for (const scheme of ["light", "dark"]) {
    test(`nothing in ${scheme} colours is hard to read or without a name`, async (t) => {
      const page = await visit(t);
      await page.emulateMediaFeatures([{name: "prefers-color-scheme", value: scheme}]);
      await choose(page, "adapters", "intents");
      await put(page, TEXTS[2][1]);
      await scores(page);
      await page.screenshot({path: join(shots, `${scheme}.png`), fullPage: true});
      await page.evaluate(axe);
      const {violations, passes} = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(
        violations.map(({id, nodes}) => [id, ...nodes.map(({html}) => html)]),
        [],
      );
      assert.ok(passes.some(({id}) => id === "color-contrast"));
    });
  }

  test("it fits a phone", async (t) => {
    const phone = {width: 360, height: 740, deviceScaleFactor: 2, isMobile: true, hasTouch: true};
    const page = await visit(t, {prepare: (page) => page.setViewport(phone)});
    await choose(page, "adapters", "banking");
    await put(page, TEXTS[5][1]);
    await page.waitForFunction(() => document.getElementById("best").firstChild.textContent === "card_arrival");
    await page.screenshot({path: join(shots, "phone.png"), fullPage: true});
    await scores(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    const small = await page.$$eval(".switch", (all) => all.filter((each) => each.offsetHeight < 36).length);
    assert.equal(small, 0);
  });

  test("nothing moves where one asks for less motion", async (t) => {
    const page = await visit(t);
    await put(page, "hello");
    await scores(page);
    const moves = () => page.$eval(".bar", (bar) => getComputedStyle(bar).transitionDuration !== "0s");
    assert.equal(await moves(), true);
    await page.emulateMediaFeatures([{name: "prefers-reduced-motion", value: "reduce"}]);
    assert.equal(await moves(), false);
  });
});

test("neither the page nor its workers ask anyone but their own server", async () => {
  await browser.close();
  const {constants, events} = JSON.parse(await readFile(log, "utf8"));
  const begun = events.filter(
    ({type, params}) => type === constants.logEventTypes.URL_REQUEST_START_JOB && params?.url,
  );
  // Chromium asks for its own sake, too, and then no origin is what it does so for.
  const own = begun.filter(({params}) => params.initiator?.startsWith("http")).map(({params}) => new URL(params.url));
  assert.ok(own.some(({pathname}) => pathname === "/bundle/model.onnx.data"));
  assert.deepEqual(
    own.filter(({hostname}) => hostname !== "127.0.0.1").map(({href}) => href),
    [],
  );
});
