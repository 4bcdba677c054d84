/** How much of a bundle has come: `edgeadapt/web` fetches its files with this worker's own `fetch`. */
import type {Progress} from "./messages.js";

/** Tells of every piece of the bundle's own files that comes from now on. */
export async function watch(bundle: string, told: (progress: Progress) => void): Promise<void> {
  const total = await size(bundle);
  let loaded = 0;
  const plain = self.fetch.bind(self);
  self.fetch = async (...request) => {
    const response = await plain(...request);
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, out) {
        loaded += piece.length;
        told({loaded, total});
        out.enqueue(piece);
      },
    });
    const {status, statusText, headers} = response;
    return new Response(response.body?.pipeThrough(counted) ?? null, {status, statusText, headers});
  };
}

/** Returns how many bytes a manifest lists, or 1 where there is none: what is wrong with it is told by who opens it. */
async function size(bundle: string): Promise<number> {
  try {
    const manifest = (await (await fetch(`${bundle}edgeadapt.json`)).json()) as {
      files: Record<string, {bytes: number}>;
    };
    return Object.values(manifest.files).reduce((sum, {bytes}) => sum + bytes, 0);
  } catch {
    return 1;
  }
}
