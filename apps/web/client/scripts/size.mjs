// Prints the sizes of the package, and fails if one is above its limit.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMITS = { "index.js": 6144, "react.js": 614 };

for (const [name, limit] of Object.entries(LIMITS)) {
  const bytes = readFileSync(new URL(`../dist/${name}`, import.meta.url));
  const size = gzipSync(bytes, { level: 9 }).length;
  console.log(`${name}: ${bytes.length} bytes, ${size} gzipped, at most ${limit}`);
  if (size > limit) process.exitCode = 1;
}
