// Builds dist/: one minified module for each entry of `exports`.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { build } from "esbuild";

process.chdir(new URL("..", import.meta.url).pathname);
rmSync("dist", { recursive: true, force: true });
await build({
  entryPoints: ["src/index.ts", "src/react.ts"],
  outdir: "dist",
  bundle: true,
  external: ["@chat-core/client", "react"],
  format: "esm",
  target: "es2022",
  minify: true,
  // Names with a leading underscore are internal: no declaration of the package has them.
  mangleProps: /^_/,
  charset: "utf8",
  legalComments: "none",
});
execFileSync("node_modules/.bin/tsc", { stdio: "inherit" });
