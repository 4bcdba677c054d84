/** Where the conformance cases are. */
export function casesFolder(): string {
  const folder = process.env["CASES"];
  if (!folder) throw new Error("CASES: expected the folder that `python -m tests.conformance` wrote");
  return folder;
}
