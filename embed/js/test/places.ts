/** Where the Makefile has put what tests are held to. */

function place(name: string, what: string): string {
  const folder = process.env[name];
  if (!folder) throw new Error(`${name}: expected the folder that ${what} wrote`);
  return folder;
}

/** The cases of conformance. */
export const CASES = place("CASES", "python -m tests.conformance");

/** What Python makes of texts. */
export const REFERENCES = place("REFERENCES", "write_references.py");

/** How long damaged files are read. */
export const SECONDS = Number(process.env["SECONDS"] ?? 5);
