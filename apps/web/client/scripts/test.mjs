// Builds the tests and runs them with Node's own test runner: scripts/test.mjs [FILE...]
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

process.chdir(new URL("..", import.meta.url).pathname);
const given = process.argv.slice(2);
const names = given.length ? given : readdirSync("test").filter((name) => name.includes(".test."));
rmSync("build", { recursive: true, force: true });
await build({
  entryPoints: names.map((name) => `test/${name}`),
  outdir: "build",
  bundle: true,
  // The examples need the document of a test when they are loaded.
  splitting: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  jsx: "automatic",
  sourcemap: true,
});
// Node 20 has a WebSocket behind a flag.
const flags = typeof WebSocket === "undefined" ? ["--experimental-websocket"] : [];
const files = readdirSync("build").filter((name) => name.endsWith(".test.js"));
// The example of a page has no end.
flags.push("--enable-source-maps", "--no-warnings");
flags.push("--test", "--test-concurrency=3", "--test-force-exit", "--test-reporter=spec");
const options = [...flags, ...files.map((name) => `build/${name}`)];
process.exitCode = spawnSync(process.execPath, options, { stdio: "inherit" }).status ?? 1;
