/** Asks the package in Node what the cases of conformance say: bit by bit, with one thread. */
import assert from "node:assert/strict";
import {join} from "node:path";
import {test} from "node:test";

import {open} from "../src/node.js";
import {answers, cases, refusals, type Loader} from "./cases.js";
import {CASES} from "./places.js";

const loader: Loader = {
  open: (folder) => open(join(CASES, folder), {threads: 1}),
  at: (folder) => join(CASES, folder),
  tolerance: () => 0,
};

test("there are cases", () => assert.ok(cases.length > 500));

for (const each of cases) test(each.name, () => (each.error ? refusals(loader, each) : answers(loader, each)));
