// A server that passes on what another one has, and stops in the middle of one file until it is told to go on.
import {createServer} from "node:http";

/**
 * @param {string} origin address of the other server
 * @param {string} path of the file
 * @returns {Promise<{address: string, goOn: () => void, close: () => Promise<void>}>}
 */
export async function hold(origin, path) {
  let goOn;
  const told = new Promise((done) => (goOn = done));
  const server = createServer(async (request, response) => {
    const found = await fetch(origin + request.url);
    const content = Buffer.from(await found.arrayBuffer());
    response.writeHead(found.status, {...Object.fromEntries(found.headers), "content-length": content.length});
    if (request.url !== path) return void response.end(content);
    const half = content.length >> 1;
    response.write(content.subarray(0, half));
    await told;
    response.end(content.subarray(half));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () =>
    new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    });
  return {address: `http://127.0.0.1:${server.address().port}`, goOn, close};
}
