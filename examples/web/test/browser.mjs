// Headless Chromium, as the tests start it.
import {join, resolve} from "node:path";
import {fileURLToPath} from "node:url";
import puppeteer from "puppeteer-core";

const {BUILD, CASES, CHROMIUM} = process.env;
if (!BUILD || !CASES || !CHROMIUM) throw new Error("The tests are started by make: make -C examples/web test");

export const HERE = fileURLToPath(new URL(".", import.meta.url));
export const build = resolve(BUILD);
export const cases = resolve(CASES);
export const app = join(build, "app");

/** SwiftShader is a GPU in software, that Chromium brings: a page has WebGPU on every machine. */
const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** Neither a page nor Chromium itself gets to anything but this machine. */
const OFFLINE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"];

/**
 * Starts Chromium.
 *
 * @param {{webgpu?: boolean, log?: string}} [options] whether there is a GPU adapter; a file that gets a line for
 *   everything that is asked of a network, complete when the browser is closed
 */
export function launch({webgpu = true, log} = {}) {
  return puppeteer.launch({
    executablePath: CHROMIUM,
    headless: true,
    // Its sandbox needs rights that containers and root don't have; it sees this machine's own files alone.
    args: ["--no-sandbox", ...OFFLINE, ...(webgpu ? WEBGPU : []), ...(log ? [`--log-net-log=${log}`] : [])],
    // The first run on a GPU in software takes its time.
    protocolTimeout: 300_000,
  });
}
