import { build } from "esbuild";
import { gzipSync } from "node:zlib";
const dir = process.argv[2];
const r = await build({ entryPoints: [dir + "/src/index.ts"], bundle: true, write: false, format: "esm", target: "es2022", minify: true, mangleProps: /^_/, charset: "utf8", ...(process.argv[3] ? {tsconfig: dir+"/tsconfig.json"} : {}), metafile: true });
console.log(r.outputFiles[0].contents.length, gzipSync(r.outputFiles[0].contents, { level: 9 }).length);
for (const [k, v] of Object.entries(Object.values(r.metafile.outputs)[0].inputs)) console.log(v.bytesInOutput, k);
