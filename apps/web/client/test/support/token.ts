import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** The option of a server that takes tokens of `signed`. */
export const SECRET = [`--token-secret=${resolve("test/secret")}`];

/** Returns a token with these claims. */
export function signed(claims: object): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${text}.${createHmac("sha256", readFileSync("test/secret", "utf8").trim()).update(text).digest("base64url")}`;
}
