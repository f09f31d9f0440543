// Builds dist/ from src/. With --check, compares a fresh build with dist/ and prints the sizes instead.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const LIMIT = 50 * 1024;
const root = new URL(".", import.meta.url).pathname;
const dist = `${root}dist/`;

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const hash = (content) => createHash("sha256").update(content).digest("hex").slice(0, 10);

async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [`${root}src/main.tsx`, `${root}src/styles/app.css`],
    bundle: true,
    minify: true,
    write: false,
    outdir: dist,
    entryNames: "[name]",
    format: "esm",
    target: ["chrome123", "firefox121", "safari17.5"],
    // Names of the client that begin with an underscore are internal.
    mangleProps: /^_[a-z]/,
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    charset: "utf8",
    logLevel: "warning",
    absWorkingDir: root,
    nodePaths: [`${root}node_modules`],
  });
  const output = (end) => Buffer.from(outputFiles.find((file) => file.path.endsWith(end)).contents);
  // A second minifier takes off another 3 %.
  const { code } = await minify(`${output("main.js")}`, { module: true, ecma: 2020, compress: { passes: 2 } });
  const files = [
    { file: "app.js", type: "text/javascript; charset=utf-8", content: Buffer.from(code) },
    { file: "app.css", type: "text/css; charset=utf-8", content: output("app.css") },
    { file: "icon.svg", type: "image/svg+xml", content: await readFile(`${root}src/icon.svg`) },
  ].map((file) => ({ ...file, path: file.file.replace(".", `-${hash(file.content)}.`), immutable: true }));
  let html = await readFile(`${root}src/index.html`, "utf8");
  for (const { file, path } of files) {
    html = html.replaceAll(`"${file}"`, `"${path}"`);
  }
  const page = { file: "index.html", path: "", type: "text/html; charset=utf-8", content: Buffer.from(html) };
  return [page, ...files];
}

/** The table of the files, as Rust, for the crate that serves them. */
function table(files) {
  const headers = `&[("content-security-policy", POLICY), ("referrer-policy", "no-referrer")]`;
  const entries = files.map(
    ({ file, path, type, content, immutable }) => `    StaticFile {
        path: "/${path}",
        content_type: "${type}",
        content: include_bytes!("${file}"),
        gzip: Some(include_bytes!("${file}.gz")),
        version: "${hash(content)}",
        is_immutable: ${Boolean(immutable)},
        headers: ${file === "index.html" ? headers : "&[]"},
    },
`,
  );
  const policy = POLICY.split("; ").join("; \\\n    ");
  return `//! The files of the chat page. The script \`apps/web/page/build.mjs\` writes this file.

use chat_core::StaticFile;

const POLICY: &str = "${policy}";

/// The files of the page.
pub(crate) const FILES: &[StaticFile] = &[
${entries.join("")}];
`;
}

const files = await bundle();
const outputs = new Map(files.map(({ file, content }) => [file, content]));
outputs.set("files.rs", Buffer.from(table(files)));

const sizes = files.map(({ file, content }) => ({ file, bytes: content.length, gzip: gzipSync(content, { level: 9 }).length }));
const total = sizes.reduce((sum, { gzip }) => sum + gzip, 0);

if (process.argv.includes("--check")) {
  const stale = [];
  for (const [file, content] of outputs) {
    const committed = await readFile(dist + file).catch(() => Buffer.alloc(0));
    if (!committed.equals(content)) stale.push(file);
    if (file === "files.rs") continue;
    // Versions of zlib compress differently. The compressed file only has to contain the same bytes.
    const compressed = await readFile(`${dist}${file}.gz`).catch(() => gzipSync(""));
    if (!gunzipSync(compressed).equals(content)) stale.push(`${file}.gz`);
  }
  if (stale.length > 0) {
    console.error(`dist is not the build of src: ${stale.join(", ")}. Run: npm run build`);
    process.exitCode = 1;
  }
} else {
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist);
  for (const [file, content] of outputs) {
    await writeFile(dist + file, content);
    if (file !== "files.rs") await writeFile(`${dist}${file}.gz`, gzipSync(content, { level: 9 }));
  }
}
console.table(sizes);
console.log(`${total} of ${LIMIT} bytes compressed`);
if (total > LIMIT) {
  console.error("The page is too large.");
  process.exitCode = 1;
}
