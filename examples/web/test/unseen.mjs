// What a browser can't see. A server follows links by itself, so a file's kind on the server's disk is nothing that
// HTTP tells: these bundles have the right content behind links, and open. The device's own loaders refuse them.
export const UNSEEN = new Set([
  "refused: the manifest is a symbolic link",
  "refused: the manifest is a hard link",
  "refused: a file is a symbolic link",
  "refused: a file is a hard link",
  "refused: a file behind a link",
  "refused: an adapter is a link",
  "refused: the folder of adapters is a link",
  "refused: the record is a symbolic link",
  "refused: the record is a hard link",
  "refused: weights are a symbolic link",
  "refused: weights are a hard link",
]);
